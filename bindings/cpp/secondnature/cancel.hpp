/** A request to stop. */
#ifndef SECONDNATURE_CANCEL_HPP
#define SECONDNATURE_CANCEL_HPP

#include "handle.hpp"

namespace secondnature {
inline namespace SECONDNATURE_ABI {

/**
 * A request to stop, shared by its copies; any thread may make it, a signal handler too.
 *
 *     const sn::Cancel stop;
 *     params.cancel = stop;
 *     std::thread timer([stop] { std::this_thread::sleep_for(1h); stop.request(); });
 *
 * Work that is asked to stop fails with SN_STATUS_CANCELLED; the same call resumes it. Only a preview ends with
 * what it has seen.
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

} // namespace SECONDNATURE_ABI
} // namespace secondnature

#endif // SECONDNATURE_CANCEL_HPP
