/* What is done with an adapter. Arguments: MODEL ADAPTER, which was trained on coin-flip. */
#include <secondnature.h>

#include "check.h"

#define Z SN_NUL_TERMINATED
#define QUESTION "A coin is heads up. Ann flips the coin. Bob does not flip the coin. Is the coin still heads up?"

static int elsewhere;
static sn_adapter *const no_adapter = (sn_adapter *)&elsewhere;
static sn_answerer *const no_answerer = (sn_answerer *)&elsewhere;
static sn_answer *const no_answer = (sn_answer *)&elsewhere;

static void an_adapter_tells_where_it_is_from(const char *model, const char *path) {
    sn_adapter *adapter = NULL;
    size_t len = 0;
    WORKS(sn_adapter_open(path, Z, &adapter, &err));
    CHECK(sn_adapter_rank(adapter) == 4 && sn_adapter_alpha(adapter) == 8);
    CHECK(strcmp(sn_adapter_task(adapter, &len), "coin-flip") == 0 && len == 9);
    CHECK(strstr(sn_adapter_describe(adapter, &len), "\"kind\": \"adapter\"") != NULL);
    CHECK(strlen(sn_adapter_describe(adapter, NULL)) == len);
    sn_adapter_free(adapter);

    adapter = no_adapter;
    FAILS(sn_adapter_open(model, Z, &adapter, &err), SN_STATUS_MODEL, "not a LoRA adapter");
    FAILS(sn_adapter_open("no-such.gguf", Z, &adapter, &err), SN_STATUS_IO, "no-such.gguf");
    REFUSES(sn_adapter_open(NULL, 0, &adapter, &err), "\"path\" is NULL");
    REFUSES(sn_adapter_open("\xff", 1, &adapter, &err), "UTF-8");
    REFUSES(sn_adapter_open(path, Z, NULL, &err), "\"out\" is NULL");
    CHECK(adapter == no_adapter);
}

static void null_is_harmless(const sn_model *model, const sn_task *task) {
    sn_answerer *answerer = no_answerer;
    sn_answer *answer = no_answer;
    size_t len = 7;
    sn_adapter_free(NULL);
    sn_answerer_free(NULL);
    sn_answer_free(NULL);
    sn_answer_params_init(NULL, sizeof(sn_answer_params));
    CHECK(sn_adapter_rank(NULL) == 0 && sn_adapter_alpha(NULL) == 0);
    CHECK(sn_adapter_task(NULL, NULL) == NULL && sn_adapter_describe(NULL, &len) == NULL && len == 0);
    CHECK(sn_answer_text(NULL, NULL) == NULL && sn_answer_confidence(NULL) == 0);
    CHECK(sn_answer_route(NULL) == SN_ROUTE_DIRECT && sn_answer_tokens(NULL) == 0);
    REFUSES(sn_answerer_new(NULL, task, NULL, 0, NULL, &answerer, &err), "\"model\" is NULL");
    REFUSES(sn_answerer_new(model, task, NULL, 0, NULL, NULL, &err), "\"out\" is NULL");
    REFUSES(sn_answerer_new(model, task, "\xff", 1, NULL, &answerer, &err), "UTF-8");
    FAILS(sn_answerer_new(model, NULL, NULL, 0, NULL, &answerer, &err), SN_STATUS_INPUT, "task: ");
    FAILS(sn_answerer_new(model, task, "no-such.gguf", Z, NULL, &answerer, &err), SN_STATUS_IO, "no-such");
    REFUSES(sn_answerer_ask(NULL, "x", 1, NULL, &answer, &err), "\"answerer\" is NULL");
    CHECK(answerer == no_answerer && answer == no_answer);
}

static void it_answers_either_way(const sn_model *model, const sn_task *task, const char *path) {
    sn_answer_params params;
    sn_answerer *answerer = NULL;
    sn_answer *answer = NULL, *again = NULL;
    sn_cancel *cancel = sn_cancel_new();
    size_t len = 0;

    sn_answer_params_init(&params, sizeof params);
    params.threshold = 1e-9;
    WORKS(sn_answerer_new(model, NULL, path, Z, &params, &answerer, &err));
    WORKS(sn_answerer_ask(answerer, QUESTION, Z, cancel, &answer, &err));
    CHECK(sn_answer_route(answer) == SN_ROUTE_DIRECT && sn_answer_tokens(answer) > 0);
    CHECK(sn_answer_confidence(answer) > 0 && sn_answer_confidence(answer) <= 1);
    CHECK(strlen(sn_answer_text(answer, &len)) == len && len > 0);

    REFUSES(sn_answerer_ask(answerer, NULL, 0, NULL, &again, &err), "\"question\" is NULL");
    REFUSES(sn_answerer_ask(answerer, "\xff", 1, NULL, &again, &err), "UTF-8");
    REFUSES(sn_answerer_ask(answerer, QUESTION, Z, NULL, NULL, &err), "\"out\" is NULL");
    sn_cancel_request(cancel);
    FAILS(sn_answerer_ask(answerer, QUESTION, Z, cancel, &again, &err), SN_STATUS_CANCELLED, "");
    CHECK(again == NULL);
    sn_cancel_free(cancel);

    /* None of that disturbed it. */
    WORKS(sn_answerer_ask(answerer, QUESTION, Z, NULL, &again, &err));
    CHECK(strcmp(sn_answer_text(again, NULL), sn_answer_text(answer, NULL)) == 0);
    CHECK(sn_answer_confidence(again) == sn_answer_confidence(answer));
    sn_answerer_free(answerer);
    sn_answer_free(again);

    params.threshold = 2;
    params.seed = 5;
    WORKS(sn_answerer_new(model, task, path, Z, &params, &answerer, &err));
    WORKS(sn_answerer_ask(answerer, QUESTION, Z, NULL, &again, &err));
    CHECK(sn_answer_route(again) == SN_ROUTE_REASONED);
    CHECK(sn_answer_tokens(again) > sn_answer_tokens(answer));
    sn_answer_free(answer);
    /* The adapter comes off for reasoning and goes on again for the next question. */
    WORKS(sn_answerer_ask(answerer, QUESTION, Z, NULL, &answer, &err));
    CHECK(sn_answer_tokens(again) == sn_answer_tokens(answer));
    CHECK(sn_answer_confidence(again) == sn_answer_confidence(answer));
    sn_answerer_free(answerer);
    sn_answer_free(answer);
    sn_answer_free(again);

    WORKS(sn_answerer_new(model, task, NULL, 0, NULL, &answerer, &err));
    WORKS(sn_answerer_ask(answerer, QUESTION, strlen(QUESTION), NULL, &answer, &err));
    sn_answer_free(answer);
    sn_answerer_free(answerer);
}

int main(int argc, char **argv) {
    sn_model *model = NULL;
    sn_task *task = NULL;
    CHECK(argc == 3);
    WORKS(sn_model_open(argv[1], Z, &model, &err));
    WORKS(sn_task_load("coin-flip", Z, &task, &err));
    an_adapter_tells_where_it_is_from(argv[1], argv[2]);
    null_is_harmless(model, task);
    it_answers_either_way(model, task, argv[2]);
    sn_task_free(task);
    sn_model_free(model);
    puts("ok");
    return 0;
}
