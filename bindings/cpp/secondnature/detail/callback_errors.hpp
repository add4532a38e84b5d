/** Failures of callbacks, on their way past the C API. */
#ifndef SECONDNATURE_DETAIL_CALLBACK_ERRORS_HPP
#define SECONDNATURE_DETAIL_CALLBACK_ERRORS_HPP

#include <atomic>
#include <exception>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "../handle.hpp"

namespace secondnature {
inline namespace SECONDNATURE_ABI {

namespace detail {

/** The first failure of a call's callbacks, which stops the call. */
class CallbackErrors {
public:
    explicit CallbackErrors(const sn_cancel *stop = nullptr) noexcept : stop_(stop) {}
    CallbackErrors(const CallbackErrors &) = delete;
    CallbackErrors &operator=(const CallbackErrors &) = delete;

    /** Whether one failed; no other is called then. */
    bool failed() const noexcept { return failed_.load(); }

    /** Runs a callback that C calls; `otherwise` is what C gets where it throws. */
    template <typename T, typename Body>
    T guard(const char *name, T otherwise, Body body) noexcept {
#if SECONDNATURE_HAS_EXCEPTIONS
        try {
            return body();
        } catch (...) {
            record(name, std::nullopt, std::current_exception());
            return otherwise;
        }
#else
        static_cast<void>(name);
        static_cast<void>(otherwise);
        return body();
#endif
    }

    /** Records a failure of the callback `name`, if it is the first. */
    void record(const char *name, std::optional<Error> error, std::exception_ptr thrown = nullptr) noexcept {
        // Callbacks of different kinds may come from different threads. What is recorded is read after
        // the call has returned.
        if (!failed_.exchange(true)) {
            name_ = name;
            error_ = std::move(error);
            thrown_ = std::move(thrown);
            sn_cancel_request(stop_);
        }
    }

    /** The error of the call, given what the C API returned. Ready for the next call then. */
    std::optional<Error> finish(std::optional<Error> returned) {
        if (!failed_.exchange(false)) {
            return returned;
        }
        const std::optional<Error> error = std::exchange(error_, std::nullopt);
        std::exception_ptr thrown = std::exchange(thrown_, nullptr);
        std::string reason = error ? error->message() : what(thrown);
        if (!returned) {
            returned = Error(SN_STATUS_CANCELLED, "the work is done, but a callback failed");
        }
        std::string message = returned->message() + ": the " + name_ + ": " + reason;
        std::vector<std::string> causes = returned->causes();
        causes.insert(causes.begin(), std::move(reason));
        if (error) {
            causes.insert(causes.begin() + 1, error->causes().begin(), error->causes().end());
        }
        return Error(returned->status(), std::move(message), std::move(causes), std::move(thrown));
    }

private:
    static std::string what(const std::exception_ptr &thrown) {
#if SECONDNATURE_HAS_EXCEPTIONS
        try {
            std::rethrow_exception(thrown);
        } catch (const std::exception &exception) {
            return exception.what();
        } catch (...) {
        }
#endif
        static_cast<void>(thrown);
        return "an exception that is not a std::exception";
    }

    const sn_cancel *stop_;
    std::atomic<bool> failed_{false};
    const char *name_ = "";
    std::optional<Error> error_;
    std::exception_ptr thrown_;
};

} // namespace detail

} // namespace SECONDNATURE_ABI
} // namespace secondnature

#endif // SECONDNATURE_DETAIL_CALLBACK_ERRORS_HPP
