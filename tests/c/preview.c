/* A look at a few questions. Arguments: MODEL TRAIN, a file of questions. */
#include <secondnature.h>

#include "check.h"

#define Z SN_NUL_TERMINATED

static int elsewhere;
static sn_preview *const no_preview = (sn_preview *)&elsewhere;

/* Cancels once so many samples are there. */
struct stop {
    sn_cancel *cancel;
    uint64_t after;
};

static void on_progress(const sn_progress *progress, void *user_data) {
    const struct stop *stop = user_data;
    CHECK(progress->stage != SN_STAGE_PREVIEW || progress->done <= progress->total);
    if (progress->stage == SN_STAGE_PREVIEW && progress->done >= stop->after) sn_cancel_request(stop->cancel);
}

static void null_is_harmless(const sn_model *model, const sn_task *task, const sn_questions *questions) {
    sn_preview *preview = no_preview;
    size_t len = 7;
    sn_preview_free(NULL);
    sn_preview_params_init(NULL, sizeof(sn_preview_params));
    CHECK(sn_preview_findings(NULL) == 0 && sn_preview_finding_is_fault(NULL, 0) == 0);
    CHECK(sn_preview_finding_stops(NULL, 0) == 0 && sn_preview_finding_kind(NULL, 0, &len) == NULL && len == 0);
    CHECK(sn_preview_finding_step(NULL, 0, NULL) == NULL && sn_preview_finding_message(NULL, 0, NULL) == NULL);
    CHECK(sn_preview_finding_advice(NULL, 0, NULL) == NULL);
    CHECK(sn_preview_unseen(NULL) == 0);
    CHECK(sn_preview_json(NULL, NULL) == NULL && sn_preview_html(NULL, &len) == NULL);
    REFUSES(sn_preview_new(NULL, task, questions, NULL, &preview, &err), "\"model\" is NULL");
    REFUSES(sn_preview_new(model, NULL, questions, NULL, &preview, &err), "\"task\" is NULL");
    REFUSES(sn_preview_new(model, task, NULL, NULL, &preview, &err), "\"questions\" is NULL");
    REFUSES(sn_preview_new(model, task, questions, NULL, NULL, &err), "\"out\" is NULL");
    CHECK(preview == no_preview);
}

static void it_shows_what_is_wrong(const sn_model *model, const sn_task *task, const sn_questions *questions) {
    sn_preview_params params;
    sn_preview *preview = NULL, *again = NULL;
    sn_cancel *cancel = sn_cancel_new();
    struct stop stop = {NULL, 15};
    size_t i, n, len = 0;
    sn_preview_params_init(&params, sizeof params);
    params.n_questions = 3;
    params.samples = 3;
    params.seed = 5;
    WORKS(sn_preview_new(model, task, questions, &params, &preview, &err));
    CHECK(sn_preview_unseen(preview) == 0);
    n = sn_preview_findings(preview);
    for (i = 0; i < n; i++) {
        CHECK(sn_preview_finding_kind(preview, i, &len) != NULL);
        CHECK(strlen(sn_preview_finding_kind(preview, i, NULL)) == len);
        CHECK(sn_preview_finding_message(preview, i, &len) != NULL && len > 10);
        CHECK(sn_preview_finding_advice(preview, i, NULL) != NULL);
        CHECK(!sn_preview_finding_stops(preview, i) || sn_preview_finding_is_fault(preview, i));
        CHECK(strstr(sn_preview_json(preview, NULL), sn_preview_finding_kind(preview, i, NULL)) != NULL);
    }
    CHECK(sn_preview_finding_kind(preview, n, &len) == NULL && len == 0);
    CHECK(strstr(sn_preview_json(preview, &len), "\"findings\"") != NULL);
    CHECK(strlen(sn_preview_json(preview, NULL)) == len);
    CHECK(strncmp(sn_preview_html(preview, NULL), "<!DOCTYPE html>", 15) == 0);

    params.n_questions = 1001;
    FAILS(sn_preview_new(model, task, questions, &params, &again, &err), SN_STATUS_INPUT, "params.n_questions");
    params.n_questions = 1;
    sn_cancel_request(cancel);
    params.cancel = cancel;
    FAILS(sn_preview_new(model, task, questions, &params, &again, &err), SN_STATUS_CANCELLED, "stopped");
    CHECK(again == NULL);
    sn_cancel_free(cancel);

    stop.cancel = sn_cancel_new();
    params.cancel = stop.cancel;
    params.progress = on_progress;
    params.progress_user_data = &stop;
    params.n_questions = 12;
    params.minutes = 10;
    WORKS(sn_preview_new(model, task, questions, &params, &again, &err));
    CHECK(sn_preview_unseen(again) > 0 && sn_preview_unseen(again) < 12);
    CHECK(strstr(sn_preview_json(again, NULL), "\"unseen\"") != NULL);
    sn_preview_free(again);
    sn_cancel_free(stop.cancel);
    sn_preview_free(preview);
}

int main(int argc, char **argv) {
    sn_model *model = NULL;
    sn_task *task = NULL;
    sn_questions *questions = NULL;
    CHECK(argc == 3);
    WORKS(sn_model_open(argv[1], Z, &model, &err));
    WORKS(sn_task_load("coin-flip", Z, &task, &err));
    WORKS(sn_questions_read(argv[2], Z, &questions, &err));
    null_is_harmless(model, task, questions);
    it_shows_what_is_wrong(model, task, questions);
    sn_questions_free(questions);
    sn_task_free(task);
    sn_model_free(model);
    puts("ok");
    return 0;
}
