/*
 * secondnature: turns a model's slow, voted answers into a LoRA adapter that answers directly.
 *
 *     sn_model *model = NULL;
 *     sn_error *err = NULL;
 *     sn_report report;
 *     sn_distill_params params;
 *     sn_distill_params_init(&params, sizeof params);
 *     params.task = "coin-flip";
 *     params.questions = "train.jsonl";
 *     params.eval = "eval.jsonl";
 *     params.out_dir = "run";
 *     report.struct_size = sizeof report;
 *     if (sn_model_open("base.gguf", SN_NUL_TERMINATED, &model, &err) == SN_STATUS_OK &&
 *         sn_distill(model, &params, &report, NULL, NULL, &err) == SN_STATUS_OK) {
 *         printf("%.3f -> %.3f\n", report.system1_accuracy, report.distilled_accuracy);
 *     } else {
 *         fprintf(stderr, "%s\n", sn_error_message(err, NULL));
 *     }
 *     sn_error_free(err);
 *     sn_model_free(model);
 *
 * writes run/adapter.gguf, which any llama.cpp loads beside base.gguf.
 *
 * Rules that hold for every function:
 * - A call that can fail returns sn_status and takes, last, an `sn_error **err`, which may be NULL.
 *   When it fails, its outputs are untouched. A NULL where something is needed is
 *   SN_STATUS_INVALID_ARGUMENT, never undefined.
 * - A pointer is NULL, where allowed, or points to what its type says for the whole call. What was
 *   freed must not be used again. `..._free(NULL)` does nothing.
 * - Text is UTF-8 with a length in bytes. Where text ends in NUL, SN_NUL_TERMINATED may be given
 *   as its length.
 * - `const T *` may be used by any number of threads at once, `T *` by one.
 * - A struct of params is filled by its `..._init(&params, sizeof params)` and then changed; a struct
 *   of figures that a call fills has its `struct_size` set to its `sizeof` before. Either may be one
 *   of an older or a newer header. Enums are passed as int32_t, and checked; a call may return values
 *   that a newer version added.
 * - Messages are one line and name what to change: `params.rank` is that field of the params, a
 *   name alone an argument.
 * - A bug in the library is SN_STATUS_INTERNAL, not the end of the process; the handle in use then
 *   refuses further calls.
 * - Everything here is there since version 0.1, unless it says otherwise.
 *
 * Generated from the library's source; do not edit.
 */

#ifndef SECONDNATURE_H
#define SECONDNATURE_H

#include <stddef.h>
#include <stdint.h>

/**
 * The version of this header; sn_version() and sn_version_number() are those of the library loaded.
 * SN_VERSION_NUMBER is MAJOR * 10000 + MINOR * 100 + PATCH.
 */
#define SN_VERSION_MAJOR 0
#define SN_VERSION_MINOR 1
#define SN_VERSION_PATCH 0
#define SN_VERSION_NUMBER (SN_VERSION_MAJOR * 10000 + SN_VERSION_MINOR * 100 + SN_VERSION_PATCH)
#define SN_VERSION "0.1.0"

/** The length of text that ends in NUL. */
#define SN_NUL_TERMINATED SIZE_MAX

/**
 * Before each function. On Windows it imports the function from the DLL, unless SN_STATIC is defined
 * before this header is included, for a program that links the static library.
 */
#ifndef SN_API
#if defined(_WIN32) && !defined(SN_STATIC)
#define SN_API __declspec(dllimport)
#elif defined(__GNUC__) && !defined(SN_STATIC)
#define SN_API __attribute__((visibility("default")))
#else
#define SN_API
#endif
#endif

/** Before each function whose status must not be dropped. Define it as nothing to drop them. */
#ifndef SN_NODISCARD
#if (defined(__cplusplus) && __cplusplus >= 201703L) || \
    (defined(__STDC_VERSION__) && __STDC_VERSION__ >= 202311L)
#define SN_NODISCARD [[nodiscard]]
#elif defined(__GNUC__)
#define SN_NODISCARD __attribute__((warn_unused_result))
#else
#define SN_NODISCARD
#endif
#endif

/** Before each function that has a better one; `message` names it. */
#ifndef SN_DEPRECATED
#if (defined(__cplusplus) && __cplusplus >= 201402L) || \
    (defined(__STDC_VERSION__) && __STDC_VERSION__ >= 202311L)
#define SN_DEPRECATED(message) [[deprecated(message)]]
#elif defined(__GNUC__)
#define SN_DEPRECATED(message) __attribute__((deprecated(message)))
#elif defined(_MSC_VER)
#define SN_DEPRECATED(message) __declspec(deprecated(message))
#else
#define SN_DEPRECATED(message)
#endif
#endif

/**
 * What a call that can fail returns, by what the caller can do about it.
 *
 * New codes may be added; treat an unknown one as a failure.
 */
typedef int32_t sn_status;
enum {
    /** It worked. */
    SN_STATUS_OK = 0,
    /**
     * An argument is NULL, not UTF-8 or not a value of its enum. A mistake in the calling program.
     */
    SN_STATUS_INVALID_ARGUMENT = 1,
    /** The operating system refused a file operation: missing file, full disk, no permission. */
    SN_STATUS_IO = 2,
    /** A model or adapter file is not usable: not a GGUF, truncated, inconsistent. */
    SN_STATUS_MODEL = 3,
    /** A well-formed request that this version cannot serve, such as an architecture. */
    SN_STATUS_UNSUPPORTED = 4,
    /**
     * A question file or task holds something unusable, or an option is out of range. The message
     * says where.
     */
    SN_STATUS_INPUT = 5,
    /** The run directory cannot be used: it belongs to another run, is locked or damaged. */
    SN_STATUS_RUN = 6,
    /** The inference engine failed. */
    SN_STATUS_ENGINE = 7,
    /** Training stopped: nothing to train on, or a loss that is not a number. */
    SN_STATUS_TRAINING = 8,
    /** The work was refused because its result would not be worth having. */
    SN_STATUS_REFUSED = 9,
    /** The written adapter does not reproduce the trained one when loaded again. */
    SN_STATUS_PARITY = 10,
    /** The caller cancelled. Everything finished so far is kept. */
    SN_STATUS_CANCELLED = 11,
    /** A bug in this library. A handle that was in use refuses all further calls. */
    SN_STATUS_INTERNAL = 12,
};

/** The part of a run that progress speaks of. New ones may be added. */
typedef int32_t sn_stage;
enum {
    /** Reading, hashing and loading the model. */
    SN_STAGE_LOAD = 0,
    /** Sampling and voting on the training questions. */
    SN_STAGE_CURATE = 1,
    /** Training the adapter. */
    SN_STAGE_TRAIN = 2,
    /** Writing the adapter and comparing it with llama.cpp. */
    SN_STAGE_EXPORT = 3,
    /** Measuring System 1, System 2 and the distilled model. */
    SN_STAGE_EVALUATE = 4,
    /** Choosing the System 2 program. */
    SN_STAGE_TUNE = 5,
    /** Looking at a few questions. */
    SN_STAGE_PREVIEW = 6,
};

/** Why no further sample of a question was taken. New ones may be added. */
typedef int32_t sn_stop_reason;
enum {
    /** The leading answer is the true majority, as surely as the task asks for. */
    SN_STOP_REASON_CONVERGED = 0,
    /** All samples were used. */
    SN_STOP_REASON_BUDGET = 1,
    /** The samples left could not lift any answer to the threshold. */
    SN_STOP_REASON_ABANDONED = 2,
};

/** Which way a question was answered. */
typedef int32_t sn_route;
enum {
    /** By one short completion. */
    SN_ROUTE_DIRECT = 0,
    /** By a vote of reasoned samples. */
    SN_ROUTE_REASONED = 1,
};

/** Which part of the people, places, objects and words generated questions are about. */
typedef int32_t sn_split;
enum {
    /** Questions to learn from. */
    SN_SPLIT_TRAIN = 0,
    /** Questions to measure on: about none of what the others are about. */
    SN_SPLIT_TEST = 1,
};

/** Which weights batches of sequences are multiplied with. */
typedef int32_t sn_weights;
enum {
    /** Expanded where that pays and fits into half of the free memory. */
    SN_WEIGHTS_AUTO = 0,
    /** As they are stored, by llama.cpp. */
    SN_WEIGHTS_AS_IS = 1,
    /**
     * Dequantized in memory, by this library: several times as fast from some eight sequences on.
     * Quantized weights to 8-bit integers in blocks of 32 where the processor multiplies those
     * (AVX-512 VNNI; 1.25 bytes a weight), others to bf16 (2 bytes). An error where they do not
     * fit into memory.
     */
    SN_WEIGHTS_EXPANDED = 2,
};

/** How the learning rate falls after the warm-up. */
typedef int32_t sn_schedule;
enum {
    /** Along half a cosine, to zero. */
    SN_SCHEDULE_COSINE = 0,
    /** In a straight line, to zero. */
    SN_SCHEDULE_LINEAR = 1,
    /** Not at all. */
    SN_SCHEDULE_CONSTANT = 2,
};

/**
 * Whether activations are computed again in the backward pass instead of kept. The adapter is the
 * same either way, to the bit.
 */
typedef int32_t sn_recompute;
enum {
    /** Never where that fits into half of the free memory, else always. */
    SN_RECOMPUTE_AUTO = 0,
    /** Keep everything that is expensive to compute again. */
    SN_RECOMPUTE_NEVER = 1,
    /** Keep the input of every layer alone: least memory, a third more work. */
    SN_RECOMPUTE_ALWAYS = 2,
};

/** How an adapter file stores its numbers. */
typedef int32_t sn_adapter_dtype;
enum {
    /** As trained. */
    SN_ADAPTER_DTYPE_F32 = 0,
    /** Half the size; differences of 10⁻³ of a weight. */
    SN_ADAPTER_DTYPE_F16 = 1,
};

/** What the matmuls of training multiply. Sums are `f32` always. */
typedef int32_t sn_compute_dtype;
enum {
    /** What this processor is faster at: bf16 only where that is half as fast again. */
    SN_COMPUTE_DTYPE_AUTO = 0,
    /** 24 bits of precision. */
    SN_COMPUTE_DTYPE_F32 = 1,
    /** Both sides rounded to 8 bits of precision. */
    SN_COMPUTE_DTYPE_BF16 = 2,
};

/** What threads do between two loops of one piece of work. */
typedef int32_t sn_wait;
enum {
    /** Spin: the next loop begins at once, and every core is busy meanwhile. */
    SN_WAIT_SPIN = 0,
    /**
     * Sleep soon, for a process that shares its cores: slower by the time it takes to wake them.
     */
    SN_WAIT_SLEEP = 1,
};

/** How much a line of the log matters. New ones may be added. */
typedef int32_t sn_log_level;
enum {
    /** Something failed. Calls report it themselves; llama.cpp may log details. */
    SN_LOG_LEVEL_ERROR = 1,
    /** Something is not as it should be, and work goes on. */
    SN_LOG_LEVEL_WARNING = 2,
    /** What is being done. */
    SN_LOG_LEVEL_INFO = 3,
    /** Everything. */
    SN_LOG_LEVEL_DEBUG = 4,
};

/**
 * A LoRA adapter in a GGUF file, and its metadata. To use it, give its path to llama.cpp
 * or to sn_answerer_new().
 *
 *     sn_adapter *adapter = NULL;
 *     if (sn_adapter_open("run/adapter.gguf", SN_NUL_TERMINATED, &adapter, &err) == SN_STATUS_OK) {
 *         printf("%s, rank %u\n", sn_adapter_task(adapter, NULL), sn_adapter_rank(adapter));
 *     }
 *     sn_adapter_free(adapter);
 *
 * Ownership: the caller's; free it with sn_adapter_free(). Threads: a `const sn_adapter *` may be
 * used from any number of threads.
 */
typedef struct sn_adapter sn_adapter;

/**
 * An answer and how it came about.
 *
 * Ownership: the caller's; free it with sn_answer_free(). Threads: a `const sn_answer *` may be used
 * from any number of threads.
 */
typedef struct sn_answer sn_answer;

/**
 * A loaded model that answers one question after another: directly where it is sure, by reasoning
 * where it is not.
 *
 *     sn_answerer *answerer = NULL;
 *     sn_answer *answer = NULL;
 *     sn_answerer_new(model, NULL, "run/adapter.gguf", SN_NUL_TERMINATED, NULL, &answerer, &err);
 *     sn_answerer_ask(answerer, "Is the coin still heads up?", SN_NUL_TERMINATED, NULL,
 *                     &answer, &err);
 *     puts(sn_answer_text(answer, NULL));
 *     sn_answer_free(answer);
 *     sn_answerer_free(answerer);
 *
 * with every status checked, and the text, which is NULL where none could be read.
 *
 * Ownership: the caller's; free it with sn_answerer_free(). Threads: a `sn_answerer *` may be used by
 * one thread at a time; a call while another is running is SN_STATUS_INVALID_ARGUMENT.
 */
typedef struct sn_answerer sn_answerer;

/**
 * A request to stop that any thread can make.
 *
 * Work that was given one stops within one decode batch or one optimiser step, keeps everything
 * finished so far and returns SN_STATUS_CANCELLED; the same call with a new sn_cancel resumes it. Only a
 * preview ends with what it has seen, in sn_preview_new().
 *
 * Ownership: counted. sn_cancel_new() and sn_cancel_share() each give a reference to free; a call
 * that takes one keeps a reference of its own. Threads: any number may use one at once.
 */
typedef struct sn_cancel sn_cancel;

/**
 * Why a call failed: a status, a message and its causes.
 *
 * A call that fails writes a new one to its last argument `err`, unless that is NULL; what was
 * there before is overwritten, not freed. A call that succeeds leaves `err` alone.
 *
 * Ownership: the caller's; free it with sn_error_free(). Threads: a `const sn_error *` may be
 * read from any number of threads.
 */
typedef struct sn_error sn_error;

/**
 * A model file that can be distilled.
 *
 * Ownership: the caller's; free it with sn_model_free(), after every call that uses it has
 * returned. Threads: a `const sn_model *` may be used from any number of threads.
 */
typedef struct sn_model sn_model;

/**
 * What a look at a few questions has shown: every prompt and output, the answers read, the votes, the
 * direct answers, the cost, and findings: what is wrong with the task on this model, with what to change.
 *
 *     sn_preview *preview = NULL;
 *     size_t i;
 *     sn_preview_new(model, task, questions, NULL, &preview, &err);
 *     for (i = 0; i < sn_preview_findings(preview); i++) {
 *         printf("%s: %s\n", sn_preview_finding_kind(preview, i, NULL),
 *                sn_preview_finding_message(preview, i, NULL));
 *     }
 *     sn_preview_free(preview);
 *
 * with the status checked.
 *
 * Ownership: the caller's; free it with sn_preview_free(). Threads: a `const sn_preview *` may be used
 * from any number of threads.
 */
typedef struct sn_preview sn_preview;

/**
 * A set of questions with different ids.
 *
 *     sn_questions *questions = sn_questions_new();
 *     sn_questions_add(questions, NULL, 0, "Is the coin heads up?", SN_NUL_TERMINATED,
 *                      NULL, 0, &err);
 *
 * Ownership: the caller's; free it with sn_questions_free(). Calls that take one copy it. Threads:
 * a `const sn_questions *` may be used from any number of threads, a `sn_questions *` by one.
 */
typedef struct sn_questions sn_questions;

/**
 * A run directory and its stages. Each keeps what it finishes, so that the same call resumes it
 * after an interruption, in this process or another. In order:
 *
 *     sn_run *run = NULL;
 *     sn_run_create(model, task, questions, "run", SN_NUL_TERMINATED, 1, &run, &err);
 *     sn_run_curate(run, NULL, NULL, NULL, NULL, &err);              (samples and votes)
 *     sn_run_decide(run, eval, NULL, &worthwhile, NULL, NULL, &err);
 *     if (worthwhile) {
 *         sn_run_train(run, NULL, NULL, NULL, NULL, &err);           (writes adapter.gguf)
 *         sn_run_evaluate(run, eval, NULL, &evaluation, NULL, NULL, &err);
 *     }
 *     sn_run_free(run);
 *
 * with every status checked. The engine stays loaded between stages that can share it.
 *
 * Ownership: the caller's; free it with sn_run_free(), which unlocks the directory. Threads: a
 * `sn_run *` may be used by one thread at a time; a call while another is running, as from within a
 * callback, is SN_STATUS_INVALID_ARGUMENT.
 */
typedef struct sn_run sn_run;

/**
 * What is asked: the direct prompt, the steps of a slow answer, how answers are read and voted on.
 *
 * A task is JSON; `secondnature tasks schema` prints what may stand in it. Those that are built in
 * suit many questions as they are:
 *
 *     size_t i, len;
 *     for (i = 0; sn_task_builtin(i, &len) != NULL; i++) {
 *         puts(sn_task_builtin(i, NULL));
 *     }
 *
 * Ownership: the caller's; free it with sn_task_free(). Calls that take one copy it. Threads: a
 * `const sn_task *` may be used from any number of threads.
 */
typedef struct sn_task sn_task;

/** One progress report. Later versions may append fields. */
typedef struct sn_progress {
    /** Which part of the run. */
    sn_stage stage;
    /** Units finished: questions, samples or optimiser steps, as the stage has them. */
    uint64_t done;
    /** Units in all; 0 when unknown. */
    uint64_t total;
    /** A short note for the user, UTF-8, followed by a NUL. */
    const char *note;
    /** Its length in bytes. */
    size_t note_len;
} sn_progress;

/**
 * Receives progress, often; keep it quick. `progress` is valid during the call only.
 *
 * Threads: called by one thread at a time, not always the one that made the call. Must return
 * normally: no exception or longjmp may leave it.
 */
typedef void (*sn_progress_fn)(const struct sn_progress *progress, void *user_data);

/**
 * The outcome of the vote on one question. All text is UTF-8, followed by a NUL, with its length
 * in bytes beside it. Later versions may append fields.
 */
typedef struct sn_verdict {
    /** SN_STAGE_CURATE for a training question, SN_STAGE_EVALUATE for a held-out one. */
    sn_stage stage;
    /** Why sampling stopped. */
    sn_stop_reason stop;
    /** The id of the question. */
    const char *question_id;
    size_t question_id_len;
    /** The answer with most votes; NULL where no sample holds one. */
    const char *answer;
    size_t answer_len;
    /** Why the answer is accepted or not, as a sentence. */
    const char *reason;
    size_t reason_len;
    /** Samples, or selections where the model selected, that gave the answer. */
    uint64_t votes;
    /** Samples taken, those without an answer included. */
    uint64_t samples;
    /** The share that agrees, 0 to 1. */
    double agreement;
    /** Not 0: the answer is good enough to learn from. */
    int32_t kept;
    /** 0. */
    uint32_t reserved;
} sn_verdict;

/**
 * Receives the verdict on each question as it is reached: once for each question and stage, first for
 * those that an earlier, interrupted call finished. sn_distill() goes through the held-out questions
 * twice, to decide and to evaluate. `verdict` is valid during the call only.
 *
 * Threads: as sn_progress_fn. Must return normally: no exception or longjmp may leave it.
 */
typedef void (*sn_verdict_fn)(const struct sn_verdict *verdict, void *user_data);

/** One optimiser step, done. Later versions may append fields. */
typedef struct sn_train_step {
    /** Steps taken, this one and those of an interrupted call included. */
    uint64_t step;
    /** Most steps there will be; early stopping may end sooner. */
    uint64_t steps;
    /** Passes over the examples so far. */
    double epoch;
    /** The mean loss per token of the answers learnt in this step, in nats. */
    double loss;
    /** The last loss on held-out examples; NaN where none are held out. */
    double held_out_loss;
    /** Tokens per second so far. */
    double tokens_per_s;
    /** The learning rate of the step. */
    double lr;
} sn_train_step;

/**
 * Receives the figures of each optimiser step. `step` is valid during the call only.
 *
 * Threads: as sn_progress_fn. Must return normally: no exception or longjmp may leave it.
 */
typedef void (*sn_train_step_fn)(const struct sn_train_step *step, void *user_data);

/**
 * An answer to check. All text is UTF-8, followed by a NUL, with its length in bytes beside it.
 * Later versions may append fields.
 */
typedef struct sn_candidate {
    /** The id of the question. */
    const char *question_id;
    size_t question_id_len;
    /**
     * The question as it was asked: perturbed, where the sample is of a perturbation. Empty where
     * the task's questions have no field of that name.
     */
    const char *question;
    size_t question_len;
    /** The question with all its fields, as a line of a question file. */
    const char *question_json;
    size_t question_json_len;
    /** The answer as it was read from the text. */
    const char *answer;
    size_t answer_len;
    /** The text that the answer was read from. */
    const char *completion;
    size_t completion_len;
} sn_candidate;

/**
 * Checks an answer by other means than sampling: a unit test, a calculator, a list.
 *
 * Returns 1 to accept it, 0 to reject it, which leaves the sample in the vote as one without an
 * answer, and less than 0 to end the call with SN_STATUS_INPUT. Called once for each sample that
 * holds an answer; a resumed run does not ask again. `candidate` is valid during the call only.
 *
 * Threads: called by the thread that made the call into the library, one call at a time. Must
 * return normally: no exception or longjmp may leave it.
 */
typedef int32_t (*sn_verifier_fn)(const struct sn_candidate *candidate, void *user_data);

/** One row of a batch to decode. Later versions do not change it. */
typedef struct sn_batch_row {
    /** The token to feed, 0 to `vocab_size - 1`. */
    int32_t token;
    /** Its position in the sequence, from 0. The rows of a sequence continue it without a gap. */
    uint32_t pos;
    /** The sequence that it extends, 0 to `max_sequences - 1`. */
    uint32_t seq;
    /** Not 0: the logits after this token are wanted. */
    int32_t logits;
} sn_batch_row;

/**
 * The caller's own inference: a model that it has loaded already, used instead of a second copy.
 *
 * It must be the model that the call is about, in whatever precision the caller runs it: equal
 * vocabulary, equal tokens for equal text. Fill the struct with sn_decoder_init(), then set what
 * is not optional. bindings/c/secondnature_llama.h does all of it for an application
 * that has a `llama_context`.
 *
 * Every function gets `user_data` first and returns 0 for success; any other number ends the call
 * that is running with SN_STATUS_ENGINE and is part of its message. Whatever a function returns or
 * writes is checked before it is used.
 *
 * Every call that takes a decoder empties its sequences, 0 to `max_sequences - 1`, first and leaves
 * them empty, with no adapter of the library's applied. The caller may use the underlying context before
 * and after the call, but not during it.
 *
 * Ownership: the struct and its texts are borrowed for the duration of the call that takes them;
 * of a decoder that a handle keeps, the struct and its texts are copied, and `user_data` must stay
 * alive until that handle is freed.
 *
 * Threads: the functions are called by the thread that made the call into the library, one at a
 * time. They must not call into the library with the handles of that call, and must return
 * normally: no exception or longjmp may leave them.
 */
typedef struct sn_decoder {
    /** The size of this struct as the caller knows it. Set by sn_decoder_init(). */
    size_t struct_size;
    /** Handed to every function. */
    void *user_data;
    /** Required: the number of tokens in the vocabulary, which is the width of a row of logits. */
    uint32_t vocab_size;
    /**
     * Required: cells of the KV cache. All sequences share them; positions that several sequences
     * have in common through `copy_prefix` take their cells once.
     */
    uint32_t context_size;
    /** Positions that one sequence may have; 0 for `context_size`. */
    uint32_t sequence_limit;
    /**
     * Required: sequences that may be live at once, at most 1024. Those above `slots` keep prompt
     * prefixes for later samples; twice `slots` serves well.
     */
    uint32_t max_sequences;
    /**
     * Sequences to work on at once, so the rows of a batch that may want logits; 0 for
     * `max_sequences`.
     */
    uint32_t slots;
    /** Required: rows that one `decode` takes; no less than `slots`. */
    uint32_t max_batch;
    /**
     * The token that prompts start with and that `tokenize` does not add; -1, the default, where
     * there is none.
     */
    int32_t bos;
    /** Must be 0. */
    uint32_t reserved;
    /** The model's chat template, in Jinja. NULL: as the model file has it, if it has one. */
    const char *chat_template;
    size_t chat_template_len;
    /**
     * The text of the token that begins a text, which templates may use. NULL: as the model file
     * has it.
     */
    const char *bos_text;
    size_t bos_text_len;
    /**
     * The text of the token that ends a text, which templates may use. NULL: as the model file has
     * it.
     */
    const char *eos_text;
    size_t eos_text_len;
    /**
     * Required. Writes the tokens of `text`, UTF-8 of `len` bytes that no NUL follows, to `tokens`,
     * which holds `capacity`, and their number to `*count`, without a BOS or EOS that is not in the
     * text. Text of special tokens becomes those tokens only where `special` is not 0. Where there
     * are more than `capacity`, it writes only their number and returns 0; the call is then repeated
     * with a buffer of that size.
     */
    int32_t (*tokenize)(void *user_data,
                        const char *text,
                        size_t len,
                        int32_t special,
                        int32_t *tokens,
                        size_t capacity,
                        size_t *count);
    /**
     * Required. Writes the bytes of `token` to `bytes`, which holds `capacity`, and their number to
     * `*len`; special tokens have none. Where there are more than `capacity`, as in `tokenize`.
     */
    int32_t (*piece)(void *user_data, int32_t token, char *bytes, size_t capacity, size_t *len);
    /**
     * Required. Returns 1 where `token` ends a turn (end-of-turn, end-of-sequence), else 0; less
     * than 0 for a failure.
     */
    int32_t (*is_end)(void *user_data, int32_t token);
    /**
     * Required. Feeds `n` rows, 1 to `max_batch`, and computes the wanted logits. After a failure
     * the library empties the sequences.
     */
    int32_t (*decode)(void *user_data, const struct sn_batch_row *rows, size_t n);
    /**
     * Required. The logits after row `row` of the last batch, which asked for them: `vocab_size`
     * numbers that stay as they are until the next `decode` or `set_adapter`. NULL for a failure.
     */
    const float *(*logits)(void *user_data, size_t row);
    /** Required. Makes sequence `to`, which is empty, share the first `len` positions of `from`. */
    int32_t (*copy_prefix)(void *user_data, uint32_t from, uint32_t to, uint32_t len);
    /** Required. Removes the positions from `from` on of sequence `seq`; 0 empties it. */
    int32_t (*truncate)(void *user_data, uint32_t seq, uint32_t from);
    /**
     * Applies the LoRA adapter in the file `path`, UTF-8 of `len` bytes followed by a NUL, to the rows
     * decoded from now on, or none where `path` is NULL. Sequences keep the cells that they have; the
     * library continues each only with the adapter that it began with. May be NULL: the library then
     * loads the model itself to measure or use an adapter, but not to curate.
     */
    int32_t (*set_adapter)(void *user_data, const char *path, size_t len);
} sn_decoder;

/**
 * What sn_distill() is to do, and every option of its stages.
 *
 * Fill it with sn_distill_params_init(), then set what you need. 0 and NULL stand for the
 * defaults, except where it is said that init sets the default: there, 0 is a value like others.
 * Everything is borrowed for the duration of the call. Later versions append members, whose zero
 * means what this version does.
 */
typedef struct sn_distill_params {
    /** The size of this struct as the caller knows it. Set by sn_distill_params_init(). */
    size_t struct_size;
    /** Required: the name of a built-in task, or the path of a JSON file. */
    const char *task;
    size_t task_len;
    /** Required: path of the questions to learn from, one a line, as JSON or plain text. */
    const char *questions;
    size_t questions_len;
    /**
     * Path of held-out questions to measure on, with gold answers if there are any. NULL: nothing
     * is measured.
     */
    const char *eval;
    size_t eval_len;
    /**
     * Required: the run directory. A new one is created; the same run in it is resumed. Gets
     * adapter.gguf and report.json.
     */
    const char *out_dir;
    size_t out_dir_len;
    /** Seed of all sampling and training. Default 0. */
    uint64_t seed;
    /**
     * Not 0: go on where the first questions show that the task cannot work, and train where
     * distilling does not look worthwhile, instead of SN_STATUS_REFUSED.
     */
    int32_t force;
    /** Threads to compute with. From 1 to 1024; 0 for all cores. */
    uint32_t threads;
    /** Sequences sampled at once. From 1 to 256; 0 for the default, 16. */
    uint32_t slots;
    /** Which weights batches of sequences are multiplied with. An sn_weights. */
    int32_t weights;
    /**
     * Memory for the model, its expanded weights and its KV cache together. Bytes; 0 for what is
     * free.
     */
    uint64_t max_memory;
    /** What threads do between two loops. An sn_wait. */
    int32_t wait;
    /** Maximum number of samples of a question. From 1 to 1000; 0 for the task's. */
    uint32_t samples;
    /** Share of the samples that must agree. Above 0 and at most 1; 0 for the task's. */
    double threshold;
    /**
     * Reasons to stop early that are switched off. Some of answer,converged,abandon, with commas
     * between them; NULL for none.
     */
    const char *disable_early_stop;
    size_t disable_early_stop_len;
    /**
     * Minimum number of kept questions. Under 20 there are too few to hold any out, and a LoRA
     * adapter learns them by heart. Init sets the default, 20.
     */
    uint32_t min_kept;
    /**
     * Minimum share of kept questions, also of held-out ones that have no answers. Where under a
     * tenth is kept, the kept ones are the exceptions, not the task. From 0 to 1; init sets the
     * default, 0.1.
     */
    double min_kept_share;
    /** Rank of the adapter. From 1 to 256; 0 for the default, 16. */
    uint32_t rank;
    /**
     * Scale of the adapter: its product counts alpha/rank times. Above 0; 0 for the default, 32.
     */
    double alpha;
    /**
     * Not 0: scale by alpha/sqrt(rank) instead (rsLoRA, arXiv 2312.03732), so that large ranks
     * learn.
     */
    int32_t rslora;
    /**
     * Modules that get an adapter, of those that the model has. Some of
     * attn_q,attn_k,attn_v,attn_qkv,attn_output,ffn_gate,ffn_up,ffn_down, with commas between
     * them; NULL for all.
     */
    const char *modules;
    size_t modules_len;
    /** Dropout on the adapter's input. At least 0 and below 1; default 0. */
    double dropout;
    /** Peak learning rate. Above 0 and below 1; 0 for the default, 0.0002. */
    double lr;
    /**
     * Learning rate of B over that of A (LoRA+, arXiv 2402.12354); 1 is plain LoRA. Above 0; 0 for
     * the default, 1.
     */
    double lora_plus;
    /** How the learning rate falls after the warm-up. An sn_schedule. */
    int32_t schedule;
    /** Share of the steps that warm up. From 0 to 1; init sets the default, 0.05. */
    double warmup;
    /** Maximum number of passes over the examples. At least 1; 0 for the default, 4. */
    uint32_t epochs;
    /** Maximum number of optimiser steps. At least 1; 0 for as many as the epochs have. */
    uint64_t max_steps;
    /** Examples per optimiser step. At least 1; 0 for the default, 16. */
    uint32_t batch;
    /** Maximum norm of the gradient; 0 for no limit. At least 0; init sets the default, 1. */
    double clip;
    /** Weight decay of AdamW. At least 0; default 0. */
    double weight_decay;
    /**
     * Epochs without a lower held-out loss after which training stops; 0 never stops early. Init
     * sets the default, 1.
     */
    uint32_t patience;
    /**
     * Share of the kept questions that is held out to choose the best checkpoint. From 0 to 0.5;
     * init sets the default, 0.1.
     */
    double held_out;
    /** How the adapter file stores its numbers. An sn_adapter_dtype. */
    int32_t adapter_dtype;
    /** What matmuls multiply. A run that resumes keeps what it began with. An sn_compute_dtype. */
    int32_t compute_dtype;
    /**
     * Maximum number of tokens computed at once; a larger step accumulates gradients. Fewer tokens
     * take less memory. At least 1; 0 for the default, 1024.
     */
    uint32_t max_tokens;
    /**
     * Whether activations are computed again in the backward pass, to save memory. The adapter is
     * the same to the bit. An sn_recompute.
     */
    int32_t recompute;
    /** An adapter of the same model to continue from. A path; NULL for a fresh one. */
    const char *init_adapter;
    size_t init_adapter_len;
    /**
     * Other run directories of the same model whose kept answers are learned as well: several
     * tasks in one adapter. `extra_runs_count` paths, each as long as `extra_runs_len` has it, or
     * ending in NUL where `extra_runs_len` is NULL.
     */
    const char *const *extra_runs;
    const size_t *extra_runs_len;
    size_t extra_runs_count;
    /**
     * Unrelated prompts, one a line. The base model's own answers to them are mixed in, against
     * forgetting. A path; NULL for none.
     */
    const char *replay;
    size_t replay_len;
    /**
     * Number of replayed prompts as a share of the task's examples. From 0 to 10; init sets the
     * default, 0.25.
     */
    double replay_share;
    /** Receives progress; NULL for none. */
    sn_progress_fn progress;
    /** Handed to `progress`. */
    void *progress_user_data;
    /** Receives the verdict on each question; NULL for none. */
    sn_verdict_fn verdict;
    /** Handed to `verdict`. */
    void *verdict_user_data;
    /** Receives the figures of each optimiser step; NULL for none. */
    sn_train_step_fn step;
    /** Handed to `step`. */
    void *step_user_data;
    /** Checks each sampled answer; NULL for no check. */
    sn_verifier_fn verifier;
    /** Handed to `verifier`. */
    void *verifier_user_data;
    /** The caller's own inference; NULL for the library's. */
    const struct sn_decoder *decoder;
    /** Stops the work; NULL for none. */
    const struct sn_cancel *cancel;
} sn_distill_params;

/**
 * What sn_tune() is to choose, and how.
 *
 * Fill it with sn_tune_params_init(), then set what you need. 0 and NULL stand for the defaults,
 * except where it is said that init sets the default: there, 0 is a value like others. Everything
 * is borrowed for the duration of the call. Later versions append members, whose zero means what
 * this version does.
 */
typedef struct sn_tune_params {
    /** The size of this struct as the caller knows it. Set by sn_tune_params_init(). */
    size_t struct_size;
    /**
     * Required: path of the questions, one a line, as JSON or plain text. Answers in it are
     * ignored.
     */
    const char *questions;
    size_t questions_len;
    /**
     * Required: the directory. Gets task.json and tune.json; an interrupted race in it is resumed.
     */
    const char *out_dir;
    size_t out_dir_len;
    /**
     * Who takes part: methods of the library (cot, rar-1, rar-2, s2a, bsm, thinking), of which
     * none means all, and tasks: names of built-in ones or paths of JSON files. `tasks_count`
     * texts, each as long as `tasks_len` has it, or ending in NUL where `tasks_len` is NULL.
     */
    const char *const *tasks;
    const size_t *tasks_len;
    size_t tasks_count;
    /** What the questions are about, in one line. NULL: nothing is said. */
    const char *description;
    size_t description_len;
    /**
     * How answers are read where no task file says it: number, text, date, choice:yes,no or a rule
     * in JSON. NULL: found out from direct answers.
     */
    const char *answer;
    size_t answer_len;
    /**
     * Path of questions with answers that help to choose, 20 or more, none of them among the
     * others. NULL: none.
     */
    const char *gold;
    size_t gold_len;
    /** Seed of all sampling. Default 0. */
    uint64_t seed;
    /** Threads to compute with. From 1 to 1024; 0 for all cores. */
    uint32_t threads;
    /** Sequences sampled at once. From 1 to 256; 0 for the default, 16. */
    uint32_t slots;
    /** Which weights batches of sequences are multiplied with. An sn_weights. */
    int32_t weights;
    /**
     * Memory for the model, its expanded weights and its KV cache together. Bytes; 0 for what is
     * free.
     */
    uint64_t max_memory;
    /** What threads do between two loops. An sn_wait. */
    int32_t wait;
    /**
     * Minutes that choosing may take. Rounds are planned from the measured speed. Above 0; 0 for
     * the default, 20.
     */
    double minutes;
    /**
     * Number of questions on which the finalists are compared. From 2 to 100000; 0 for the
     * default, 48.
     */
    uint32_t n_questions;
    /**
     * Maximum number of samples of a question in the race, which takes no more than a task's vote
     * has. From 1 to 1000; 0 for the task's.
     */
    uint32_t samples;
    /** Number of programs in the last round. From 1 to 64; 0 for the default, 3. */
    uint32_t finalists;
    /**
     * Number of wordings that the model itself writes, from questions on which the samples
     * disagree. From 0 to 64; default 0.
     */
    uint32_t propose;
    /**
     * Not 0: leave out the variation that shows the best program its own unanimous samples as
     * examples.
     */
    int32_t no_own_examples;
    /** Not 0: leave out the variations of the best program at other temperatures. */
    int32_t no_temperatures;
    /**
     * Not 0: race the given tasks, and the programs of the given methods, alone, without the rest
     * of the library.
     */
    int32_t only_given;
    /**
     * Not 0: sample every candidate on all questions, whatever that takes: to measure candidates
     * and scores.
     */
    int32_t keep_all;
    /** Receives progress; NULL for none. */
    sn_progress_fn progress;
    /** Handed to `progress`. */
    void *progress_user_data;
    /** The caller's own inference; NULL for the library's. */
    const struct sn_decoder *decoder;
    /** Stops the work; NULL for none. */
    const struct sn_cancel *cancel;
} sn_tune_params;

/**
 * How sn_run_curate() samples and votes.
 *
 * Fill it with sn_curate_params_init(), then set what you need. 0 and NULL stand for the defaults,
 * except where it is said that init sets the default: there, 0 is a value like others. Everything
 * is borrowed for the duration of the call. Later versions append members, whose zero means what
 * this version does.
 */
typedef struct sn_curate_params {
    /** The size of this struct as the caller knows it. Set by sn_curate_params_init(). */
    size_t struct_size;
    /** Threads to compute with. From 1 to 1024; 0 for all cores. */
    uint32_t threads;
    /** Sequences sampled at once. From 1 to 256; 0 for the default, 16. */
    uint32_t slots;
    /** Which weights batches of sequences are multiplied with. An sn_weights. */
    int32_t weights;
    /**
     * Memory for the model, its expanded weights and its KV cache together. Bytes; 0 for what is
     * free.
     */
    uint64_t max_memory;
    /** What threads do between two loops. An sn_wait. */
    int32_t wait;
    /** Maximum number of samples of a question. From 1 to 1000; 0 for the task's. */
    uint32_t samples;
    /** Share of the samples that must agree. Above 0 and at most 1; 0 for the task's. */
    double threshold;
    /**
     * Reasons to stop early that are switched off. Some of answer,converged,abandon, with commas
     * between them; NULL for none.
     */
    const char *disable_early_stop;
    size_t disable_early_stop_len;
    /**
     * Not 0: go on where the first questions show that no answer is read, that the question is
     * lost or that a step repeats its own prompt.
     */
    int32_t force;
    /** Receives progress; NULL for none. */
    sn_progress_fn progress;
    /** Handed to `progress`. */
    void *progress_user_data;
    /** Receives the verdict on each question; NULL for none. */
    sn_verdict_fn verdict;
    /** Handed to `verdict`. */
    void *verdict_user_data;
    /** Checks each sampled answer; NULL for no check. */
    sn_verifier_fn verifier;
    /** Handed to `verifier`. */
    void *verifier_user_data;
    /** The caller's own inference; NULL for the library's. */
    const struct sn_decoder *decoder;
    /** Stops the work; NULL for none. */
    const struct sn_cancel *cancel;
} sn_curate_params;

/**
 * How sn_run_train() trains.
 *
 * Fill it with sn_train_params_init(), then set what you need. 0 and NULL stand for the defaults,
 * except where it is said that init sets the default: there, 0 is a value like others. Everything
 * is borrowed for the duration of the call. Later versions append members, whose zero means what
 * this version does.
 */
typedef struct sn_train_params {
    /** The size of this struct as the caller knows it. Set by sn_train_params_init(). */
    size_t struct_size;
    /** Rank of the adapter. From 1 to 256; 0 for the default, 16. */
    uint32_t rank;
    /**
     * Scale of the adapter: its product counts alpha/rank times. Above 0; 0 for the default, 32.
     */
    double alpha;
    /**
     * Not 0: scale by alpha/sqrt(rank) instead (rsLoRA, arXiv 2312.03732), so that large ranks
     * learn.
     */
    int32_t rslora;
    /**
     * Modules that get an adapter, of those that the model has. Some of
     * attn_q,attn_k,attn_v,attn_qkv,attn_output,ffn_gate,ffn_up,ffn_down, with commas between
     * them; NULL for all.
     */
    const char *modules;
    size_t modules_len;
    /** Dropout on the adapter's input. At least 0 and below 1; default 0. */
    double dropout;
    /** Peak learning rate. Above 0 and below 1; 0 for the default, 0.0002. */
    double lr;
    /**
     * Learning rate of B over that of A (LoRA+, arXiv 2402.12354); 1 is plain LoRA. Above 0; 0 for
     * the default, 1.
     */
    double lora_plus;
    /** How the learning rate falls after the warm-up. An sn_schedule. */
    int32_t schedule;
    /** Share of the steps that warm up. From 0 to 1; init sets the default, 0.05. */
    double warmup;
    /** Maximum number of passes over the examples. At least 1; 0 for the default, 4. */
    uint32_t epochs;
    /** Maximum number of optimiser steps. At least 1; 0 for as many as the epochs have. */
    uint64_t max_steps;
    /** Examples per optimiser step. At least 1; 0 for the default, 16. */
    uint32_t batch;
    /** Maximum norm of the gradient; 0 for no limit. At least 0; init sets the default, 1. */
    double clip;
    /** Weight decay of AdamW. At least 0; default 0. */
    double weight_decay;
    /**
     * Epochs without a lower held-out loss after which training stops; 0 never stops early. Init
     * sets the default, 1.
     */
    uint32_t patience;
    /**
     * Share of the kept questions that is held out to choose the best checkpoint. From 0 to 0.5;
     * init sets the default, 0.1.
     */
    double held_out;
    /** How the adapter file stores its numbers. An sn_adapter_dtype. */
    int32_t adapter_dtype;
    /** What matmuls multiply. A run that resumes keeps what it began with. An sn_compute_dtype. */
    int32_t compute_dtype;
    /** Seed of the initial weights and of the order of examples. Default 0. */
    uint64_t seed;
    /** Threads to compute with. From 1 to 1024; 0 for all cores. */
    uint32_t threads;
    /**
     * Maximum number of tokens computed at once; a larger step accumulates gradients. Fewer tokens
     * take less memory. At least 1; 0 for the default, 1024.
     */
    uint32_t max_tokens;
    /**
     * Whether activations are computed again in the backward pass, to save memory. The adapter is
     * the same to the bit. An sn_recompute.
     */
    int32_t recompute;
    /** What threads do between two loops. An sn_wait. */
    int32_t wait;
    /** An adapter of the same model to continue from. A path; NULL for a fresh one. */
    const char *init_adapter;
    size_t init_adapter_len;
    /**
     * Other run directories of the same model whose kept answers are learned as well: several
     * tasks in one adapter. `extra_runs_count` paths, each as long as `extra_runs_len` has it, or
     * ending in NUL where `extra_runs_len` is NULL.
     */
    const char *const *extra_runs;
    const size_t *extra_runs_len;
    size_t extra_runs_count;
    /**
     * Unrelated prompts, one a line. The base model's own answers to them are mixed in, against
     * forgetting. A path; NULL for none.
     */
    const char *replay;
    size_t replay_len;
    /**
     * Number of replayed prompts as a share of the task's examples. From 0 to 10; init sets the
     * default, 0.25.
     */
    double replay_share;
    /** Receives progress; NULL for none. */
    sn_progress_fn progress;
    /** Handed to `progress`. */
    void *progress_user_data;
    /** Receives the figures of each optimiser step; NULL for none. */
    sn_train_step_fn step;
    /** Handed to `step`. */
    void *step_user_data;
    /** The caller's own inference; NULL for the library's. */
    const struct sn_decoder *decoder;
    /** Stops the work; NULL for none. */
    const struct sn_cancel *cancel;
} sn_train_params;

/**
 * How sn_run_decide() and sn_run_evaluate() sample, vote and measure. Give both calls the same, so
 * that the second finds what the first has sampled.
 *
 * Fill it with sn_evaluate_params_init(), then set what you need. 0 and NULL stand for the
 * defaults, except where it is said that init sets the default: there, 0 is a value like others.
 * Everything is borrowed for the duration of the call. Later versions append members, whose zero
 * means what this version does.
 */
typedef struct sn_evaluate_params {
    /** The size of this struct as the caller knows it. Set by sn_evaluate_params_init(). */
    size_t struct_size;
    /** Threads to compute with. From 1 to 1024; 0 for all cores. */
    uint32_t threads;
    /** Sequences sampled at once. From 1 to 256; 0 for the default, 16. */
    uint32_t slots;
    /** Which weights batches of sequences are multiplied with. An sn_weights. */
    int32_t weights;
    /**
     * Memory for the model, its expanded weights and its KV cache together. Bytes; 0 for what is
     * free.
     */
    uint64_t max_memory;
    /** What threads do between two loops. An sn_wait. */
    int32_t wait;
    /** Maximum number of samples of a question. From 1 to 1000; 0 for the task's. */
    uint32_t samples;
    /** Share of the samples that must agree. Above 0 and at most 1; 0 for the task's. */
    double threshold;
    /**
     * Reasons to stop early that are switched off. Some of answer,converged,abandon, with commas
     * between them; NULL for none.
     */
    const char *disable_early_stop;
    size_t disable_early_stop_len;
    /**
     * Not 0: go on where the first questions show that no answer is read, that the question is
     * lost or that a step repeats its own prompt.
     */
    int32_t force;
    /**
     * Minimum number of kept questions. Under 20 there are too few to hold any out, and a LoRA
     * adapter learns them by heart. Init sets the default, 20.
     */
    uint32_t min_kept;
    /**
     * Minimum share of kept questions, also of held-out ones that have no answers. Where under a
     * tenth is kept, the kept ones are the exceptions, not the task. From 0 to 1; init sets the
     * default, 0.1.
     */
    double min_kept_share;
    /** Path of the adapter that sn_run_evaluate() measures. NULL: the run's own. */
    const char *adapter;
    size_t adapter_len;
    /** Receives progress; NULL for none. */
    sn_progress_fn progress;
    /** Handed to `progress`. */
    void *progress_user_data;
    /** Receives the verdict on each question; NULL for none. */
    sn_verdict_fn verdict;
    /** Handed to `verdict`. */
    void *verdict_user_data;
    /** Checks each sampled answer; NULL for no check. */
    sn_verifier_fn verifier;
    /** Handed to `verifier`. */
    void *verifier_user_data;
    /** The caller's own inference; NULL for the library's. */
    const struct sn_decoder *decoder;
    /** Stops the work; NULL for none. */
    const struct sn_cancel *cancel;
} sn_evaluate_params;

/**
 * How sn_answerer_new() sets up. SN_WEIGHTS_AUTO leaves the weights as they are stored, since few
 * sequences are sampled at once.
 *
 * Fill it with sn_answer_params_init(), then set what you need. 0 and NULL stand for the defaults,
 * except where it is said that init sets the default: there, 0 is a value like others. Everything
 * is borrowed for the duration of the call. Later versions append members, whose zero means what
 * this version does.
 */
typedef struct sn_answer_params {
    /** The size of this struct as the caller knows it. Set by sn_answer_params_init(). */
    size_t struct_size;
    /**
     * Answer directly where the model's own probability of its answer is at least this; above 1,
     * always reason; below 0, never. 0 for as calibrated when the adapter was trained, else 0.9.
     */
    double threshold;
    /** Seed of reasoned answers. Default 0. */
    uint64_t seed;
    /** Threads to compute with. From 1 to 1024; 0 for all cores. */
    uint32_t threads;
    /** Sequences sampled at once. From 1 to 256; 0 for the default, 16. */
    uint32_t slots;
    /** Which weights batches of sequences are multiplied with. An sn_weights. */
    int32_t weights;
    /**
     * Memory for the model, its expanded weights and its KV cache together. Bytes; 0 for what is
     * free.
     */
    uint64_t max_memory;
    /** What threads do between two loops. An sn_wait. */
    int32_t wait;
    /**
     * The caller's own inference, which must stay usable until the answerer is freed; NULL for the
     * library's.
     */
    const struct sn_decoder *decoder;
} sn_answer_params;

/**
 * What sn_preview_new() looks at.
 *
 * Fill it with sn_preview_params_init(), then set what you need. 0 and NULL stand for the
 * defaults, except where it is said that init sets the default: there, 0 is a value like others.
 * Everything is borrowed for the duration of the call. Later versions append members, whose zero
 * means what this version does.
 */
typedef struct sn_preview_params {
    /** The size of this struct as the caller knows it. Set by sn_preview_params_init(). */
    size_t struct_size;
    /** Number of questions, chosen evenly over the file. From 1 to 1000; 0 for the default, 8. */
    uint32_t n_questions;
    /**
     * Number of samples of each question and of each of its perturbations. From 1 to 100; 0 for
     * the default, 4.
     */
    uint32_t samples;
    /**
     * Minutes that asking may take; then what was seen until then is shown. Above 0; 0 for as many
     * as it takes.
     */
    double minutes;
    /** Threads to compute with. From 1 to 1024; 0 for all cores. */
    uint32_t threads;
    /** Sequences sampled at once. From 1 to 256; 0 for the default, 16. */
    uint32_t slots;
    /** Which weights batches of sequences are multiplied with. An sn_weights. */
    int32_t weights;
    /**
     * Memory for the model, its expanded weights and its KV cache together. Bytes; 0 for what is
     * free.
     */
    uint64_t max_memory;
    /** What threads do between two loops. An sn_wait. */
    int32_t wait;
    /** Seed of all sampling. Default 0. */
    uint64_t seed;
    /** Receives progress; NULL for none. */
    sn_progress_fn progress;
    /** Handed to `progress`. */
    void *progress_user_data;
    /** The caller's own inference; NULL for the library's. */
    const struct sn_decoder *decoder;
    /** Stops the work; NULL for none. */
    const struct sn_cancel *cancel;
} sn_preview_params;

/**
 * What sn_distill() came to; everything else is in the JSON text beside it. Set `struct_size` to
 * `sizeof(sn_report)` before the call. Later versions append members.
 */
typedef struct sn_report {
    /** The size of this struct as the caller knows it. Set by the caller. */
    size_t struct_size;
    /**
     * Not 0: the adapter is worth using. 0: it is not, or `force` made it where it would have been
     * refused; the JSON text says why under "decision".
     */
    int32_t worthwhile;
    /** 0. */
    uint32_t reserved;
    /** Training questions asked. */
    uint64_t questions;
    /** Questions whose voted answer was accepted to learn from. */
    uint64_t kept;
    /** Held-out questions measured on; 0 where there were none. */
    uint64_t n;
    /** As in sn_evaluation; NaN where nothing was measured, as the next six are. */
    double system1_accuracy;
    double system2_accuracy;
    double distilled_accuracy;
    double system1_tokens;
    double system2_tokens;
    double distilled_tokens;
    double mcnemar_p;
} sn_report;

/**
 * What sn_tune() found. Set `struct_size` to `sizeof(sn_choice)` before the call that fills it. Shares are
 * 0 to 1. Later versions append members.
 */
typedef struct sn_choice {
    /** The size of this struct as the caller knows it. Set by the caller. */
    size_t struct_size;
    /**
     * Not 0: distilling the chosen program looks worthwhile. 0: none is, and the chosen one comes closest.
     */
    int32_t worthwhile;
    /** 0. */
    int32_t reserved;
    /** Candidates that were judged, wordings of the direct prompt included. */
    uint64_t candidates;
    /** Questions on which the chosen program was judged. */
    uint64_t questions;
    /** The score of the chosen program; at most 1. */
    double score;
    /** The score of the best direct prompt; NaN where there is none. */
    double baseline_score;
    /** Expected share of the questions whose voted answer is accepted. */
    double kept_share;
    /** Expected samples of a question. */
    double samples_per_question;
    /**
     * Share of the accepted answers that the best direct prompt gives as well; 0 where none is accepted.
     */
    double system1_agreement;
    /** Share of the accepted answers that are right; NaN where no accepted answer has gold. */
    double label_precision;
    /** Share of the direct answers that are right; NaN without gold questions. */
    double system1_accuracy;
    /** Share of the votes that are right; NaN without gold questions. */
    double vote_accuracy;
    /** Estimated hours to curate all questions. */
    double curate_hours;
    /**
     * Estimated hours to train on what is kept with default options: from the tokens of its examples, the size
     * of the model and the measured speed of the matmul kernel.
     */
    double train_hours;
    /** Seconds that choosing took, over all calls. */
    double seconds;
} sn_choice;

/**
 * What curation gave. Set `struct_size` to `sizeof(sn_curation)` before the call that fills it.
 * Later versions append members.
 */
typedef struct sn_curation {
    /** The size of this struct as the caller knows it. Set by the caller. */
    size_t struct_size;
    /** Training questions asked. */
    uint64_t questions;
    /** Questions whose voted answer was accepted to learn from. */
    uint64_t kept;
    /** Samples finished. */
    uint64_t samples;
    /** Samples that hold no answer, those that a verifier rejected included. */
    uint64_t unparsed;
    /** Prompt tokens of all samples, as if none were shared. */
    uint64_t prompt_tokens;
    /** Tokens generated. */
    uint64_t generated_tokens;
    /** Seconds spent sampling, over all calls that the run took. */
    double seconds;
    /**
     * Share of the accepted answers that equal the gold answer, 0 to 1; NaN without gold answers.
     */
    double precision;
    /** Questions that were not sampled, since their prompts are too long or cannot be rendered. */
    uint64_t set_aside;
    /** Samples whose answer was read from the closing turn. */
    uint64_t read_by_closing;
    /** Pairs of different answers of which the model judged whether they mean the same. */
    uint64_t judged_pairs;
} sn_curation;

/**
 * What training gave. Set `struct_size` to `sizeof(sn_training)` before the call that fills it.
 * Later versions append members.
 */
typedef struct sn_training {
    /** The size of this struct as the caller knows it. Set by the caller. */
    size_t struct_size;
    /** Examples trained on. */
    uint64_t examples;
    /** Examples held out to choose the best moment. */
    uint64_t held_out;
    /** Optimiser steps taken. */
    uint64_t steps;
    /** Tokens fed, as the examples count them. */
    uint64_t tokens;
    /** Passes over the examples, of the adapter that was chosen. */
    double epochs;
    /** Seconds spent training. */
    double seconds;
    /** Loss per target token of the first step, in nats. */
    double loss_first;
    /** Loss per target token of the last step, in nats. */
    double loss_last;
    /**
     * The lowest loss on held-out examples, that of the adapter chosen; NaN where none are held out.
     */
    double held_out_loss;
} sn_training;

/**
 * What an evaluation measured. Set `struct_size` to `sizeof(sn_evaluation)` before the call that
 * fills it. Shares are 0 to 1. Later versions append members.
 */
typedef struct sn_evaluation {
    /** The size of this struct as the caller knows it. Set by the caller. */
    size_t struct_size;
    /** Questions measured on. */
    uint64_t n;
    /**
     * Not 0: accuracy is the share that equals the gold answer. 0: the questions have none, and
     * accuracy is the share that equals the base model's vote.
     */
    int32_t against_gold;
    /**
     * Not 0: the adapter is worth using. Its direct answers are better than the base model's, and than
     * always giving the same answer, by more than chance explains.
     */
    int32_t worthwhile;
    /** Accuracy of the base model asked directly. */
    double system1_accuracy;
    /** Accuracy of the base model's vote after reasoning. */
    double system2_accuracy;
    /** Accuracy of the base model with the adapter, asked directly. */
    double distilled_accuracy;
    /** Tokens generated for each answer of the base model asked directly. */
    double system1_tokens;
    /** Tokens generated for each vote, those of all its samples. */
    double system2_tokens;
    /** Tokens generated for each answer of the base model with the adapter. */
    double distilled_tokens;
    /** McNemar's exact two-sided p of the distilled model against the base model asked directly. */
    double mcnemar_p;
    /**
     * Accuracy of always giving the most frequent answer, the least an adapter must beat; NaN without
     * gold answers.
     */
    double constant_accuracy;
    /**
     * The probability from which the distilled model answers directly and below which it reasons,
     * chosen on held-out training questions; NaN where none could be chosen, as the next three are.
     */
    double fallback_threshold;
    /** Share of the questions that are answered directly with that threshold. */
    double fallback_coverage;
    /** Accuracy with that threshold. */
    double fallback_accuracy;
    /** Tokens generated for each answer with that threshold. */
    double fallback_tokens;
    /** Questions that count for nothing, since their prompts are too long or cannot be rendered. */
    uint64_t set_aside;
} sn_evaluation;

/**
 * Receives a line of the log: UTF-8 of `line_len` bytes without a line end, followed by a NUL and
 * valid during the call only. `level` is one of sn_log_level.
 *
 * Threads: called by any thread, one call at a time, from within calls into the library. Must not
 * call into the library, and must return normally: no exception or longjmp may leave it.
 */
typedef void (*sn_log_fn)(int32_t level, const char *line, size_t line_len, void *user_data);

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/* ---- 1. One call. sn_distill() goes from questions to an adapter and a report. ---- */

/**
 * The version of the library that is loaded, such as "0.1.0". `SN_VERSION` is the header's.
 *
 * Ownership: static, never freed. Threads: any.
 */
SN_API const char *sn_version(void);

/**
 * The same as a number, MAJOR * 10000 + MINOR * 100 + PATCH, to compare with SN_VERSION_NUMBER.
 *
 * Threads: any.
 */
SN_API int32_t sn_version_number(void);

/**
 * The name of a status for a log, such as "SN_STATUS_IO"; "unknown" for any other number.
 *
 * Ownership: static, never freed. Threads: any.
 */
SN_API const char *sn_status_name(int32_t status);

/** The status that the failed call returned; SN_STATUS_OK for NULL. */
SN_NODISCARD SN_API sn_status sn_error_code(const struct sn_error *error);

/**
 * What went wrong, in one line: what was expected, what was found, where, and what to do.
 *
 * Returns UTF-8 of `*len` bytes, followed by a NUL; `len` may be NULL. NULL for NULL.
 * Ownership: the error's; valid until it is freed.
 */
SN_API const char *sn_error_message(const struct sn_error *error, size_t *len);

/**
 * The cause number `index` of the error, 0 being the nearest: such as the operating system's
 * message. NULL when there are not that many. The error's message already includes what matters.
 *
 * Returns UTF-8 of `*len` bytes, followed by a NUL; `len` may be NULL.
 * Ownership: the error's; valid until it is freed.
 */
SN_API const char *sn_error_cause(const struct sn_error *error, size_t index, size_t *len);

/** Frees an error. Does nothing for NULL. */
SN_API void sn_error_free(struct sn_error *error);

/** Frees text that a call returned. Does nothing for NULL. */
SN_API void sn_string_free(char *string);

/**
 * A new request, not yet made.
 *
 * Ownership: the caller's; free it with sn_cancel_free().
 */
SN_API struct sn_cancel *sn_cancel_new(void);

/**
 * Another reference to the same request, for another thread to use and to free. NULL for NULL.
 *
 * Ownership: the caller's; free it with sn_cancel_free().
 */
SN_API struct sn_cancel *sn_cancel_share(const struct sn_cancel *cancel);

/**
 * Asks the work to stop; this cannot be undone. Does nothing for NULL.
 *
 * Safe to call from a signal handler.
 */
SN_API void sn_cancel_request(const struct sn_cancel *cancel);

/** Frees a reference. Work that holds one of its own is not disturbed. Does nothing for NULL. */
SN_API void sn_cancel_free(struct sn_cancel *cancel);

/**
 * Opens the GGUF file `path` (of a split one, the first part) and checks that it can be
 * distilled. Takes milliseconds; the weights are read when work starts.
 *
 * `path` is UTF-8 of `path_len` bytes, or ends in NUL with SN_NUL_TERMINATED. `*out` is the model
 * on success and untouched on failure.
 *
 * Errors: SN_STATUS_IO when the file cannot be read, SN_STATUS_MODEL when it is not a well-formed
 * GGUF, SN_STATUS_UNSUPPORTED for an architecture or tensor type that cannot be trained,
 * SN_STATUS_INVALID_ARGUMENT.
 */
SN_NODISCARD SN_API sn_status sn_model_open(const char *path,
                        size_t path_len,
                        struct sn_model **out,
                        struct sn_error **err);

/**
 * The model's own name; empty where it has none.
 *
 * Returns UTF-8 of `*len` bytes, followed by a NUL; `len` may be NULL. NULL for NULL.
 * Ownership: the model's; valid until it is freed.
 */
SN_API const char *sn_model_name(const struct sn_model *model, size_t *len);

/**
 * The model's architecture, such as "llama".
 *
 * Returns UTF-8 of `*len` bytes, followed by a NUL; `len` may be NULL. NULL for NULL.
 * Ownership: the model's; valid until it is freed.
 */
SN_API const char *sn_model_architecture(const struct sn_model *model, size_t *len);

/** The number of parameters of the model; 0 for NULL. */
SN_API uint64_t sn_model_parameters(const struct sn_model *model);

/** Frees a model. Does nothing for NULL. */
SN_API void sn_model_free(struct sn_model *model);

/** Fills `params` with the defaults. `struct_size` is `sizeof *params`. Does nothing for NULL. */
SN_API void sn_distill_params_init(struct sn_distill_params *params, size_t struct_size);

/** Fills `params` with the defaults. `struct_size` is `sizeof *params`. Does nothing for NULL. */
SN_API void sn_tune_params_init(struct sn_tune_params *params, size_t struct_size);

/** Fills `params` with the defaults. `struct_size` is `sizeof *params`. Does nothing for NULL. */
SN_API void sn_curate_params_init(struct sn_curate_params *params, size_t struct_size);

/** Fills `params` with the defaults. `struct_size` is `sizeof *params`. Does nothing for NULL. */
SN_API void sn_train_params_init(struct sn_train_params *params, size_t struct_size);

/** Fills `params` with the defaults. `struct_size` is `sizeof *params`. Does nothing for NULL. */
SN_API void sn_evaluate_params_init(struct sn_evaluate_params *params, size_t struct_size);

/** Fills `params` with the defaults. `struct_size` is `sizeof *params`. Does nothing for NULL. */
SN_API void sn_answer_params_init(struct sn_answer_params *params, size_t struct_size);

/** Fills `params` with the defaults. `struct_size` is `sizeof *params`. Does nothing for NULL. */
SN_API void sn_preview_params_init(struct sn_preview_params *params, size_t struct_size);

/**
 * Turns the slow, voted answers of `model` into an adapter that answers directly: samples, votes,
 * trains, measures. Blocks until done, minutes to hours; everything finished is kept in
 * `out_dir`, and the same call resumes after an interruption.
 *
 * On success `*report` holds the figures to decide by, `*report_json` is the whole report (the text
 * of report.json), and `*report_json_len` its length in bytes without the NUL that follows it; each
 * may be NULL. On failure all are untouched.
 *
 * Errors: SN_STATUS_INVALID_ARGUMENT; SN_STATUS_INPUT for a task or a question file;
 * SN_STATUS_RUN when `out_dir` holds another run; SN_STATUS_MODEL and SN_STATUS_UNSUPPORTED for the model
 * file; SN_STATUS_REFUSED when distilling is not
 * worthwhile and `force` is 0; SN_STATUS_CANCELLED; SN_STATUS_IO; SN_STATUS_ENGINE; SN_STATUS_TRAINING;
 * SN_STATUS_PARITY; SN_STATUS_INTERNAL.
 *
 * Ownership: free `*report_json` with sn_string_free(). Threads: several calls may run at once on
 * one model, each in its own `out_dir`.
 */
SN_NODISCARD SN_API sn_status sn_distill(const struct sn_model *model,
                     const struct sn_distill_params *params,
                     struct sn_report *report,
                     char **report_json,
                     size_t *report_json_len,
                     struct sn_error **err);

/**
 * Chooses the System 2 program for questions without labels: candidates race on some of the questions,
 * and the one whose samples agree best, with themselves and with other candidates, is written to
 * `out_dir`/task.json, ready for sn_distill() and sn_task_load(). Blocks until done, minutes; the same
 * call resumes after an interruption, and comes to the same choice where the time suffices for all questions.
 *
 *     sn_tune_params params;
 *     sn_choice choice;
 *     sn_tune_params_init(&params, sizeof params);
 *     params.questions = "train.jsonl";
 *     params.description = "In which country is a city?";
 *     params.out_dir = "tuned";
 *     choice.struct_size = sizeof choice;
 *     status = sn_tune(model, &params, &choice, NULL, NULL, &err);
 *     if (status == SN_STATUS_OK && choice.worthwhile) {
 *         printf("%.0f%% of the questions will be kept\n", 100 * choice.kept_share);
 *     }
 *
 * SN_STATUS_OK also where no program is worth distilling, which `choice->worthwhile` tells. `*json` is
 * the text of tune.json: all candidates with their figures, the choice and why. `*json_len` is its length
 * in bytes without the NUL that follows it; each of the three may be NULL. On failure all are untouched.
 *
 * Errors: SN_STATUS_INVALID_ARGUMENT; SN_STATUS_INPUT for a task, a question file or an option, for gold
 * questions that are fewer than 20, have an answer that cannot be read, or are among the others;
 * SN_STATUS_RUN when `out_dir` holds the race of another model, seed or set of questions, or another
 * process works there; SN_STATUS_CANCELLED; SN_STATUS_IO; SN_STATUS_MODEL and SN_STATUS_UNSUPPORTED for the
 * model file; SN_STATUS_ENGINE; SN_STATUS_INTERNAL. Messages call `params->out_dir` "out_dir" and
 * `params->tasks` "task".
 *
 * Ownership: free `*json` with sn_string_free(). Threads: several calls may run at once on one model, each
 * in its own `out_dir`.
 */
SN_NODISCARD SN_API sn_status sn_tune(const struct sn_model *model,
                  const struct sn_tune_params *params,
                  struct sn_choice *choice,
                  char **json,
                  size_t *json_len,
                  struct sn_error **err);

/* ---- 2. Stages. The same one by one, what they work on, and how to use the result. ---- */

/**
 * The task that is built in under this name, or the one in this JSON file.
 *
 * `name_or_path` is UTF-8 of `len` bytes, or ends in NUL with SN_NUL_TERMINATED. `*out` is the task
 * on success and untouched on failure.
 *
 * Errors: SN_STATUS_INPUT where there is neither, listing the built-in tasks, and where the file
 * holds no usable task, saying what is wrong; SN_STATUS_IO; SN_STATUS_INVALID_ARGUMENT.
 */
SN_NODISCARD SN_API sn_status sn_task_load(const char *name_or_path,
                       size_t len,
                       struct sn_task **out,
                       struct sn_error **err);

/** Reads a task from JSON in memory. As sn_task_load() otherwise; messages call it "json". */
SN_NODISCARD SN_API sn_status sn_task_parse(const char *json,
                        size_t len,
                        struct sn_task **out,
                        struct sn_error **err);

/**
 * The task's name, such as "coin-flip".
 *
 * Returns UTF-8 of `*len` bytes, followed by a NUL; `len` may be NULL. NULL for NULL.
 * Ownership: the task's; valid until it is freed.
 */
SN_API const char *sn_task_name(const struct sn_task *task, size_t *len);

/**
 * The task as JSON with the defaults written out: to look at, or to change and give to
 * sn_task_parse().
 *
 * Returns UTF-8 of `*len` bytes, followed by a NUL; `len` may be NULL. NULL for NULL.
 * Ownership: the task's; valid until it is freed.
 */
SN_API const char *sn_task_json(const struct sn_task *task, size_t *len);

/**
 * The name of the built-in task number `index`, from 0; NULL past the last.
 *
 * Returns UTF-8 of `*len` bytes, followed by a NUL; `len` may be NULL.
 * Ownership: static, never freed. Threads: any.
 */
SN_API const char *sn_task_builtin(size_t index, size_t *len);

/** Frees a task. Does nothing for NULL. */
SN_API void sn_task_free(struct sn_task *task);

/**
 * No questions yet; add some with sn_questions_add().
 *
 * Ownership: the caller's; free it with sn_questions_free().
 */
SN_API struct sn_questions *sn_questions_new(void);

/**
 * Reads a file with one question a line, as plain text or, where the first line starts with a brace,
 * as JSON:
 *
 *     {"id": "f1", "question": "Is the coin still heads up?", "answer": "yes"}
 *
 * Only "question" is needed. "answer" may be a list of accepted texts; "fields", an object of texts,
 * is for tasks that need several.
 *
 * `path` is UTF-8 of `len` bytes, or ends in NUL with SN_NUL_TERMINATED. `*out` is the set on
 * success and untouched on failure.
 *
 * Errors: SN_STATUS_IO; SN_STATUS_INPUT with the line that is wrong, and for a file without a
 * question; SN_STATUS_INVALID_ARGUMENT.
 */
SN_NODISCARD SN_API sn_status sn_questions_read(const char *path,
                            size_t len,
                            struct sn_questions **out,
                            struct sn_error **err);

/**
 * Reads the same from memory: `lines` is what such a file holds. Messages call it "lines".
 *
 * Errors: SN_STATUS_INPUT, SN_STATUS_INVALID_ARGUMENT.
 */
SN_NODISCARD SN_API sn_status sn_questions_parse(const char *lines,
                             size_t len,
                             struct sn_questions **out,
                             struct sn_error **err);

/**
 * Generates `n` different questions with their gold answers. `kind` is a name such as "coin-flip"
 * (`secondnature questions` lists them) of `len` bytes; `seed` chooses among the questions of
 * `split`, an sn_split.
 *
 *     sn_questions_generate("coin-flip", SN_NUL_TERMINATED, 200, 1, SN_SPLIT_TRAIN, &train, &err);
 *     sn_questions_generate("coin-flip", SN_NUL_TERMINATED, 80, 2, SN_SPLIT_TEST, &held_out, &err);
 *
 * Errors: SN_STATUS_INPUT for an unknown kind, which lists the kinds, and where the split has fewer
 * than `n` questions; SN_STATUS_INVALID_ARGUMENT.
 */
SN_NODISCARD SN_API sn_status sn_questions_generate(const char *kind,
                                size_t len,
                                size_t n,
                                uint64_t seed,
                                int32_t split,
                                struct sn_questions **out,
                                struct sn_error **err);

/**
 * Adds one question. `id` names it in verdicts and files; NULL: "q1", "q2" and so on by its place.
 * `gold` is the gold answer, which is only measured against and never trained on; NULL: unknown.
 *
 * Errors: SN_STATUS_INPUT for an empty question or id and an id that is there already, in which
 * case nothing is added; SN_STATUS_INVALID_ARGUMENT.
 */
SN_NODISCARD SN_API sn_status sn_questions_add(struct sn_questions *questions,
                           const char *id,
                           size_t id_len,
                           const char *question,
                           size_t question_len,
                           const char *gold,
                           size_t gold_len,
                           struct sn_error **err);

/** The number of questions; 0 for NULL. */
SN_API size_t sn_questions_count(const struct sn_questions *questions);

/** Frees questions. Does nothing for NULL. */
SN_API void sn_questions_free(struct sn_questions *questions);

/**
 * Asks a few of `questions` directly and samples a few answers of each by the steps of `task`. Takes about
 * a minute. `params` may be NULL for the defaults. Nothing is written.
 *
 * `*out` is the preview on success and untouched on failure.
 *
 * A question of which no prompt can be made is set aside, which is a finding.
 *
 * After `params.minutes`, and when it is cancelled, the preview is of the questions that were voted on until
 * then: SN_STATUS_OK, and sn_preview_unseen() counts the others.
 *
 * Errors: SN_STATUS_INPUT where there is no question, where more than half of them cannot be asked for the
 * same reason, for a gold answer that the task's rule cannot read, and for an option out of its range;
 * where `params.minutes` are too few for one question; SN_STATUS_CANCELLED before the first vote;
 * SN_STATUS_IO; SN_STATUS_MODEL and SN_STATUS_UNSUPPORTED for the model file;
 * SN_STATUS_ENGINE; SN_STATUS_INVALID_ARGUMENT; SN_STATUS_INTERNAL.
 *
 * Ownership: the caller's; free it with sn_preview_free(). `task` and `questions` may be freed as soon as the
 * call returns. Threads: several calls may run at once on one model.
 */
SN_NODISCARD SN_API sn_status sn_preview_new(const struct sn_model *model,
                         const struct sn_task *task,
                         const struct sn_questions *questions,
                         const struct sn_preview_params *params,
                         struct sn_preview **out,
                         struct sn_error **err);

/** The number of findings, the most severe first; 0 for NULL. */
SN_API size_t sn_preview_findings(const struct sn_preview *preview);

/**
 * What finding number `index` is about. The names are stable:
 *
 * - of the model or its template: template_loses_text, no_end_of_turn, thinking_left_open
 * - of the questions: set_aside, question_lost
 * - of a step: copies_prompt, question_unchanged, same_output, cut_off, refusal, no_reasoning
 * - of the answers: unread, long_answers, constant_answer, all_judged_equal, wrong_votes,
 *   opinion_moves_answer, first_option, perturbation_moves_answer, perturbation_changes_nothing,
 *   samples_disagree
 * - of System 1: system1_unread, system1_as_good
 *
 * Later versions may find more.
 *
 * Returns UTF-8 of `*len` bytes, followed by a NUL; `len` may be NULL. NULL past the last finding and
 * for NULL. Ownership: the preview's; valid until it is freed.
 */
SN_API const char *sn_preview_finding_kind(const struct sn_preview *preview,
                                    size_t index,
                                    size_t *len);

/**
 * The name of the step that shows finding number `index`; NULL where it is not about one step. As
 * sn_preview_finding_kind() otherwise.
 */
SN_API const char *sn_preview_finding_step(const struct sn_preview *preview,
                                    size_t index,
                                    size_t *len);

/** What was found, in one sentence with the figures. As sn_preview_finding_kind() otherwise. */
SN_API const char *sn_preview_finding_message(const struct sn_preview *preview,
                                       size_t index,
                                       size_t *len);

/** What to change. As sn_preview_finding_kind() otherwise. */
SN_API const char *sn_preview_finding_advice(const struct sn_preview *preview,
                                      size_t index,
                                      size_t *len);

/**
 * 1 where finding number `index` is a fault; 0 where it is only worth knowing, past the last and for
 * NULL.
 */
SN_API int32_t sn_preview_finding_is_fault(const struct sn_preview *preview,
                                    size_t index);

/**
 * 1 where curation stops at finding number `index` with SN_STATUS_REFUSED unless `force` is set; 0
 * otherwise, past the last and for NULL.
 */
SN_API int32_t sn_preview_finding_stops(const struct sn_preview *preview, size_t index);

/**
 * The number of questions for which there was no time before `params.minutes` or a cancellation; 0 for a
 * whole preview and for NULL.
 */
SN_API size_t sn_preview_unseen(const struct sn_preview *preview);

/**
 * Everything, as the one JSON object that `secondnature preview --json` prints.
 *
 * Returns UTF-8 of `*len` bytes, followed by a NUL; `len` may be NULL. NULL for NULL.
 * Ownership: the preview's; valid until it is freed.
 */
SN_API const char *sn_preview_json(const struct sn_preview *preview, size_t *len);

/** Everything, as an HTML page that needs no other file. As sn_preview_json() otherwise. */
SN_API const char *sn_preview_html(const struct sn_preview *preview, size_t *len);

/** Frees a preview. Does nothing for NULL. */
SN_API void sn_preview_free(struct sn_preview *preview);

/**
 * Makes the run directory `out_dir`, or opens it to resume the same run. Hashes the model, which
 * takes a second for each gigabyte or so. `seed` is where all sampling comes from.
 *
 * `out_dir` is UTF-8 of `len` bytes, or ends in NUL with SN_NUL_TERMINATED. Task and questions are
 * copied. `*out` is the run on success and untouched on failure.
 *
 * Errors: SN_STATUS_INPUT where there is no question; SN_STATUS_RUN when `out_dir` holds another run
 * or is in use; SN_STATUS_IO; SN_STATUS_MODEL; SN_STATUS_INVALID_ARGUMENT.
 */
SN_NODISCARD SN_API sn_status sn_run_create(const struct sn_model *model,
                        const struct sn_task *task,
                        const struct sn_questions *questions,
                        const char *out_dir,
                        size_t len,
                        uint64_t seed,
                        struct sn_run **out,
                        struct sn_error **err);

/**
 * Opens an existing run directory. `model_path` is where its model is now, if that has moved; NULL:
 * where the run found it.
 *
 * `*out` is the run on success and untouched on failure.
 *
 * Errors: SN_STATUS_RUN when `out_dir` is not a run directory, is in use, or belongs to a model with
 * other contents; SN_STATUS_IO; SN_STATUS_MODEL; SN_STATUS_INVALID_ARGUMENT.
 */
SN_NODISCARD SN_API sn_status sn_run_open(const char *out_dir,
                      size_t len,
                      const char *model_path,
                      size_t model_path_len,
                      struct sn_run **out,
                      struct sn_error **err);

/**
 * The first stage: samples every training question until its vote has converged. Blocks until done,
 * minutes to hours. `params` may be NULL for the defaults.
 *
 *     sn_curate_params params;
 *     sn_curate_params_init(&params, sizeof params);
 *     params.verdict = show;                    (called with each question's verdict)
 *     params.cancel = stop;                     (another thread calls sn_cancel_request(stop))
 *     curation.struct_size = sizeof curation;
 *     status = sn_run_curate(run, &params, &curation, NULL, NULL, &err);
 *
 * On success `*curation` holds the figures, `*json` all of what report.json has under "curation",
 * and `*json_len` its length in bytes without the NUL that follows it; each may be NULL. On failure
 * all are untouched.
 *
 * Errors: SN_STATUS_INVALID_ARGUMENT; SN_STATUS_INPUT; SN_STATUS_REFUSED where the first questions show
 * that the task cannot work and `force` is 0; SN_STATUS_CANCELLED; SN_STATUS_IO; SN_STATUS_ENGINE;
 * SN_STATUS_INTERNAL. Ownership: free `*json` with sn_string_free().
 */
SN_NODISCARD SN_API sn_status sn_run_curate(struct sn_run *run,
                        const struct sn_curate_params *params,
                        struct sn_curation *curation,
                        char **json,
                        size_t *json_len,
                        struct sn_error **err);

/**
 * Decides, before training, whether distilling is worthwhile: from how many answers were accepted and how they are
 * spread, and with held-out questions, `eval`, also from whether the vote is right more often than
 * the direct answer. `eval` may be NULL, and so may `params`, for the defaults. The answers to `eval`
 * are kept for sn_run_evaluate().
 *
 *     status = sn_run_decide(run, held_out, NULL, &worthwhile, &json, NULL, &err);
 *     if (status == SN_STATUS_OK && !worthwhile) {
 *         puts(json);                           (why not, and what to try)
 *     }
 *     sn_string_free(json);
 *
 * SN_STATUS_OK either way: `*worthwhile` is 1 or 0, `*json` what report.json has under "decision",
 * where not with "reasons" and "advice". Each may be NULL, as may `json_len`.
 *
 * Errors: SN_STATUS_RUN before curation is finished; SN_STATUS_INPUT where a held-out question is a
 * training question; else as sn_run_curate(). Ownership: free `*json` with sn_string_free().
 */
SN_NODISCARD SN_API sn_status sn_run_decide(struct sn_run *run,
                        const struct sn_questions *eval,
                        const struct sn_evaluate_params *params,
                        int32_t *worthwhile,
                        char **json,
                        size_t *json_len,
                        struct sn_error **err);

/**
 * The second stage: trains the adapter on the kept answers, writes adapter.gguf, compares it with
 * llama.cpp, and finds the confidence from which its direct answers can be trusted. `params` may be
 * NULL for the defaults. Training goes on whatever sn_run_decide() found, as long as one answer was
 * accepted.
 *
 *     sn_train_params params;
 *     sn_train_params_init(&params, sizeof params);
 *     params.rank = 32;
 *     params.step = plot;                       (called with the loss of each step)
 *     status = sn_run_train(run, &params, NULL, NULL, NULL, &err);
 *
 * On success `*training` holds the figures and `*json` what report.json has under "training"; as in
 * sn_run_curate().
 *
 * Errors: SN_STATUS_RUN before curation is finished; SN_STATUS_REFUSED where no answer was accepted;
 * SN_STATUS_TRAINING; SN_STATUS_PARITY; else as sn_run_curate(). Ownership: free `*json` with
 * sn_string_free().
 */
SN_NODISCARD SN_API sn_status sn_run_train(struct sn_run *run,
                       const struct sn_train_params *params,
                       struct sn_training *training,
                       char **json,
                       size_t *json_len,
                       struct sn_error **err);

/**
 * The last stage: measures the direct answer, the vote and the distilled model on the held-out
 * questions `eval`, with gold answers if there are any. `params` may be NULL for the defaults.
 *
 *     evaluation.struct_size = sizeof evaluation;
 *     status = sn_run_evaluate(run, held_out, NULL, &evaluation, NULL, NULL, &err);
 *     if (status == SN_STATUS_OK && evaluation.worthwhile) {
 *         puts(sn_run_adapter_path(run, NULL));
 *     }
 *
 * On success `*evaluation` holds the figures and `*json` what report.json has under "evaluation"; as
 * in sn_run_curate().
 *
 * Errors: SN_STATUS_RUN where there is no adapter yet; SN_STATUS_INPUT where there is no question, or a
 * training question among them; else as sn_run_curate(). Ownership: free `*json` with sn_string_free().
 */
SN_NODISCARD SN_API sn_status sn_run_evaluate(struct sn_run *run,
                          const struct sn_questions *eval,
                          const struct sn_evaluate_params *params,
                          struct sn_evaluation *evaluation,
                          char **json,
                          size_t *json_len,
                          struct sn_error **err);

/**
 * Writes report.json, with what the finished stages found; its text is `*json`, as in
 * sn_run_curate().
 *
 * Errors: SN_STATUS_IO; SN_STATUS_RUN; SN_STATUS_INVALID_ARGUMENT. Ownership: free `*json` with
 * sn_string_free().
 */
SN_NODISCARD SN_API sn_status sn_run_report(struct sn_run *run,
                        char **json,
                        size_t *json_len,
                        struct sn_error **err);

/**
 * The path of the run's adapter; NULL before there is one that is finished and verified.
 *
 * Returns UTF-8 of `*len` bytes, followed by a NUL; `len` may be NULL. NULL for NULL.
 * Ownership: the run's; valid until it is freed.
 */
SN_API const char *sn_run_adapter_path(const struct sn_run *run, size_t *len);

/** Frees a run and unlocks its directory. Does nothing for NULL. */
SN_API void sn_run_free(struct sn_run *run);

/**
 * Opens the file `path` and checks that it holds a LoRA adapter. Takes milliseconds.
 *
 * `path` is UTF-8 of `len` bytes, or ends in NUL with SN_NUL_TERMINATED. `*out` is the adapter on
 * success and untouched on failure.
 *
 * Errors: SN_STATUS_IO when the file cannot be read, SN_STATUS_MODEL when it is not a well-formed
 * GGUF or not a LoRA adapter, SN_STATUS_INVALID_ARGUMENT.
 */
SN_NODISCARD SN_API sn_status sn_adapter_open(const char *path,
                          size_t len,
                          struct sn_adapter **out,
                          struct sn_error **err);

/** The rank of the adapter, the largest where its pairs differ; 0 for NULL. */
SN_API uint32_t sn_adapter_rank(const struct sn_adapter *adapter);

/** The adapter's alpha: it is applied with the scale alpha/rank. 0 for NULL. */
SN_API double sn_adapter_alpha(const struct sn_adapter *adapter);

/**
 * The name of the task that the adapter was trained on; empty where another program trained it.
 *
 * Returns UTF-8 of `*len` bytes, followed by a NUL; `len` may be NULL. NULL for NULL.
 * Ownership: the adapter's; valid until it is freed.
 */
SN_API const char *sn_adapter_task(const struct sn_adapter *adapter, size_t *len);

/**
 * The file's metadata, as a JSON object of texts: "rank", "alpha", and of an adapter
 * that this library trained also its task, its model's hash, and how it was trained.
 *
 * Returns UTF-8 of `*len` bytes, followed by a NUL; `len` may be NULL. NULL for NULL.
 * Ownership: the adapter's; valid until it is freed.
 */
SN_API const char *sn_adapter_describe(const struct sn_adapter *adapter, size_t *len);

/** Frees an adapter. Does nothing for NULL. */
SN_API void sn_adapter_free(struct sn_adapter *adapter);

/**
 * Loads `model`, with the adapter in the file `adapter_path` unless that is NULL, to answer
 * questions of `task`; NULL: the task that the adapter was trained on. Takes seconds. `params` may
 * be NULL for the defaults. Model and task need not outlive the call.
 *
 * `*out` is the answerer on success and untouched on failure.
 *
 * Errors: SN_STATUS_INPUT where `task` is NULL and no adapter names one; SN_STATUS_IO;
 * SN_STATUS_MODEL; SN_STATUS_ENGINE; SN_STATUS_INVALID_ARGUMENT.
 */
SN_NODISCARD SN_API sn_status sn_answerer_new(const struct sn_model *model,
                          const struct sn_task *task,
                          const char *adapter_path,
                          size_t adapter_path_len,
                          const struct sn_answer_params *params,
                          struct sn_answerer **out,
                          struct sn_error **err);

/**
 * Answers `question`, UTF-8 of `len` bytes, or ending in NUL with SN_NUL_TERMINATED. The same
 * question gets the same answer every time. `cancel` may be NULL.
 *
 * `*out` is the answer on success, even where no answer could be read from the completion, and
 * untouched on failure.
 *
 * Errors: SN_STATUS_INPUT where the task needs more of a question than its text;
 * SN_STATUS_MODEL where the adapter does not fit the model; SN_STATUS_CANCELLED; SN_STATUS_ENGINE;
 * SN_STATUS_INVALID_ARGUMENT; SN_STATUS_INTERNAL. After any but the last the next question can be
 * asked.
 */
SN_NODISCARD SN_API sn_status sn_answerer_ask(struct sn_answerer *answerer,
                          const char *question,
                          size_t len,
                          const struct sn_cancel *cancel,
                          struct sn_answer **out,
                          struct sn_error **err);

/** Frees an answerer and gives its memory back. Does nothing for NULL. */
SN_API void sn_answerer_free(struct sn_answerer *answerer);

/**
 * The answer; NULL where none could be read from what the model wrote.
 *
 * Returns UTF-8 of `*len` bytes, followed by a NUL; `len` may be NULL. NULL for NULL.
 * Ownership: the answer's; valid until it is freed.
 */
SN_API const char *sn_answer_text(const struct sn_answer *answer, size_t *len);

/**
 * How sure the answer is, 0 to 1: the model's own probability of a direct one, the share of the votes
 * of a reasoned one. 0 for NULL.
 */
SN_API double sn_answer_confidence(const struct sn_answer *answer);

/** Which way the question was answered; SN_ROUTE_DIRECT for NULL. */
SN_API sn_route sn_answer_route(const struct sn_answer *answer);

/** Every token generated for the answer, of both ways where both were taken; 0 for NULL. */
SN_API uint64_t sn_answer_tokens(const struct sn_answer *answer);

/** Frees an answer. Does nothing for NULL. */
SN_API void sn_answer_free(struct sn_answer *answer);

/* ---- 3. The caller's own parts: inference, a check of answers, a log. ---- */

/** Fills `decoder` with the defaults. `struct_size` is `sizeof *decoder`. Does nothing for NULL. */
SN_API void sn_decoder_init(struct sn_decoder *decoder, size_t struct_size);

/**
 * Hands every line at `level`, one of sn_log_level, or above to `callback` from now on: the
 * library's own messages and the log of the llama.cpp inside it, not of one that the caller has.
 * Process-wide: it replaces an earlier one, which is not called any more when this returns. NULL
 * for silence, which is the default; `level` does not matter then.
 *
 * Errors: SN_STATUS_INVALID_ARGUMENT for an unknown level; SN_STATUS_UNSUPPORTED in a Rust program
 * that has a logger of its own, which receives these lines already. Threads: any.
 */
SN_NODISCARD SN_API sn_status sn_log_set(int32_t level,
                     sn_log_fn callback,
                     void *user_data,
                     struct sn_error **err);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* SECONDNATURE_H */
