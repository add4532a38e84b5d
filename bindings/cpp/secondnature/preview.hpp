/** A look at a few questions before hours of work. */
#ifndef SECONDNATURE_PREVIEW_HPP
#define SECONDNATURE_PREVIEW_HPP

#include <cstddef>
#include <optional>
#include <string_view>
#include <utility>

#include "detail/call_context.hpp"
#include "model.hpp"
#include "options.hpp"
#include "task.hpp"

namespace secondnature {
inline namespace SECONDNATURE_ABI {

/** What is wrong with a task on a model, or worth knowing. The texts are the preview's. */
struct Finding {
    /** Such as "copies_prompt". */
    std::string_view kind;
    /** The step that shows it, where it is about one step. */
    std::optional<std::string_view> step;
    /** What was found, with the figures. */
    std::string_view message;
    /** What to change. */
    std::string_view advice;
    /** Whether it is a fault, or only worth knowing. */
    bool is_fault;
    /** Whether curation stops at it unless it is forced to go on. */
    bool stops;
};

/**
 * What a look at a few questions has shown.
 *
 *     const auto preview = sn::Preview::of(model, task, questions);
 *     for (std::size_t i = 0; i < preview->findings(); i++) std::cout << preview->finding(i).message << '\n';
 *
 * with the result checked.
 */
class Preview : public detail::Handle<sn_preview, sn_preview_free> {
public:
    using Handle::Handle;

    /** Asks a few of `questions` directly and samples a few answers of each. Takes about a minute. */
    static Result<Preview> of(const Model &model, const Task &task, const Questions &questions,
                              const PreviewParams &params = {}) {
        detail::CallContext context(params.cancel);
        detail::OptionStorage storage;
        sn_preview_params raw;
        detail::set_options(raw, params, storage);
        context.progress(raw, params.progress);
        context.decoder(raw, params.decoder);
        context.cancel(raw);
        sn_preview *made = nullptr;
        std::optional<Error> error = context.errors().finish(detail::invoke([&](sn_error **err) {
            return sn_preview_new(model.get(), task.get(), questions.get(), &raw, &made, err);
        }));
        Preview preview(made);
        if (error) {
            return std::move(*error);
        }
        return preview;
    }

    /** The number of questions for which there was no time before the limit or a cancellation. */
    std::size_t unseen() const noexcept { return sn_preview_unseen(get()); }
    /** The number of findings, the most severe first. */
    std::size_t findings() const noexcept { return sn_preview_findings(get()); }
    /** Finding number `index`; empty past the last. */
    Finding finding(std::size_t index) const noexcept {
        const auto text = [&](auto call) {
            return detail::text_of([&](std::size_t *len) { return call(get(), index, len); });
        };
        const std::string_view step = text(sn_preview_finding_step);
        return {text(sn_preview_finding_kind),
                step.data() != nullptr ? std::optional(step) : std::nullopt,
                text(sn_preview_finding_message),
                text(sn_preview_finding_advice),
                sn_preview_finding_is_fault(get(), index) != 0,
                sn_preview_finding_stops(get(), index) != 0};
    }
    /** Everything, as one JSON object. */
    std::string_view json() const noexcept {
        return detail::text_of([&](std::size_t *len) { return sn_preview_json(get(), len); });
    }
    /** Everything, as an HTML page that needs no other file. */
    std::string_view html() const noexcept {
        return detail::text_of([&](std::size_t *len) { return sn_preview_html(get(), len); });
    }
};

} // namespace SECONDNATURE_ABI
} // namespace secondnature

#endif // SECONDNATURE_PREVIEW_HPP
