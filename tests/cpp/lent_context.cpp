// What a decoder over an application's context leaves alone: the application's sequences and the LoRA
// that it has applied. Built by .ci/test-host against the application's llama.cpp.
// Arguments: MODEL ADAPTER.
#include <cmath>
#include <vector>

#include <secondnature_llama.h>

#include "check.h"

namespace {

llama_context *context;

// Feeds `token` at `pos` of sequence `seq`, and returns the logits after it.
std::vector<float> feed(llama_token token, llama_pos pos, llama_seq_id seq) {
    llama_batch batch = llama_batch_init(1, 0, 1);
    batch.n_tokens = 1;
    batch.token[0] = token;
    batch.pos[0] = pos;
    batch.n_seq_id[0] = 1;
    batch.seq_id[0][0] = seq;
    batch.logits[0] = 1;
    CHECK(llama_decode(context, batch) == 0);
    const float *logits = llama_get_logits_ith(context, 0);
    CHECK(logits != nullptr);
    const int32_t width = llama_vocab_n_tokens(llama_model_get_vocab(llama_get_model(context)));
    llama_batch_free(batch);
    return std::vector<float>(logits, logits + width);
}

llama_pos last(llama_seq_id seq) { return llama_memory_seq_pos_max(llama_get_memory(context), seq); }

double distance(const std::vector<float> &a, const std::vector<float> &b) {
    double most = 0;
    for (std::size_t i = 0; i < a.size(); i++) {
        most = std::fmax(most, std::fabs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
    }
    return most;
}

void apply(llama_adapter_lora *adapter) {
#if SN_LLAMA_ADAPTERS == 1
    if (adapter != nullptr) {
        CHECK(llama_set_adapter_lora(context, adapter, 1.0f) == 0);
    } else {
        llama_clear_adapter_lora(context);
    }
#else
    float scale = 1.0f;
    CHECK(llama_set_adapters_lora(context, &adapter, adapter != nullptr ? 1 : 0, &scale) == 0);
#endif
}

} // namespace

int main(int argc, char **argv) {
    CHECK(argc == 3);
    llama_log_set([](ggml_log_level, const char *, void *) {}, nullptr);
    llama_backend_init();
    llama_model *model = llama_model_load_from_file(argv[1], llama_model_default_params());
    CHECK(model != nullptr);
    llama_context_params wanted = llama_context_default_params();
    wanted.n_ctx = 512;
    wanted.n_seq_max = 4;
    wanted.kv_unified = true;
    context = llama_init_from_model(model, wanted);
    CHECK(context != nullptr);
    llama_adapter_lora *own = llama_adapter_lora_init(model, argv[2]);
    CHECK(own != nullptr);

    const std::vector<float> plain = feed(65, 0, 0);
    apply(own);
    const std::vector<float> adapted = feed(65, 0, 1);
    CHECK(distance(plain, adapted) > 1e-3);

    // Making and freeing a decoder touches nothing.
    sn_llama_decoder mine;
    CHECK(sn_llama_decoder_init(&mine, model, context) == nullptr);
    sn_llama_decoder_free(&mine);
    CHECK(last(0) == 0 && last(1) == 0);
    CHECK(distance(feed(65, 0, 2), adapted) < 1e-4);

    // Applying the library's adapter keeps the sequences, and taking it off detaches that one.
    apply(nullptr);
    CHECK(sn_llama_decoder_init(&mine, model, context) == nullptr);
    CHECK(mine.decoder.set_adapter(mine.decoder.user_data, argv[2], strlen(argv[2])) == 0);
    CHECK(last(0) == 0 && last(1) == 0 && last(2) == 0);
    CHECK(distance(feed(65, 0, 3), adapted) < 1e-4);
    CHECK(mine.decoder.set_adapter(mine.decoder.user_data, nullptr, 0) == 0);
    CHECK(last(0) == 0 && last(1) == 0 && last(2) == 0 && last(3) == 0);
    CHECK(mine.decoder.truncate(mine.decoder.user_data, 3, 0) == 0);
    CHECK(last(3) == -1 && last(0) == 0);
    CHECK(distance(feed(65, 0, 3), plain) < 1e-4);

    // What the application applies after a call is its own, also when the decoder is freed later.
    apply(own);
    sn_llama_decoder_free(&mine);
    CHECK(mine.decoder.truncate == nullptr && last(0) == 0);
    llama_memory_seq_rm(llama_get_memory(context), 3, -1, -1);
    CHECK(distance(feed(65, 0, 3), adapted) < 1e-4);

    // One that is freed while the library's adapter is applied takes that along.
    apply(nullptr);
    CHECK(sn_llama_decoder_init(&mine, model, context) == nullptr);
    CHECK(mine.decoder.set_adapter(mine.decoder.user_data, argv[2], strlen(argv[2])) == 0);
    sn_llama_decoder_free(&mine);
    llama_memory_seq_rm(llama_get_memory(context), 3, -1, -1);
    CHECK(distance(feed(65, 0, 3), plain) < 1e-4);

    llama_free(context);
    llama_model_free(model);
    llama_backend_free();
    puts("ok");
    return 0;
}
