/**
 * secondnature for C++17: everything in secondnature.h, with destructors, lambdas and results that
 * cannot be overlooked. Header only.
 *
 *     #include <secondnature.hpp>
 *     namespace sn = secondnature;
 *
 *     int main() {
 *         const auto model = sn::Model::open("base.gguf");
 *         if (!model) return std::fprintf(stderr, "%s\n", model.message().c_str()), 1;
 *         sn::DistillParams params;
 *         params.task = "coin-flip";
 *         params.questions = "train.jsonl";
 *         params.eval = "eval.jsonl";
 *         params.out_dir = "run";
 *         params.progress = [](const sn::Progress &p) { std::printf("%s\n", std::string(p.note).c_str()); };
 *         const auto report = sn::distill(*model, params);
 *         if (!report) return std::fprintf(stderr, "%s\n", report.message().c_str()), 1;
 *         std::puts(report->c_str());
 *     }
 *
 * secondnature.h is the manual of what everything does, of units and of defaults; this header says
 * what C++ adds. It has the same order: one call; stages; a host's own inference, checks and log.
 *
 * Rules that hold for everything here:
 * - A call that can fail returns a Result: what it promised, or an Error with a status, a message
 *   and its causes. The compiler warns where one is dropped.
 * - Nothing here throws, memory running out aside, and the header compiles with -fno-exceptions. Whoever
 *   prefers exceptions defines SECONDNATURE_EXCEPTIONS before including it and says `.value()`, which
 *   gives the result or throws: `auto model = sn::Model::open("base.gguf").value();`. Files that hand
 *   these objects to each other are compiled alike; else they do not link.
 * - Objects own their handle, can be moved and not copied (Cancel can), and free it at their end. One
 *   that was moved from gives SN_STATUS_INVALID_ARGUMENT. A `const` object may be used by any number
 *   of threads at once, another by one.
 * - Text is UTF-8. A std::string_view that an object gives is valid as long as that object is, one
 *   that a callback is given during that callback.
 * - A callback may throw, where exceptions are on. The exception never passes through the library: it
 *   stops the work, and the call that the callback belongs to fails with it. Error::exception() is
 *   it, and `.value()` throws it on. Whatever the work had finished is kept. A Cancel that was given
 *   to the call has then been requested; without one the call stops by itself.
 */
#ifndef SECONDNATURE_HPP
#define SECONDNATURE_HPP

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <iterator>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "secondnature.h"

// What differs by how a file is compiled must not share its names with the other way.
#if defined(__cpp_exceptions) || defined(_CPPUNWIND)
#define SECONDNATURE_CATCHES 1
#else
#define SECONDNATURE_CATCHES 0
#endif
#if defined(SECONDNATURE_EXCEPTIONS) && !SECONDNATURE_CATCHES
#error "SECONDNATURE_EXCEPTIONS is defined, but exceptions are switched off (-fno-exceptions)"
#elif defined(SECONDNATURE_EXCEPTIONS)
#define SECONDNATURE_WAY throwing
#elif SECONDNATURE_CATCHES
#define SECONDNATURE_WAY catching
#else
#define SECONDNATURE_WAY without_exceptions
#endif

namespace secondnature {
inline namespace SECONDNATURE_WAY {

/* ---- 0. Results, and what lends and owns. ---- */

/** Why something failed. Since 0.1. */
class Error {
public:
    /** A failure of your own, for a Decoder or a verifier to return. */
    explicit Error(std::string message) : Error(SN_STATUS_ENGINE, std::move(message)) {}
    Error(sn_status status, std::string message, std::vector<std::string> causes = {},
          std::exception_ptr exception = nullptr)
        : status_(status), message_(std::move(message)), causes_(std::move(causes)),
          exception_(std::move(exception)) {}

    /** What the caller can do about it. */
    sn_status status() const noexcept { return status_; }
    /** One line: what was expected, what was found, where, and what to do. */
    const std::string &message() const noexcept { return message_; }
    /** What caused it, the nearest cause first. */
    const std::vector<std::string> &causes() const noexcept { return causes_; }
    /** What a callback threw, or null. */
    const std::exception_ptr &exception() const noexcept { return exception_; }
#ifdef SECONDNATURE_EXCEPTIONS
    /** Throws what a callback threw, or else an Exception. */
    [[noreturn]] void raise() const;
#endif

private:
    sn_status status_;
    std::string message_;
    std::vector<std::string> causes_;
    std::exception_ptr exception_;
};

#ifdef SECONDNATURE_EXCEPTIONS
/** What `.value()` of a failed Result throws. Only with SECONDNATURE_EXCEPTIONS. Since 0.1. */
class Exception : public std::runtime_error {
public:
    explicit Exception(Error error)
        : std::runtime_error(error.message()), error_(std::make_shared<const Error>(std::move(error))) {}

    const Error &error() const noexcept { return *error_; }
    sn_status status() const noexcept { return error_->status(); }
    const std::vector<std::string> &causes() const noexcept { return error_->causes(); }

private:
    std::shared_ptr<const Error> error_; // Shared, so that copying does not throw.
};

inline void Error::raise() const {
    if (exception_) {
        std::rethrow_exception(exception_);
    }
    throw Exception(*this);
}
#endif

template <typename T>
class Result;

namespace detail {

/** Ends the program: a Result was used as what it is not. */
template <typename T>
const T *misused(const Error *error) noexcept {
    std::fprintf(stderr, "secondnature: a Result was used without a look at whether it failed: %s\n",
                 error != nullptr ? error->message().c_str() : "it did not");
    std::abort();
}

/** What a Result<T> can be made of. No pointers for bool: a text is no answer to a question. */
template <typename T, typename U, typename Plain = std::decay_t<U>>
inline constexpr bool is_value =
    std::is_convertible_v<U, T> && !std::is_same_v<Plain, Result<T>> && !std::is_same_v<Plain, Error> &&
    (!std::is_same_v<T, bool> || std::is_arithmetic_v<Plain>);

/** What Result<T> and Result<void> have in common. */
template <typename Self>
class Outcome {
public:
    /** Whether it worked. */
    explicit operator bool() const noexcept { return ok(); }
    bool ok() const noexcept { return failure() == nullptr; }
    /** SN_STATUS_OK where it worked. */
    sn_status status() const noexcept { return ok() ? SN_STATUS_OK : failure()->status(); }
    /** Empty where it worked. */
    const std::string &message() const {
        static const std::string none;
        return ok() ? none : failure()->message();
    }
    /** Empty where it worked. */
    const std::vector<std::string> &causes() const {
        static const std::vector<std::string> none;
        return ok() ? none : failure()->causes();
    }
    /** Why it failed; ends the program where it did not. */
    const Error &error() const noexcept {
        return ok() ? *misused<Error>(nullptr) : *failure();
    }

private:
    const Error *failure() const noexcept { return static_cast<const Self *>(this)->failure(); }
};

} // namespace detail

/**
 * A T, or why there is none. In a condition: whether there is one, also where T is bool.
 *
 * `*result` and `result->` are the T. Of a failed result they end the program, after writing the
 * error to stderr. Since 0.1.
 */
template <typename T>
class [[nodiscard]] Result : public detail::Outcome<Result<T>> {
public:
    template <typename U = T, typename = std::enable_if_t<detail::is_value<T, U>>>
    Result(U &&value) : state_(std::in_place_index<0>, std::forward<U>(value)) {}
    Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

    T &operator*() & noexcept { return *found(); }
    const T &operator*() const & noexcept { return *found(); }
    T &&operator*() && noexcept { return std::move(*found()); }
    T *operator->() noexcept { return found(); }
    const T *operator->() const noexcept { return found(); }

    /** The T, or `otherwise`. */
    template <typename U>
    T value_or(U &&otherwise) && {
        return this->ok() ? std::move(*found()) : static_cast<T>(std::forward<U>(otherwise));
    }

#ifdef SECONDNATURE_EXCEPTIONS
    /** The T; throws where there is none. Only with SECONDNATURE_EXCEPTIONS. */
    T value() && {
        check();
        return std::move(*found());
    }
    T &value() & {
        check();
        return *found();
    }
    const T &value() const & {
        check();
        return *found();
    }
#endif

private:
    friend detail::Outcome<Result<T>>;

    const Error *failure() const noexcept { return std::get_if<1>(&state_); }
    T *found() noexcept { return const_cast<T *>(std::as_const(*this).found()); }
    const T *found() const noexcept {
        const T *const value = std::get_if<0>(&state_);
        return value != nullptr ? value : detail::misused<T>(failure());
    }
#ifdef SECONDNATURE_EXCEPTIONS
    void check() const {
        if (!this->ok()) {
            failure()->raise();
        }
    }
#endif

    std::variant<T, Error> state_;
};

/** Success, `{}`, or why there is none. Since 0.1. */
template <>
class [[nodiscard]] Result<void> : public detail::Outcome<Result<void>> {
public:
    Result() = default;
    Result(Error error) : error_(std::move(error)) {}

#ifdef SECONDNATURE_EXCEPTIONS
    /** Throws where it failed. Only with SECONDNATURE_EXCEPTIONS. */
    void value() const {
        if (error_) {
            error_->raise();
        }
    }
#endif

private:
    friend detail::Outcome<Result<void>>;

    const Error *failure() const noexcept { return error_ ? &*error_ : nullptr; }

    std::optional<Error> error_;
};

/**
 * Numbers that lie one after the other and belong to somebody else: what std::span is in C++20, to
 * which it converts. Made of a pointer and a size, or of a named vector or array. Since 0.1.
 */
template <typename T>
class View {
public:
    constexpr View() noexcept = default;
    constexpr View(const T *data, std::size_t size) noexcept : data_(data), size_(size) {}
    template <typename C, typename Data = decltype(std::data(std::declval<C &>())),
              typename = std::enable_if_t<std::is_convertible_v<Data, const T *>>>
    constexpr View(C &container) noexcept : View(std::data(container), std::size(container)) {}

    constexpr const T *data() const noexcept { return data_; }
    constexpr std::size_t size() const noexcept { return size_; }
    constexpr bool empty() const noexcept { return size_ == 0; }
    constexpr const T *begin() const noexcept { return data_; }
    constexpr const T *end() const noexcept { return data_ + size_; }
    constexpr const T &operator[](std::size_t index) const noexcept { return data_[index]; }

private:
    const T *data_ = nullptr;
    std::size_t size_ = 0;
};

namespace detail {

/** What owns a handle of the C API. */
template <typename T, void (*release)(T *)>
class Handle {
public:
    using Raw = T;

    /** Takes over a handle that was made by the C API. */
    explicit Handle(T *owned) noexcept : handle_(owned) {}

    /** The handle, for a call of the C API; null after a move. */
    const T *get() const noexcept { return handle_.get(); }
    T *get() noexcept { return handle_.get(); }

private:
    struct Release {
        void operator()(T *handle) const noexcept { release(handle); }
    };

    std::unique_ptr<T, Release> handle_;
};

using OwnedText = Handle<char, sn_string_free>;

inline std::string_view view(const char *data, std::size_t len) noexcept {
    return data != nullptr ? std::string_view(data, len) : std::string_view();
}

/** The text that a call lends, as most do: with its length in a last argument. */
template <typename Lend>
std::string_view lent(Lend lend) {
    std::size_t len = 0;
    const char *data = lend(&len);
    return view(data, len);
}

/** Makes a call of the C API. */
template <typename Call>
std::optional<Error> attempt(Call call) {
    sn_error *raw = nullptr;
    const sn_status status = call(&raw);
    const Handle<sn_error, sn_error_free> error(raw);
    if (status == SN_STATUS_OK) {
        return std::nullopt;
    }
    std::size_t len = 0;
    const char *text = sn_error_message(error.get(), &len);
    std::string message = text != nullptr ? std::string(text, len) : sn_status_name(status);
    std::vector<std::string> causes;
    while ((text = sn_error_cause(error.get(), causes.size(), &len)) != nullptr) {
        causes.emplace_back(text, len);
    }
    return Error(status, std::move(message), std::move(causes));
}

/** Makes a call that gives nothing. */
template <typename Call>
Result<void> outcome(Call call) {
    std::optional<Error> error = attempt(call);
    return error ? Result<void>(std::move(*error)) : Result<void>();
}

/** A call that gives JSON. */
template <typename Call>
Result<std::string> json(Call call) {
    char *text = nullptr;
    std::size_t len = 0;
    std::optional<Error> error = attempt([&](sn_error **err) { return call(&text, &len, err); });
    const OwnedText owned(text);
    if (error) {
        return std::move(*error);
    }
    return std::string(text, len);
}

/** Text that may be missing, as C wants it: NULL is not the same as empty. */
struct OptionalText {
    explicit OptionalText(const std::optional<std::string_view> &text) noexcept {
        if (text) {
            data = text->data() != nullptr ? text->data() : "";
            len = text->size();
        }
    }

    const char *data = nullptr;
    std::size_t len = 0;
};

/** A text whose emptiness means that it is missing, as C wants it. */
inline void put(const std::string &text, const char *&data, std::size_t &len) noexcept {
    data = text.empty() ? nullptr : text.data();
    len = text.size();
}

/** What an Answerer's decoder needs. */
struct Host;
struct HostDelete {
    void operator()(Host *host) const noexcept;
};

/** An object of class C around the handle that a call makes. */
template <typename C, typename Call>
Result<C> make(Call call) {
    typename C::Raw *handle = nullptr;
    std::optional<Error> error = attempt([&](sn_error **err) { return call(&handle, err); });
    if (error) {
        return std::move(*error);
    }
    return C(handle);
}

} // namespace detail

/* ---- 1. One call. distill() goes from questions to an adapter and a report. ---- */

/** The version of the library that is loaded; SN_VERSION is that of the header. Since 0.1. */
inline std::string_view version() noexcept { return sn_version(); }

/**
 * A request to stop, shared by its copies; any thread may make it, a signal handler too.
 *
 *     const sn::Cancel stop;
 *     params.cancel = stop;
 *     std::thread timer([stop] { std::this_thread::sleep_for(1h); stop.request(); });
 *
 * Work that is asked to stop fails with SN_STATUS_CANCELLED; the same call resumes it. Since 0.1.
 */
class Cancel {
public:
    Cancel() noexcept : handle_(sn_cancel_new()) {}
    Cancel(const Cancel &other) noexcept : handle_(sn_cancel_share(other.get())) {}
    Cancel(Cancel &&) noexcept = default;
    Cancel &operator=(Cancel other) noexcept {
        handle_ = std::move(other.handle_);
        return *this;
    }
    ~Cancel() = default;

    /** Asks the work to stop; cannot be taken back. */
    void request() const noexcept { sn_cancel_request(get()); }
    const sn_cancel *get() const noexcept { return handle_.get(); }

private:
    detail::Handle<sn_cancel, sn_cancel_free> handle_;
};

/** A model file that can be distilled. Since 0.1. */
class Model : public detail::Handle<sn_model, sn_model_free> {
public:
    using Handle::Handle;

    /** Opens a GGUF file and checks that it can be distilled: milliseconds. */
    static Result<Model> open(std::string_view path) {
        return detail::make<Model>([&](sn_model **out, sn_error **err) {
            return sn_model_open(path.data(), path.size(), out, err);
        });
    }

    /** The model's own name; empty where it has none. */
    std::string_view name() const noexcept {
        return detail::lent([&](std::size_t *len) { return sn_model_name(get(), len); });
    }
    /** Such as "llama". */
    std::string_view architecture() const noexcept {
        return detail::lent([&](std::size_t *len) { return sn_model_architecture(get(), len); });
    }
    std::uint64_t parameters() const noexcept { return sn_model_parameters(get()); }
};

/** Where the work is. Since 0.1. */
struct Progress {
    sn_stage stage;
    /** Units finished: questions or optimiser steps, as the stage has them. */
    std::uint64_t done;
    /** Units in all; 0 when unknown. */
    std::uint64_t total;
    /** For a person. */
    std::string_view note;
};

/** What the samples of one question came to. Since 0.1. */
struct Verdict {
    /** SN_STAGE_CURATE for a training question, SN_STAGE_EVALUATE for a held-out one. */
    sn_stage stage;
    /** Why sampling stopped. */
    sn_stop_reason stop;
    std::string_view question_id;
    /** The answer with most votes; none where no sample holds one. */
    std::optional<std::string_view> answer;
    /** Why the answer is kept or not, for a person. */
    std::string_view reason;
    std::uint64_t votes;
    std::uint64_t samples;
    /** The share that agrees, 0 to 1. */
    double agreement;
    /** Whether the answer is good enough to learn from. */
    bool kept;
};

/** One optimiser step, done: its number, loss, rate. Since 0.1. */
using TrainStep = sn_train_step;

/** An answer for a verifier to check. Since 0.1. */
struct Candidate {
    std::string_view question_id;
    /** The question as it was asked. */
    std::string_view question;
    /** The question with all its fields, as a line of a question file. */
    std::string_view question_json;
    /** The answer, in the form in which answers are compared. */
    std::string_view answer;
    /** The text that the answer was read from. */
    std::string_view completion;
};

/**
 * Receive what happens: often, so they are quick; one call at a time, not always by the thread that
 * made the call. They must not be replaced while the call runs.
 */
using OnProgress = std::function<void(const Progress &)>;
using OnVerdict = std::function<void(const Verdict &)>;
using OnStep = std::function<void(const TrainStep &)>;

/**
 * Checks an answer by other means than asking again; a plain `bool` will do. An Error ends the call,
 * which fails with its message. Called by the thread that made the call.
 */
using Verifier = std::function<Result<bool>(const Candidate &)>;

class Decoder;

/** A host's own inference for a call, borrowed; none by default: `params.decoder = &mine`. */
class DecoderRef {
public:
    constexpr DecoderRef() noexcept = default;
    constexpr DecoderRef(std::nullptr_t) noexcept {}
    /** One in C++. */
    constexpr DecoderRef(Decoder *decoder) noexcept : decoder_(decoder) {}
    /** One in C, such as secondnature_llama.h has. */
    constexpr DecoderRef(const sn_decoder *decoder) noexcept : raw_(decoder) {}

    constexpr Decoder *decoder() const noexcept { return decoder_; }
    constexpr const sn_decoder *raw() const noexcept { return raw_; }

private:
    Decoder *decoder_ = nullptr;
    const sn_decoder *raw_ = nullptr;
};

/**
 * What distill() is to do. Zeros and empty texts mean the defaults; see sn_distill_params.
 *
 * Since 0.1.
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

/**
 * Turns the slow, voted answers of `model` into an adapter that answers directly, and returns the
 * report as JSON. Minutes to hours; the same call resumes after an interruption. Several may run at
 * once on one model, each in its own out_dir. See sn_distill(). Since 0.1.
 */
Result<std::string> distill(const Model &model, const DistillParams &params);

/* ---- 2. Stages. The same one by one, what they work on, and what to do with the result. ---- */

/** What is asked, and how answers are read and voted on. Since 0.1. */
class Task : public detail::Handle<sn_task, sn_task_free> {
public:
    using Handle::Handle;

    /** The task that is built in under this name, or the one in this JSON file. */
    static Result<Task> load(std::string_view name_or_path) {
        return detail::make<Task>([&](sn_task **out, sn_error **err) {
            return sn_task_load(name_or_path.data(), name_or_path.size(), out, err);
        });
    }
    /** A task from JSON in memory. */
    static Result<Task> parse(std::string_view json) {
        return detail::make<Task>([&](sn_task **out, sn_error **err) {
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
        return detail::lent([&](std::size_t *len) { return sn_task_name(get(), len); });
    }
    /** With the defaults written out: to look at, or to change and parse(). */
    std::string_view json() const noexcept {
        return detail::lent([&](std::size_t *len) { return sn_task_json(get(), len); });
    }
};

/**
 * Questions with different ids.
 *
 *     sn::Questions questions;
 *     auto added = questions.add("Is the coin heads up?", "yes");
 *
 * Since 0.1.
 */
class Questions : public detail::Handle<sn_questions, sn_questions_free> {
public:
    using Handle::Handle;

    /** None yet. */
    Questions() noexcept : Handle(sn_questions_new()) {}

    /** Reads a file with one question a line, as JSON or plain text. */
    static Result<Questions> read(std::string_view path) {
        return detail::make<Questions>([&](sn_questions **out, sn_error **err) {
            return sn_questions_read(path.data(), path.size(), out, err);
        });
    }
    /** Reads from memory what such a file holds. */
    static Result<Questions> parse(std::string_view lines) {
        return detail::make<Questions>([&](sn_questions **out, sn_error **err) {
            return sn_questions_parse(lines.data(), lines.size(), out, err);
        });
    }
    /** Generates `n` questions of a kind such as "coin-flip", with their right answers. */
    static Result<Questions> generate(std::string_view kind, std::size_t n, std::uint64_t seed, sn_split split) {
        return detail::make<Questions>([&](sn_questions **out, sn_error **err) {
            return sn_questions_generate(kind.data(), kind.size(), n, seed, split, out, err);
        });
    }

    /** Adds a question; `gold`, its right answer, only measures; without an `id` it gets one. */
    Result<void> add(std::string_view question, std::optional<std::string_view> gold = std::nullopt,
                     std::optional<std::string_view> id = std::nullopt) {
        const detail::OptionalText name(id);
        const detail::OptionalText right(gold);
        return detail::outcome([&](sn_error **err) {
            return sn_questions_add(get(), name.data, name.len, question.data(), question.size(), right.data,
                                    right.len, err);
        });
    }

    std::size_t count() const noexcept { return sn_questions_count(get()); }
};

/** How a run is curated. Zeros mean the defaults; see sn_curate_params. Since 0.1. */
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
    /** Reasons to stop early, switched off: the answer is complete, the vote is settled, hopeless. */
    bool no_stop_answer = false;
    bool no_stop_settled = false;
    bool no_stop_threshold = false;
    OnProgress progress;
    OnVerdict verdict;
    Verifier verifier;
    DecoderRef decoder;
    std::optional<Cancel> cancel;
};

/** How an adapter is trained. What is not set has its default; see sn_train_params. Since 0.1. */
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

/** How a run is judged and measured: both alike. See sn_evaluate_params. Since 0.1. */
struct EvaluateParams {
    std::uint32_t threads = 0;
    std::uint32_t slots = 0;
    sn_weights weights = SN_WEIGHTS_AUTO;
    std::uint32_t samples = 0;
    double threshold = 0;
    std::uint64_t max_memory = 0;
    bool no_stop_answer = false;
    bool no_stop_settled = false;
    /** Judging: fewest kept questions, and their least share, below 0 for none. */
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

/**
 * A run directory and its stages, each of which resumes what it has finished:
 *
 *     auto run = sn::Run::create(model, task, questions, "run", 1);
 *     if (!run) …
 *     auto curation = run->curate();          // samples and votes
 *     auto decision = run->judge(&held_out);  // is it worth while?
 *     auto training = run->train();           // writes adapter.gguf
 *     auto measured = run->evaluate(held_out);
 *     auto report = run->report();
 *
 * The stages return as JSON what the report has of them. The end of a Run unlocks its directory.
 * Since 0.1.
 */
class Run : public detail::Handle<sn_run, sn_run_free> {
public:
    using Handle::Handle;

    /** Makes the run directory, or opens it to resume the same run. */
    static Result<Run> create(const Model &model, const Task &task, const Questions &questions,
                              std::string_view out_dir, std::uint64_t seed = 0) {
        return detail::make<Run>([&](sn_run **out, sn_error **err) {
            return sn_run_create(model.get(), task.get(), questions.get(), out_dir.data(), out_dir.size(), seed,
                                 out, err);
        });
    }
    /** Opens an existing run directory; `model_path` is where its model is now, if that has moved. */
    static Result<Run> open(std::string_view out_dir, std::optional<std::string_view> model_path = std::nullopt) {
        return detail::make<Run>([&](sn_run **out, sn_error **err) {
            const detail::OptionalText path(model_path);
            return sn_run_open(out_dir.data(), out_dir.size(), path.data, path.len, out, err);
        });
    }

    /** Samples every training question until its vote is settled: "curation". */
    Result<std::string> curate(const CurateParams &params = {});
    /**
     * Whether distilling looks worth while, with held-out questions or, given null, without:
     * "decision", of which "distill" is true or false.
     */
    Result<std::string> judge(const Questions *eval = nullptr, const EvaluateParams &params = {});
    /** Trains the adapter on the kept answers, writes and verifies it: "training". */
    Result<std::string> train(const TrainParams &params = {});
    /** Measures direct answers, votes and the distilled model on held-out questions: "evaluation". */
    Result<std::string> evaluate(const Questions &eval, const EvaluateParams &params = {});
    /** Writes report.json, and gives its text. */
    Result<std::string> report() {
        return detail::json([&](char **json, std::size_t *len, sn_error **err) {
            return sn_run_report(get(), json, len, err);
        });
    }
    /** The path of the adapter, once there is one that is finished and verified. */
    std::optional<std::string_view> adapter_path() const noexcept {
        const std::string_view path =
            detail::lent([&](std::size_t *len) { return sn_run_adapter_path(get(), len); });
        return path.data() != nullptr ? std::optional(path) : std::nullopt;
    }
};

/** A LoRA adapter file, and what it says of itself. Since 0.1. */
class Adapter : public detail::Handle<sn_adapter, sn_adapter_free> {
public:
    using Handle::Handle;

    /** Opens the file and checks that it holds a LoRA adapter: milliseconds. */
    static Result<Adapter> open(std::string_view path) {
        return detail::make<Adapter>([&](sn_adapter **out, sn_error **err) {
            return sn_adapter_open(path.data(), path.size(), out, err);
        });
    }

    std::uint32_t rank() const noexcept { return sn_adapter_rank(get()); }
    double alpha() const noexcept { return sn_adapter_alpha(get()); }
    /** The task that it was trained on; empty where another program trained it. */
    std::string_view task() const noexcept {
        return detail::lent([&](std::size_t *len) { return sn_adapter_task(get(), len); });
    }
    /** Everything that the file says of itself, as a JSON object of texts. */
    std::string_view describe() const noexcept {
        return detail::lent([&](std::size_t *len) { return sn_adapter_describe(get(), len); });
    }
};

/** How an Answerer is set up. Zeros mean the defaults; see sn_answer_params. Since 0.1. */
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

/** An answer and how it came about. Since 0.1. */
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
 * with both results looked at. Since 0.1.
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
        // The handle first: its end may call the decoder that it works with.
        handle_ = std::move(other.handle_);
        host_ = std::move(other.host_);
        return *this;
    }
    ~Answerer() = default;

    /** Answers a question; the same one gets the same answer every time. */
    Result<Answer> ask(std::string_view question) { return ask(question, nullptr); }
    Result<Answer> ask(std::string_view question, const Cancel &cancel) { return ask(question, cancel.get()); }

    const sn_answerer *get() const noexcept { return handle_.get(); }
    sn_answerer *get() noexcept { return handle_.get(); }

private:
    Answerer(std::unique_ptr<detail::Host, detail::HostDelete> host, sn_answerer *owned) noexcept
        : host_(std::move(host)), handle_(owned) {}
    Result<Answer> ask(std::string_view question, const sn_cancel *cancel);

    std::unique_ptr<detail::Host, detail::HostDelete> host_;
    detail::Handle<sn_answerer, sn_answerer_free> handle_;
};

/* ---- 3. The host's own parts: inference and a log. ---- */

/** A token of the vocabulary. */
using Token = std::int32_t;

/** One row of a batch: `token` at `pos` of sequence `seq`, and whether `logits` after it are wanted. */
using Row = sn_row;

/**
 * The host's own inference: a model that it has loaded already, used instead of a second copy.
 *
 *     struct Mine : sn::Decoder {
 *         Mine() : Decoder(facts()) {}
 *         sn::Result<void> decode(sn::View<sn::Row> rows) override {
 *             if (engine.run(rows.data(), rows.size())) return {};
 *             return sn::Error("out of KV cells");
 *         }
 *         …
 *     };
 *     Mine mine;
 *     params.decoder = &mine;
 *
 * It runs the model that the call is about, in whatever precision: equal tokens for equal text. An
 * Error, or an exception, ends the call that is running, which fails with its message.
 *
 * The functions are called by the thread that made the call, one at a time, and do not call into the
 * library with the objects of that call. What they do is said at sn_decoder. Since 0.1.
 */
class Decoder {
public:
    /** What does not change. Zeros and empty texts mean the defaults; see sn_decoder. */
    struct Facts {
        /** Required: tokens in the vocabulary, the width of a row of logits. */
        std::uint32_t vocab_size = 0;
        /** Required: cells of the KV cache, which all sequences share. */
        std::uint32_t context_size = 0;
        /** Positions that one sequence may have; 0 for context_size. */
        std::uint32_t sequence_limit = 0;
        /** Required: sequences that may be live at once; twice `slots` serves well. */
        std::uint32_t max_sequences = 0;
        /** Sequences to work on at once; 0 for max_sequences. */
        std::uint32_t slots = 0;
        /** Required: rows that one decode() takes. */
        std::uint32_t max_batch = 0;
        /** The token that prompts start with and that tokenize() does not add. */
        std::optional<Token> bos;
        /** The chat template, in Jinja; empty: as the model file has it. */
        std::string chat_template;
        /** What templates may use as the texts of the tokens that begin and end a text. */
        std::string bos_text;
        std::string eos_text;
        /** Whether set_adapter() is there to be called. */
        bool adapters = false;
    };

    virtual ~Decoder() = default;
    Decoder(const Decoder &) = delete;
    Decoder &operator=(const Decoder &) = delete;

    const Facts &facts() const noexcept { return facts_; }

    /** The tokens of `text`; text of special tokens becomes those only where `special` is set. */
    virtual Result<std::vector<Token>> tokenize(std::string_view text, bool special) = 0;
    /** The bytes of `token`; special tokens have none. */
    virtual Result<std::string> piece(Token token) = 0;
    /** Whether `token` ends a turn. */
    virtual Result<bool> is_end(Token token) = 0;
    /** Feeds rows, at most max_batch, and computes the logits that they want. */
    virtual Result<void> decode(View<Row> rows) = 0;
    /** The logits after row `row` of the last batch: vocab_size numbers that stay until the next. */
    virtual Result<View<float>> logits(std::size_t row) = 0;
    /** Makes the empty sequence `to` share the first `len` positions of `from`. */
    virtual Result<void> copy_prefix(std::uint32_t from, std::uint32_t to, std::uint32_t len) = 0;
    /** Forgets the positions from `from` on of sequence `seq`. */
    virtual Result<void> truncate(std::uint32_t seq, std::uint32_t from) = 0;
    /**
     * Applies the adapter in the file `path`, or none, and empties every sequence. Only called where
     * the facts say so; else the library loads the model itself to use an adapter.
     */
    virtual Result<void> set_adapter(std::optional<std::string_view> path) {
        static_cast<void>(path);
        return Error("this decoder applies no adapters");
    }

protected:
    explicit Decoder(Facts facts) : facts_(std::move(facts)) {}

private:
    Facts facts_;
};

/** Receives a line of the log. Called by any thread, one call at a time. */
using OnLog = std::function<void(sn_log_level level, std::string_view line)>;

/**
 * Hands every line at `level` or above to `log` from now on: the library's warnings and the log of the
 * llama.cpp inside it. Process-wide; replaces an earlier one, which is not called any more when this
 * returns. An empty `log` puts silence back, which is how it starts.
 *
 * `log` must not call into the library. It belongs to no call, so an exception that it throws is
 * dropped: what is only written down stops no work. Since 0.1.
 */
Result<void> set_log(sn_log_level level, OnLog log);

/* ---- The manual ends here; what follows is how it is done. ---- */

namespace detail {

/** Keeps the first failure of a call's callbacks, and stops the call. */
class Trap {
public:
    explicit Trap(const sn_cancel *stop = nullptr) noexcept : stop_(stop) {}
    Trap(const Trap &) = delete;
    Trap &operator=(const Trap &) = delete;

    /** Whether something failed: there is no more to tell then. */
    bool sprung() const noexcept { return sprung_.load(); }

    /** Runs a callback on its way from C; `otherwise` is what C gets where it throws. */
    template <typename T, typename Body>
    T run(const char *name, T otherwise, Body body) noexcept {
#if SECONDNATURE_CATCHES
        try {
            return body();
        } catch (...) {
            keep(name, std::nullopt, std::current_exception());
            return otherwise;
        }
#else
        static_cast<void>(name);
        static_cast<void>(otherwise);
        return body();
#endif
    }

    void keep(const char *name, std::optional<Error> error, std::exception_ptr thrown = nullptr) noexcept {
        // Callbacks of different kinds may come from different threads. What is kept is read after
        // the call has returned.
        if (!sprung_.exchange(true)) {
            name_ = name;
            error_ = std::move(error);
            thrown_ = std::move(thrown);
            sn_cancel_request(stop_);
        }
    }

    /** What the call comes to, given what C says. Ready for the next call then. */
    std::optional<Error> settle(std::optional<Error> said) {
        if (!sprung_.exchange(false)) {
            return said;
        }
        const std::optional<Error> error = std::exchange(error_, std::nullopt);
        std::exception_ptr thrown = std::exchange(thrown_, nullptr);
        std::string why = error ? error->message() : what(thrown);
        if (!said) {
            said = Error(SN_STATUS_CANCELLED, "the work is done, but not all was told");
        }
        std::string message = said->message() + ": the " + name_ + ": " + why;
        std::vector<std::string> causes = said->causes();
        causes.insert(causes.begin(), std::move(why));
        if (error) {
            causes.insert(causes.begin() + 1, error->causes().begin(), error->causes().end());
        }
        return Error(said->status(), std::move(message), std::move(causes), std::move(thrown));
    }

private:
    static std::string what(const std::exception_ptr &thrown) {
#if SECONDNATURE_CATCHES
        try {
            std::rethrow_exception(thrown);
        } catch (const std::exception &exception) {
            return exception.what();
        } catch (...) {
        }
#endif
        static_cast<void>(thrown);
        return "something was thrown that is no std::exception";
    }

    const sn_cancel *stop_;
    std::atomic<bool> sprung_{false};
    const char *name_ = "";
    std::optional<Error> error_;
    std::exception_ptr thrown_;
};

/** A Decoder as C sees it. Borrows the decoder and the trap; stays where it is. */
class Bridge {
public:
    Bridge(Decoder &decoder, Trap &trap) noexcept : decoder_(decoder), trap_(trap) { fill(); }
    Bridge(const Bridge &) = delete;
    Bridge &operator=(const Bridge &) = delete;

    const sn_decoder *raw() const noexcept { return &raw_; }

private:
    static Bridge &of(void *user_data) noexcept { return *static_cast<Bridge *>(user_data); }

    /** Calls the decoder. `value` makes what C gets of what it found; a failure is `otherwise`. */
    template <typename T, typename Ask, typename Value>
    T ask(T otherwise, Ask question, Value value) noexcept {
        return trap_.run("decoder", otherwise, [&]() -> T {
            auto found = question(decoder_);
            if (!found) {
                trap_.keep("decoder", found.error());
                return otherwise;
            }
            return value(found);
        });
    }

    template <typename Ask>
    std::int32_t tell(Ask question) noexcept {
        return ask(std::int32_t{1}, question, [](const Result<void> &) { return std::int32_t{0}; });
    }

    /** Copies what was found into the room that C has, if it suffices; and says how much it is. */
    template <typename Found, typename T>
    static std::int32_t copy(const Found &found, T *to, std::size_t capacity, std::size_t *count) {
        *count = found.size();
        if (found.size() <= capacity) {
            std::copy(found.begin(), found.end(), to);
        }
        return 0;
    }

    void fill() noexcept {
        const Decoder::Facts &facts = decoder_.facts();
        sn_decoder_init(&raw_, sizeof raw_);
        raw_.user_data = this;
        raw_.vocab_size = facts.vocab_size;
        raw_.context_size = facts.context_size;
        raw_.sequence_limit = facts.sequence_limit;
        raw_.max_sequences = facts.max_sequences;
        raw_.slots = facts.slots;
        raw_.max_batch = facts.max_batch;
        raw_.bos = facts.bos.value_or(-1);
        put(facts.chat_template, raw_.chat_template, raw_.chat_template_len);
        put(facts.bos_text, raw_.bos_text, raw_.bos_text_len);
        put(facts.eos_text, raw_.eos_text, raw_.eos_text_len);
        raw_.tokenize = [](void *self, const char *text, std::size_t len, std::int32_t special,
                           std::int32_t *tokens, std::size_t capacity,
                           std::size_t *count) noexcept -> std::int32_t {
            return of(self).ask(
                std::int32_t{1},
                [&](Decoder &decoder) { return decoder.tokenize(view(text, len), special != 0); },
                [&](const Result<std::vector<Token>> &found) {
                    return copy(*found, tokens, capacity, count);
                });
        };
        raw_.piece = [](void *self, std::int32_t token, char *bytes, std::size_t capacity,
                        std::size_t *len) noexcept -> std::int32_t {
            return of(self).ask(
                std::int32_t{1}, [&](Decoder &decoder) { return decoder.piece(token); },
                [&](const Result<std::string> &found) { return copy(*found, bytes, capacity, len); });
        };
        raw_.is_end = [](void *self, std::int32_t token) noexcept -> std::int32_t {
            return of(self).ask(
                std::int32_t{-1}, [&](Decoder &decoder) { return decoder.is_end(token); },
                [](const Result<bool> &found) { return std::int32_t{*found ? 1 : 0}; });
        };
        raw_.decode = [](void *self, const sn_row *rows, std::size_t n) noexcept -> std::int32_t {
            return of(self).tell([&](Decoder &decoder) { return decoder.decode(View<Row>(rows, n)); });
        };
        raw_.logits = [](void *self, std::size_t row) noexcept -> const float * {
            return of(self).ask(
                static_cast<const float *>(nullptr),
                [&](Decoder &decoder) -> Result<View<float>> {
                    Result<View<float>> found = decoder.logits(row);
                    if (found && found->size() != decoder.facts().vocab_size) {
                        return Error(std::to_string(found->size()) + " logits, expected one for each of " +
                                     std::to_string(decoder.facts().vocab_size) + " tokens");
                    }
                    return found;
                },
                [](const Result<View<float>> &found) { return found->data(); });
        };
        raw_.copy_prefix = [](void *self, std::uint32_t from, std::uint32_t to,
                              std::uint32_t len) noexcept -> std::int32_t {
            return of(self).tell([&](Decoder &decoder) { return decoder.copy_prefix(from, to, len); });
        };
        raw_.truncate = [](void *self, std::uint32_t seq, std::uint32_t from) noexcept -> std::int32_t {
            return of(self).tell([&](Decoder &decoder) { return decoder.truncate(seq, from); });
        };
        if (facts.adapters) {
            raw_.set_adapter = [](void *self, const char *path, std::size_t len) noexcept -> std::int32_t {
                return of(self).tell([&](Decoder &decoder) {
                    return decoder.set_adapter(path != nullptr ? std::optional(view(path, len)) : std::nullopt);
                });
            };
        }
    }

    Decoder &decoder_;
    Trap &trap_;
    sn_decoder raw_;
};

/** What one call's callbacks need. Its address is what C hands back to them. */
class Call {
public:
    explicit Call(const std::optional<Cancel> &given)
        : cancel_(given && given->get() != nullptr ? *given : Cancel()), trap_(cancel_.get()) {}
    Call(const Call &) = delete;
    Call &operator=(const Call &) = delete;

    Trap &trap() noexcept { return trap_; }

    template <typename Raw>
    void cancel(Raw &raw) const noexcept {
        raw.cancel = cancel_.get();
    }

    template <typename Raw>
    void progress(Raw &raw, const OnProgress &on) noexcept {
        if (!on) {
            return;
        }
        progress_ = &on;
        raw.progress_user_data = this;
        raw.progress = [](const sn_progress *p, void *self) noexcept {
            of(self).tell("progress callback", [&](const Call &call) {
                (*call.progress_)({p->stage, p->done, p->total, view(p->note, p->note_len)});
            });
        };
    }

    template <typename Raw>
    void verdict(Raw &raw, const OnVerdict &on) noexcept {
        if (!on) {
            return;
        }
        verdict_ = &on;
        raw.verdict_user_data = this;
        raw.verdict = [](const sn_verdict *v, void *self) noexcept {
            of(self).tell("verdict callback", [&](const Call &call) {
                std::optional<std::string_view> answer;
                if (v->answer != nullptr) {
                    answer = view(v->answer, v->answer_len);
                }
                (*call.verdict_)({v->stage, v->stop, view(v->question_id, v->question_id_len), answer,
                                  view(v->reason, v->reason_len), v->votes, v->samples, v->agreement,
                                  v->kept != 0});
            });
        };
    }

    template <typename Raw>
    void step(Raw &raw, const OnStep &on) noexcept {
        if (!on) {
            return;
        }
        step_ = &on;
        raw.step_user_data = this;
        raw.step = [](const sn_train_step *s, void *self) noexcept {
            of(self).tell("step callback", [&](const Call &call) { (*call.step_)(*s); });
        };
    }

    template <typename Raw>
    void verifier(Raw &raw, const Verifier &on) noexcept {
        if (!on) {
            return;
        }
        verifier_ = &on;
        raw.verifier_user_data = this;
        raw.verifier = [](const sn_candidate *c, void *self) noexcept -> std::int32_t {
            return of(self).verify({view(c->question_id, c->question_id_len), view(c->question, c->question_len),
                                    view(c->question_json, c->question_json_len), view(c->answer, c->answer_len),
                                    view(c->completion, c->completion_len)});
        };
    }

    template <typename Raw>
    void decoder(Raw &raw, const DecoderRef &on) noexcept {
        raw.decoder = on.decoder() != nullptr ? bridge_.emplace(*on.decoder(), trap_).raw() : on.raw();
    }

private:
    static Call &of(void *user_data) noexcept { return *static_cast<Call *>(user_data); }

    template <typename Body>
    void tell(const char *name, Body body) noexcept {
        if (!trap_.sprung()) {
            trap_.run(name, 0, [&] {
                body(*this);
                return 0;
            });
        }
    }

    std::int32_t verify(const Candidate &candidate) noexcept {
        if (trap_.sprung()) {
            return -1;
        }
        return trap_.run("verifier", std::int32_t{-1}, [&]() -> std::int32_t {
            const Result<bool> accepted = (*verifier_)(candidate);
            if (!accepted) {
                trap_.keep("verifier", accepted.error());
                return -1;
            }
            return *accepted ? 1 : 0;
        });
    }

    Cancel cancel_;
    Trap trap_;
    const OnProgress *progress_ = nullptr;
    const OnVerdict *verdict_ = nullptr;
    const OnStep *step_ = nullptr;
    const Verifier *verifier_ = nullptr;
    std::optional<Bridge> bridge_;
};

/** What an Answerer's decoder needs, as long as that lives. */
struct Host {
    explicit Host(Decoder *decoder) {
        if (decoder != nullptr) {
            bridge.emplace(*decoder, trap);
        }
    }

    Trap trap;
    std::optional<Bridge> bridge;
};

inline void HostDelete::operator()(Host *host) const noexcept { delete host; }

/** What three params structs say of sampling and voting. */
template <typename Raw, typename Params>
void fill_sampling(Raw &raw, const Params &params, Call &call) noexcept {
    raw.threads = params.threads;
    raw.slots = params.slots;
    raw.weights = params.weights;
    raw.max_memory = params.max_memory;
    raw.samples = params.samples;
    raw.threshold = params.threshold;
    call.progress(raw, params.progress);
    call.verdict(raw, params.verdict);
    call.verifier(raw, params.verifier);
    call.decoder(raw, params.decoder);
    call.cancel(raw);
}

inline void fill(sn_curate_params &raw, const CurateParams &params, Call &call) noexcept {
    sn_curate_params_init(&raw, sizeof raw);
    fill_sampling(raw, params, call);
    raw.no_stop_answer = params.no_stop_answer;
    raw.no_stop_settled = params.no_stop_settled;
    raw.no_stop_threshold = params.no_stop_threshold;
}

inline void fill(sn_evaluate_params &raw, const EvaluateParams &params, Call &call) noexcept {
    sn_evaluate_params_init(&raw, sizeof raw);
    fill_sampling(raw, params, call);
    raw.no_stop_answer = params.no_stop_answer;
    raw.no_stop_settled = params.no_stop_settled;
    raw.least_kept = params.least_kept;
    raw.least_share = params.least_share;
    put(params.adapter, raw.adapter, raw.adapter_len);
}

inline void fill(sn_distill_params &raw, const DistillParams &params, Call &call) noexcept {
    sn_distill_params_init(&raw, sizeof raw);
    fill_sampling(raw, params, call);
    put(params.task, raw.task, raw.task_len);
    put(params.questions, raw.questions, raw.questions_len);
    put(params.eval, raw.eval, raw.eval_len);
    put(params.out_dir, raw.out_dir, raw.out_dir_len);
    raw.seed = params.seed;
    raw.rank = params.rank;
    raw.epochs = params.epochs;
    raw.lr = params.lr;
    raw.force = params.force;
    raw.least_kept = params.least_kept;
    raw.least_share = params.least_share;
    call.step(raw, params.step);
}

/** The paths of `also` as C wants them. */
struct Paths {
    Paths(const std::vector<std::string> &paths, sn_train_params &raw) {
        for (const std::string &path : paths) {
            data.push_back(path.data());
            lens.push_back(path.size());
        }
        raw.also = data.data();
        raw.also_len = lens.data();
        raw.also_count = data.size();
    }

    std::vector<const char *> data;
    std::vector<std::size_t> lens;
};

inline void fill(sn_train_params &raw, const TrainParams &params, Call &call) noexcept {
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
    put(params.modules, raw.modules, raw.modules_len);
    put(params.start, raw.start, raw.start_len);
    put(params.replay, raw.replay, raw.replay_len);
    raw.replay_share = params.replay_share;
    call.progress(raw, params.progress);
    call.step(raw, params.step);
    call.decoder(raw, params.decoder);
    call.cancel(raw);
}

/** A call with params and callbacks that gives JSON. */
template <typename Raw, typename Params, typename Make>
Result<std::string> work(const Params &params, Make make) {
    Call call(params.cancel);
    Raw raw;
    fill(raw, params, call);
    char *text = nullptr;
    std::size_t len = 0;
    std::optional<Error> error = attempt([&](sn_error **err) { return make(&raw, &text, &len, err); });
    const OwnedText owned(text);
    error = call.trap().settle(std::move(error));
    if (error) {
        return std::move(*error);
    }
    return std::string(text, len);
}

/** Receives the log; `user_data` is an OnLog. */
inline void log_line(std::int32_t level, const char *line, std::size_t len, void *user_data) noexcept {
#if SECONDNATURE_CATCHES
    try {
        (*static_cast<const OnLog *>(user_data))(static_cast<sn_log_level>(level), view(line, len));
    } catch (...) {
    }
#else
    (*static_cast<const OnLog *>(user_data))(static_cast<sn_log_level>(level), view(line, len));
#endif
}

} // namespace detail

inline Result<std::string> distill(const Model &model, const DistillParams &params) {
    return detail::work<sn_distill_params>(params, [&](auto *raw, auto... out) {
        return sn_distill(model.get(), raw, nullptr, out...);
    });
}

inline Result<std::string> Run::curate(const CurateParams &params) {
    return detail::work<sn_curate_params>(params, [&](auto *raw, auto... out) {
        return sn_run_curate(get(), raw, nullptr, out...);
    });
}

inline Result<std::string> Run::judge(const Questions *eval, const EvaluateParams &params) {
    return detail::work<sn_evaluate_params>(params, [&](auto *raw, auto... out) {
        return sn_run_decide(get(), eval != nullptr ? eval->get() : nullptr, raw, nullptr, out...);
    });
}

inline Result<std::string> Run::train(const TrainParams &params) {
    return detail::work<sn_train_params>(params, [&](auto *raw, auto... out) {
        const detail::Paths also(params.also, *raw);
        return sn_run_train(get(), raw, nullptr, out...);
    });
}

inline Result<std::string> Run::evaluate(const Questions &eval, const EvaluateParams &params) {
    return detail::work<sn_evaluate_params>(params, [&](auto *raw, auto... out) {
        return sn_run_evaluate(get(), eval.get(), raw, nullptr, out...);
    });
}

inline Result<Answerer> Answerer::load(const Model &model, std::string_view adapter_path, const Task *task,
                                       const AnswerParams &params) {
    std::unique_ptr<detail::Host, detail::HostDelete> host(new detail::Host(params.decoder.decoder()));
    sn_answer_params raw;
    sn_answer_params_init(&raw, sizeof raw);
    raw.threshold = params.threshold;
    raw.seed = params.seed;
    raw.max_memory = params.max_memory;
    raw.threads = params.threads;
    raw.slots = params.slots;
    raw.weights = params.weights;
    raw.decoder = host->bridge ? host->bridge->raw() : params.decoder.raw();
    sn_answerer *made = nullptr;
    const char *path = adapter_path.empty() ? nullptr : adapter_path.data();
    std::optional<Error> error = host->trap.settle(detail::attempt([&](sn_error **err) {
        return sn_answerer_new(model.get(), task != nullptr ? task->get() : nullptr, path,
                               adapter_path.size(), &raw, &made, err);
    }));
    Answerer answerer(std::move(host), made);
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
    std::optional<Error> error = detail::attempt(asked);
    if (host_) {
        error = host_->trap.settle(std::move(error));
    }
    const detail::Handle<sn_answer, sn_answer_free> answer(made);
    if (error) {
        return std::move(*error);
    }
    const std::string_view text =
        detail::lent([&](std::size_t *len) { return sn_answer_text(answer.get(), len); });
    return Answer{text.data() != nullptr ? std::optional<std::string>(text) : std::nullopt,
                  sn_answer_confidence(answer.get()), sn_answer_route(answer.get()),
                  sn_answer_tokens(answer.get())};
}

inline Result<void> set_log(sn_log_level level, OnLog log) {
    // Never freed at the end of the process, when the library may still log.
    static std::mutex one_at_a_time;
    static OnLog *current = nullptr;
    const std::lock_guard<std::mutex> lock(one_at_a_time);
    std::unique_ptr<OnLog> next(log ? new OnLog(std::move(log)) : nullptr);
    std::optional<Error> error = detail::attempt([&](sn_error **err) {
        return sn_log_set(level, next ? &detail::log_line : nullptr, next.get(), err);
    });
    if (error) {
        return std::move(*error);
    }
    const std::unique_ptr<OnLog> last(std::exchange(current, next.release()));
    return {};
}

} // namespace SECONDNATURE_WAY
} // namespace secondnature

#undef SECONDNATURE_CATCHES
#undef SECONDNATURE_WAY

#endif // SECONDNATURE_HPP
