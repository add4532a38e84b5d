/**
 * secondnature for C++17: the C API with destructors and exceptions. Header only.
 *
 *     secondnature::Model model("base.gguf");
 *     secondnature::DistillParams params;
 *     params.task = "coin-flip";
 *     params.questions = "train.jsonl";
 *     params.eval = "eval.jsonl";
 *     params.out_dir = "run";
 *     std::string report = secondnature::distill(model, params);
 *
 * secondnature.h says what everything means. Failures are thrown as secondnature::Error. Objects
 * may be moved; a `const` reference may be shared between threads.
 */
#ifndef SECONDNATURE_HPP
#define SECONDNATURE_HPP

#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "secondnature.h"

namespace secondnature {

/** A failed call: its status, its one-line message and the causes, the nearest first. */
class Error : public std::runtime_error {
public:
    Error(sn_status code, const std::string &message, std::vector<std::string> causes)
        : std::runtime_error(message), code_(code), causes_(std::move(causes)) {}

    sn_status code() const noexcept { return code_; }
    const std::vector<std::string> &causes() const noexcept { return causes_; }

private:
    sn_status code_;
    std::vector<std::string> causes_;
};

namespace detail {

template <typename T, void (*release)(T *)>
struct Release {
    void operator()(T *pointer) const noexcept { release(pointer); }
};

template <typename T, void (*release)(T *)>
using Owned = std::unique_ptr<T, Release<T, release>>;

/** Throws what `call` put into its `sn_error **`, if it failed. */
template <typename Call>
void check(Call call) {
    sn_error *raw = nullptr;
    const sn_status status = call(&raw);
    const Owned<sn_error, sn_error_free> error(raw);
    if (status == SN_STATUS_OK) {
        return;
    }
    std::size_t len = 0;
    const char *text = sn_error_message(error.get(), &len);
    const std::string message = text != nullptr ? std::string(text, len) : sn_status_name(status);
    std::vector<std::string> causes;
    while ((text = sn_error_cause(error.get(), causes.size(), &len)) != nullptr) {
        causes.emplace_back(text, len);
    }
    throw Error(status, message, std::move(causes));
}

} // namespace detail

/** The version of the library that is loaded. */
inline std::string_view version() { return sn_version(); }

/** A request to stop, shared by its copies; any thread may make it. */
class Cancel {
public:
    Cancel() : handle_(sn_cancel_new()) {}
    Cancel(const Cancel &other) : handle_(sn_cancel_share(other.get())) {}
    Cancel(Cancel &&) noexcept = default;
    Cancel &operator=(Cancel other) noexcept {
        handle_ = std::move(other.handle_);
        return *this;
    }

    void request() const noexcept { sn_cancel_request(get()); }
    const sn_cancel *get() const noexcept { return handle_.get(); }

private:
    detail::Owned<sn_cancel, sn_cancel_free> handle_;
};

/** A model file that can be distilled. */
class Model {
public:
    explicit Model(std::string_view path) {
        sn_model *model = nullptr;
        detail::check([&](sn_error **err) { return sn_model_open(path.data(), path.size(), &model, err); });
        handle_.reset(model);
    }

    std::string_view name() const { return text(sn_model_name); }
    std::string_view architecture() const { return text(sn_model_architecture); }
    std::uint64_t parameters() const noexcept { return sn_model_parameters(get()); }
    const sn_model *get() const noexcept { return handle_.get(); }

private:
    std::string_view text(const char *(*of)(const sn_model *, std::size_t *)) const {
        std::size_t len = 0;
        const char *data = of(get(), &len);
        return data != nullptr ? std::string_view(data, len) : std::string_view();
    }

    detail::Owned<sn_model, sn_model_free> handle_;
};

/** One progress report; `note` is valid during the callback only. */
struct Progress {
    sn_stage stage;
    std::uint64_t done;
    std::uint64_t total;
    std::string_view note;
};

/** What distill() is to do; see sn_distill_params. Zeros and empty paths mean the defaults. */
struct DistillParams {
    std::string task;
    std::string questions;
    std::string eval;
    std::string out_dir;
    std::uint64_t seed = 0;
    std::uint32_t rank = 0;
    std::uint32_t epochs = 0;
    std::uint32_t threads = 0;
    std::uint32_t slots = 0;
    bool force = false;
    /** Called by one thread at a time. An exception stops the work and is thrown by distill(). */
    std::function<void(const Progress &)> progress;
    Cancel cancel;
};

/** Samples, votes, trains and measures; returns the report as JSON. Resumes what is in out_dir. */
inline std::string distill(const Model &model, const DistillParams &params) {
    struct Listener {
        const DistillParams &params;
        std::exception_ptr thrown;
    } listener{params, nullptr};

    sn_distill_params raw;
    sn_distill_params_init(&raw, sizeof raw);
    const auto set = [](const std::string &text, const char *&data, std::size_t &len) {
        data = text.empty() ? nullptr : text.data();
        len = text.size();
    };
    set(params.task, raw.task, raw.task_len);
    set(params.questions, raw.questions, raw.questions_len);
    set(params.eval, raw.eval, raw.eval_len);
    set(params.out_dir, raw.out_dir, raw.out_dir_len);
    raw.seed = params.seed;
    raw.rank = params.rank;
    raw.epochs = params.epochs;
    raw.threads = params.threads;
    raw.slots = params.slots;
    raw.force = params.force ? 1 : 0;
    raw.cancel = params.cancel.get();
    if (params.progress) {
        raw.progress_user_data = &listener;
        raw.progress = [](const sn_progress *p, void *user_data) {
            auto &to = *static_cast<Listener *>(user_data);
            if (to.thrown) {
                return;
            }
            try {
                to.params.progress({p->stage, p->done, p->total, std::string_view(p->note, p->note_len)});
            } catch (...) {
                to.thrown = std::current_exception();
                to.params.cancel.request();
            }
        };
    }

    char *json = nullptr;
    std::size_t len = 0;
    try {
        detail::check([&](sn_error **err) { return sn_distill(model.get(), &raw, &json, &len, err); });
    } catch (const Error &) {
        if (listener.thrown) {
            std::rethrow_exception(listener.thrown);
        }
        throw;
    }
    const detail::Owned<char, sn_string_free> owned(json);
    return std::string(json, len);
}

} // namespace secondnature

#endif // SECONDNATURE_HPP
