//! Answers checked by the host.

use std::ffi::{c_char, c_void};

/// An answer to check. All text is UTF-8, followed by a NUL, with its length in bytes beside it.
/// Later versions may append fields. Since 0.1.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct sn_candidate {
    /// The id of the question.
    pub question_id: *const c_char,
    pub question_id_len: usize,
    /// The question as it was asked: perturbed, where the sample is of a perturbation. Empty where
    /// the task's questions have no field of that name.
    pub question: *const c_char,
    pub question_len: usize,
    /// The question with all its fields, as a line of a question file.
    pub question_json: *const c_char,
    pub question_json_len: usize,
    /// The answer, in the form in which answers are compared.
    pub answer: *const c_char,
    pub answer_len: usize,
    /// The text that the answer was read from.
    pub completion: *const c_char,
    pub completion_len: usize,
}

/// Checks an answer by other means than asking again: a unit test, a calculator, a list.
///
/// Returns 1 to accept it, 0 to turn it down, which leaves the sample in the vote as one without an
/// answer, and less than 0 to end the call with SN_STATUS_INPUT. Called once for each sample that
/// holds an answer; a resumed run does not ask again. `candidate` is valid during the call only.
///
/// Threads: called by the thread that made the call into the library, one call at a time. Must
/// return normally: no exception or longjmp may leave it. Since 0.1.
pub type sn_verifier_fn =
    Option<unsafe extern "C" fn(candidate: *const sn_candidate, user_data: *mut c_void) -> i32>;
