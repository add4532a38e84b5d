/** The whole pipeline in one call, and a run stage by stage. */
#ifndef SECONDNATURE_RUN_HPP
#define SECONDNATURE_RUN_HPP

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "detail/call_context.hpp"
#include "figures.hpp"
#include "model.hpp"
#include "options.hpp"
#include "task.hpp"

namespace secondnature {
inline namespace SECONDNATURE_ABI {

/**
 * Turns the slow, voted answers of `model` into an adapter that answers directly. Minutes to hours; the
 * same call resumes after an interruption. Several may run at once on one model, each in its own out_dir.
 * See sn_distill().
 */
Result<Report> distill(const Model &model, const DistillParams &params);

/** Chooses the System 2 program without labels. See sn_tune(). */
Result<Choice> tune(const Model &model, const TuneParams &params);

/**
 * A run directory and its stages, each of which resumes what it has finished:
 *
 *     auto run = sn::Run::create(model, task, questions, "run", 1);
 *     auto curation = run->curate();           // samples and votes
 *     auto decision = run->decide(&held_out);
 *     if (decision && decision->worthwhile) {
 *         auto training = run->train();        // writes adapter.gguf
 *         auto evaluation = run->evaluate(held_out);
 *         if (evaluation && evaluation->worthwhile) use(run->adapter_path());
 *     }
 *
 * with every result checked. The end of a Run unlocks its directory.
 */
class Run : public detail::Handle<sn_run, sn_run_free> {
public:
    using Handle::Handle;

    /** Makes the run directory, or opens it to resume the same run. */
    static Result<Run> create(const Model &model, const Task &task, const Questions &questions,
                              std::string_view out_dir, std::uint64_t seed = 0) {
        return detail::make_object<Run>([&](sn_run **out, sn_error **err) {
            return sn_run_create(model.get(), task.get(), questions.get(), out_dir.data(), out_dir.size(), seed,
                                 out, err);
        });
    }
    /** Opens an existing run directory; `model_path` is where its model is now, if that has moved. */
    static Result<Run> open(std::string_view out_dir, std::optional<std::string_view> model_path = std::nullopt) {
        return detail::make_object<Run>([&](sn_run **out, sn_error **err) {
            const detail::OptionalText path(model_path);
            return sn_run_open(out_dir.data(), out_dir.size(), path.data, path.len, out, err);
        });
    }

    /** Samples every training question until its vote has converged. */
    Result<Curation> curate(const CurateParams &params = {});
    /** Decides whether distilling is worthwhile, with held-out questions or, given null, without. */
    Result<Decision> decide(const Questions *eval = nullptr, const EvaluateParams &params = {});
    /** Trains the adapter on the accepted answers, writes and verifies it. */
    Result<Training> train(const TrainParams &params = {});
    /** Measures direct answers, votes and the distilled model on held-out questions. */
    Result<Evaluation> evaluate(const Questions &eval, const EvaluateParams &params = {});
    /** Writes report.json, and returns its text. */
    Result<std::string> report() {
        return detail::invoke_json([&](char **json, std::size_t *len, sn_error **err) {
            return sn_run_report(get(), json, len, err);
        });
    }
    /** The path of the adapter, once there is one that is finished and verified. */
    std::optional<std::string_view> adapter_path() const noexcept {
        const std::string_view path =
            detail::text_of([&](std::size_t *len) { return sn_run_adapter_path(get(), len); });
        return path.data() != nullptr ? std::optional(path) : std::nullopt;
    }
};

namespace detail {

template <typename Raw, typename Params>
void attach_sampling(Raw &raw, const Params &params, CallContext &context) noexcept {
    context.progress(raw, params.progress);
    context.verdict(raw, params.verdict);
    context.verifier(raw, params.verifier);
    context.decoder(raw, params.decoder);
    context.cancel(raw);
}

inline void attach(sn_curate_params &raw, const CurateParams &params, CallContext &context) noexcept {
    attach_sampling(raw, params, context);
}

inline void attach(sn_evaluate_params &raw, const EvaluateParams &params, CallContext &context) noexcept {
    attach_sampling(raw, params, context);
}

inline void attach(sn_distill_params &raw, const DistillParams &params, CallContext &context) noexcept {
    attach_sampling(raw, params, context);
    context.step(raw, params.step);
}

inline void attach(sn_tune_params &raw, const TuneParams &params, CallContext &context) noexcept {
    context.progress(raw, params.progress);
    context.decoder(raw, params.decoder);
    context.cancel(raw);
}

inline void attach(sn_train_params &raw, const TrainParams &params, CallContext &context) noexcept {
    context.progress(raw, params.progress);
    context.step(raw, params.step);
    context.decoder(raw, params.decoder);
    context.cancel(raw);
}

/** Makes a call with params and callbacks, which fills in figures and their JSON. */
template <typename Raw, typename Figures, typename Params, typename Call>
Result<Figures> run_stage(const Params &params, Call call) {
    CallContext context(params.cancel);
    OptionStorage storage;
    Raw raw;
    set_options(raw, params, storage);
    attach(raw, params, context);
    Figures figures;
    char *text = nullptr;
    std::size_t len = 0;
    std::optional<Error> error =
        invoke([&](sn_error **err) { return call(&raw, figures, &text, &len, err); });
    const OwnedText owned(text);
    error = context.errors().finish(std::move(error));
    if (error) {
        return std::move(*error);
    }
    figures.json.assign(text, len);
    return figures;
}

} // namespace detail

inline Result<Report> distill(const Model &model, const DistillParams &params) {
    return detail::run_stage<sn_distill_params, Report>(params, [&](auto *raw, Report &report, auto... out) {
        return sn_distill(model.get(), raw, &report, out...);
    });
}

inline Result<Choice> tune(const Model &model, const TuneParams &params) {
    return detail::run_stage<sn_tune_params, Choice>(params, [&](auto *raw, Choice &choice, auto... out) {
        return sn_tune(model.get(), raw, &choice, out...);
    });
}

inline Result<Curation> Run::curate(const CurateParams &params) {
    return detail::run_stage<sn_curate_params, Curation>(
        params, [&](auto *raw, Curation &curation, auto... out) {
            return sn_run_curate(get(), raw, &curation, out...);
        });
}

inline Result<Decision> Run::decide(const Questions *eval, const EvaluateParams &params) {
    return detail::run_stage<sn_evaluate_params, Decision>(
        params, [&](auto *raw, Decision &decision, auto... out) {
            std::int32_t worthwhile = 0;
            const sn_status status =
                sn_run_decide(get(), eval != nullptr ? eval->get() : nullptr, raw, &worthwhile, out...);
            decision.worthwhile = worthwhile != 0;
            return status;
        });
}

inline Result<Training> Run::train(const TrainParams &params) {
    return detail::run_stage<sn_train_params, Training>(
        params, [&](auto *raw, Training &training, auto... out) {
            return sn_run_train(get(), raw, &training, out...);
        });
}

inline Result<Evaluation> Run::evaluate(const Questions &eval, const EvaluateParams &params) {
    return detail::run_stage<sn_evaluate_params, Evaluation>(
        params, [&](auto *raw, Evaluation &evaluation, auto... out) {
            return sn_run_evaluate(get(), eval.get(), raw, &evaluation, out...);
        });
}

} // namespace SECONDNATURE_ABI
} // namespace secondnature

#endif // SECONDNATURE_RUN_HPP
