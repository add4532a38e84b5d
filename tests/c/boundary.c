/* What holds for every function: NULL, lengths, errors, ownership. Arguments: MODEL. */
#include <secondnature.h>
#include <secondnature.h> /* twice: it must not mind */

#include "check.h"

static void version_and_names(void) {
    CHECK(strcmp(sn_version(), SN_VERSION) == 0);
    CHECK(sn_version_number() == SN_VERSION_NUMBER);
    CHECK(SN_VERSION_NUMBER / 10000 == SN_VERSION_MAJOR && SN_VERSION_NUMBER % 100 == SN_VERSION_PATCH);
    CHECK(strcmp(sn_status_name(SN_STATUS_IO), "SN_STATUS_IO") == 0);
    CHECK(strcmp(sn_status_name(-7), "unknown") == 0);
}

static void null_is_harmless(void) {
    size_t len = 7;
    sn_error_free(NULL);
    sn_model_free(NULL);
    sn_cancel_free(NULL);
    sn_string_free(NULL);
    sn_cancel_request(NULL);
    sn_distill_params_init(NULL, sizeof(sn_distill_params));
    CHECK(sn_cancel_share(NULL) == NULL);
    CHECK(sn_error_code(NULL) == SN_STATUS_OK);
    CHECK(sn_error_message(NULL, &len) == NULL && len == 0);
    CHECK(sn_error_cause(NULL, 0, NULL) == NULL);
    CHECK(sn_model_name(NULL, NULL) == NULL && sn_model_architecture(NULL, NULL) == NULL);
    CHECK(sn_model_parameters(NULL) == 0);
}

static void a_missing_model_is_an_error_with_its_cause(void) {
    static int elsewhere;
    sn_model *const untouched = (sn_model *)&elsewhere;
    sn_model *model = untouched;
    sn_error *err = NULL;
    size_t len = 0;
    CHECK(sn_model_open("no-such.gguf", SN_NUL_TERMINATED, &model, &err) == SN_STATUS_IO);
    CHECK(model == untouched);
    CHECK(sn_error_code(err) == SN_STATUS_IO);
    CHECK(strstr(sn_error_message(err, &len), "no-such.gguf") != NULL);
    CHECK(len == strlen(sn_error_message(err, NULL)));
    CHECK(strchr(sn_error_message(err, NULL), '\n') == NULL);
    CHECK(sn_error_cause(err, 0, &len) != NULL && len > 0);
    CHECK(sn_error_cause(err, 1, &len) == NULL && len == 0);
    sn_error_free(err);
    /* Nobody has to take the error. */
    CHECK(sn_model_open("no-such.gguf", 12, &model, NULL) == SN_STATUS_IO);
}

static void wrong_arguments_are_named(void) {
    sn_model *model = NULL;
    sn_error *err = NULL;
    CHECK(sn_model_open(NULL, 3, &model, &err) == SN_STATUS_INVALID_ARGUMENT);
    CHECK(strcmp(sn_error_message(err, NULL), "argument \"path\" is NULL") == 0);
    sn_error_free(err);
    CHECK(sn_model_open("x", 1, NULL, &err) == SN_STATUS_INVALID_ARGUMENT);
    sn_error_free(err);
    CHECK(sn_model_open("\xff\xfe", 2, &model, &err) == SN_STATUS_INVALID_ARGUMENT);
    CHECK(strstr(sn_error_message(err, NULL), "UTF-8") != NULL);
    sn_error_free(err);
    CHECK(sn_model_open("x", SIZE_MAX - 1, &model, &err) == SN_STATUS_INVALID_ARGUMENT);
    sn_error_free(err);
    CHECK(model == NULL);
}

static void a_model_tells_its_facts(const char *path) {
    sn_model *model = NULL;
    sn_error *err = NULL;
    size_t len = 0;
    CHECK(sn_model_open(path, strlen(path), &model, &err) == SN_STATUS_OK);
    CHECK(model != NULL && err == NULL);
    CHECK(strcmp(sn_model_architecture(model, &len), "llama") == 0 && len == 5);
    CHECK(strlen(sn_model_name(model, NULL)) > 0);
    CHECK(sn_model_parameters(model) > 1000);
    sn_model_free(model);
}

static void params_must_be_filled(const char *path) {
    sn_model *model = NULL;
    sn_error *err = NULL;
    sn_distill_params params;
    struct {
        sn_distill_params known;
        unsigned char newer[32];
    } future;
    char *json = NULL;

    CHECK(sn_model_open(path, SN_NUL_TERMINATED, &model, NULL) == SN_STATUS_OK);
    CHECK(sn_distill(NULL, NULL, NULL, NULL, NULL, NULL) == SN_STATUS_INVALID_ARGUMENT);
    CHECK(sn_distill(model, NULL, NULL, &json, NULL, &err) == SN_STATUS_INVALID_ARGUMENT);
    sn_error_free(err);

    memset(&params, 0, sizeof params);
    CHECK(sn_distill(model, &params, NULL, &json, NULL, &err) == SN_STATUS_INVALID_ARGUMENT);
    CHECK(strstr(sn_error_message(err, NULL), "sn_distill_params_init") != NULL);
    sn_error_free(err);

    sn_distill_params_init(&params, sizeof params);
    CHECK(params.struct_size == sizeof params && params.task_len == SN_NUL_TERMINATED);
    CHECK(sn_distill(model, &params, NULL, &json, NULL, &err) == SN_STATUS_INVALID_ARGUMENT);
    CHECK(strstr(sn_error_message(err, NULL), "params.task") != NULL);
    sn_error_free(err);

    params.task = "no-such-task";
    params.questions = "no-such-file";
    params.out_dir = "no-such-dir";
    CHECK(sn_distill(model, &params, NULL, &json, NULL, &err) == SN_STATUS_INPUT);
    CHECK(strstr(sn_error_message(err, NULL), "coin-flip") != NULL);
    sn_error_free(err);

    /* A caller with a newer, longer struct is served as long as it asks for nothing unknown. */
    memset(&future, 0xab, sizeof future);
    sn_distill_params_init(&future.known, sizeof future);
    CHECK(future.known.struct_size == sizeof future && future.newer[31] == 0);
    future.known.task = "no-such-task";
    future.known.questions = "no-such-file";
    future.known.out_dir = "no-such-dir";
    CHECK(sn_distill(model, &future.known, NULL, &json, NULL, NULL) == SN_STATUS_INPUT);
    future.newer[31] = 1;
    CHECK(sn_distill(model, &future.known, NULL, &json, NULL, NULL) == SN_STATUS_INVALID_ARGUMENT);

    CHECK(json == NULL);
    sn_model_free(model);
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    version_and_names();
    null_is_harmless();
    a_missing_model_is_an_error_with_its_cause();
    wrong_arguments_are_named();
    a_model_tells_its_facts(argv[1]);
    params_must_be_filled(argv[1]);
    puts("ok");
    return 0;
}
