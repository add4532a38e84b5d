/* The choice of a program, and that choosing again finds it finished. Arguments: MODEL QUESTIONS OUT. */
#include <secondnature.h>

#include "check.h"

#define Z SN_NUL_TERMINATED

static void null_is_refused(const sn_model *model, const sn_tune_params *params) {
    char *json = NULL;
    sn_tune_params_init(NULL, sizeof(sn_tune_params));
    REFUSES(sn_tune(NULL, params, NULL, &json, NULL, &err), "\"model\" is NULL");
    REFUSES(sn_tune(model, NULL, NULL, &json, NULL, &err), "\"params\" is NULL");
    CHECK(json == NULL);
}

static int is_share(double share) {
    return share >= 0 && share <= 1;
}

static void it_chooses(const sn_model *model, sn_tune_params *params, const char *task_path) {
    sn_choice choice, again;
    sn_cancel *cancel = sn_cancel_new();
    sn_task *task = NULL;
    char *json = NULL;
    size_t len = 0;
    choice.struct_size = sizeof choice;
    choice.candidates = 77;
    params->gold = "no-such-file.jsonl";
    FAILS(sn_tune(model, params, &choice, &json, &len, &err), SN_STATUS_IO, "no-such-file.jsonl");
    params->gold = NULL;
    params->finalists = 65;
    FAILS(sn_tune(model, params, &choice, &json, &len, &err), SN_STATUS_INPUT, "params.finalists");
    params->finalists = 1;
    sn_cancel_request(cancel);
    params->cancel = cancel;
    FAILS(sn_tune(model, params, &choice, &json, &len, &err), SN_STATUS_CANCELLED, "stopped");
    params->cancel = NULL;
    CHECK(choice.candidates == 77 && json == NULL && len == 0);

    WORKS(sn_tune(model, params, &choice, &json, &len, &err));
    CHECK(choice.struct_size == sizeof choice);
    /* The task and the wording of its direct prompt. */
    CHECK(choice.candidates == 2 && choice.questions >= 3);
    CHECK(choice.worthwhile == 0 || choice.worthwhile == 1);
    CHECK(choice.score <= 1 && choice.baseline_score <= 1);
    CHECK(is_share(choice.kept_share) && is_share(choice.system1_agreement));
    CHECK(choice.samples_per_question >= 1 && choice.samples_per_question <= 8);
    CHECK(choice.curate_hours > 0 && choice.train_hours >= 0 && choice.seconds > 0);
    /* NaN: there are no questions with gold. */
    CHECK(choice.vote_accuracy != choice.vote_accuracy && choice.label_precision != choice.label_precision);
    CHECK(json != NULL && strlen(json) == len && strstr(json, "\"winner\": \"coin-flip\"") != NULL);
    sn_string_free(json);
    WORKS(sn_task_load(task_path, Z, &task, &err));
    sn_task_free(task);

    again.struct_size = sizeof again;
    WORKS(sn_tune(model, params, &again, NULL, NULL, &err));
    CHECK(again.score == choice.score && again.kept_share == choice.kept_share);
    CHECK(again.questions == choice.questions && again.worthwhile == choice.worthwhile);
    sn_cancel_free(cancel);
}

int main(int argc, char **argv) {
    sn_model *model = NULL;
    sn_tune_params params;
    const char *tasks[] = {"coin-flip"};
    char path[4096];
    CHECK(argc == 4);
    WORKS(sn_model_open(argv[1], Z, &model, &err));
    sn_tune_params_init(&params, sizeof params);
    params.questions = argv[2];
    params.out_dir = argv[3];
    params.tasks = tasks;
    params.tasks_count = 1;
    params.only_given = 1;
    params.no_own_examples = 1;
    params.no_temperatures = 1;
    params.n_questions = 6;
    params.seed = 3;
    CHECK((size_t)snprintf(path, sizeof path, "%s/task.json", argv[3]) < sizeof path);
    null_is_refused(model, &params);
    it_chooses(model, &params, path);
    sn_model_free(model);
    puts("ok");
    return 0;
}
