/** Owned handles of the C API, and how it is called. */
#ifndef SECONDNATURE_HANDLE_HPP
#define SECONDNATURE_HANDLE_HPP

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "result.hpp"

namespace secondnature {
inline namespace SECONDNATURE_ABI {

namespace detail {

/** A handle of the C API and its end. */
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

inline std::string_view to_view(const char *data, std::size_t len) noexcept {
    return data != nullptr ? std::string_view(data, len) : std::string_view();
}

/** The text that a call returns, which writes its length to its last argument. */
template <typename Call>
std::string_view text_of(Call call) {
    std::size_t len = 0;
    const char *data = call(&len);
    return to_view(data, len);
}

/** Makes a call of the C API; its error, where it failed. */
template <typename Call>
std::optional<Error> invoke(Call call) {
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

/** Makes a call that has no output. */
template <typename Call>
Result<void> invoke_void(Call call) {
    std::optional<Error> error = invoke(call);
    return error ? Result<void>(std::move(*error)) : Result<void>();
}

/** Makes a call whose output is JSON. */
template <typename Call>
Result<std::string> invoke_json(Call call) {
    char *text = nullptr;
    std::size_t len = 0;
    std::optional<Error> error = invoke([&](sn_error **err) { return call(&text, &len, err); });
    const OwnedText owned(text);
    if (error) {
        return std::move(*error);
    }
    return std::string(text, len);
}

/** Text that may be missing, as the C API takes it: NULL is not the same as empty. */
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

/** Sets a text of a params struct, where an empty one is a missing one. */
inline void set_text(const std::string &text, const char *&data, std::size_t &len) noexcept {
    data = text.empty() ? nullptr : text.data();
    len = text.size();
}

/** Makes a call whose output is a handle; an object of class C that owns it. */
template <typename C, typename Call>
Result<C> make_object(Call call) {
    typename C::Raw *handle = nullptr;
    std::optional<Error> error = invoke([&](sn_error **err) { return call(&handle, err); });
    if (error) {
        return std::move(*error);
    }
    return C(handle);
}

} // namespace detail

} // namespace SECONDNATURE_ABI
} // namespace secondnature

#endif // SECONDNATURE_HANDLE_HPP
