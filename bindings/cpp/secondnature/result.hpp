/** A value, or why there is none. */
#ifndef SECONDNATURE_RESULT_HPP
#define SECONDNATURE_RESULT_HPP

#include <cstdio>
#include <cstdlib>
#include <optional>
#include <type_traits>
#include <utility>
#include <variant>

#include "error.hpp"

namespace secondnature {
inline namespace SECONDNATURE_ABI {

template <typename T>
class Result;

namespace detail {

/** Ends the program: a Result was used as what it is not. */
template <typename T>
const T *bad_access(const Error *error) noexcept {
    std::fprintf(stderr, "secondnature: a Result was used without a look at whether it failed: %s\n",
                 error != nullptr ? error->message().c_str() : "it did not");
    std::abort();
}

/** What a Result<T> can be made of. No pointers for bool: a text is no answer to a question. */
template <typename T, typename U, typename Plain = std::decay_t<U>>
inline constexpr bool is_value_of =
    std::is_convertible_v<U, T> && !std::is_same_v<Plain, Result<T>> && !std::is_same_v<Plain, Error> &&
    (!std::is_same_v<T, bool> || std::is_arithmetic_v<Plain>);

/** What Result<T> and Result<void> have in common. */
template <typename Self>
class ResultBase {
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
        return ok() ? *bad_access<Error>(nullptr) : *failure();
    }

private:
    const Error *failure() const noexcept { return static_cast<const Self *>(this)->failure(); }
};

} // namespace detail

/**
 * A T, or why there is none. In a condition: whether there is one, also where T is bool.
 *
 * `*result` and `result->` are the T. Of a failed result they end the program, after writing the
 * error to stderr.
 */
template <typename T>
class [[nodiscard]] Result : public detail::ResultBase<Result<T>> {
public:
    template <typename U = T, typename = std::enable_if_t<detail::is_value_of<T, U>>>
    Result(U &&value) : state_(std::in_place_index<0>, std::forward<U>(value)) {}
    Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

    T &operator*() & noexcept { return *checked_value(); }
    const T &operator*() const & noexcept { return *checked_value(); }
    T &&operator*() && noexcept { return std::move(*checked_value()); }
    T *operator->() noexcept { return checked_value(); }
    const T *operator->() const noexcept { return checked_value(); }

    /** The T, or `otherwise`. */
    template <typename U>
    T value_or(U &&otherwise) && {
        return this->ok() ? std::move(*checked_value()) : static_cast<T>(std::forward<U>(otherwise));
    }

#ifdef SECONDNATURE_EXCEPTIONS
    /** The T; throws where there is none. Only with SECONDNATURE_EXCEPTIONS. */
    T value() && {
        check();
        return std::move(*checked_value());
    }
    T &value() & {
        check();
        return *checked_value();
    }
    const T &value() const & {
        check();
        return *checked_value();
    }
#endif

private:
    friend detail::ResultBase<Result<T>>;

    const Error *failure() const noexcept { return std::get_if<1>(&state_); }
    T *checked_value() noexcept { return const_cast<T *>(std::as_const(*this).checked_value()); }
    const T *checked_value() const noexcept {
        const T *const value = std::get_if<0>(&state_);
        return value != nullptr ? value : detail::bad_access<T>(failure());
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

/** Success, `{}`, or why there is none. */
template <>
class [[nodiscard]] Result<void> : public detail::ResultBase<Result<void>> {
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
    friend detail::ResultBase<Result<void>>;

    const Error *failure() const noexcept { return error_ ? &*error_ : nullptr; }

    std::optional<Error> error_;
};

} // namespace SECONDNATURE_ABI
} // namespace secondnature

#endif // SECONDNATURE_RESULT_HPP
