/* Work on several threads: cancelled from another, and side by side. Arguments: MODEL OUT. */
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <time.h>

#include <secondnature.h>

#include "check.h"

#define Z SN_NUL_TERMINATED

static double now(void) {
    struct timespec time;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &time) == 0);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

struct work {
    const sn_model *model;
    const sn_task *task;
    const sn_questions *questions;
    char out[4096];
    sn_cancel *cancel; /* its own reference */
    sn_run *run;
    int32_t status;
    double ended;
    uint64_t verdicts, votes, kept;
    pthread_mutex_t lock;
    pthread_cond_t begun;
    int has_begun;
};

static void begin(struct work *work) {
    pthread_mutex_lock(&work->lock);
    work->has_begun = 1;
    pthread_cond_signal(&work->begun);
    pthread_mutex_unlock(&work->lock);
}

static void on_progress(const sn_progress *progress, void *user_data) {
    if (progress->stage == SN_STAGE_CURATE) {
        begin(user_data);
    }
}

static void on_verdict(const sn_verdict *verdict, void *user_data) {
    struct work *work = user_data;
    work->verdicts++;
    work->votes += verdict->votes;
    work->kept += verdict->kept != 0;
}

static void on_step(const sn_train_step *step, void *user_data) {
    if (step->step >= 3) {
        begin(user_data);
    }
}

static void start(struct work *work, const sn_model *model, const sn_task *task,
                  const sn_questions *questions, const char *parent, const char *name) {
    memset(work, 0, sizeof *work);
    work->model = model;
    work->task = task;
    work->questions = questions;
    CHECK(strlen(parent) + strlen(name) + 2 < sizeof work->out);
    sprintf(work->out, "%s/%s", parent, name);
    CHECK(pthread_mutex_init(&work->lock, NULL) == 0 && pthread_cond_init(&work->begun, NULL) == 0);
    WORKS(sn_run_create(model, task, questions, work->out, Z, 1, &work->run, &err));
}

/* Samples far more than is needed, to be stopped. */
static void *curate(void *user_data) {
    struct work *work = user_data;
    sn_curate_params params;
    sn_curate_params_init(&params, sizeof params);
    params.threads = 1;
    params.progress = on_progress;
    params.progress_user_data = work;
    params.verdict = on_verdict;
    params.verdict_user_data = work;
    params.cancel = work->cancel;
    if (work->cancel != NULL) {
        params.samples = 1000;
        params.disable_early_stop = "converged,abandon";
    }
    work->status = sn_run_curate(work->run, &params, NULL, NULL, NULL, NULL);
    work->ended = now();
    return NULL;
}

static void *train(void *user_data) {
    struct work *work = user_data;
    sn_train_params params;
    sn_train_params_init(&params, sizeof params);
    params.threads = 1;
    params.epochs = 100000;
    params.patience = 0;
    params.step = on_step;
    params.step_user_data = work;
    params.cancel = work->cancel;
    work->status = sn_run_train(work->run, &params, NULL, NULL, NULL, NULL);
    work->ended = now();
    return NULL;
}

static void cancel_from_here(struct work *work, void *(*body)(void *), const char *what) {
    sn_cancel *cancel = sn_cancel_new();
    pthread_t thread;
    double asked;
    work->cancel = sn_cancel_share(cancel);
    work->has_begun = 0;
    CHECK(pthread_create(&thread, NULL, body, work) == 0);
    pthread_mutex_lock(&work->lock);
    while (!work->has_begun) {
        pthread_cond_wait(&work->begun, &work->lock);
    }
    pthread_mutex_unlock(&work->lock);
    REFUSES(sn_run_report(work->run, NULL, NULL, &err), "\"run\" is in use");
    asked = now();
    sn_cancel_request(cancel);
    sn_cancel_free(cancel);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(work->status == SN_STATUS_CANCELLED);
    printf("%s stopped %.1f ms after it was asked to\n", what, 1e3 * (work->ended - asked));
    sn_cancel_free(work->cancel);
    work->cancel = NULL;
}

static void two_runs_side_by_side_find_what_one_finds(struct work *a, struct work *b) {
    pthread_t one, other;
    CHECK(pthread_create(&one, NULL, curate, a) == 0);
    CHECK(pthread_create(&other, NULL, curate, b) == 0);
    CHECK(pthread_join(one, NULL) == 0 && pthread_join(other, NULL) == 0);
    CHECK(a->status == SN_STATUS_OK && b->status == SN_STATUS_OK);
    CHECK(a->verdicts == sn_questions_count(a->questions) && a->kept > 0);
    CHECK(a->verdicts == b->verdicts && a->votes == b->votes && a->kept == b->kept);
}

int main(int argc, char **argv) {
    static struct work a, b, c;
    sn_model *model = NULL;
    sn_task *task = NULL;
    sn_questions *questions = NULL, *many = NULL;

    CHECK(argc == 3);
    WORKS(sn_model_open(argv[1], Z, &model, &err));
    WORKS(sn_task_load("coin-flip", Z, &task, &err));
    WORKS(sn_questions_generate("coin-flip", Z, 24, 1, SN_SPLIT_TRAIN, &questions, &err));
    WORKS(sn_questions_generate("coin-flip", Z, 400, 1, SN_SPLIT_TRAIN, &many, &err));

    start(&c, model, task, many, argv[2], "c");
    cancel_from_here(&c, curate, "sampling");
    start(&a, model, task, questions, argv[2], "a");
    start(&b, model, task, questions, argv[2], "b");
    two_runs_side_by_side_find_what_one_finds(&a, &b);
    cancel_from_here(&a, train, "training");

    sn_run_free(a.run);
    sn_run_free(b.run);
    sn_run_free(c.run);
    sn_questions_free(questions);
    sn_questions_free(many);
    sn_task_free(task);
    sn_model_free(model);
    puts("ok");
    return 0;
}
