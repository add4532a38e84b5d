/* Every params struct: older and newer ones, numbers out of range. Arguments: MODEL QUESTIONS OUT. */
#include <secondnature.h>

#include "check.h"

#define Z SN_NUL_TERMINATED
#define NEWER 64

static sn_model *model;
static sn_task *task;
static sn_questions *questions;
static sn_run *run;

static int32_t distill(const void *params, sn_error **err) {
    return sn_distill(model, params, NULL, NULL, NULL, err);
}
static int32_t curate(const void *params, sn_error **err) {
    return sn_run_curate(run, params, NULL, NULL, NULL, err);
}
static int32_t decide(const void *params, sn_error **err) {
    return sn_run_decide(run, NULL, params, NULL, NULL, NULL, err);
}
static int32_t evaluate(const void *params, sn_error **err) {
    return sn_run_evaluate(run, questions, params, NULL, NULL, NULL, err);
}
static int32_t train(const void *params, sn_error **err) {
    return sn_run_train(run, params, NULL, NULL, NULL, err);
}
static int32_t answer(const void *params, sn_error **err) {
    sn_answerer *answerer = NULL;
    const int32_t status = sn_answerer_new(model, task, NULL, 0, params, &answerer, err);
    sn_answerer_free(answerer);
    return status;
}

static void init_distill(void *params, size_t size) { sn_distill_params_init(params, size); }
static void init_evaluate(void *params, size_t size) { sn_evaluate_params_init(params, size); }
static void init_train(void *params, size_t size) { sn_train_params_init(params, size); }
static void init_answer(void *params, size_t size) { sn_answer_params_init(params, size); }

struct params {
    const char *init_name;
    size_t size, first_size;
    void (*init)(void *params, size_t size);
    int32_t (*use)(const void *params, sn_error **err);
    int32_t status; /* of defaults, in this state of the run */
    const char *words;
};

static void sizes(const struct params *p) {
    union {
        size_t struct_size;
        double aligned;
        unsigned char bytes[1024];
    } buffer;
    size_t i;
    CHECK(p->size + NEWER <= sizeof buffer && p->first_size <= p->size);

    /* Never filled, and sizes that no version has. */
    memset(&buffer, 0, sizeof buffer);
    REFUSES(p->use(&buffer, &err), p->init_name);
    buffer.struct_size = p->first_size - sizeof(size_t);
    REFUSES(p->use(&buffer, &err), p->init_name);
    buffer.struct_size = p->first_size + 1;
    REFUSES(p->use(&buffer, &err), p->init_name);
    buffer.struct_size = (size_t)1 << 20;
    REFUSES(p->use(&buffer, &err), p->init_name);

    /* An older header: what lies beyond its struct is neither written nor read. */
    memset(&buffer, 0xab, sizeof buffer);
    p->init(&buffer, p->first_size);
    CHECK(buffer.struct_size == p->first_size);
    for (i = p->first_size; i < sizeof buffer; i++) {
        CHECK(buffer.bytes[i] == 0xab);
    }
    FAILS(p->use(&buffer, &err), p->status, p->words);

    /* A newer one: zeros are served, a wish is refused. */
    memset(&buffer, 0xab, sizeof buffer);
    p->init(&buffer, p->size + NEWER);
    CHECK(buffer.struct_size == p->size + NEWER && buffer.bytes[p->size + NEWER] == 0xab);
    FAILS(p->use(&buffer, &err), p->status, p->words);
    buffer.bytes[p->size + NEWER - 1] = 1;
    REFUSES(p->use(&buffer, &err), "does not know");
}

#define BAD(kind, field, value, status, words)                                                    \
    do {                                                                                          \
        sn_##kind##_params params;                                                                \
        sn_##kind##_params_init(&params, sizeof params);                                          \
        params.field = value;                                                                     \
        FAILS(kind(&params, &err), status, words);                                                \
    } while (0)
#define OUT_OF_RANGE(kind, field, value, words) BAD(kind, field, value, SN_STATUS_INVALID_ARGUMENT, words)
#define INPUT(kind, field, value, words) BAD(kind, field, value, SN_STATUS_INPUT, words)

static void numbers_out_of_range(void) {
    const double nan = strtod("nan", NULL);
    const char *extra[] = {"no-such-run", NULL};

    INPUT(curate, threads, 1025, "params.threads");
    INPUT(curate, slots, 257, "params.slots");
    OUT_OF_RANGE(curate, weights, 3, "sn_weights");
    OUT_OF_RANGE(curate, weights, -1, "sn_weights");
    INPUT(curate, samples, 1001, "params.samples: 1001");
    INPUT(curate, threshold, 1.5, "params.threshold: 1.5");
    INPUT(curate, threshold, -1, "params.threshold: -1");
    INPUT(curate, threshold, nan, "params.threshold: NaN");

    INPUT(evaluate, threads, 1025, "params.threads");
    INPUT(evaluate, slots, 257, "params.slots");
    OUT_OF_RANGE(evaluate, weights, 3, "sn_weights");

    OUT_OF_RANGE(train, schedule, 3, "sn_schedule");
    OUT_OF_RANGE(train, adapter_dtype, 2, "sn_adapter_dtype");
    OUT_OF_RANGE(train, compute_dtype, 3, "sn_compute_dtype");
    OUT_OF_RANGE(train, recompute, -1, "sn_recompute");
    INPUT(train, threads, 1025, "params.threads");
    INPUT(train, replay_share, 11, "params.replay_share");
    INPUT(train, replay_share, nan, "params.replay_share");
    OUT_OF_RANGE(train, modules, "\xff", "params.modules");
    OUT_OF_RANGE(train, init_adapter, "\xff", "params.init_adapter");
    OUT_OF_RANGE(train, replay, "\xff", "params.replay");
    OUT_OF_RANGE(train, extra_runs_count, 1, "params.extra_runs");
    BAD(train, replay, "no-such.jsonl", SN_STATUS_IO, "no-such.jsonl");
    INPUT(curate, disable_early_stop, "never", "params.disable_early_stop: \"never\" is not one of answer, converged, abandon");
    INPUT(train, rank, 257, "params.rank: 257");
    INPUT(train, alpha, -1, "params.alpha:");
    INPUT(train, lr, 1, "params.lr:");
    INPUT(train, lr, nan, "params.lr:");
    INPUT(train, lora_plus, -1, "params.lora_plus:");
    INPUT(train, dropout, 1, "params.dropout:");
    INPUT(train, warmup, 2, "params.warmup:");
    INPUT(train, clip, -1, "params.clip:");
    INPUT(train, weight_decay, -1, "params.weight_decay:");
    INPUT(train, held_out, 0.6, "params.held_out:");
    INPUT(train, modules, "attn_q,no_such", "no_such");
    {
        sn_train_params params;
        sn_train_params_init(&params, sizeof params);
        params.extra_runs = extra;
        params.extra_runs_count = 2;
        FAILS(train(&params, &err), SN_STATUS_INVALID_ARGUMENT, "params.extra_runs");
    }

    INPUT(answer, threads, 1025, "params.threads");
    INPUT(answer, slots, 257, "params.slots");
    OUT_OF_RANGE(answer, weights, 3, "sn_weights");
    INPUT(answer, threshold, nan, "params.threshold");
}

static void distillation_is_refused_as_its_stages_are(const char *path, const char *out) {
    sn_distill_params params;
    sn_distill_params_init(&params, sizeof params);
    params.task = "coin-flip";
    params.questions = path;
    params.out_dir = out;
#define WITH(field, value, status, words)                                                         \
    do {                                                                                          \
        const sn_distill_params whole = params;                                                   \
        params.field = value;                                                                     \
        FAILS(distill(&params, &err), status, words);                                             \
        params = whole;                                                                           \
    } while (0)
    WITH(threads, 1025, SN_STATUS_INPUT, "params.threads");
    WITH(slots, 257, SN_STATUS_INPUT, "params.slots");
    WITH(weights, 3, SN_STATUS_INVALID_ARGUMENT, "sn_weights");
    WITH(min_kept_share, 1.5, SN_STATUS_INPUT, "params.min_kept_share: 1.5");
    WITH(task, "\xff", SN_STATUS_INVALID_ARGUMENT, "params.task");
    WITH(questions, "\xff", SN_STATUS_INVALID_ARGUMENT, "params.questions");
    WITH(eval, "\xff", SN_STATUS_INVALID_ARGUMENT, "params.eval");
    WITH(out_dir, "\xff", SN_STATUS_INVALID_ARGUMENT, "params.out_dir");
    WITH(rank, 257, SN_STATUS_INPUT, "params.rank: 257");
    WITH(lr, 1, SN_STATUS_INPUT, "params.lr:");
    WITH(samples, 1001, SN_STATUS_INPUT, "params.samples:");
    WITH(threshold, 1.5, SN_STATUS_INPUT, "params.threshold:");
}

#define FIRST(kind, last) \
    sizeof(sn_##kind##_params), offsetof(sn_##kind##_params, last) + sizeof(void *), init_##kind

int main(int argc, char **argv) {
    const struct params all[] = {
        {"sn_distill_params_init", FIRST(distill, cancel), distill, SN_STATUS_INVALID_ARGUMENT, "params.task"},
        {"sn_evaluate_params_init", FIRST(evaluate, cancel), decide, SN_STATUS_RUN, "sn_run_curate()"},
        {"sn_evaluate_params_init", FIRST(evaluate, cancel), evaluate, SN_STATUS_INPUT, "eval: "},
        {"sn_train_params_init", FIRST(train, cancel), train, SN_STATUS_RUN, "sn_run_curate()"},
        {"sn_answer_params_init", FIRST(answer, decoder), answer, SN_STATUS_INPUT, "task:"},
    };
    size_t i;
    CHECK(argc == 4);
    WORKS(sn_model_open(argv[1], Z, &model, &err));
    WORKS(sn_task_load("coin-flip", Z, &task, &err));
    WORKS(sn_questions_generate("coin-flip", Z, 8, 1, SN_SPLIT_TRAIN, &questions, &err));
    WORKS(sn_run_create(model, task, questions, argv[3], Z, 1, &run, &err));
    numbers_out_of_range();
    distillation_is_refused_as_its_stages_are(argv[2], "no-such-dir");
    for (i = 0; i < sizeof all / sizeof all[0]; i++) {
        sn_task *const kept = task;
        if (all[i].use == answer) {
            task = NULL;
        }
        sizes(&all[i]);
        task = kept;
    }
    /* Last, as it works. */
    {
        struct {
            sn_curate_params known;
            unsigned char newer[NEWER];
        } future;
        memset(&future, 0xab, sizeof future);
        sn_curate_params_init(&future.known, sizeof future);
        future.newer[NEWER - 1] = 1;
        REFUSES(curate(&future, &err), "does not know");
        future.newer[NEWER - 1] = 0;
        future.known.slots = 4;
        WORKS(curate(&future, &err));
        future.known.struct_size = sizeof(size_t);
        REFUSES(curate(&future, &err), "sn_curate_params_init");
    }
    sn_run_free(run);
    sn_questions_free(questions);
    sn_task_free(task);
    sn_model_free(model);
    puts("ok");
    return 0;
}
