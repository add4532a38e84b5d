/* Cancels a run while it samples, resumes it to the end. Arguments: MODEL TASK QUESTIONS EVAL OUT. */
#include <secondnature.h>

#include "check.h"

struct watch {
    sn_cancel *cancel; /* requested once sampling has begun, unless NULL */
    int seen[8];
    int other;
};

static void on_progress(const sn_progress *progress, void *user_data) {
    struct watch *watch = user_data;
    CHECK(progress->note != NULL && strlen(progress->note) == progress->note_len);
    if (progress->stage < 0 || progress->stage >= 8) {
        watch->other++;
        return;
    }
    watch->seen[progress->stage]++;
    if (progress->stage == SN_STAGE_CURATE && progress->done > 0) {
        sn_cancel_request(watch->cancel);
    }
}

int main(int argc, char **argv) {
    sn_model *model = NULL;
    sn_error *err = NULL;
    sn_distill_params params;
    sn_report report;
    struct watch watch;
    char *json = NULL;
    size_t len = 0;
    char adapter[4096], task[4096];
    FILE *file;

    CHECK(argc == 6 && strlen(argv[2]) < 4000 && strlen(argv[5]) < 4000);
    /* Read to the length that is given. */
    strcpy(task, argv[2]);
    strcat(task, ", and more");
    CHECK(sn_model_open(argv[1], SN_NUL_TERMINATED, &model, &err) == SN_STATUS_OK);
    memset(&watch, 0, sizeof watch);
    watch.cancel = sn_cancel_new();
    sn_distill_params_init(&params, sizeof params);
    params.task = task;
    params.task_len = strlen(argv[2]);
    params.questions = argv[3];
    params.eval = argv[4];
    params.out_dir = argv[5];
    params.epochs = 1;
    params.force = 1;
    params.progress = on_progress;
    params.progress_user_data = &watch;
    params.cancel = watch.cancel;

    memset(&report, 0, sizeof report);
    report.struct_size = sizeof report;
    report.questions = 7;
    CHECK(sn_distill(model, &params, &report, &json, &len, &err) == SN_STATUS_CANCELLED);
    CHECK(sn_error_code(err) == SN_STATUS_CANCELLED && report.questions == 7 && json == NULL && len == 0);
    CHECK(watch.seen[SN_STAGE_CURATE] > 0 && watch.seen[SN_STAGE_TRAIN] == 0);
    sn_error_free(err);
    err = NULL;
    sn_cancel_free(watch.cancel);

    watch.cancel = NULL;
    params.cancel = NULL;
    if (sn_distill(model, &params, &report, &json, &len, &err) != SN_STATUS_OK) {
        fprintf(stderr, "%s\n", sn_error_message(err, NULL));
        return 1;
    }
    CHECK(json != NULL && strlen(json) == len && strstr(json, "\"adapter\"") != NULL);
    CHECK(watch.seen[SN_STAGE_TRAIN] > 0 && watch.seen[SN_STAGE_EVALUATE] > 0 && watch.other == 0);
    CHECK(report.struct_size == sizeof report && report.questions > 0 && report.kept <= report.questions);
    CHECK(report.n > 0 && report.system1_accuracy >= 0 && report.distilled_accuracy <= 1);
    CHECK(report.system2_tokens >= report.system1_tokens && report.mcnemar_p > 0 && report.mcnemar_p <= 1);
    CHECK(report.worthwhile == 0 || report.worthwhile == 1);
    sn_string_free(json);
    sn_model_free(model);

    strcpy(adapter, argv[5]);
    strcat(adapter, "/adapter.gguf");
    file = fopen(adapter, "rb");
    CHECK(file != NULL && fgetc(file) == 'G');
    fclose(file);
    puts("ok");
    return 0;
}
