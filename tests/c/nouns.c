/* Tasks and questions. Arguments: TRAIN, a file with eight questions. */
#include <secondnature.h>

#include "check.h"

#define Z SN_NUL_TERMINATED

static int elsewhere;
static sn_task *const no_task = (sn_task *)&elsewhere;
static sn_questions *const no_questions = (sn_questions *)&elsewhere;

static void null_is_harmless(void) {
    size_t len = 7;
    sn_task_free(NULL);
    sn_questions_free(NULL);
    CHECK(sn_task_name(NULL, &len) == NULL && len == 0);
    CHECK(sn_task_json(NULL, NULL) == NULL);
    CHECK(sn_questions_count(NULL) == 0);
}

static void the_builtin_tasks_can_be_listed_and_loaded(void) {
    size_t i, len;
    int found = 0;
    for (i = 0; sn_task_builtin(i, &len) != NULL; i++) {
        sn_task *task = NULL;
        size_t name_len = 0;
        WORKS(sn_task_load(sn_task_builtin(i, NULL), len, &task, &err));
        CHECK(strcmp(sn_task_name(task, &name_len), sn_task_builtin(i, NULL)) == 0 && name_len == len);
        found += strcmp(sn_task_name(task, NULL), "coin-flip") == 0;
        sn_task_free(task);
    }
    CHECK(i > 5 && found == 1);
    CHECK(sn_task_builtin(i, &len) == NULL && len == 0);
    CHECK(sn_task_builtin(SIZE_MAX, NULL) == NULL);
}

static void a_task_is_read_back_from_its_own_json(void) {
    sn_task *task = NULL, *same = NULL;
    size_t len = 0;
    WORKS(sn_task_load("coin-flip", 9, &task, &err));
    WORKS(sn_task_parse(sn_task_json(task, &len), strlen(sn_task_json(task, NULL)), &same, &err));
    CHECK(len == strlen(sn_task_json(same, NULL)));
    CHECK(strcmp(sn_task_json(task, NULL), sn_task_json(same, NULL)) == 0);
    sn_task_free(task);
    CHECK(strcmp(sn_task_name(same, NULL), "coin-flip") == 0);
    sn_task_free(same);
}

static void unusable_tasks_are_refused(void) {
    sn_task *task = no_task;
    FAILS(sn_task_load("no-such-task", Z, &task, &err), SN_STATUS_INPUT, "coin-flip");
    REFUSES(sn_task_load(NULL, 3, &task, &err), "\"name_or_path\" is NULL");
    REFUSES(sn_task_load("\xff", 1, &task, &err), "UTF-8");
    REFUSES(sn_task_load("cot", 3, NULL, &err), "\"out\" is NULL");
    FAILS(sn_task_parse("{\"name\": 3}", Z, &task, &err), SN_STATUS_INPUT, "json");
    REFUSES(sn_task_parse(NULL, 0, &task, &err), "\"json\" is NULL");
    REFUSES(sn_task_parse("\xc3", 1, &task, &err), "UTF-8");
    REFUSES(sn_task_parse("{}", 2, NULL, &err), "\"out\" is NULL");
    CHECK(task == no_task);
    CHECK(sn_task_load("no-such-task", Z, &task, NULL) == SN_STATUS_INPUT);
}

static void questions_come_from_everywhere(const char *path) {
    sn_questions *questions = NULL;
    const char *lines = "{\"question\": \"Why?\", \"answer\": [\"a\", \"b\"]}\n{\"question\": \"How?\"}\n";
    WORKS(sn_questions_read(path, Z, &questions, &err));
    CHECK(sn_questions_count(questions) == 8);
    sn_questions_free(questions);
    WORKS(sn_questions_parse(lines, Z, &questions, &err));
    CHECK(sn_questions_count(questions) == 2);
    sn_questions_free(questions);
    WORKS(sn_questions_parse("\xff\xfeo\0\r\0t\0", 8, &questions, &err));
    CHECK(sn_questions_count(questions) == 2);
    sn_questions_free(questions);
    WORKS(sn_questions_parse("one\ntwo\nthree", 7, &questions, &err));
    CHECK(sn_questions_count(questions) == 2);
    sn_questions_free(questions);
    WORKS(sn_questions_generate("coin-flip", Z, 12, 3, SN_SPLIT_TEST, &questions, &err));
    CHECK(sn_questions_count(questions) == 12);
    sn_questions_free(questions);

    questions = sn_questions_new();
    CHECK(questions != NULL && sn_questions_count(questions) == 0);
    WORKS(sn_questions_add(questions, NULL, 0, "Is it?", Z, NULL, 0, &err));
    WORKS(sn_questions_add(questions, "mine, and more", 4, "Is it not?", Z, "yes", 3, &err));
    CHECK(sn_questions_count(questions) == 2);
    FAILS(sn_questions_add(questions, "mine", Z, "Again?", Z, NULL, 0, &err), SN_STATUS_INPUT, "already");
    FAILS(sn_questions_add(questions, NULL, 0, "  ", Z, NULL, 0, &err), SN_STATUS_INPUT, "empty");
    FAILS(sn_questions_add(questions, "", 0, "Again?", Z, NULL, 0, &err), SN_STATUS_INPUT, "\"id\"");
    REFUSES(sn_questions_add(NULL, NULL, 0, "Is it?", Z, NULL, 0, &err), "\"questions\" is NULL");
    REFUSES(sn_questions_add(questions, NULL, 0, NULL, 0, NULL, 0, &err), "\"question\" is NULL");
    REFUSES(sn_questions_add(questions, "\xff", 1, "a", 1, NULL, 0, &err), "\"id\" is not UTF-8");
    REFUSES(sn_questions_add(questions, NULL, 0, "\xff", 1, NULL, 0, &err), "\"question\" is not UTF-8");
    REFUSES(sn_questions_add(questions, NULL, 0, "a", 1, "\xff", 1, &err), "\"gold\" is not UTF-8");
    CHECK(sn_questions_count(questions) == 2);
    sn_questions_free(questions);
}

static void unusable_questions_are_refused(const char *path) {
    sn_questions *questions = no_questions;
    FAILS(sn_questions_read("no-such.jsonl", Z, &questions, &err), SN_STATUS_IO, "no-such.jsonl");
    REFUSES(sn_questions_read(NULL, 0, &questions, &err), "\"path\" is NULL");
    REFUSES(sn_questions_read("\xff", 1, &questions, &err), "UTF-8");
    REFUSES(sn_questions_read(path, Z, NULL, &err), "\"out\" is NULL");
    FAILS(sn_questions_parse("", 0, &questions, &err), SN_STATUS_INPUT, "no question");
    FAILS(sn_questions_parse("{\"question\": []}", Z, &questions, &err), SN_STATUS_INPUT, "lines:1");
    REFUSES(sn_questions_parse(NULL, 0, &questions, &err), "\"lines\" is NULL");
    FAILS(sn_questions_parse("a\xff", 2, &questions, &err), SN_STATUS_INPUT, "UTF-8");
    REFUSES(sn_questions_parse("a", 1, NULL, &err), "\"out\" is NULL");
    FAILS(sn_questions_generate("no-such", Z, 3, 0, 0, &questions, &err), SN_STATUS_INPUT, "coin-flip");
    FAILS(sn_questions_generate("coin-flip", Z, SIZE_MAX / 2, 0, 0, &questions, &err), SN_STATUS_INPUT,
          "at most");
    REFUSES(sn_questions_generate(NULL, 0, 3, 0, 0, &questions, &err), "\"kind\" is NULL");
    REFUSES(sn_questions_generate("\xff", 1, 3, 0, 0, &questions, &err), "UTF-8");
    REFUSES(sn_questions_generate("coin-flip", Z, 3, 0, 2, &questions, &err), "sn_split");
    REFUSES(sn_questions_generate("coin-flip", Z, 3, 0, -1, &questions, &err), "sn_split");
    REFUSES(sn_questions_generate("coin-flip", Z, 3, 0, 0, NULL, &err), "\"out\" is NULL");
    CHECK(questions == no_questions);
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    null_is_harmless();
    the_builtin_tasks_can_be_listed_and_loaded();
    a_task_is_read_back_from_its_own_json();
    unusable_tasks_are_refused();
    questions_come_from_everywhere(argv[1]);
    unusable_questions_are_refused(argv[1]);
    puts("ok");
    return 0;
}
