/** The caller's own inference. */
#ifndef SECONDNATURE_DECODER_HPP
#define SECONDNATURE_DECODER_HPP

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "result.hpp"
#include "span.hpp"

namespace secondnature {
inline namespace SECONDNATURE_ABI {

/** A token of the vocabulary. */
using Token = std::int32_t;

/** One row of a batch: `token` at `pos` of sequence `seq`, and whether `logits` after it are wanted. */
using BatchRow = sn_batch_row;

/**
 * The caller's own inference: a model that it has loaded already, used instead of a second copy.
 *
 *     struct Mine : sn::Decoder {
 *         Mine() : Decoder(describe()) {} // a Decoder::Info
 *         sn::Result<void> decode(sn::Span<sn::BatchRow> rows) override {
 *             if (engine.run(rows.data(), rows.size())) return {};
 *             return sn::Error("out of KV cells");
 *         }
 *         …
 *     };
 *     Mine mine;
 *     params.decoder = &mine;
 *
 * It must run the model that the call is about, in whatever precision: equal tokens for equal text. An
 * Error, or an exception, ends the call that is running, which fails with its message.
 *
 * The functions are called by the thread that made the call, one at a time, and do not call into the
 * library with the objects of that call. secondnature.h documents each at sn_decoder.
 */
class Decoder {
public:
    /** The properties of the decoder. Zeros and empty texts stand for the defaults; see sn_decoder. */
    struct Info {
        /** Required: tokens in the vocabulary, the width of a row of logits. */
        std::uint32_t vocab_size = 0;
        /** Required: cells of the KV cache, which all sequences share. */
        std::uint32_t context_size = 0;
        /** Positions that one sequence may have; 0 for context_size. */
        std::uint32_t sequence_limit = 0;
        /** Required: sequences that may be live at once; twice `slots` serves well. */
        std::uint32_t max_sequences = 0;
        /** Sequences to work on at once; 0 for max_sequences. */
        std::uint32_t slots = 0;
        /** Required: rows that one decode() takes. */
        std::uint32_t max_batch = 0;
        /** The token that prompts start with and that tokenize() does not add. */
        std::optional<Token> bos;
        /** The chat template, in Jinja; empty: as the model file has it. */
        std::string chat_template;
        /** What templates may use as the texts of the tokens that begin and end a text. */
        std::string bos_text;
        std::string eos_text;
        /** Whether set_adapter() is there to be called. */
        bool adapters = false;
    };

    virtual ~Decoder() = default;
    Decoder(const Decoder &) = delete;
    Decoder &operator=(const Decoder &) = delete;

    const Info &info() const noexcept { return info_; }

    /** The tokens of `text`; text of special tokens becomes those only where `special` is set. */
    virtual Result<std::vector<Token>> tokenize(std::string_view text, bool special) = 0;
    /** The bytes of `token`; special tokens have none. */
    virtual Result<std::string> piece(Token token) = 0;
    /** Whether `token` ends a turn. */
    virtual Result<bool> is_end(Token token) = 0;
    /** Feeds rows, at most max_batch, and computes the logits that they want. */
    virtual Result<void> decode(Span<BatchRow> rows) = 0;
    /** The logits after row `row` of the last batch: vocab_size numbers that stay until the next. */
    virtual Result<Span<float>> logits(std::size_t row) = 0;
    /** Makes the empty sequence `to` share the first `len` positions of `from`. */
    virtual Result<void> copy_prefix(std::uint32_t from, std::uint32_t to, std::uint32_t len) = 0;
    /** Removes the positions from `from` on of sequence `seq`. */
    virtual Result<void> truncate(std::uint32_t seq, std::uint32_t from) = 0;
    /**
     * Applies the adapter in the file `path`, or none, to the rows decoded from now on; sequences keep
     * what they have. Only called where Info::adapters is set; else the library loads the model itself to
     * use an adapter.
     */
    virtual Result<void> set_adapter(std::optional<std::string_view> path) {
        static_cast<void>(path);
        return Error("this decoder applies no adapters");
    }

protected:
    explicit Decoder(Info info) : info_(std::move(info)) {}

private:
    Info info_;
};

/** The caller's own inference for a call, borrowed; none by default: `params.decoder = &mine`. */
class DecoderRef {
public:
    constexpr DecoderRef() noexcept = default;
    constexpr DecoderRef(std::nullptr_t) noexcept {}
    /** One in C++. */
    constexpr DecoderRef(Decoder *decoder) noexcept : decoder_(decoder) {}
    /** One in C, such as secondnature_llama.h has. */
    constexpr DecoderRef(const sn_decoder *decoder) noexcept : raw_(decoder) {}

    constexpr Decoder *decoder() const noexcept { return decoder_; }
    constexpr const sn_decoder *raw() const noexcept { return raw_; }

private:
    Decoder *decoder_ = nullptr;
    const sn_decoder *raw_ = nullptr;
};

} // namespace SECONDNATURE_ABI
} // namespace secondnature

#endif // SECONDNATURE_DECODER_HPP
