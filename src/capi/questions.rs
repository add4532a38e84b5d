//! Question sets: read, generated, or added one by one.

use std::ffi::c_char;

use super::catch::catch;
use super::entry::entry;
use super::error::sn_error;
use super::failure::Failure;
use super::handle::{Exclusive, hand_out, place, release, required};
use super::status::sn_status;
use super::text::{file_bytes, optional_text, text};
use crate::datasets::{Split, generate};
use crate::task::{QuestionSet, parse_questions, read_questions};

/// Which part of the people, places, objects and words generated questions are about.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum sn_split {
    /// Questions to learn from.
    Train = 0,
    /// Questions to measure on: about none of what the others are about.
    Test = 1,
}

/// A set of questions with different ids.
///
/// ```c
/// sn_questions *questions = sn_questions_new();
/// sn_questions_add(questions, NULL, 0, "Is the coin heads up?", SN_NUL_TERMINATED,
///                  NULL, 0, &err);
/// ```
///
/// Ownership: the caller's; free it with sn_questions_free(). Calls that take one copy it. Threads:
/// a `const sn_questions *` may be used from any number of threads, a `sn_questions *` by one.
pub struct sn_questions(Exclusive<QuestionSet>);

impl sn_questions {
    fn new(questions: QuestionSet) -> sn_questions {
        sn_questions(Exclusive::new(questions))
    }

    /// A copy of the questions.
    pub(super) fn read(&self, name: &str) -> Result<QuestionSet, Failure> {
        self.0.share(name, |questions| Ok(questions.clone()))
    }
}

/// No questions yet; add some with sn_questions_add().
///
/// Ownership: the caller's; free it with sn_questions_free().
#[unsafe(no_mangle)]
pub extern "C" fn sn_questions_new() -> *mut sn_questions {
    catch!(or std::ptr::null_mut() => Box::into_raw(Box::new(sn_questions::new(QuestionSet::new()))))
}

/// Reads a file with one question a line, as plain text or, where the first line starts with a brace,
/// as JSON:
///
/// ```json
/// {"id": "f1", "question": "Is the coin still heads up?", "answer": "yes"}
/// ```
///
/// Only "question" is needed. "answer" may be a list of accepted texts; "fields", an object of texts,
/// is for tasks that need several.
///
/// `path` is UTF-8 of `len` bytes, or ends in NUL with SN_NUL_TERMINATED. `*out` is the set on
/// success and untouched on failure.
///
/// Errors: SN_STATUS_IO; SN_STATUS_INPUT with the line that is wrong, and for a file without a
/// question; SN_STATUS_INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_questions_read(
    path: *const c_char,
    len: usize,
    out: *mut *mut sn_questions,
    err: *mut *mut sn_error,
) -> sn_status {
    entry!(err => {
        // SAFETY: by the header's rules.
        let path = unsafe { text("path", path, len) }?;
        let out = place("out", out)?;
        let questions = QuestionSet::from(read_questions(path.as_ref())?);
        // SAFETY: not NULL, so writable, by the header's rules.
        unsafe { hand_out(out, sn_questions::new(questions)) };
        Ok(())
    })
}

/// Reads the same from memory: `lines` is what such a file holds. Messages call it "lines".
///
/// Errors: SN_STATUS_INPUT, SN_STATUS_INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_questions_parse(
    lines: *const c_char,
    len: usize,
    out: *mut *mut sn_questions,
    err: *mut *mut sn_error,
) -> sn_status {
    entry!(err => {
        // SAFETY: by the header's rules.
        let lines = unsafe { file_bytes("lines", lines, len) }?;
        let out = place("out", out)?;
        let questions = QuestionSet::from(parse_questions(lines, "lines")?);
        // SAFETY: not NULL, so writable, by the header's rules.
        unsafe { hand_out(out, sn_questions::new(questions)) };
        Ok(())
    })
}

/// Generates `n` different questions with their gold answers. `kind` is a name such as "coin-flip"
/// (`secondnature questions` lists them) of `len` bytes; `seed` chooses among the questions of
/// `split`, an sn_split.
///
/// ```c
/// sn_questions_generate("coin-flip", SN_NUL_TERMINATED, 200, 1, SN_SPLIT_TRAIN, &train, &err);
/// sn_questions_generate("coin-flip", SN_NUL_TERMINATED, 80, 2, SN_SPLIT_TEST, &held_out, &err);
/// ```
///
/// Errors: SN_STATUS_INPUT for an unknown kind, which lists the kinds, and where the split has fewer
/// than `n` questions; SN_STATUS_INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_questions_generate(
    kind: *const c_char,
    len: usize,
    n: usize,
    seed: u64,
    split: i32,
    out: *mut *mut sn_questions,
    err: *mut *mut sn_error,
) -> sn_status {
    entry!(err => {
        // SAFETY: by the header's rules.
        let kind = unsafe { text("kind", kind, len) }?;
        let splits = [(sn_split::Train as i32, Split::Train), (sn_split::Test as i32, Split::Test)];
        let known = splits.iter().find(|(number, _)| *number == split);
        let (_, split) = *known.ok_or_else(|| {
            Failure::argument("split", format!("is {split}, expected an sn_split, 0 to 1"))
        })?;
        let out = place("out", out)?;
        let questions = QuestionSet::from(generate(kind, n, seed, split)?);
        // SAFETY: not NULL, so writable, by the header's rules.
        unsafe { hand_out(out, sn_questions::new(questions)) };
        Ok(())
    })
}

/// Adds one question. `id` names it in verdicts and files; NULL: "q1", "q2" and so on by its place.
/// `gold` is the gold answer, which is only measured against and never trained on; NULL: unknown.
///
/// Errors: SN_STATUS_INPUT for an empty question or id and an id that is there already, in which
/// case nothing is added; SN_STATUS_INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_questions_add(
    questions: *mut sn_questions,
    id: *const c_char,
    id_len: usize,
    question: *const c_char,
    question_len: usize,
    gold: *const c_char,
    gold_len: usize,
    err: *mut *mut sn_error,
) -> sn_status {
    entry!(err => {
        // SAFETY: by the header's rules.
        let questions = unsafe { required("questions", questions) }?;
        // SAFETY: by the header's rules.
        let (id, question, gold) = unsafe {
            (
                optional_text("id", id, id_len)?,
                text("question", question, question_len)?,
                optional_text("gold", gold, gold_len)?,
            )
        };
        questions.0.change("questions", |questions| Ok(questions.add(id, question, gold)?))
    })
}

/// The number of questions; 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_questions_count(questions: *const sn_questions) -> usize {
    // SAFETY: by the header's rules.
    catch!(or 0 => unsafe { questions.as_ref() }.map_or(0, |questions| {
        questions.0.share("questions", |questions| Ok(questions.as_slice().len())).unwrap_or(0)
    }))
}

/// Frees questions. Does nothing for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_questions_free(questions: *mut sn_questions) {
    // SAFETY: by the header's rules.
    catch!(or () => unsafe { release(questions) })
}
