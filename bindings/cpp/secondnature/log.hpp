/** The log. */
#ifndef SECONDNATURE_LOG_HPP
#define SECONDNATURE_LOG_HPP

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>
#include <utility>

#include "handle.hpp"

namespace secondnature {
inline namespace SECONDNATURE_ABI {

/** Receives a line of the log. Called by any thread, one at a time. */
using OnLog = std::function<void(sn_log_level level, std::string_view line)>;

/**
 * Hands every line at `level` or above to `log` from now on: the library's warnings and the log of the
 * llama.cpp inside it. Process-wide; replaces an earlier one, which is not called any more when this
 * returns. An empty `log` is silence, which is how it starts.
 *
 * `log` must not call into the library. It belongs to no call, so an exception that it throws is
 * dropped: a log line stops no work.
 */
Result<void> set_log(sn_log_level level, OnLog log);

namespace detail {

/** Receives the log; `user_data` is an OnLog. */
inline void log_line(std::int32_t level, const char *line, std::size_t len, void *user_data) noexcept {
#if SECONDNATURE_HAS_EXCEPTIONS
    try {
        (*static_cast<const OnLog *>(user_data))(static_cast<sn_log_level>(level), to_view(line, len));
    } catch (...) {
    }
#else
    (*static_cast<const OnLog *>(user_data))(static_cast<sn_log_level>(level), to_view(line, len));
#endif
}

} // namespace detail

inline Result<void> set_log(sn_log_level level, OnLog log) {
    // Not freed at the end of the process, when the library may still log.
    static std::mutex one_at_a_time;
    static OnLog *current = nullptr;
    const std::lock_guard<std::mutex> lock(one_at_a_time);
    std::unique_ptr<OnLog> next(log ? new OnLog(std::move(log)) : nullptr);
    std::optional<Error> error = detail::invoke([&](sn_error **err) {
        return sn_log_set(level, next ? &detail::log_line : nullptr, next.get(), err);
    });
    if (error) {
        return std::move(*error);
    }
    const std::unique_ptr<OnLog> last(std::exchange(current, next.release()));
    return {};
}

} // namespace SECONDNATURE_ABI
} // namespace secondnature

#endif // SECONDNATURE_LOG_HPP
