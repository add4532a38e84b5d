/** Tasks and questions. */
#ifndef SECONDNATURE_TASK_HPP
#define SECONDNATURE_TASK_HPP

#include "handle.hpp"

namespace secondnature {
inline namespace SECONDNATURE_ABI {

/** What is asked, and how answers are read and voted on. */
class Task : public detail::Handle<sn_task, sn_task_free> {
public:
    using Handle::Handle;

    /** The task that is built in under this name, or the one in this JSON file. */
    static Result<Task> load(std::string_view name_or_path) {
        return detail::make_object<Task>([&](sn_task **out, sn_error **err) {
            return sn_task_load(name_or_path.data(), name_or_path.size(), out, err);
        });
    }
    /** A task from JSON in memory. */
    static Result<Task> parse(std::string_view json) {
        return detail::make_object<Task>([&](sn_task **out, sn_error **err) {
            return sn_task_parse(json.data(), json.size(), out, err);
        });
    }
    /** The names of the tasks that are built in. */
    static std::vector<std::string_view> builtin() {
        std::vector<std::string_view> names;
        std::size_t len = 0;
        while (const char *name = sn_task_builtin(names.size(), &len)) {
            names.emplace_back(name, len);
        }
        return names;
    }

    std::string_view name() const noexcept {
        return detail::text_of([&](std::size_t *len) { return sn_task_name(get(), len); });
    }
    /** With the defaults written out: to look at, or to change and parse(). */
    std::string_view json() const noexcept {
        return detail::text_of([&](std::size_t *len) { return sn_task_json(get(), len); });
    }
};

/**
 * Questions with different ids.
 *
 *     sn::Questions questions;
 *     auto added = questions.add("Is the coin heads up?", "yes");
 */
class Questions : public detail::Handle<sn_questions, sn_questions_free> {
public:
    using Handle::Handle;

    /** None yet. */
    Questions() noexcept : Handle(sn_questions_new()) {}

    /** Reads a file with one question a line, as JSON or plain text. */
    static Result<Questions> read(std::string_view path) {
        return detail::make_object<Questions>([&](sn_questions **out, sn_error **err) {
            return sn_questions_read(path.data(), path.size(), out, err);
        });
    }
    /** Reads from memory what such a file holds. */
    static Result<Questions> parse(std::string_view lines) {
        return detail::make_object<Questions>([&](sn_questions **out, sn_error **err) {
            return sn_questions_parse(lines.data(), lines.size(), out, err);
        });
    }
    /** Generates `n` questions of a kind such as "coin-flip", with their gold answers. */
    static Result<Questions> generate(std::string_view kind, std::size_t n, std::uint64_t seed, sn_split split) {
        return detail::make_object<Questions>([&](sn_questions **out, sn_error **err) {
            return sn_questions_generate(kind.data(), kind.size(), n, seed, split, out, err);
        });
    }

    /** Adds a question; `gold`, its gold answer, is only measured against; without an `id` it gets one. */
    Result<void> add(std::string_view question, std::optional<std::string_view> gold = std::nullopt,
                     std::optional<std::string_view> id = std::nullopt) {
        const detail::OptionalText name(id);
        const detail::OptionalText right(gold);
        return detail::invoke_void([&](sn_error **err) {
            return sn_questions_add(get(), name.data, name.len, question.data(), question.size(), right.data,
                                    right.len, err);
        });
    }

    std::size_t count() const noexcept { return sn_questions_count(get()); }
};

} // namespace SECONDNATURE_ABI
} // namespace secondnature

#endif // SECONDNATURE_TASK_HPP
