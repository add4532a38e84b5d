/** Options of the calls. */
#ifndef SECONDNATURE_OPTIONS_HPP
#define SECONDNATURE_OPTIONS_HPP

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "callbacks.hpp"
#include "cancel.hpp"
#include "decoder.hpp"
#include "handle.hpp"

namespace secondnature {
inline namespace SECONDNATURE_ABI {

/**
 * What distill() is to do. Zeros and empty texts mean the defaults; see sn_distill_params.
 */
struct DistillParams {
    /** Required: the name of a built-in task, or the path of a JSON file. */
    std::string task;
    /** Required: path of the questions to learn from. */
    std::string questions;
    /** Path of held-out questions to measure on. */
    std::string eval;
    /** Required: the run directory; the same run in it is resumed. */
    std::string out_dir;
    std::uint64_t seed = 0;
    std::uint32_t rank = 0;
    std::uint32_t epochs = 0;
    std::uint32_t threads = 0;
    std::uint32_t slots = 0;
    /** Go on where distilling does not seem to pay. */
    bool force = false;
    std::uint32_t samples = 0;
    double threshold = 0;
    sn_weights weights = SN_WEIGHTS_AUTO;
    std::uint64_t max_memory = 0;
    std::uint32_t least_kept = 0;
    double least_share = 0;
    double lr = 0;
    OnProgress progress;
    OnVerdict verdict;
    OnStep step;
    Verifier verifier;
    DecoderRef decoder;
    std::optional<Cancel> cancel;
};

/** How a run is curated. Zeros mean the defaults; see sn_curate_params. */
struct CurateParams {
    std::uint32_t threads = 0;
    /** Sequences sampled at once. */
    std::uint32_t slots = 0;
    sn_weights weights = SN_WEIGHTS_AUTO;
    /** Most samples per question. */
    std::uint32_t samples = 0;
    /** Share of the samples that must agree. */
    double threshold = 0;
    /** Bytes for model, expanded weights and KV cache together. */
    std::uint64_t max_memory = 0;
    /** Reasons to stop early, switched off: the answer is complete, the vote has converged, no answer can win any more. */
    bool no_stop_answer = false;
    bool no_stop_settled = false;
    bool no_stop_threshold = false;
    OnProgress progress;
    OnVerdict verdict;
    Verifier verifier;
    DecoderRef decoder;
    std::optional<Cancel> cancel;
};

/** How an adapter is trained. What is not set has its default; see sn_train_params. */
struct TrainParams {
    std::uint64_t seed = 0;
    std::uint32_t rank = 0;
    std::uint32_t epochs = 0;
    /** Examples per optimiser step. */
    std::uint32_t batch = 0;
    /** Epochs without gain before training stops; 0 never stops early. */
    std::optional<std::uint32_t> patience;
    std::uint64_t max_steps = 0;
    /** The adapter counts alpha/rank times. */
    double alpha = 0;
    double lr = 0;
    double lora_plus = 0;
    double dropout = 0;
    /** Share of the steps that warm up. */
    std::optional<double> warmup;
    /** Largest norm of the gradient; 0 for no limit. */
    std::optional<double> clip;
    double weight_decay = 0;
    /** Share of the kept questions held out to choose the best moment. */
    std::optional<double> held_out;
    bool rslora = false;
    sn_schedule schedule = SN_SCHEDULE_COSINE;
    sn_precision precision = SN_PRECISION_F32;
    sn_arithmetic arithmetic = SN_ARITHMETIC_AUTO;
    sn_memory memory = SN_MEMORY_AUTO;
    /** Most tokens computed at once. */
    std::uint32_t max_tokens = 0;
    std::uint32_t threads = 0;
    /** Modules that get an adapter, such as "attn_q,attn_v"; empty: all linear ones. */
    std::string modules;
    /** Path of an adapter to go on from. */
    std::string start;
    /** Other run directories whose kept answers are learnt, too. */
    std::vector<std::string> also;
    /** Path of unrelated prompts against forgetting, and their share of the examples. */
    std::string replay;
    double replay_share = 0;
    OnProgress progress;
    OnStep step;
    DecoderRef decoder;
    std::optional<Cancel> cancel;
};

/** How a run is decided on and measured: both alike. See sn_evaluate_params. */
struct EvaluateParams {
    std::uint32_t threads = 0;
    std::uint32_t slots = 0;
    sn_weights weights = SN_WEIGHTS_AUTO;
    std::uint32_t samples = 0;
    double threshold = 0;
    std::uint64_t max_memory = 0;
    bool no_stop_answer = false;
    bool no_stop_settled = false;
    /** Deciding: fewest kept questions, and their least share, below 0 for none. */
    std::uint32_t least_kept = 0;
    double least_share = 0;
    /** Evaluating: path of the adapter to measure; empty: the run's own. */
    std::string adapter;
    OnProgress progress;
    OnVerdict verdict;
    Verifier verifier;
    DecoderRef decoder;
    std::optional<Cancel> cancel;
};

/** How an Answerer is set up. Zeros mean the defaults; see sn_answer_params. */
struct AnswerParams {
    /** The probability from which direct answers are trusted; above 1: always reason. */
    double threshold = 0;
    std::uint64_t seed = 0;
    std::uint64_t max_memory = 0;
    std::uint32_t threads = 0;
    std::uint32_t slots = 0;
    sn_weights weights = SN_WEIGHTS_AUTO;
    /** Must live as long as the answerer. */
    DecoderRef decoder;
};

namespace detail {

/** What a params struct points to beside the texts of its C++ form. */
struct OptionStorage {
    std::vector<const char *> paths;
    std::vector<std::size_t> path_lens;
};

/** The options of sampling and voting that three params structs have. */
template <typename Raw, typename Params>
void set_sampling(Raw &raw, const Params &params) noexcept {
    raw.threads = params.threads;
    raw.slots = params.slots;
    raw.weights = params.weights;
    raw.max_memory = params.max_memory;
    raw.samples = params.samples;
    raw.threshold = params.threshold;
}

inline void set_options(sn_curate_params &raw, const CurateParams &params, OptionStorage &) noexcept {
    sn_curate_params_init(&raw, sizeof raw);
    set_sampling(raw, params);
    raw.no_stop_answer = params.no_stop_answer;
    raw.no_stop_settled = params.no_stop_settled;
    raw.no_stop_threshold = params.no_stop_threshold;
}

inline void set_options(sn_evaluate_params &raw, const EvaluateParams &params, OptionStorage &) noexcept {
    sn_evaluate_params_init(&raw, sizeof raw);
    set_sampling(raw, params);
    raw.no_stop_answer = params.no_stop_answer;
    raw.no_stop_settled = params.no_stop_settled;
    raw.least_kept = params.least_kept;
    raw.least_share = params.least_share;
    set_text(params.adapter, raw.adapter, raw.adapter_len);
}

inline void set_options(sn_distill_params &raw, const DistillParams &params, OptionStorage &) noexcept {
    sn_distill_params_init(&raw, sizeof raw);
    set_sampling(raw, params);
    set_text(params.task, raw.task, raw.task_len);
    set_text(params.questions, raw.questions, raw.questions_len);
    set_text(params.eval, raw.eval, raw.eval_len);
    set_text(params.out_dir, raw.out_dir, raw.out_dir_len);
    raw.seed = params.seed;
    raw.rank = params.rank;
    raw.epochs = params.epochs;
    raw.lr = params.lr;
    raw.force = params.force;
    raw.least_kept = params.least_kept;
    raw.least_share = params.least_share;
}

inline void set_options(sn_train_params &raw, const TrainParams &params, OptionStorage &storage) {
    sn_train_params_init(&raw, sizeof raw);
    raw.seed = params.seed;
    raw.rank = params.rank;
    raw.epochs = params.epochs;
    raw.batch = params.batch;
    raw.patience = params.patience.value_or(raw.patience);
    raw.max_steps = params.max_steps;
    raw.alpha = params.alpha;
    raw.lr = params.lr;
    raw.lora_plus = params.lora_plus;
    raw.dropout = params.dropout;
    raw.warmup = params.warmup.value_or(raw.warmup);
    raw.clip = params.clip.value_or(raw.clip);
    raw.weight_decay = params.weight_decay;
    raw.held_out = params.held_out.value_or(raw.held_out);
    raw.rslora = params.rslora;
    raw.schedule = params.schedule;
    raw.precision = params.precision;
    raw.arithmetic = params.arithmetic;
    raw.memory = params.memory;
    raw.max_tokens = params.max_tokens;
    raw.threads = params.threads;
    set_text(params.modules, raw.modules, raw.modules_len);
    set_text(params.start, raw.start, raw.start_len);
    for (const std::string &path : params.also) {
        storage.paths.push_back(path.data());
        storage.path_lens.push_back(path.size());
    }
    raw.also = storage.paths.data();
    raw.also_len = storage.path_lens.data();
    raw.also_count = storage.paths.size();
    set_text(params.replay, raw.replay, raw.replay_len);
    raw.replay_share = params.replay_share;
}

inline void set_options(sn_answer_params &raw, const AnswerParams &params, OptionStorage &) noexcept {
    sn_answer_params_init(&raw, sizeof raw);
    raw.threshold = params.threshold;
    raw.seed = params.seed;
    raw.max_memory = params.max_memory;
    raw.threads = params.threads;
    raw.slots = params.slots;
    raw.weights = params.weights;
}

} // namespace detail

} // namespace SECONDNATURE_ABI
} // namespace secondnature

#endif // SECONDNATURE_OPTIONS_HPP
