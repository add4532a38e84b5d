/* Distills a model: questions in, adapter out. Ctrl-C stops it; the same command resumes it.
 *
 *     cc distill.c $(pkg-config --cflags --libs secondnature) -o distill
 *     ./distill base.gguf coin-flip train.jsonl eval.jsonl run
 *
 * writes run/adapter.gguf and run/report.json. */
#include <secondnature.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static sn_cancel *cancel;

static void on_interrupt(int signal_number) {
    (void)signal_number;
    sn_cancel_request(cancel); /* may be called in a signal handler */
}

static void on_progress(const sn_progress *progress, void *user_data) {
    static const char *const stages[] = {"loading", "sampling", "training", "exporting", "measuring"};
    const size_t known = sizeof stages / sizeof stages[0];
    const size_t stage = (size_t)progress->stage;
    FILE *to = user_data;
    fprintf(to, "\r%-10s %llu of %llu  %.60s\033[K", stage < known ? stages[stage] : "working",
            (unsigned long long)progress->done, (unsigned long long)progress->total, progress->note);
    fflush(to);
}

int main(int argc, char **argv) {
    sn_model *model = NULL;
    sn_error *err = NULL;
    sn_distill_params params;
    sn_report report;
    sn_status status;

    if (argc != 6) {
        fprintf(stderr, "usage: %s MODEL TASK QUESTIONS EVAL OUT\n", argv[0]);
        return 2;
    }
    cancel = sn_cancel_new();
    signal(SIGINT, on_interrupt);

    sn_distill_params_init(&params, sizeof params);
    params.task = argv[2];
    params.questions = argv[3];
    params.eval = argv[4];
    params.out_dir = argv[5];
    params.progress = on_progress;
    params.progress_user_data = stderr;
    params.cancel = cancel;

    status = sn_model_open(argv[1], SN_NUL_TERMINATED, &model, &err);
    if (status == SN_STATUS_OK) {
        report.struct_size = sizeof report;
        status = sn_distill(model, &params, &report, NULL, NULL, &err);
        fputc('\n', stderr);
    }
    if (status == SN_STATUS_OK) {
        printf("%llu of %llu questions had an answer to learn from\n", (unsigned long long)report.kept,
               (unsigned long long)report.questions);
        printf("on %llu held-out questions:\n", (unsigned long long)report.n);
        printf("  System 1   %5.1f%% right, %6.1f tokens per answer\n", 100 * report.system1_accuracy,
               report.system1_tokens);
        printf("  System 2   %5.1f%% right, %6.1f tokens per answer\n", 100 * report.system2_accuracy,
               report.system2_tokens);
        printf("  distilled  %5.1f%% right, %6.1f tokens per answer (p = %.3f against System 1)\n",
               100 * report.distilled_accuracy, report.distilled_tokens, report.mcnemar_p);
        puts(report.worthwhile ? "The adapter is worth using." : "The adapter is not worth using.");
    } else {
        fprintf(stderr, "%s: %s\n", sn_status_name(status), sn_error_message(err, NULL));
    }

    signal(SIGINT, SIG_DFL);
    sn_error_free(err);
    sn_model_free(model);
    sn_cancel_free(cancel);
    return status == SN_STATUS_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
