/* A program as it was written for the first header, which lies beside it. Neither is ever adapted
 * to a later one: the library must go on serving it. Arguments: MODEL QUESTIONS EVAL OUT. */
#include <secondnature.h>

#include "../check.h"

/* What lies behind the parameters belongs to somebody else. */
struct guarded {
    sn_distill_params params;
    unsigned char behind[4096];
};

static struct guarded guarded;
static unsigned long reports[16];

static void on_progress(const sn_progress *progress, void *user_data) {
    unsigned long *seen = user_data;
    CHECK(progress->note != NULL && strlen(progress->note) == progress->note_len);
    if (progress->stage >= 0 && progress->stage < 16) {
        seen[progress->stage]++;
    }
}

static void nothing_was_written_behind(void) {
    size_t i;
    for (i = 0; i < sizeof guarded.behind; i++) {
        CHECK(guarded.behind[i] == 0xa5);
    }
}

static void fill(const char *questions, const char *eval, const char *out) {
    memset(&guarded, 0xa5, sizeof guarded);
    sn_distill_params_init(&guarded.params, sizeof guarded.params);
    nothing_was_written_behind();
    CHECK(guarded.params.struct_size == sizeof guarded.params);
    CHECK(guarded.params.task == NULL && guarded.params.task_len == SN_NUL_TERMINATED);
    CHECK(guarded.params.reserved == 0 && guarded.params.cancel == NULL);
    guarded.params.task = "coin-flip";
    guarded.params.questions = questions;
    guarded.params.eval = eval;
    guarded.params.out_dir = out;
    guarded.params.seed = 1;
    guarded.params.rank = 4;
    guarded.params.epochs = 1;
    guarded.params.threads = 2;
    guarded.params.slots = 8;
    guarded.params.force = 1;
    guarded.params.progress = on_progress;
    guarded.params.progress_user_data = reports;
}

int main(int argc, char **argv) {
    sn_model *model = NULL;
    sn_error *err = NULL;
    sn_cancel *cancel, *other;
    char *json = NULL;
    size_t len = 0;

    CHECK(argc == 5);
    CHECK(sn_version() != NULL && strcmp(sn_status_name(SN_STATUS_CANCELLED), "SN_STATUS_CANCELLED") == 0);

    CHECK(sn_model_open("no-such.gguf", SN_NUL_TERMINATED, &model, &err) == SN_STATUS_IO);
    CHECK(sn_error_code(err) == SN_STATUS_IO && strstr(sn_error_message(err, &len), "no-such.gguf"));
    CHECK(sn_error_cause(err, 0, NULL) != NULL);
    sn_error_free(err);
    err = NULL;

    CHECK(sn_model_open(argv[1], strlen(argv[1]), &model, &err) == SN_STATUS_OK && err == NULL);
    CHECK(sn_model_name(model, NULL) != NULL && strcmp(sn_model_architecture(model, NULL), "llama") == 0);
    CHECK(sn_model_parameters(model) > 0);

    fill(argv[2], argv[3], argv[4]);
    cancel = sn_cancel_new();
    other = sn_cancel_share(cancel);
    sn_cancel_request(other);
    sn_cancel_free(other);
    guarded.params.cancel = cancel;
    CHECK(sn_distill(model, &guarded.params, &json, &len, &err) == SN_STATUS_CANCELLED);
    CHECK(json == NULL && sn_error_code(err) == SN_STATUS_CANCELLED);
    sn_error_free(err);
    err = NULL;
    sn_cancel_free(cancel);

    guarded.params.cancel = NULL;
    if (sn_distill(model, &guarded.params, &json, &len, &err) != SN_STATUS_OK) {
        fprintf(stderr, "%s\n", sn_error_message(err, NULL));
        return 1;
    }
    nothing_was_written_behind();
    CHECK(json != NULL && strlen(json) == len && strstr(json, "\"adapter\"") != NULL);
    CHECK(reports[SN_STAGE_LOAD] + reports[SN_STAGE_CURATE] > 0 && reports[SN_STAGE_TRAIN] > 0);
    CHECK(reports[SN_STAGE_EXPORT] > 0 && reports[SN_STAGE_EVALUATE] > 0);
    sn_string_free(json);
    sn_model_free(model);
    puts("ok");
    return 0;
}
