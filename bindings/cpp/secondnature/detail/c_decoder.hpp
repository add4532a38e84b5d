/** A Decoder as an sn_decoder. */
#ifndef SECONDNATURE_DETAIL_C_DECODER_HPP
#define SECONDNATURE_DETAIL_C_DECODER_HPP

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "../decoder.hpp"
#include "callback_errors.hpp"

namespace secondnature {
inline namespace SECONDNATURE_ABI {

namespace detail {

/** A Decoder as an sn_decoder. Borrows the decoder and the errors; must not move. */
class CDecoder {
public:
    CDecoder(Decoder &decoder, CallbackErrors &errors) noexcept : decoder_(decoder), errors_(errors) { fill(); }
    CDecoder(const CDecoder &) = delete;
    CDecoder &operator=(const CDecoder &) = delete;

    const sn_decoder *raw() const noexcept { return &raw_; }

private:
    static CDecoder &of(void *user_data) noexcept { return *static_cast<CDecoder *>(user_data); }

    /** Calls the decoder. `value` turns its result into what C gets; for a failure that is `otherwise`. */
    template <typename T, typename Method, typename Value>
    T call(T otherwise, Method method, Value value) noexcept {
        return errors_.guard("decoder", otherwise, [&]() -> T {
            auto found = method(decoder_);
            if (!found) {
                errors_.record("decoder", found.error());
                return otherwise;
            }
            return value(found);
        });
    }

    template <typename Method>
    std::int32_t status(Method method) noexcept {
        return call(std::int32_t{1}, method, [](const Result<void> &) { return std::int32_t{0}; });
    }

    /** Copies a result to a buffer of C's, if it fits, and its size to `count`. */
    template <typename Found, typename T>
    static std::int32_t copy_out(const Found &found, T *to, std::size_t capacity, std::size_t *count) {
        *count = found.size();
        if (found.size() <= capacity) {
            std::copy(found.begin(), found.end(), to);
        }
        return 0;
    }

    void fill() noexcept {
        const Decoder::Info &info = decoder_.info();
        sn_decoder_init(&raw_, sizeof raw_);
        raw_.user_data = this;
        raw_.vocab_size = info.vocab_size;
        raw_.context_size = info.context_size;
        raw_.sequence_limit = info.sequence_limit;
        raw_.max_sequences = info.max_sequences;
        raw_.slots = info.slots;
        raw_.max_batch = info.max_batch;
        raw_.bos = info.bos.value_or(-1);
        set_text(info.chat_template, raw_.chat_template, raw_.chat_template_len);
        set_text(info.bos_text, raw_.bos_text, raw_.bos_text_len);
        set_text(info.eos_text, raw_.eos_text, raw_.eos_text_len);
        raw_.tokenize = [](void *self, const char *text, std::size_t len, std::int32_t special,
                           std::int32_t *tokens, std::size_t capacity,
                           std::size_t *count) noexcept -> std::int32_t {
            return of(self).call(
                std::int32_t{1},
                [&](Decoder &decoder) { return decoder.tokenize(to_view(text, len), special != 0); },
                [&](const Result<std::vector<Token>> &found) {
                    return copy_out(*found, tokens, capacity, count);
                });
        };
        raw_.piece = [](void *self, std::int32_t token, char *bytes, std::size_t capacity,
                        std::size_t *len) noexcept -> std::int32_t {
            return of(self).call(
                std::int32_t{1}, [&](Decoder &decoder) { return decoder.piece(token); },
                [&](const Result<std::string> &found) { return copy_out(*found, bytes, capacity, len); });
        };
        raw_.is_end = [](void *self, std::int32_t token) noexcept -> std::int32_t {
            return of(self).call(
                std::int32_t{-1}, [&](Decoder &decoder) { return decoder.is_end(token); },
                [](const Result<bool> &found) { return std::int32_t{*found ? 1 : 0}; });
        };
        raw_.decode = [](void *self, const sn_batch_row *rows, std::size_t n) noexcept -> std::int32_t {
            return of(self).status([&](Decoder &decoder) { return decoder.decode(Span<BatchRow>(rows, n)); });
        };
        raw_.logits = [](void *self, std::size_t row) noexcept -> const float * {
            return of(self).call(
                static_cast<const float *>(nullptr),
                [&](Decoder &decoder) -> Result<Span<float>> {
                    Result<Span<float>> found = decoder.logits(row);
                    if (found && found->size() != decoder.info().vocab_size) {
                        return Error(std::to_string(found->size()) + " logits, expected one for each of " +
                                     std::to_string(decoder.info().vocab_size) + " tokens");
                    }
                    return found;
                },
                [](const Result<Span<float>> &found) { return found->data(); });
        };
        raw_.copy_prefix = [](void *self, std::uint32_t from, std::uint32_t to,
                              std::uint32_t len) noexcept -> std::int32_t {
            return of(self).status([&](Decoder &decoder) { return decoder.copy_prefix(from, to, len); });
        };
        raw_.truncate = [](void *self, std::uint32_t seq, std::uint32_t from) noexcept -> std::int32_t {
            return of(self).status([&](Decoder &decoder) { return decoder.truncate(seq, from); });
        };
        if (info.adapters) {
            raw_.set_adapter = [](void *self, const char *path, std::size_t len) noexcept -> std::int32_t {
                return of(self).status([&](Decoder &decoder) {
                    return decoder.set_adapter(path != nullptr ? std::optional(to_view(path, len)) : std::nullopt);
                });
            };
        }
    }

    Decoder &decoder_;
    CallbackErrors &errors_;
    sn_decoder raw_;
};

} // namespace detail

} // namespace SECONDNATURE_ABI
} // namespace secondnature

#endif // SECONDNATURE_DETAIL_C_DECODER_HPP
