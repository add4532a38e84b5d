/** A model file, and the version of the library. */
#ifndef SECONDNATURE_MODEL_HPP
#define SECONDNATURE_MODEL_HPP

#include <cstdint>

#include "handle.hpp"

namespace secondnature {
inline namespace SECONDNATURE_ABI {

/** The version of the library that is loaded; SN_VERSION is that of the header. */
inline std::string_view version() noexcept { return sn_version(); }

/** A model file that can be distilled. */
class Model : public detail::Handle<sn_model, sn_model_free> {
public:
    using Handle::Handle;

    /** Opens a GGUF file and checks that it can be distilled: milliseconds. */
    static Result<Model> open(std::string_view path) {
        return detail::make_object<Model>([&](sn_model **out, sn_error **err) {
            return sn_model_open(path.data(), path.size(), out, err);
        });
    }

    /** The model's own name; empty where it has none. */
    std::string_view name() const noexcept {
        return detail::text_of([&](std::size_t *len) { return sn_model_name(get(), len); });
    }
    /** Such as "llama". */
    std::string_view architecture() const noexcept {
        return detail::text_of([&](std::size_t *len) { return sn_model_architecture(get(), len); });
    }
    std::uint64_t parameters() const noexcept { return sn_model_parameters(get()); }
};

} // namespace SECONDNATURE_ABI
} // namespace secondnature

#endif // SECONDNATURE_MODEL_HPP
