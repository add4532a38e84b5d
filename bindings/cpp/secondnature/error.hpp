/** Why something failed. */
#ifndef SECONDNATURE_ERROR_HPP
#define SECONDNATURE_ERROR_HPP

#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "config.hpp"

namespace secondnature {
inline namespace SECONDNATURE_ABI {

/** Why something failed. */
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
/** What `.value()` of a failed Result throws. Only with SECONDNATURE_EXCEPTIONS. */
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

} // namespace SECONDNATURE_ABI
} // namespace secondnature

#endif // SECONDNATURE_ERROR_HPP
