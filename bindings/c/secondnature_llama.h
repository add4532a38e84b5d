/*
 * An sn_decoder over an application's own llama.cpp: its model and its context, whatever version and
 * devices it was built with. The library then samples without loading the model again.
 *
 *     sn_llama_decoder mine;
 *     const char *why = sn_llama_decoder_init(&mine, model, context);
 *     if (why != NULL) { ... }
 *     params.decoder = &mine.decoder;
 *     status = sn_distill(sn_model, &params, &report, NULL, NULL, &err);
 *     sn_llama_decoder_free(&mine);
 *
 * Header-only, C99 and C++. It is compiled with the application, against the application's llama.h.
 *
 * The context is the application's to make. It decides how the library samples:
 * - `n_seq_max`: sequences. Half of them work at once, the others keep prompt prefixes; 32 serve well.
 *   With a single one, texts are reproducible bit for bit.
 * - `n_ctx`: KV cells, which all sequences share; about 512 for each of those that work at once.
 * - `kv_unified` must be true where `n_seq_max` is above 1, and `swa_full` for a model with
 *   sliding-window attention.
 * - `embeddings` must be false.
 *
 * Whose the context is: the application may use it before and after a call into the library, and not
 * during one. An answerer keeps the decoder between its calls; the same holds for those.
 * - Sequences: a call empties those from 0 to `decoder.max_sequences - 1` first and leaves them empty;
 *   it does not touch others. To keep sequences of its own, an application lowers
 *   `decoder.max_sequences` after init, and `decoder.context_size` by the cells that they need.
 * - Adapters: during a call no LoRA may be applied but the library's own, so detach yours before. When
 *   the call returns, the library has detached its own and nothing else.
 * - sn_llama_decoder_init() and sn_llama_decoder_free() change neither sequences nor applied adapters.
 *
 * This header needs the interface that llama.cpp has since mid-2025. Where versions differ, define
 * these before including it:
 * - SN_LLAMA_ADAPTERS: how adapters are applied. 2, the default: llama_set_adapters_lora(). 1, until
 *   early 2026: llama_set_adapter_lora() and llama_rm_adapter_lora(). 0: not at all; the library then
 *   loads the model itself to measure the adapter.
 *   Versions with the older call may reuse the graph of the decode before and so miss an adapter that was
 *   applied since, where both decodes have one shape: set LLAMA_GRAPH_REUSE_DISABLE=1 in their environment.
 * - SN_LLAMA_CTX_SEQ: whether there is llama_n_ctx_seq(). 1, the default; 0 until late 2025. Without
 *   it, init cannot notice a `kv_unified` that is false, on which llama.cpp aborts the process.
 */
#ifndef SECONDNATURE_LLAMA_H
#define SECONDNATURE_LLAMA_H

#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <llama.h>
#include <secondnature.h>

#ifndef SN_LLAMA_ADAPTERS
#define SN_LLAMA_ADAPTERS 2
#endif
#ifndef SN_LLAMA_CTX_SEQ
#define SN_LLAMA_CTX_SEQ 1
#endif

#ifdef __cplusplus
extern "C" {
#endif

/**
 * A context as a decoder. Must stay where it is between init and free, and the model and the context
 * must live as long.
 */
typedef struct sn_llama_decoder {
    /** What to give to the library. */
    sn_decoder decoder;
    struct llama_model *model;
    struct llama_context *context;
    const struct llama_vocab *vocab;
    /** The adapter that the library has applied; NULL for none. */
    struct llama_adapter_lora *adapter;
    struct llama_batch batch;
} sn_llama_decoder;

static inline int32_t sn_llama_tokenize_(void *user_data, const char *text, size_t len, int32_t special,
                                         int32_t *tokens, size_t capacity, size_t *count) {
    sn_llama_decoder *self = (sn_llama_decoder *)user_data;
    int32_t room = capacity > INT32_MAX ? INT32_MAX : (int32_t)capacity;
    int32_t n;
    if (len > INT32_MAX) {
        return -1;
    }
    n = llama_tokenize(self->vocab, text, (int32_t)len, tokens, room, false, special != 0);
    if (n == INT32_MIN) {
        return -2;
    }
    *count = (size_t)(n < 0 ? -n : n);
    return 0;
}

static inline int32_t sn_llama_piece_(void *user_data, int32_t token, char *bytes, size_t capacity,
                                      size_t *len) {
    sn_llama_decoder *self = (sn_llama_decoder *)user_data;
    int32_t room = capacity > INT32_MAX ? INT32_MAX : (int32_t)capacity;
    int32_t n = llama_token_to_piece(self->vocab, token, bytes, room, 0, false);
    if (n == INT32_MIN) {
        return -1;
    }
    *len = (size_t)(n < 0 ? -n : n);
    return 0;
}

static inline int32_t sn_llama_is_end_(void *user_data, int32_t token) {
    return llama_vocab_is_eog(((sn_llama_decoder *)user_data)->vocab, token) ? 1 : 0;
}

static inline int32_t sn_llama_decode_(void *user_data, const sn_batch_row *rows, size_t n) {
    sn_llama_decoder *self = (sn_llama_decoder *)user_data;
    size_t i;
    if (n > self->decoder.max_batch) {
        return -1;
    }
    for (i = 0; i < n; i++) {
        self->batch.token[i] = rows[i].token;
        self->batch.pos[i] = (llama_pos)rows[i].pos;
        self->batch.n_seq_id[i] = 1;
        self->batch.seq_id[i][0] = (llama_seq_id)rows[i].seq;
        self->batch.logits[i] = rows[i].logits != 0;
    }
    self->batch.n_tokens = (int32_t)n;
    return llama_decode(self->context, self->batch);
}

static inline const float *sn_llama_logits_(void *user_data, size_t row) {
    return llama_get_logits_ith(((sn_llama_decoder *)user_data)->context, (int32_t)row);
}

/* A sliding-window cache that is not `swa_full` has forgotten what a shared prefix needs. */
static inline int sn_llama_is_whole_(sn_llama_decoder *self, uint32_t seq) {
    return llama_memory_seq_pos_min(llama_get_memory(self->context), (llama_seq_id)seq) <= 0;
}

static inline int32_t sn_llama_copy_prefix_(void *user_data, uint32_t from, uint32_t to, uint32_t len) {
    sn_llama_decoder *self = (sn_llama_decoder *)user_data;
    if (len == 0) {
        return 0;
    }
    if (!sn_llama_is_whole_(self, from)) {
        return -1;
    }
    llama_memory_seq_cp(llama_get_memory(self->context), (llama_seq_id)from, (llama_seq_id)to, 0,
                        (llama_pos)len);
    return 0;
}

static inline int32_t sn_llama_truncate_(void *user_data, uint32_t seq, uint32_t from) {
    sn_llama_decoder *self = (sn_llama_decoder *)user_data;
    if (from > 0 && !sn_llama_is_whole_(self, seq)) {
        return -1;
    }
    return llama_memory_seq_rm(llama_get_memory(self->context), (llama_seq_id)seq, (llama_pos)from, -1)
               ? 0
               : -2;
}

#if SN_LLAMA_ADAPTERS
/* Detaches and frees the adapter that sn_llama_set_adapter_() applied, if there is one. */
static inline void sn_llama_detach_(sn_llama_decoder *self) {
    if (self->adapter == NULL) {
        return;
    }
#if SN_LLAMA_ADAPTERS == 1
    (void)llama_rm_adapter_lora(self->context, self->adapter);
#else
    /* Ours is the only one: while it is applied, the context is the library's. */
    (void)llama_set_adapters_lora(self->context, NULL, 0, NULL);
#endif
    llama_adapter_lora_free(self->adapter);
    self->adapter = NULL;
}

static inline int32_t sn_llama_set_adapter_(void *user_data, const char *path, size_t len) {
    sn_llama_decoder *self = (sn_llama_decoder *)user_data;
#if SN_LLAMA_ADAPTERS != 1
    float scale = 1.0f;
#endif
    (void)len; /* A NUL follows the path. */
    sn_llama_detach_(self);
    if (path == NULL) {
        return 0;
    }
    self->adapter = llama_adapter_lora_init(self->model, path);
    if (self->adapter == NULL) {
        return -1;
    }
#if SN_LLAMA_ADAPTERS == 1
    return llama_set_adapter_lora(self->context, self->adapter, 1.0f);
#else
    return llama_set_adapters_lora(self->context, &self->adapter, 1, &scale);
#endif
}
#endif

/** The text of a special token, or none. */
static inline const char *sn_llama_text_(const struct llama_vocab *vocab, llama_token token) {
    return token >= 0 && token < llama_vocab_n_tokens(vocab) ? llama_vocab_get_text(vocab, token) : "";
}

/**
 * Makes a decoder of `context`, which was made from `model`. Returns NULL, or why it cannot be done
 * (a static text; there is nothing to free then).
 */
static inline const char *sn_llama_decoder_init(sn_llama_decoder *self, struct llama_model *model,
                                                struct llama_context *context) {
    const struct llama_vocab *vocab;
    uint32_t sequences, cells, positions;
    llama_token bos;
    memset(self, 0, sizeof *self);
    sn_decoder_init(&self->decoder, sizeof self->decoder);
    if (model == NULL || context == NULL || llama_get_model(context) != model) {
        return "the context is not of this model";
    }
    if (llama_model_is_recurrent(model) || llama_model_is_diffusion(model) ||
        llama_model_has_encoder(model) || llama_get_memory(context) == NULL) {
        return "the model does not keep a KV cache of sequences";
    }
    vocab = llama_model_get_vocab(model);
    sequences = llama_n_seq_max(context);
    cells = llama_n_ctx(context);
    positions = (uint32_t)llama_model_n_ctx_train(model);
#if SN_LLAMA_CTX_SEQ
    if (llama_n_ctx_seq(context) < cells) {
        return "the context must be made with kv_unified = true";
    }
#endif
    self->model = model;
    self->context = context;
    self->vocab = vocab;
    self->decoder.user_data = self;
    self->decoder.vocab_size = (uint32_t)llama_vocab_n_tokens(vocab);
    self->decoder.context_size = cells;
    self->decoder.sequence_limit = positions > 0 && positions < cells ? positions : cells;
    self->decoder.max_sequences = sequences;
    self->decoder.slots = sequences > 1 ? sequences / 2 : 1;
    self->decoder.max_batch = llama_n_batch(context);
    bos = llama_vocab_bos(vocab);
    self->decoder.bos = llama_vocab_get_add_bos(vocab) && bos >= 0 ? bos : -1;
    self->decoder.chat_template = llama_model_chat_template(model, NULL);
    self->decoder.bos_text = sn_llama_text_(vocab, bos);
    self->decoder.eos_text = sn_llama_text_(vocab, llama_vocab_eos(vocab));
    self->decoder.tokenize = sn_llama_tokenize_;
    self->decoder.piece = sn_llama_piece_;
    self->decoder.is_end = sn_llama_is_end_;
    self->decoder.decode = sn_llama_decode_;
    self->decoder.logits = sn_llama_logits_;
    self->decoder.copy_prefix = sn_llama_copy_prefix_;
    self->decoder.truncate = sn_llama_truncate_;
#if SN_LLAMA_ADAPTERS
    self->decoder.set_adapter = sn_llama_set_adapter_;
#endif
    self->batch = llama_batch_init((int32_t)self->decoder.max_batch, 0, 1);
    return NULL;
}

/**
 * Frees what init took. The model and the context stay the application's, with the sequences and the
 * adapters that they have. Free an answerer that uses the decoder before. Does nothing for NULL.
 */
static inline void sn_llama_decoder_free(sn_llama_decoder *self) {
    if (self == NULL || self->context == NULL) {
        return;
    }
#if SN_LLAMA_ADAPTERS
    sn_llama_detach_(self);
#endif
    llama_batch_free(self->batch);
    memset(self, 0, sizeof *self);
}

#ifdef __cplusplus
}
#endif

#endif /* SECONDNATURE_LLAMA_H */
