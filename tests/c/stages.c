/* A run, stage by stage, and what comes of it. Arguments: MODEL OUT. */
#include <secondnature.h>

#include "check.h"

#define Z SN_NUL_TERMINATED
#define QUESTIONS 48

struct watch {
    sn_run *run; /* which must refuse to be used from within a callback */
    int progress, verdicts, kept, held_out, steps;
    double loss;
};

static int elsewhere;
static sn_run *const no_run = (sn_run *)&elsewhere;
static char *const no_json = (char *)&elsewhere;

static void on_progress(const sn_progress *progress, void *user_data) {
    struct watch *watch = user_data;
    CHECK(progress->note != NULL);
    watch->progress++;
}

static void on_verdict(const sn_verdict *verdict, void *user_data) {
    struct watch *watch = user_data;
    CHECK(strlen(verdict->question_id) == verdict->question_id_len && verdict->question_id_len > 0);
    CHECK(strlen(verdict->reason) == verdict->reason_len && verdict->reason_len > 0);
    CHECK(verdict->answer == NULL ? !verdict->kept : strlen(verdict->answer) == verdict->answer_len);
    CHECK(verdict->stop >= SN_STOP_REASON_CONVERGED && verdict->stop <= SN_STOP_REASON_ABANDONED);
    CHECK(verdict->samples > 0 && verdict->votes <= verdict->samples);
    CHECK(verdict->agreement >= 0 && verdict->agreement <= 1);
    if (verdict->stage == SN_STAGE_EVALUATE) {
        watch->held_out++;
        return;
    }
    CHECK(verdict->stage == SN_STAGE_CURATE);
    watch->verdicts++;
    watch->kept += verdict->kept != 0;
    REFUSES(sn_run_report(watch->run, NULL, NULL, &err), "\"run\" is in use");
}

static void on_step(const sn_train_step *step, void *user_data) {
    struct watch *watch = user_data;
    watch->steps++;
    CHECK(step->step == (uint64_t)watch->steps && step->step <= step->steps);
    CHECK(step->epoch > 0 && step->loss > 0 && step->tokens_per_s > 0 && step->lr > 0);
    watch->loss = step->loss;
}

static int has(const char *json, size_t len, const char *key) {
    return json != NULL && strlen(json) == len && strstr(json, key) != NULL;
}

static void null_is_harmless(const sn_model *model, const sn_task *task, const sn_questions *questions) {
    sn_run *run = no_run;
    char *json = no_json;
    size_t len = 7;
    int32_t worthwhile = 7;
    sn_run_free(NULL);
    sn_curate_params_init(NULL, sizeof(sn_curate_params));
    sn_train_params_init(NULL, sizeof(sn_train_params));
    sn_evaluate_params_init(NULL, sizeof(sn_evaluate_params));
    CHECK(sn_run_adapter_path(NULL, &len) == NULL && len == 0);
    len = 7;
    REFUSES(sn_run_create(NULL, task, questions, "x", 1, 0, &run, &err), "\"model\" is NULL");
    REFUSES(sn_run_create(model, NULL, questions, "x", 1, 0, &run, &err), "\"task\" is NULL");
    REFUSES(sn_run_create(model, task, NULL, "x", 1, 0, &run, &err), "\"questions\" is NULL");
    REFUSES(sn_run_create(model, task, questions, NULL, 1, 0, &run, &err), "\"out_dir\" is NULL");
    REFUSES(sn_run_create(model, task, questions, "\xff", 1, 0, &run, &err), "UTF-8");
    REFUSES(sn_run_create(model, task, questions, "x", 1, 0, NULL, &err), "\"out\" is NULL");
    REFUSES(sn_run_open(NULL, 0, NULL, 0, &run, &err), "\"out_dir\" is NULL");
    REFUSES(sn_run_open("\xff", 1, NULL, 0, &run, &err), "UTF-8");
    REFUSES(sn_run_open("x", 1, "\xff", 1, &run, &err), "\"model_path\" is not UTF-8");
    REFUSES(sn_run_open("x", 1, NULL, 0, NULL, &err), "\"out\" is NULL");
    REFUSES(sn_run_curate(NULL, NULL, NULL, &json, &len, &err), "\"run\" is NULL");
    REFUSES(sn_run_decide(NULL, NULL, NULL, &worthwhile, &json, &len, &err), "\"run\" is NULL");
    REFUSES(sn_run_train(NULL, NULL, NULL, &json, &len, &err), "\"run\" is NULL");
    REFUSES(sn_run_evaluate(NULL, questions, NULL, NULL, &json, &len, &err), "\"run\" is NULL");
    REFUSES(sn_run_report(NULL, &json, &len, &err), "\"run\" is NULL");
    CHECK(run == no_run && json == no_json && len == 7 && worthwhile == 7);
}

static void stages_out_of_order_say_which_comes_first(sn_run *run, const sn_questions *eval) {
    char *json = no_json;
    size_t len = 7;
    int32_t worthwhile = 7;
    CHECK(sn_run_adapter_path(run, NULL) == NULL);
    FAILS(sn_run_decide(run, NULL, NULL, &worthwhile, &json, &len, &err), SN_STATUS_RUN, "sn_run_curate()");
    FAILS(sn_run_train(run, NULL, NULL, &json, &len, &err), SN_STATUS_RUN, "sn_run_curate()");
    FAILS(sn_run_evaluate(run, eval, NULL, NULL, &json, &len, &err), SN_STATUS_RUN, "sn_run_train()");
    REFUSES(sn_run_evaluate(run, NULL, NULL, NULL, &json, &len, &err), "\"eval\" is NULL");
    CHECK(json == no_json && len == 7 && worthwhile == 7);
    WORKS(sn_run_report(run, &json, &len, &err));
    CHECK(has(json, len, "\"model\"") && strstr(json, "\"curation\"") == NULL);
    sn_string_free(json);
}

static void curate(sn_run *run) {
    struct watch watch;
    sn_curate_params params;
    sn_curation curation;
    sn_cancel *cancel = sn_cancel_new();
    char *json = no_json;
    size_t len = 0;
    int first;

    memset(&watch, 0, sizeof watch);
    watch.run = run;
    sn_curate_params_init(&params, sizeof params);
    params.slots = 8;
    params.weights = SN_WEIGHTS_AS_IS;
    params.max_memory = (uint64_t)1 << 30;
    params.progress = on_progress;
    params.progress_user_data = &watch;
    params.verdict = on_verdict;
    params.verdict_user_data = &watch;
    params.cancel = cancel;
    sn_cancel_request(cancel);
    memset(&curation, 0, sizeof curation);
    REFUSES(sn_run_curate(run, &params, &curation, &json, &len, &err), "struct_size");
    curation.struct_size = sizeof curation;
    FAILS(sn_run_curate(run, &params, &curation, &json, &len, &err), SN_STATUS_CANCELLED, "kept");
    CHECK(json == no_json && watch.verdicts == 0 && curation.questions == 0);
    sn_cancel_free(cancel);

    params.cancel = NULL;
    WORKS(sn_run_curate(run, &params, &curation, &json, &len, &err));
    first = watch.kept;
    CHECK(watch.verdicts == QUESTIONS && watch.progress > 0 && first > 0);
    CHECK(curation.struct_size == sizeof curation && curation.questions == QUESTIONS);
    CHECK(curation.kept == (uint64_t)first && curation.samples >= QUESTIONS && curation.seconds > 0);
    CHECK(curation.precision >= 0 && curation.precision <= 1 && curation.generated_tokens > 0);
    CHECK(curation.set_aside == 0 && curation.read_by_closing == 0 && curation.judged_pairs == 0);
    CHECK(has(json, len, "\"kept\""));
    sn_string_free(json);

    /* Again: nothing is sampled, the verdicts are told once more. */
    WORKS(sn_run_curate(run, &params, NULL, NULL, NULL, &err));
    CHECK(watch.verdicts == 2 * QUESTIONS && watch.kept == 2 * first);
}

static void decide(sn_run *run, const sn_questions *train, const sn_questions *eval) {
    struct watch watch;
    sn_evaluate_params params;
    char *json = NULL;
    size_t len = 0;
    int32_t worthwhile = 7;

    memset(&watch, 0, sizeof watch);
    sn_evaluate_params_init(&params, sizeof params);
    params.min_kept = 1000;
    WORKS(sn_run_decide(run, NULL, &params, &worthwhile, &json, &len, &err));
    CHECK(worthwhile == 0 && has(json, len, "\"reasons\"") && has(json, len, "1000"));
    sn_string_free(json);
    params.min_kept = 1;
    params.min_kept_share = 0;
    WORKS(sn_run_decide(run, NULL, &params, &worthwhile, &json, &len, &err));
    CHECK(worthwhile == 1 && has(json, len, "\"why\""));
    sn_string_free(json);
    FAILS(sn_run_decide(run, train, &params, &worthwhile, &json, &len, &err), SN_STATUS_INPUT, "held-out questions must");
    params.verdict = on_verdict;
    params.verdict_user_data = &watch;
    WORKS(sn_run_decide(run, eval, &params, &worthwhile, &json, NULL, &err));
    CHECK(strstr(json, "\"why\"") != NULL && watch.held_out == (int)sn_questions_count(eval));
    CHECK(watch.verdicts == 0);
    sn_string_free(json);
    WORKS(sn_run_decide(run, NULL, NULL, NULL, NULL, NULL, &err));
}

static void train(sn_run *run) {
    struct watch watch;
    sn_train_params params;
    sn_training training;
    char *json = NULL;
    size_t len = 0;
    const char *path;

    memset(&watch, 0, sizeof watch);
    sn_train_params_init(&params, sizeof params);
    CHECK(params.patience == 1 && params.warmup > 0 && params.clip == 1 && params.held_out > 0);
    params.rank = 4;
    params.alpha = 8;
    params.lr = 2e-3;
    params.epochs = 3;
    params.batch = 8;
    params.schedule = SN_SCHEDULE_LINEAR;
    params.adapter_dtype = SN_ADAPTER_DTYPE_F16;
    params.compute_dtype = SN_COMPUTE_DTYPE_F32;
    params.recompute = SN_RECOMPUTE_ALWAYS;
    params.modules = "attn_q,attn_v,ffn_up";
    params.progress = on_progress;
    params.progress_user_data = &watch;
    params.step = on_step;
    params.step_user_data = &watch;
    training.struct_size = sizeof training;
    WORKS(sn_run_train(run, &params, &training, &json, &len, &err));
    CHECK(training.examples > 0 && training.steps == (uint64_t)watch.steps && training.loss_last > 0);
    CHECK(has(json, len, "\"loss_first\"") && watch.steps > 0 && watch.progress > watch.steps);
    sn_string_free(json);
    path = sn_run_adapter_path(run, &len);
    CHECK(path != NULL && strlen(path) == len && strstr(path, "adapter.gguf") != NULL);
    /* Again: it is there already. */
    len = (size_t)watch.steps;
    WORKS(sn_run_train(run, &params, NULL, NULL, NULL, &err));
    CHECK(watch.steps == (int)len);
}

static void evaluate(sn_run *run, const sn_questions *eval) {
    sn_evaluate_params params;
    sn_evaluation evaluation;
    char *json = NULL;
    size_t len = 0;
    sn_questions *none = sn_questions_new();
    evaluation.struct_size = sizeof evaluation;
    WORKS(sn_run_evaluate(run, eval, NULL, &evaluation, &json, &len, &err));
    CHECK(evaluation.n == sn_questions_count(eval) && evaluation.against_gold);
    CHECK(evaluation.system1_accuracy >= 0 && evaluation.system2_accuracy <= 1);
    CHECK(evaluation.distilled_tokens > 0 && evaluation.mcnemar_p > 0 && evaluation.mcnemar_p <= 1);
    CHECK(has(json, len, "\"distilled\""));
    sn_string_free(json);
    sn_evaluate_params_init(&params, sizeof params);
    params.adapter = sn_run_adapter_path(run, NULL);
    WORKS(sn_run_evaluate(run, eval, &params, NULL, NULL, NULL, &err));
    params.adapter = "no-such.gguf";
    FAILS(sn_run_evaluate(run, eval, &params, NULL, &json, &len, &err), SN_STATUS_IO, "no-such.gguf");
    params.adapter = "\xff";
    REFUSES(sn_run_evaluate(run, eval, &params, NULL, &json, &len, &err), "params.adapter");
    FAILS(sn_run_evaluate(run, none, NULL, NULL, &json, &len, &err), SN_STATUS_INPUT, "no question");
    sn_questions_free(none);
}

static void a_run_is_opened_again(const char *model_path, const char *out, const sn_model *model,
                                  const sn_task *task, const sn_questions *train, sn_run *open) {
    sn_run *run = no_run;
    char *json = NULL;
    size_t len = 0;
    FAILS(sn_run_open(out, Z, NULL, 0, &run, &err), SN_STATUS_RUN, "");
    sn_run_free(open);
    FAILS(sn_run_open("no-such-dir", Z, NULL, 0, &run, &err), SN_STATUS_RUN, "no-such-dir");
    FAILS(sn_run_create(model, task, train, out, Z, 99, &run, &err), SN_STATUS_RUN, "");
    CHECK(run == no_run);
    WORKS(sn_run_open(out, Z, model_path, strlen(model_path), &run, &err));
    CHECK(sn_run_adapter_path(run, NULL) != NULL);
    WORKS(sn_run_report(run, &json, &len, &err));
    CHECK(has(json, len, "\"evaluation\"") && has(json, len, "\"decision\""));
    sn_string_free(json);
    sn_run_free(run);
    WORKS(sn_run_create(model, task, train, out, Z, 1, &run, &err));
    sn_run_free(run);
}

int main(int argc, char **argv) {
    sn_model *model = NULL;
    sn_task *task = NULL;
    sn_questions *questions = NULL, *eval = NULL, *none = sn_questions_new();
    sn_run *run = NULL;

    CHECK(argc == 3);
    WORKS(sn_model_open(argv[1], Z, &model, &err));
    WORKS(sn_task_load("coin-flip", Z, &task, &err));
    WORKS(sn_questions_generate("coin-flip", Z, QUESTIONS, 1, SN_SPLIT_TRAIN, &questions, &err));
    WORKS(sn_questions_generate("coin-flip", Z, 12, 2, SN_SPLIT_TEST, &eval, &err));
    null_is_harmless(model, task, questions);
    FAILS(sn_run_create(model, task, none, argv[2], Z, 1, &run, &err), SN_STATUS_INPUT, "no question");
    sn_questions_free(none);

    WORKS(sn_run_create(model, task, questions, argv[2], Z, 1, &run, &err));
    stages_out_of_order_say_which_comes_first(run, eval);
    curate(run);
    decide(run, questions, eval);
    train(run);
    evaluate(run, eval);
    a_run_is_opened_again(argv[1], argv[2], model, task, questions, run);

    sn_questions_free(questions);
    sn_questions_free(eval);
    sn_task_free(task);
    sn_model_free(model);
    puts("ok");
    return 0;
}
