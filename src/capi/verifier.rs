//! Answers checked by the caller.

use std::ffi::{c_char, c_void};
use std::sync::{Arc, Mutex, PoisonError};

use super::text::Text;
use crate::curate::Verifier;
use crate::task::{Answer, Question};
use crate::{Error, Result};

/// An answer to check. All text is UTF-8, followed by a NUL, with its length in bytes beside it.
/// Later versions may append fields.
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
    /// The answer as it was read from the text.
    pub answer: *const c_char,
    pub answer_len: usize,
    /// The text that the answer was read from.
    pub completion: *const c_char,
    pub completion_len: usize,
}

/// Checks an answer by other means than sampling: a unit test, a calculator, a list.
///
/// Returns 1 to accept it, 0 to reject it, which leaves the sample in the vote as one without an
/// answer, and less than 0 to end the call with SN_STATUS_INPUT. Called once for each sample that
/// holds an answer; a resumed run does not ask again. `candidate` is valid during the call only.
///
/// Threads: called by the thread that made the call into the library, one call at a time. Must
/// return normally: no exception or longjmp may leave it.
pub type sn_verifier_fn =
    Option<unsafe extern "C" fn(candidate: *const sn_candidate, user_data: *mut c_void) -> i32>;

/// The caller's verifier.
struct CallerVerifier {
    callback: unsafe extern "C" fn(candidate: *const sn_candidate, user_data: *mut c_void) -> i32,
    user_data: Mutex<*mut c_void>,
}

// SAFETY: `user_data` is only handed to `callback`, under the lock, by the thread that the caller
// made its call with.
unsafe impl Send for CallerVerifier {}
// SAFETY: as above.
unsafe impl Sync for CallerVerifier {}

/// `callback` as a verifier; `None` for NULL.
pub(super) fn verifier(callback: sn_verifier_fn, user_data: *mut c_void) -> Option<Arc<dyn Verifier>> {
    let callback = callback?;
    Some(Arc::new(CallerVerifier { callback, user_data: Mutex::new(user_data) }))
}

impl Verifier for CallerVerifier {
    fn accepts(&self, question: &Question, answer: &Answer, completion: &str) -> Result<bool> {
        let json = question.to_json_line();
        let texts: [&str; 5] = [&question.id, question.text(), &json, &answer.text, completion];
        let [id, asked, json, text, completion] = texts.map(Text::new);
        let candidate = sn_candidate {
            question_id: id.as_ptr(),
            question_id_len: id.len(),
            question: asked.as_ptr(),
            question_len: asked.len(),
            question_json: json.as_ptr(),
            question_json_len: json.len(),
            answer: text.as_ptr(),
            answer_len: text.len(),
            completion: completion.as_ptr(),
            completion_len: completion.len(),
        };
        let user_data = self.user_data.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the caller gave a function of this type with its user data.
        match unsafe { (self.callback)(&raw const candidate, *user_data) } {
            0 => Ok(false),
            1 => Ok(true),
            code => {
                let why = format!("failed on question \"{}\" (code {code}; expected 0 or 1)", question.id);
                Err(Error::input("the verifier", why))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CStr;

    #[test]
    fn the_answer_is_passed_as_it_was_read_and_not_in_the_form_that_votes_compare() {
        unsafe extern "C" fn keep(candidate: *const sn_candidate, user_data: *mut c_void) -> i32 {
            // SAFETY: called by `accepts` with a candidate whose texts end in NUL, and the `String` below.
            unsafe {
                let answer = CStr::from_ptr((*candidate).answer);
                *user_data.cast::<String>() = answer.to_str().unwrap().to_string();
            }
            1
        }
        let mut answer = String::new();
        let verifier = verifier(Some(keep), (&raw mut answer).cast()).unwrap();
        let read = Answer { key: "1000".into(), text: "1,000".into() };
        let question = Question::new("q", "How many?", Vec::new());
        assert!(verifier.accepts(&question, &read, "Answer: 1,000").unwrap());
        assert_eq!(answer, "1,000");
    }
}
