//! The verdict on a question, as its callback receives it.

use std::ffi::{c_char, c_void};

use super::stage::sn_stage;
use super::text::Text;
use crate::vote::{StopReason, Verdict};

/// Why no further sample of a question was taken. New ones may be added.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum sn_stop_reason {
    /// The leading answer is the true majority, as surely as the task asks for.
    Converged = 0,
    /// All samples were used.
    Budget = 1,
    /// The samples left could not lift any answer to the threshold.
    Abandoned = 2,
}

/// The outcome of the vote on one question. All text is UTF-8, followed by a NUL, with its length
/// in bytes beside it. Later versions may append fields.
#[repr(C)]
pub struct sn_verdict {
    /// SN_STAGE_CURATE for a training question, SN_STAGE_EVALUATE for a held-out one.
    pub stage: sn_stage,
    /// Why sampling stopped.
    pub stop: sn_stop_reason,
    /// The id of the question.
    pub question_id: *const c_char,
    pub question_id_len: usize,
    /// The answer with most votes; NULL where no sample holds one.
    pub answer: *const c_char,
    pub answer_len: usize,
    /// Why the answer is accepted or not, as a sentence.
    pub reason: *const c_char,
    pub reason_len: usize,
    /// Samples, or selections where the model selected, that gave the answer.
    pub votes: u64,
    /// Samples taken, those without an answer included.
    pub samples: u64,
    /// The share that agrees, 0 to 1.
    pub agreement: f64,
    /// Not 0: the answer is good enough to learn from.
    pub kept: i32,
    /// 0.
    pub reserved: u32,
}

/// Receives the verdict on each question as it is reached: once for each question and stage, first for
/// those that an earlier, interrupted call finished. sn_distill() goes through the held-out questions
/// twice, to decide and to evaluate. `verdict` is valid during the call only.
///
/// Threads: as sn_progress_fn. Must return normally: no exception or longjmp may leave it.
pub type sn_verdict_fn = Option<unsafe extern "C" fn(verdict: *const sn_verdict, user_data: *mut c_void)>;

/// Calls `with` with `verdict` as a C struct.
pub(super) fn show(stage: sn_stage, verdict: &Verdict, with: impl FnOnce(*const sn_verdict)) {
    let id = Text::new(verdict.question.as_str());
    let reason = Text::new(verdict.reason.as_str());
    let answer = verdict.answer.as_ref().map(|answer| Text::new(answer.text.as_str()));
    with(&sn_verdict {
        stage,
        stop: match verdict.stop {
            StopReason::Converged => sn_stop_reason::Converged,
            StopReason::Budget => sn_stop_reason::Budget,
            StopReason::Abandoned => sn_stop_reason::Abandoned,
        },
        question_id: id.as_ptr(),
        question_id_len: id.len(),
        answer: answer.as_ref().map_or(std::ptr::null(), Text::as_ptr),
        answer_len: answer.as_ref().map_or(0, Text::len),
        reason: reason.as_ptr(),
        reason_len: reason.len(),
        votes: verdict.votes as u64,
        samples: verdict.n as u64,
        agreement: verdict.agreement.into(),
        kept: verdict.kept.into(),
        reserved: 0,
    })
}
