/** Answers: direct where the model is sure, reasoned where it is not. */
#ifndef SECONDNATURE_ANSWERER_HPP
#define SECONDNATURE_ANSWERER_HPP

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "detail/c_decoder.hpp"
#include "model.hpp"
#include "options.hpp"
#include "task.hpp"

namespace secondnature {
inline namespace SECONDNATURE_ABI {

namespace detail {

/** A decoder that lives as long as the Answerer that calls it. */
struct DecoderBinding {
    explicit DecoderBinding(Decoder *decoder) {
        if (decoder != nullptr) {
            c_decoder.emplace(*decoder, errors);
        }
    }

    CallbackErrors errors;
    std::optional<CDecoder> c_decoder;
};

} // namespace detail

/** An answer and how it came about. */
struct Answer {
    /** None where none could be read from what the model wrote. */
    std::optional<std::string> text;
    /** How sure it is, 0 to 1. */
    double confidence;
    /** SN_ROUTE_DIRECT or SN_ROUTE_REASONED. */
    sn_route route;
    /** Every token generated for it. */
    std::uint64_t tokens;
};

/**
 * A loaded model that answers one question after another: directly where it is sure, by reasoning
 * where it is not.
 *
 *     auto answerer = sn::Answerer::load(model, "run/adapter.gguf");
 *     auto answer = answerer->ask("Is the coin still heads up?");
 *
 * with both results checked.
 */
class Answerer {
public:
    /**
     * Loads `model`, with an adapter unless its path is empty, to answer questions of `task`, or of
     * the adapter's own. Takes seconds. Model and task need not outlive the call.
     */
    static Result<Answerer> load(const Model &model, std::string_view adapter_path, const Task *task = nullptr,
                                 const AnswerParams &params = {});

    Answerer(Answerer &&) noexcept = default;
    Answerer &operator=(Answerer &&other) noexcept {
        // The handle first: freeing it may call the decoder.
        handle_ = std::move(other.handle_);
        binding_ = std::move(other.binding_);
        return *this;
    }
    ~Answerer() = default;

    /** Answers a question; the same one gets the same answer every time. */
    Result<Answer> ask(std::string_view question) { return ask(question, nullptr); }
    Result<Answer> ask(std::string_view question, const Cancel &cancel) { return ask(question, cancel.get()); }

    const sn_answerer *get() const noexcept { return handle_.get(); }
    sn_answerer *get() noexcept { return handle_.get(); }

private:
    Answerer(std::unique_ptr<detail::DecoderBinding> binding, sn_answerer *owned) noexcept
        : binding_(std::move(binding)), handle_(owned) {}
    Result<Answer> ask(std::string_view question, const sn_cancel *cancel);

    std::unique_ptr<detail::DecoderBinding> binding_;
    detail::Handle<sn_answerer, sn_answerer_free> handle_;
};

inline Result<Answerer> Answerer::load(const Model &model, std::string_view adapter_path, const Task *task,
                                       const AnswerParams &params) {
    auto binding = std::make_unique<detail::DecoderBinding>(params.decoder.decoder());
    detail::OptionStorage storage;
    sn_answer_params raw;
    detail::set_options(raw, params, storage);
    raw.decoder = binding->c_decoder ? binding->c_decoder->raw() : params.decoder.raw();
    sn_answerer *made = nullptr;
    const char *path = adapter_path.empty() ? nullptr : adapter_path.data();
    std::optional<Error> error = binding->errors.finish(detail::invoke([&](sn_error **err) {
        return sn_answerer_new(model.get(), task != nullptr ? task->get() : nullptr, path,
                               adapter_path.size(), &raw, &made, err);
    }));
    Answerer answerer(std::move(binding), made);
    if (error) {
        return std::move(*error);
    }
    return answerer;
}

inline Result<Answer> Answerer::ask(std::string_view question, const sn_cancel *cancel) {
    sn_answer *made = nullptr;
    const auto asked = [&](sn_error **err) {
        return sn_answerer_ask(get(), question.data(), question.size(), cancel, &made, err);
    };
    std::optional<Error> error = detail::invoke(asked);
    if (binding_) {
        error = binding_->errors.finish(std::move(error));
    }
    const detail::Handle<sn_answer, sn_answer_free> answer(made);
    if (error) {
        return std::move(*error);
    }
    const std::string_view text =
        detail::text_of([&](std::size_t *len) { return sn_answer_text(answer.get(), len); });
    return Answer{text.data() != nullptr ? std::optional<std::string>(text) : std::nullopt,
                  sn_answer_confidence(answer.get()), sn_answer_route(answer.get()),
                  sn_answer_tokens(answer.get())};
}

} // namespace SECONDNATURE_ABI
} // namespace secondnature

#endif // SECONDNATURE_ANSWERER_HPP
