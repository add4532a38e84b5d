/** Adapter files. */
#ifndef SECONDNATURE_ADAPTER_HPP
#define SECONDNATURE_ADAPTER_HPP

#include <cstdint>
#include <string_view>

#include "handle.hpp"

namespace secondnature {
inline namespace SECONDNATURE_ABI {

/** A LoRA adapter file, and what it says of itself. */
class Adapter : public detail::Handle<sn_adapter, sn_adapter_free> {
public:
    using Handle::Handle;

    /** Opens the file and checks that it holds a LoRA adapter: milliseconds. */
    static Result<Adapter> open(std::string_view path) {
        return detail::make_object<Adapter>([&](sn_adapter **out, sn_error **err) {
            return sn_adapter_open(path.data(), path.size(), out, err);
        });
    }

    std::uint32_t rank() const noexcept { return sn_adapter_rank(get()); }
    double alpha() const noexcept { return sn_adapter_alpha(get()); }
    /** The task that it was trained on; empty where another program trained it. */
    std::string_view task() const noexcept {
        return detail::text_of([&](std::size_t *len) { return sn_adapter_task(get(), len); });
    }
    /** Everything that the file says of itself, as a JSON object of texts. */
    std::string_view describe() const noexcept {
        return detail::text_of([&](std::size_t *len) { return sn_adapter_describe(get(), len); });
    }
};

} // namespace SECONDNATURE_ABI
} // namespace secondnature

#endif // SECONDNATURE_ADAPTER_HPP
