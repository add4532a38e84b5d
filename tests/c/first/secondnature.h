/*
 * secondnature: turns a model's slow, voted answers into a LoRA adapter that answers directly.
 *
 *     sn_model *model = NULL;
 *     sn_error *err = NULL;
 *     sn_distill_params params;
 *     sn_distill_params_init(&params, sizeof params);
 *     params.task = "coin-flip";
 *     params.questions = "train.jsonl";
 *     params.eval = "eval.jsonl";
 *     params.out_dir = "run";
 *     if (sn_model_open("base.gguf", SN_NUL_TERMINATED, &model, &err) != SN_STATUS_OK ||
 *         sn_distill(model, &params, NULL, NULL, &err) != SN_STATUS_OK) {
 *         fprintf(stderr, "%s\n", sn_error_message(err, NULL));
 *     }
 *     sn_error_free(err);
 *     sn_model_free(model);
 *
 * leaves run/adapter.gguf, which any llama.cpp loads beside base.gguf.
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
 * - A bug in the library is SN_STATUS_INTERNAL, not the end of the host; the handle in use then
 *   refuses further calls.
 *
 * Generated from the library's source; do not edit.
 */

#ifndef SECONDNATURE_H
#define SECONDNATURE_H

#include <stddef.h>
#include <stdint.h>

/** The version that this header belongs to; sn_version() is that of the library loaded. */
#define SN_VERSION "0.1.0"

/** The length of text that ends in NUL. */
#define SN_NUL_TERMINATED SIZE_MAX

/**
 * What a call that can fail returns, by what the caller can do about it.
 *
 * New codes may be added; treat an unknown one as a failure.
 *
 * Since 0.1.
 */
enum sn_status
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * It worked.
     */
    SN_STATUS_OK = 0,
    /**
     * An argument is NULL, not UTF-8 or out of range. A mistake in the calling program.
     */
    SN_STATUS_INVALID_ARGUMENT = 1,
    /**
     * The operating system refused a file operation: missing file, full disk, no permission.
     */
    SN_STATUS_IO = 2,
    /**
     * A model or adapter file is not usable: not a GGUF, truncated, inconsistent.
     */
    SN_STATUS_MODEL = 3,
    /**
     * A well-formed request that this version cannot serve, such as an architecture.
     */
    SN_STATUS_UNSUPPORTED = 4,
    /**
     * A question file, task or option holds something unusable. The message says where.
     */
    SN_STATUS_INPUT = 5,
    /**
     * The run directory cannot be used: it belongs to another run, is locked or damaged.
     */
    SN_STATUS_RUN = 6,
    /**
     * The inference engine failed.
     */
    SN_STATUS_ENGINE = 7,
    /**
     * Training stopped: nothing to train on, or a loss that is no number.
     */
    SN_STATUS_TRAINING = 8,
    /**
     * The work was refused because its result would not be worth having.
     */
    SN_STATUS_REFUSED = 9,
    /**
     * The written adapter does not reproduce the trained one when loaded again.
     */
    SN_STATUS_PARITY = 10,
    /**
     * The caller cancelled. Everything finished so far is kept.
     */
    SN_STATUS_CANCELLED = 11,
    /**
     * A bug in this library. A handle that was in use refuses all further calls.
     */
    SN_STATUS_INTERNAL = 12,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum sn_status sn_status;
#else
typedef int32_t sn_status;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * The part of a run that progress speaks of. New ones may be added. Since 0.1.
 */
enum sn_stage
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * Reading, hashing and loading the model.
     */
    SN_STAGE_LOAD = 0,
    /**
     * Sampling and voting on the training questions.
     */
    SN_STAGE_CURATE = 1,
    /**
     * Training the adapter.
     */
    SN_STAGE_TRAIN = 2,
    /**
     * Writing the adapter and comparing it with llama.cpp.
     */
    SN_STAGE_EXPORT = 3,
    /**
     * Measuring System 1, System 2 and the distilled model.
     */
    SN_STAGE_EVALUATE = 4,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum sn_stage sn_stage;
#else
typedef int32_t sn_stage;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * A request to stop that any thread can make.
 *
 * Work that was given one stops within one decode batch or one optimiser step, keeps everything
 * finished so far and returns SN_STATUS_CANCELLED; the same call resumes it.
 *
 * Ownership: counted. sn_cancel_new() and sn_cancel_share() each give a reference to free; a call
 * that takes one keeps a reference of its own. Threads: any number may use one at once.
 * Since 0.1.
 */
typedef struct sn_cancel sn_cancel;

/**
 * Why a call failed: a status, a message and its causes.
 *
 * A call that fails writes a new one to its last argument `err`, unless that is NULL; what was
 * there before is overwritten, not freed. A call that succeeds leaves `err` alone.
 *
 * Ownership: the caller's; free it with sn_error_free(). Threads: a `const sn_error *` may be
 * read from any number of threads. Since 0.1.
 */
typedef struct sn_error sn_error;

/**
 * A model file that can be distilled.
 *
 * Ownership: the caller's; free it with sn_model_free(), after every call that uses it has
 * returned. Threads: a `const sn_model *` may be used from any number of threads. Since 0.1.
 */
typedef struct sn_model sn_model;

/**
 * One progress report. Later versions may append fields. Since 0.1.
 */
typedef struct sn_progress {
    /**
     * Which part of the run.
     */
    sn_stage stage;
    /**
     * Units finished: questions or optimiser steps, as the stage has them.
     */
    uint64_t done;
    /**
     * Units in all; 0 when unknown.
     */
    uint64_t total;
    /**
     * A short note for a person, UTF-8, followed by a NUL.
     */
    const char *note;
    /**
     * Its length in bytes.
     */
    size_t note_len;
} sn_progress;

/**
 * Receives progress, often; keep it quick. `progress` is valid during the call only.
 *
 * Threads: called by one thread at a time, not always the one that made the call. Must return
 * normally: no exception or longjmp may leave it. Since 0.1.
 */
typedef void (*sn_progress_fn)(const struct sn_progress *progress, void *user_data);

/**
 * What sn_distill() is to do.
 *
 * Fill it with sn_distill_params_init(), then set what you need. All text is UTF-8 of the length
 * beside it, or ends in NUL where that length is SN_NUL_TERMINATED, which init sets. Everything
 * is borrowed for the duration of the call. Later versions append fields, whose zero means what
 * this version does.
 *
 * Since 0.1.
 */
typedef struct sn_distill_params {
    /**
     * The size of this struct as the caller knows it. Set by sn_distill_params_init().
     */
    size_t struct_size;
    /**
     * Required: the name of a built-in task, or the path of a JSON file.
     */
    const char *task;
    size_t task_len;
    /**
     * Required: path of the questions to learn from, one a line, as JSON or plain text.
     */
    const char *questions;
    size_t questions_len;
    /**
     * Path of held-out questions to measure on, with answers if there are any. NULL: nothing is
     * measured.
     */
    const char *eval;
    size_t eval_len;
    /**
     * Required: the run directory. A new one is created; the same run in it is resumed. Gets
     * adapter.gguf and report.json.
     */
    const char *out_dir;
    size_t out_dir_len;
    /**
     * Where all randomness comes from. Default 0.
     */
    uint64_t seed;
    /**
     * Rank of the adapter, 1 to 256; 0 for the default, 16.
     */
    uint32_t rank;
    /**
     * Most passes over the training examples; 0 for the default, 4.
     */
    uint32_t epochs;
    /**
     * Threads to compute with; 0 for all cores.
     */
    uint32_t threads;
    /**
     * Sequences sampled at once, at most 256; 0 for the default, 16.
     */
    uint32_t slots;
    /**
     * Not 0: go on where distilling does not seem to pay, instead of SN_STATUS_REFUSED.
     */
    int32_t force;
    /**
     * Must be 0.
     */
    uint32_t reserved;
    /**
     * Receives progress; NULL for none.
     */
    sn_progress_fn progress;
    /**
     * Handed to `progress`.
     */
    void *progress_user_data;
    /**
     * Stops the work; NULL for none.
     */
    const struct sn_cancel *cancel;
} sn_distill_params;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * The version of the library that is loaded, such as "0.1.0". `SN_VERSION` is the header's.
 *
 * Ownership: static, never freed. Threads: any. Since 0.1.
 */
const char *sn_version(void);

/**
 * The name of a status for a log, such as "SN_STATUS_IO"; "unknown" for any other number.
 *
 * Ownership: static, never freed. Threads: any. Since 0.1.
 */
const char *sn_status_name(int32_t status);

/**
 * The status that the failed call returned; SN_STATUS_OK for NULL.
 *
 * Since 0.1.
 */
sn_status sn_error_code(const struct sn_error *error);

/**
 * What went wrong, in one line: what was expected, what was found, where, and what to do.
 *
 * Returns UTF-8 of `*len` bytes, followed by a NUL; `len` may be NULL. NULL for NULL.
 * Ownership: the error's; valid until it is freed. Since 0.1.
 */
const char *sn_error_message(const struct sn_error *error, size_t *len);

/**
 * The cause number `index` of the error, 0 being the nearest: such as the operating system's own
 * words. NULL when there are not that many. The message already includes what a person needs.
 *
 * Returns UTF-8 of `*len` bytes, followed by a NUL; `len` may be NULL.
 * Ownership: the error's; valid until it is freed. Since 0.1.
 */
const char *sn_error_cause(const struct sn_error *error, size_t index, size_t *len);

/**
 * Frees an error. Does nothing for NULL. Since 0.1.
 */
void sn_error_free(struct sn_error *error);

/**
 * Opens the GGUF file `path` (of a split one, the first part) and checks that it can be
 * distilled. Takes milliseconds; the weights are read when work starts.
 *
 * `path` is UTF-8 of `path_len` bytes, or ends in NUL with SN_NUL_TERMINATED. `*out` is the model
 * on success and untouched on failure.
 *
 * Errors: SN_STATUS_IO when the file cannot be read, SN_STATUS_MODEL when it is no well-formed
 * GGUF, SN_STATUS_UNSUPPORTED for an architecture or tensor type that cannot be trained,
 * SN_STATUS_INVALID_ARGUMENT. Since 0.1.
 */
sn_status sn_model_open(const char *path,
                        size_t path_len,
                        struct sn_model **out,
                        struct sn_error **err);

/**
 * The model's own name; empty where it has none.
 *
 * Returns UTF-8 of `*len` bytes, followed by a NUL; `len` may be NULL. NULL for NULL.
 * Ownership: the model's; valid until it is freed. Since 0.1.
 */
const char *sn_model_name(const struct sn_model *model, size_t *len);

/**
 * The model's architecture, such as "llama".
 *
 * Returns UTF-8 of `*len` bytes, followed by a NUL; `len` may be NULL. NULL for NULL.
 * Ownership: the model's; valid until it is freed. Since 0.1.
 */
const char *sn_model_architecture(const struct sn_model *model, size_t *len);

/**
 * The number of parameters of the model; 0 for NULL. Since 0.1.
 */
uint64_t sn_model_parameters(const struct sn_model *model);

/**
 * Frees a model. Does nothing for NULL. Since 0.1.
 */
void sn_model_free(struct sn_model *model);

/**
 * Fills `params` with the defaults. `struct_size` is `sizeof *params`. Does nothing for NULL.
 *
 * Since 0.1.
 */
void sn_distill_params_init(struct sn_distill_params *params, size_t struct_size);

/**
 * Turns the slow, voted answers of `model` into an adapter that answers directly: samples, votes,
 * trains, measures. Blocks until done, minutes to hours; everything finished is kept in
 * `out_dir`, and the same call resumes after an interruption.
 *
 * On success `*report_json` is the report (the text of report.json), `*report_json_len` its
 * length in bytes without the NUL that follows it; either may be NULL. On failure both are
 * untouched.
 *
 * Errors: SN_STATUS_INVALID_ARGUMENT; SN_STATUS_INPUT for a task or a question file;
 * SN_STATUS_RUN when `out_dir` holds another run; SN_STATUS_REFUSED when distilling does not pay
 * and `force` is 0; SN_STATUS_CANCELLED; SN_STATUS_IO; SN_STATUS_ENGINE; SN_STATUS_TRAINING;
 * SN_STATUS_PARITY; SN_STATUS_INTERNAL.
 *
 * Ownership: free `*report_json` with sn_string_free(). Threads: several calls may run at once on
 * one model, each in its own `out_dir`. Since 0.1.
 */
sn_status sn_distill(const struct sn_model *model,
                     const struct sn_distill_params *params,
                     char **report_json,
                     size_t *report_json_len,
                     struct sn_error **err);

/**
 * A new request, not yet made.
 *
 * Ownership: the caller's; free it with sn_cancel_free(). Since 0.1.
 */
struct sn_cancel *sn_cancel_new(void);

/**
 * Another reference to the same request, for another thread to use and to free. NULL for NULL.
 *
 * Ownership: the caller's; free it with sn_cancel_free(). Since 0.1.
 */
struct sn_cancel *sn_cancel_share(const struct sn_cancel *cancel);

/**
 * Asks the work to stop; cannot be taken back. Does nothing for NULL.
 *
 * Safe to call from a signal handler. Since 0.1.
 */
void sn_cancel_request(const struct sn_cancel *cancel);

/**
 * Frees a reference. Work that holds one of its own is not disturbed. Does nothing for NULL.
 * Since 0.1.
 */
void sn_cancel_free(struct sn_cancel *cancel);

/**
 * Frees text that a call handed over. Does nothing for NULL. Since 0.1.
 */
void sn_string_free(char *string);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* SECONDNATURE_H */
