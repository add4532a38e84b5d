/** A call with callbacks: progress, verdicts, steps, a verifier and a decoder. */
#ifndef SECONDNATURE_DETAIL_CALL_CONTEXT_HPP
#define SECONDNATURE_DETAIL_CALL_CONTEXT_HPP

#include <cstdint>
#include <optional>
#include <string_view>

#include "../callbacks.hpp"
#include "../cancel.hpp"
#include "c_decoder.hpp"

namespace secondnature {
inline namespace SECONDNATURE_ABI {

namespace detail {

/** The callbacks of one call. Its address is the `user_data` that C passes to each. */
class CallContext {
public:
    explicit CallContext(const std::optional<Cancel> &given)
        : cancel_(given && given->get() != nullptr ? *given : Cancel()), errors_(cancel_.get()) {}
    CallContext(const CallContext &) = delete;
    CallContext &operator=(const CallContext &) = delete;

    CallbackErrors &errors() noexcept { return errors_; }

    template <typename Raw>
    void cancel(Raw &raw) const noexcept {
        raw.cancel = cancel_.get();
    }

    template <typename Raw>
    void progress(Raw &raw, const OnProgress &on) noexcept {
        if (!on) {
            return;
        }
        progress_ = &on;
        raw.progress_user_data = this;
        raw.progress = [](const sn_progress *p, void *self) noexcept {
            of(self).notify("progress callback", [&](const CallContext &call) {
                (*call.progress_)({p->stage, p->done, p->total, to_view(p->note, p->note_len)});
            });
        };
    }

    template <typename Raw>
    void verdict(Raw &raw, const OnVerdict &on) noexcept {
        if (!on) {
            return;
        }
        verdict_ = &on;
        raw.verdict_user_data = this;
        raw.verdict = [](const sn_verdict *v, void *self) noexcept {
            of(self).notify("verdict callback", [&](const CallContext &call) {
                std::optional<std::string_view> answer;
                if (v->answer != nullptr) {
                    answer = to_view(v->answer, v->answer_len);
                }
                (*call.verdict_)({v->stage, v->stop, to_view(v->question_id, v->question_id_len), answer,
                                  to_view(v->reason, v->reason_len), v->votes, v->samples, v->agreement,
                                  v->kept != 0});
            });
        };
    }

    template <typename Raw>
    void step(Raw &raw, const OnStep &on) noexcept {
        if (!on) {
            return;
        }
        step_ = &on;
        raw.step_user_data = this;
        raw.step = [](const sn_train_step *s, void *self) noexcept {
            of(self).notify("step callback", [&](const CallContext &call) { (*call.step_)(*s); });
        };
    }

    template <typename Raw>
    void verifier(Raw &raw, const Verifier &on) noexcept {
        if (!on) {
            return;
        }
        verifier_ = &on;
        raw.verifier_user_data = this;
        raw.verifier = [](const sn_candidate *c, void *self) noexcept -> std::int32_t {
            return of(self).verify({to_view(c->question_id, c->question_id_len), to_view(c->question, c->question_len),
                                    to_view(c->question_json, c->question_json_len), to_view(c->answer, c->answer_len),
                                    to_view(c->completion, c->completion_len)});
        };
    }

    template <typename Raw>
    void decoder(Raw &raw, const DecoderRef &on) noexcept {
        raw.decoder = on.decoder() != nullptr ? c_decoder_.emplace(*on.decoder(), errors_).raw() : on.raw();
    }

private:
    static CallContext &of(void *user_data) noexcept { return *static_cast<CallContext *>(user_data); }

    template <typename Body>
    void notify(const char *name, Body body) noexcept {
        if (!errors_.failed()) {
            errors_.guard(name, 0, [&] {
                body(*this);
                return 0;
            });
        }
    }

    std::int32_t verify(const Candidate &candidate) noexcept {
        if (errors_.failed()) {
            return -1;
        }
        return errors_.guard("verifier", std::int32_t{-1}, [&]() -> std::int32_t {
            const Result<bool> accepted = (*verifier_)(candidate);
            if (!accepted) {
                errors_.record("verifier", accepted.error());
                return -1;
            }
            return *accepted ? 1 : 0;
        });
    }

    Cancel cancel_;
    CallbackErrors errors_;
    const OnProgress *progress_ = nullptr;
    const OnVerdict *verdict_ = nullptr;
    const OnStep *step_ = nullptr;
    const Verifier *verifier_ = nullptr;
    std::optional<CDecoder> c_decoder_;
};

} // namespace detail

} // namespace SECONDNATURE_ABI
} // namespace secondnature

#endif // SECONDNATURE_DETAIL_CALL_CONTEXT_HPP
