/** What a call reports while it works, and the functions that receive it. */
#ifndef SECONDNATURE_CALLBACKS_HPP
#define SECONDNATURE_CALLBACKS_HPP

#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>

#include "result.hpp"

namespace secondnature {
inline namespace SECONDNATURE_ABI {

/** How far a call has come. */
struct Progress {
    sn_stage stage;
    /** Units finished: questions, samples or optimiser steps, as the stage has them. */
    std::uint64_t done;
    /** Units in all; 0 when unknown. */
    std::uint64_t total;
    /** A short note for the user. */
    std::string_view note;
};

/** The outcome of the vote on one question. */
struct Verdict {
    /** SN_STAGE_CURATE for a training question, SN_STAGE_EVALUATE for a held-out one. */
    sn_stage stage;
    /** Why sampling stopped. */
    sn_stop_reason stop;
    std::string_view question_id;
    /** The answer with most votes; none where no sample holds one. */
    std::optional<std::string_view> answer;
    /** Why the answer is accepted or not, as a sentence. */
    std::string_view reason;
    std::uint64_t votes;
    std::uint64_t samples;
    /** The share that agrees, 0 to 1. */
    double agreement;
    /** Whether the answer is good enough to learn from. */
    bool kept;
};

/** The figures of an optimiser step: its number, loss, learning rate. */
using TrainStep = sn_train_step;

/** An answer for a verifier to check. */
struct Candidate {
    std::string_view question_id;
    /** The question as it was asked. */
    std::string_view question;
    /** The question with all its fields, as a line of a question file. */
    std::string_view question_json;
    /** The answer, as it was read from the text. */
    std::string_view answer;
    /** The text that the answer was read from. */
    std::string_view completion;
};

/**
 * Receive what happens: often, so they should be quick; one at a time, not always in the thread that
 * made the call. They must not be replaced while the call runs.
 */
using OnProgress = std::function<void(const Progress &)>;
using OnVerdict = std::function<void(const Verdict &)>;
using OnStep = std::function<void(const TrainStep &)>;

/**
 * Checks an answer by other means than asking again; a plain `bool` will do. An Error ends the call,
 * which fails with its message. Called by the thread that made the call.
 */
using Verifier = std::function<Result<bool>(const Candidate &)>;

} // namespace SECONDNATURE_ABI
} // namespace secondnature

#endif // SECONDNATURE_CALLBACKS_HPP
