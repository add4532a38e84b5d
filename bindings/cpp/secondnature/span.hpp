/** A view of numbers that belong to somebody else. */
#ifndef SECONDNATURE_SPAN_HPP
#define SECONDNATURE_SPAN_HPP

#include <cstddef>
#include <iterator>
#include <type_traits>
#include <utility>

#include "config.hpp"

namespace secondnature {
inline namespace SECONDNATURE_ABI {

/**
 * Numbers in a row that belong to somebody else, to be read: what std::span<const T> is in C++20, to
 * which it converts. Made of a pointer and a size, or of a named vector or array.
 */
template <typename T>
class Span {
public:
    constexpr Span() noexcept = default;
    constexpr Span(const T *data, std::size_t size) noexcept : data_(data), size_(size) {}
    template <typename C, typename Data = decltype(std::data(std::declval<C &>())),
              typename = std::enable_if_t<std::is_convertible_v<Data, const T *>>>
    constexpr Span(C &container) noexcept : Span(std::data(container), std::size(container)) {}

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

} // namespace SECONDNATURE_ABI
} // namespace secondnature

#endif // SECONDNATURE_SPAN_HPP
