/* A host with an engine of its own: a script that speaks bytes. Distills on it, checks answers, and
 * does everything wrong that a host can do. Arguments: MODEL QUESTIONS EVAL OUT. */
#include <secondnature.h>

#include "check.h"

enum { VOCAB = 768, END = 256, BOS = 257, SEQUENCES = 8, LENGTH = 1024, BATCH = 64 };

/* What the script does wrong. */
enum fault { NONE, NO_TOKENS, FOREIGN_TOKEN, NO_PIECE, BAD_END, NO_DECODE, NO_LOGITS, NO_COPY, NO_TRUNCATE, NO_ADAPTER };

struct script {
    int32_t tokens[SEQUENCES][LENGTH];
    uint32_t length[SEQUENCES];
    float logits[BATCH][VOCAB];
    enum fault fault;
    size_t decoded, copied, adapters, verified, rejected;
    int adapted; /* whether an adapter is applied, and with which each sequence was begun */
    int adapted_at[SEQUENCES];
    int verdict; /* of the verifier, unless 2 */
};

static int32_t tokenize(void *user_data, const char *text, size_t len, int32_t special, int32_t *tokens,
                        size_t capacity, size_t *count) {
    struct script *script = user_data;
    size_t from, n = 0;
    if (script->fault == NO_TOKENS) {
        return 11;
    }
    for (from = 0; from < len; from++, n++) {
        int32_t token = (unsigned char)text[from];
        if (special && len - from >= 5 && memcmp(text + from, "<end>", 5) == 0) {
            token = END;
            from += 4;
        }
        if (n < capacity) {
            tokens[n] = script->fault == FOREIGN_TOKEN ? VOCAB : token;
        }
    }
    *count = n;
    return 0;
}

static int32_t piece(void *user_data, int32_t token, char *bytes, size_t capacity, size_t *len) {
    struct script *script = user_data;
    if (script->fault == NO_PIECE) {
        return 12;
    }
    *len = token < END ? 1 : 0;
    if (token < END && capacity > 0) {
        *bytes = (char)token;
    }
    return 0;
}

static int32_t is_end(void *user_data, int32_t token) {
    struct script *script = user_data;
    return script->fault == BAD_END ? 13 : token == END;
}

/* Says "Answer: yes" when asked to think, "yes" when asked directly, and then ends its turn. */
static int32_t next(const int32_t *tokens, uint32_t length) {
    const char *answer = "yes";
    uint32_t start = length, i;
    size_t said;
    CHECK(tokens[0] == BOS);
    while (start > 0 && tokens[start - 1] != '>') {
        start--;
    }
    CHECK(start > 0);
    for (i = 0; i + 5 < start; i++) {
        if (tokens[i] == 'T' && tokens[i + 1] == 'h' && tokens[i + 2] == 'i' && tokens[i + 3] == 'n' &&
            tokens[i + 4] == 'k') {
            answer = "Answer: yes";
        }
    }
    said = length - start;
    return said < strlen(answer) ? (unsigned char)answer[said] : END;
}

static int32_t decode(void *user_data, const sn_batch_row *rows, size_t n) {
    struct script *script = user_data;
    size_t i, t;
    CHECK(n >= 1 && n <= BATCH);
    if (script->fault == NO_DECODE && script->decoded > 3) {
        return 14;
    }
    for (i = 0; i < n; i++) {
        uint32_t seq = rows[i].seq;
        CHECK(seq < SEQUENCES && rows[i].token >= 0 && rows[i].token < VOCAB);
        CHECK(rows[i].pos == script->length[seq] && rows[i].pos < LENGTH);
        if (rows[i].pos == 0) {
            script->adapted_at[seq] = script->adapted;
        }
        CHECK(script->adapted_at[seq] == script->adapted);
        script->tokens[seq][script->length[seq]++] = rows[i].token;
        if (rows[i].logits) {
            for (t = 0; t < VOCAB; t++) {
                script->logits[i][t] = -100;
            }
            script->logits[i][next(script->tokens[seq], script->length[seq])] = 0;
        }
    }
    script->decoded++;
    return 0;
}

static const float *logits(void *user_data, size_t row) {
    struct script *script = user_data;
    CHECK(row < BATCH);
    return script->fault == NO_LOGITS ? NULL : script->logits[row];
}

static int32_t copy_prefix(void *user_data, uint32_t from, uint32_t to, uint32_t len) {
    struct script *script = user_data;
    CHECK(from < SEQUENCES && to < SEQUENCES && script->length[to] == 0 && len <= script->length[from]);
    if (script->fault == NO_COPY) {
        return 15;
    }
    memcpy(script->tokens[to], script->tokens[from], len * sizeof(int32_t));
    script->length[to] = len;
    script->adapted_at[to] = script->adapted_at[from];
    script->copied++;
    return 0;
}

static int32_t truncate(void *user_data, uint32_t seq, uint32_t from) {
    struct script *script = user_data;
    CHECK(seq < SEQUENCES);
    if (script->fault == NO_TRUNCATE) {
        return 16;
    }
    if (from < script->length[seq]) {
        script->length[seq] = from;
    }
    return 0;
}

static int32_t set_adapter(void *user_data, const char *path, size_t len) {
    struct script *script = user_data;
    CHECK(path == NULL || strlen(path) == len);
    script->adapters++;
    script->adapted = path != NULL;
    return script->fault == NO_ADAPTER ? 17 : 0;
}

static int32_t verify(const sn_candidate *candidate, void *user_data) {
    struct script *script = user_data;
    CHECK(strlen(candidate->question_id) == candidate->question_id_len && candidate->question_id_len > 0);
    CHECK(strlen(candidate->question) == candidate->question_len);
    CHECK(strstr(candidate->question_json, candidate->question_id) != NULL);
    CHECK(strlen(candidate->question_json) == candidate->question_json_len);
    CHECK(candidate->answer_len == 3 && strcmp(candidate->answer, "yes") == 0);
    CHECK(strcmp(candidate->completion, "Answer: yes") == 0 && candidate->completion_len == 11);
    script->verified++;
    if (script->verdict != 2) {
        return script->verdict;
    }
    if (strstr(candidate->question, "does not") != NULL) {
        script->rejected++;
        return 0;
    }
    return 1;
}

static void fill(sn_decoder *decoder, struct script *script) {
    memset(script, 0, sizeof *script);
    script->verdict = 2;
    sn_decoder_init(decoder, sizeof *decoder);
    CHECK(decoder->struct_size == sizeof *decoder && decoder->bos == -1);
    decoder->user_data = script;
    decoder->vocab_size = VOCAB;
    decoder->context_size = SEQUENCES * LENGTH;
    decoder->sequence_limit = LENGTH;
    decoder->max_sequences = SEQUENCES;
    decoder->slots = SEQUENCES / 2;
    decoder->max_batch = BATCH;
    decoder->bos = BOS;
    decoder->chat_template =
        "{% for m in messages %}{{ m.content }}{{ '<end>' if m.role == 'assistant' else '>' }}{% endfor %} and more";
    decoder->chat_template_len = strlen(decoder->chat_template) - strlen(" and more");
    decoder->tokenize = tokenize;
    decoder->piece = piece;
    decoder->is_end = is_end;
    decoder->decode = decode;
    decoder->logits = logits;
    decoder->copy_prefix = copy_prefix;
    decoder->truncate = truncate;
    decoder->set_adapter = set_adapter;
}

/* Runs into `expected`, with a message that has `text` in it. */
static void fails(const sn_model *model, const sn_distill_params *params, sn_status expected, const char *text) {
    sn_error *err = NULL;
    char *json = NULL;
    sn_status status = sn_distill(model, params, NULL, &json, NULL, &err);
    if (status != expected || strstr(sn_error_message(err, NULL), text) == NULL) {
        fprintf(stderr, "expected %s and \"%s\", found %s: %s\n", sn_status_name(expected), text,
                sn_status_name(status), sn_error_message(err, NULL));
        exit(1);
    }
    CHECK(json == NULL && sn_error_code(err) == expected);
    sn_error_free(err);
}

static void no_function_may_be_missing(const sn_model *model, sn_distill_params params) {
    static struct script script;
    sn_decoder decoder;
    params.decoder = &decoder;
#define WITHOUT(function)                                                                         \
    fill(&decoder, &script);                                                                      \
    decoder.function = NULL;                                                                      \
    fails(model, &params, SN_STATUS_INVALID_ARGUMENT, "params.decoder." #function)
    WITHOUT(tokenize);
    WITHOUT(piece);
    WITHOUT(is_end);
    WITHOUT(decode);
    WITHOUT(logits);
    WITHOUT(copy_prefix);
    WITHOUT(truncate);
#undef WITHOUT
    CHECK(script.decoded == 0);
}

static void impossible_numbers_are_refused(const sn_model *model, sn_distill_params params) {
    static struct script script;
    struct {
        sn_decoder known;
        size_t unknown;
    } future;
    sn_decoder *decoder = &future.known;
    params.decoder = decoder;
#define SETTING(field, value, status, text)                                                       \
    fill(decoder, &script);                                                                       \
    decoder->field = value;                                                                       \
    fails(model, &params, status, text)
    SETTING(struct_size, 0, SN_STATUS_INVALID_ARGUMENT, "sn_decoder_init");
    SETTING(struct_size, sizeof(sn_decoder) - 8, SN_STATUS_INVALID_ARGUMENT, "sn_decoder_init");
    SETTING(struct_size, (size_t)-8, SN_STATUS_INVALID_ARGUMENT, "sn_decoder_init");
    SETTING(reserved, 1, SN_STATUS_INVALID_ARGUMENT, "reserved");
    SETTING(bos, -2, SN_STATUS_INVALID_ARGUMENT, "bos");
    SETTING(bos, VOCAB, SN_STATUS_INPUT, "bos");
    SETTING(vocab_size, VOCAB - 1, SN_STATUS_INPUT, "has 768 tokens");
    SETTING(vocab_size, UINT32_MAX, SN_STATUS_INPUT, "vocab_size");
    SETTING(context_size, 0, SN_STATUS_INPUT, "context_size");
    SETTING(context_size, UINT32_MAX, SN_STATUS_INPUT, "context_size");
    SETTING(sequence_limit, UINT32_MAX, SN_STATUS_INPUT, "sequence_limit");
    SETTING(max_sequences, 0, SN_STATUS_INPUT, "max_sequences");
    SETTING(max_sequences, UINT32_MAX, SN_STATUS_INPUT, "max_sequences");
    SETTING(slots, SEQUENCES + 1, SN_STATUS_INPUT, "slots");
    SETTING(max_batch, 1, SN_STATUS_INPUT, "max_batch");
    SETTING(chat_template, "\xff and some text that is long enough for the length that is given here, is it not? "
                           "Yes, it is, by now.", SN_STATUS_INVALID_ARGUMENT, "params.decoder.chat_template");
#undef SETTING
    /* A newer host's struct, whose unknown tail is not 0. */
    fill(decoder, &script);
    future.known.struct_size = sizeof future;
    future.unknown = 1;
    fails(model, &params, SN_STATUS_INVALID_ARGUMENT, "does not know");
    CHECK(script.decoded == 0);
}

static void whatever_fails_ends_the_call(const sn_model *model, sn_distill_params params) {
    static const struct {
        enum fault fault;
        const char *text;
    } faults[] = {
        {NO_TOKENS, "tokenize failed (code 11)"}, {FOREIGN_TOKEN, "token 768 of a vocabulary of 768"},
        {NO_PIECE, "the piece of token 0 failed (code 12)"},
        {BAD_END, "whether token 0 ends a turn failed (code 13)"}, {NO_DECODE, "failed (code 14)"},
        {NO_LOGITS, "are NULL"}, {NO_COPY, "copying a prefix failed (code 15)"},
        {NO_TRUNCATE, "truncating a sequence failed (code 16)"},
    };
    static struct script script;
    sn_decoder decoder;
    size_t i;
    params.decoder = &decoder;
    for (i = 0; i < sizeof faults / sizeof *faults; i++) {
        fill(&decoder, &script);
        script.fault = faults[i].fault;
        fails(model, &params, SN_STATUS_ENGINE, faults[i].text);
    }
}

static void lines(int32_t level, const char *line, size_t len, void *user_data) {
    size_t *heard = user_data;
    CHECK(level >= SN_LOG_LEVEL_ERROR && level <= SN_LOG_LEVEL_DEBUG && strlen(line) == len);
    CHECK(strchr(line, '\n') == NULL);
    *heard += 1;
}

/* Whether the script was asked since the last time. */
static int asked(const struct script *script, size_t *before) {
    const size_t then = *before;
    *before = script->decoded;
    return script->decoded > then;
}

static void stages_and_answers_take_it_too(const sn_model *model, char **argv, const char *out) {
    static struct script script;
    sn_decoder decoder;
    sn_task *task = NULL;
    sn_questions *questions = NULL, *eval = NULL;
    sn_run *run = NULL;
    sn_curate_params curating;
    sn_evaluate_params evaluating;
    sn_train_params training;
    sn_answer_params answering;
    sn_answerer *answerer = NULL;
    sn_answer *answer = NULL;
    size_t before = 0;

    fill(&decoder, &script);
    WORKS(sn_task_load("coin-flip", SN_NUL_TERMINATED, &task, &err));
    WORKS(sn_questions_read(argv[2], SN_NUL_TERMINATED, &questions, &err));
    WORKS(sn_questions_read(argv[3], SN_NUL_TERMINATED, &eval, &err));
    WORKS(sn_run_create(model, task, questions, out, SN_NUL_TERMINATED, 1, &run, &err));

    sn_curate_params_init(&curating, sizeof curating);
    curating.decoder = &decoder;
    curating.verifier = verify;
    curating.verifier_user_data = &script;
    WORKS(sn_run_curate(run, &curating, NULL, NULL, NULL, &err));
    CHECK(asked(&script, &before) && script.verified > script.rejected && script.rejected > 0);

    sn_evaluate_params_init(&evaluating, sizeof evaluating);
    evaluating.decoder = &decoder;
    evaluating.verifier = verify;
    evaluating.verifier_user_data = &script;
    WORKS(sn_run_decide(run, eval, &evaluating, NULL, NULL, NULL, &err));
    CHECK(asked(&script, &before) && script.adapters == 0);

    sn_train_params_init(&training, sizeof training);
    training.decoder = &decoder;
    training.rank = 2;
    training.epochs = 1;
    training.held_out = 0.2;
    WORKS(sn_run_train(run, &training, NULL, NULL, NULL, &err));
    CHECK(asked(&script, &before) && script.adapters == 2);
    WORKS(sn_run_evaluate(run, eval, &evaluating, NULL, NULL, NULL, &err));
    CHECK(asked(&script, &before) && script.adapters == 4);

    sn_answer_params_init(&answering, sizeof answering);
    answering.decoder = &decoder;
    answering.threshold = 0.5;
    WORKS(sn_answerer_new(model, NULL, sn_run_adapter_path(run, NULL), SN_NUL_TERMINATED, &answering,
                          &answerer, &err));
    WORKS(sn_answerer_ask(answerer, "Is it?", SN_NUL_TERMINATED, NULL, &answer, &err));
    CHECK(asked(&script, &before) && script.adapters == 6);
    CHECK(sn_answer_route(answer) == SN_ROUTE_DIRECT && strcmp(sn_answer_text(answer, NULL), "yes") == 0);
    sn_answer_free(answer);
    sn_answerer_free(answerer);
    answering.threshold = 2;
    WORKS(sn_answerer_new(model, task, NULL, 0, &answering, &answerer, &err));
    WORKS(sn_answerer_ask(answerer, "Is it?", SN_NUL_TERMINATED, NULL, &answer, &err));
    CHECK(asked(&script, &before) && script.adapters == 6);
    CHECK(sn_answer_route(answer) == SN_ROUTE_REASONED && sn_answer_confidence(answer) == 1);
    sn_answer_free(answer);
    sn_answerer_free(answerer);
    CHECK(script.length[0] == 0 && script.length[SEQUENCES - 1] == 0);

    decoder.decode = NULL;
    REFUSES(sn_run_curate(run, &curating, NULL, NULL, NULL, &err), "params.decoder.decode");
    REFUSES(sn_run_decide(run, eval, &evaluating, NULL, NULL, NULL, &err), "params.decoder.decode");
    REFUSES(sn_run_train(run, &training, NULL, NULL, NULL, &err), "params.decoder.decode");
    REFUSES(sn_run_evaluate(run, eval, &evaluating, NULL, NULL, NULL, &err), "params.decoder.decode");
    answerer = NULL;
    REFUSES(sn_answerer_new(model, task, NULL, 0, &answering, &answerer, &err), "params.decoder.decode");
    CHECK(answerer == NULL);
    sn_run_free(run);
    sn_questions_free(questions);
    sn_questions_free(eval);
    sn_task_free(task);
}

int main(int argc, char **argv) {
    static struct script script;
    sn_model *model = NULL;
    sn_error *err = NULL;
    sn_distill_params params;
    sn_decoder decoder;
    size_t heard = 0, before;
    char *json = NULL;
    char out[4096];

    CHECK(argc == 5 && strlen(argv[4]) < 4000);
    sn_decoder_init(NULL, sizeof decoder);
    CHECK(sn_log_set(0, lines, &heard, &err) == SN_STATUS_INVALID_ARGUMENT);
    sn_error_free(err);
    CHECK(sn_log_set(5, lines, &heard, NULL) == SN_STATUS_INVALID_ARGUMENT);
    CHECK(sn_log_set(SN_LOG_LEVEL_DEBUG, lines, &heard, NULL) == SN_STATUS_OK);

    CHECK(sn_model_open(argv[1], SN_NUL_TERMINATED, &model, NULL) == SN_STATUS_OK);
    sn_distill_params_init(&params, sizeof params);
    params.task = "coin-flip";
    params.questions = argv[2];
    params.eval = argv[3];
    params.rank = 2;
    params.epochs = 1;
    params.force = 1;

    sprintf(out, "%s-wrong", argv[4]);
    params.out_dir = out;
    no_function_may_be_missing(model, params);
    impossible_numbers_are_refused(model, params);
    whatever_fails_ends_the_call(model, params);

    /* A verifier that fails, and one that turns everything down. */
    fill(&decoder, &script);
    params.decoder = &decoder;
    params.verifier = verify;
    params.verifier_user_data = &script;
    script.verdict = -3;
    fails(model, &params, SN_STATUS_INPUT, "code -3");
    CHECK(script.verified == 1);
    script.verdict = 0;
    fails(model, &params, SN_STATUS_REFUSED, "0 of");
    CHECK(script.adapters == 0);

    /* The whole way, with a verifier that turns some down. */
    params.out_dir = argv[4];
    script.verdict = 2;
    if (sn_distill(model, &params, NULL, &json, NULL, &err) != SN_STATUS_OK) {
        fprintf(stderr, "%s\n", sn_error_message(err, NULL));
        return 1;
    }
    CHECK(strstr(json, "\"evaluation\"") != NULL);
    CHECK(script.decoded > 0 && script.copied > 0 && script.adapters >= 2);
    CHECK(script.rejected > 0 && script.rejected < script.verified);
    CHECK(script.length[0] == 0 && script.length[SEQUENCES - 1] == 0);
    sn_string_free(json);
    CHECK(heard > 0); /* The written adapter was compared with the llama.cpp inside the library. */

    /* Again, by a host that applies no adapters: it is measured all the same, and nobody is heard. */
    CHECK(sn_log_set(0, NULL, NULL, NULL) == SN_STATUS_OK);
    before = heard;
    sprintf(out, "%s-without", argv[4]);
    params.out_dir = out;
    fill(&decoder, &script);
    decoder.set_adapter = NULL;
    json = NULL;
    CHECK(sn_distill(model, &params, NULL, &json, NULL, &err) == SN_STATUS_OK);
    CHECK(json != NULL && script.adapters == 0 && heard == before);
    sn_string_free(json);

    sprintf(out, "%s-stages", argv[4]);
    stages_and_answers_take_it_too(model, argv, out);

    /* One that fails to apply them ends the call. */
    sprintf(out, "%s-refusing", argv[4]);
    fill(&decoder, &script);
    script.fault = NO_ADAPTER;
    fails(model, &params, SN_STATUS_ENGINE, "applying an adapter failed (code 17)");
    sn_model_free(model);
    puts("ok");
    return 0;
}
