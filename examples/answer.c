/* Answers questions from standard input, one a line: directly where the model is sure, by reasoning
 * where it is not.
 *
 *     cc answer.c $(pkg-config --cflags --libs secondnature) -o answer
 *     ./answer base.gguf coin-flip run/adapter.gguf < questions.txt */
#include <secondnature.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv) {
    sn_model *model = NULL;
    sn_task *task = NULL;
    sn_answerer *answerer = NULL;
    sn_error *err = NULL;
    sn_answer_params params;
    sn_status status;
    char line[4096];

    if (argc != 3 && argc != 4) {
        fprintf(stderr, "usage: %s MODEL TASK [ADAPTER] < QUESTIONS\n", argv[0]);
        return 2;
    }
    sn_answer_params_init(&params, sizeof params);

    status = sn_model_open(argv[1], SN_NUL_TERMINATED, &model, &err);
    if (status == SN_STATUS_OK) {
        status = sn_task_load(argv[2], SN_NUL_TERMINATED, &task, &err);
    }
    if (status == SN_STATUS_OK) {
        const char *adapter = argc == 4 ? argv[3] : NULL;
        status = sn_answerer_new(model, task, adapter, SN_NUL_TERMINATED, &params, &answerer, &err);
    }
    while (status == SN_STATUS_OK && fgets(line, sizeof line, stdin) != NULL) {
        sn_answer *answer = NULL;
        status = sn_answerer_ask(answerer, line, strcspn(line, "\n"), NULL, &answer, &err);
        if (status == SN_STATUS_OK) {
            const char *text = sn_answer_text(answer, NULL);
            printf("%s (%s, confidence %.2f, %llu tokens)\n", text != NULL ? text : "no answer",
                   sn_answer_route(answer) == SN_ROUTE_DIRECT ? "direct" : "reasoned",
                   (double)sn_answer_confidence(answer), (unsigned long long)sn_answer_tokens(answer));
            sn_answer_free(answer);
        }
    }
    if (status != SN_STATUS_OK) {
        fprintf(stderr, "%s: %s\n", sn_status_name(status), sn_error_message(err, NULL));
    }

    sn_error_free(err);
    sn_answerer_free(answerer);
    sn_task_free(task);
    sn_model_free(model);
    return status == SN_STATUS_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
