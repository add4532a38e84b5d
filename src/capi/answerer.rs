//! Answers: direct where the model is sure, reasoned where it is not.

use std::ffi::c_char;

use super::cancel::{self, sn_cancel};
use super::catch::catch;
use super::decoder::{self, DecoderTable, context};
use super::entry::entry;
use super::error::sn_error;
use super::handle::{Exclusive, hand_out, place, release, required};
use super::model::sn_model;
use super::options::sn_answer_params;
use super::params;
use super::status::sn_status;
use super::task::sn_task;
use super::text::{Text, lend, optional_text, text};
use crate::answer::{AnswerOptions, Answerer, Route, RoutedAnswer};
use crate::engine::{HostDecoder, Scheduler};
use crate::task::Question;
use crate::{Cancel, Silent};

/// Which way a question was answered.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum sn_route {
    /// By one short completion.
    Direct = 0,
    /// By a vote of reasoned samples.
    Reasoned = 1,
}

/// A loaded model that answers one question after another: directly where it is sure, by reasoning
/// where it is not.
///
/// ```c
/// sn_answerer *answerer = NULL;
/// sn_answer *answer = NULL;
/// sn_answerer_new(model, NULL, "run/adapter.gguf", SN_NUL_TERMINATED, NULL, &answerer, &err);
/// sn_answerer_ask(answerer, "Is the coin still heads up?", SN_NUL_TERMINATED, NULL,
///                 &answer, &err);
/// puts(sn_answer_text(answer, NULL));
/// sn_answer_free(answer);
/// sn_answerer_free(answerer);
/// ```
///
/// with every status checked, and the text, which is NULL where none could be read.
///
/// Ownership: the caller's; free it with sn_answerer_free(). Threads: a `sn_answerer *` may be used by
/// one thread at a time; a call while another is running is SN_STATUS_INVALID_ARGUMENT.
pub struct sn_answerer(Exclusive<AnswererWithEngine>);

struct AnswererWithEngine {
    answerer: Answerer,
    /// The caller's engine, where there is one.
    engine: Option<Scheduler<HostDecoder<DecoderTable>>>,
}

/// An answer and how it came about.
///
/// Ownership: the caller's; free it with sn_answer_free(). Threads: a `const sn_answer *` may be used
/// from any number of threads.
pub struct sn_answer {
    answered: RoutedAnswer,
    text: Option<Text>,
}

/// Loads `model`, with the adapter in the file `adapter_path` unless that is NULL, to answer
/// questions of `task`; NULL: the task that the adapter was trained on. Takes seconds. `params` may
/// be NULL for the defaults. Model and task need not outlive the call.
///
/// `*out` is the answerer on success and untouched on failure.
///
/// Errors: SN_STATUS_INPUT where `task` is NULL and no adapter names one; SN_STATUS_IO;
/// SN_STATUS_MODEL; SN_STATUS_ENGINE; SN_STATUS_INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_answerer_new(
    model: *const sn_model,
    task: *const sn_task,
    adapter_path: *const c_char,
    adapter_path_len: usize,
    params: *const sn_answer_params,
    out: *mut *mut sn_answerer,
    err: *mut *mut sn_error,
) -> sn_status {
    entry!(err => {
        // SAFETY: by the header's rules.
        let (model, params) = unsafe { (required("model", model)?, params::read_or_default("params", params)?) };
        // SAFETY: by the header's rules.
        let (task, adapter) = unsafe {
            (task.as_ref(), optional_text("adapter_path", adapter_path, adapter_path_len)?)
        };
        let out = place("out", out)?;
        // SAFETY: by the header's rules.
        let given = unsafe { params.given() }?;
        let options = AnswerOptions {
            model: &model.model.path,
            adapter: adapter.map(str::as_ref),
            task: task.map(|task| &task.task),
            routing: given.read()?,
            engine: given.read()?,
        };
        model.poison.guard(|| {
            // SAFETY: by the header's rules.
            let mut engine = unsafe { decoder::engine("params.decoder", params.decoder, options.model) }?;
            let answerer = Answerer::load(&options, &mut context(&mut engine, &Silent, &Cancel::new()))?;
            // SAFETY: not NULL, so writable, by the header's rules.
            unsafe { hand_out(out, sn_answerer(Exclusive::new(AnswererWithEngine { answerer, engine }))) };
            Ok(())
        })
    })
}

/// Answers `question`, UTF-8 of `len` bytes, or ending in NUL with SN_NUL_TERMINATED. The same
/// question gets the same answer every time. `cancel` may be NULL.
///
/// `*out` is the answer on success, even where no answer could be read from the completion, and
/// untouched on failure.
///
/// Errors: SN_STATUS_INPUT where the task needs more of a question than its text;
/// SN_STATUS_MODEL where the adapter does not fit the model; SN_STATUS_CANCELLED; SN_STATUS_ENGINE;
/// SN_STATUS_INVALID_ARGUMENT; SN_STATUS_INTERNAL. After any but the last the next question can be
/// asked.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_answerer_ask(
    answerer: *mut sn_answerer,
    question: *const c_char,
    len: usize,
    cancel: *const sn_cancel,
    out: *mut *mut sn_answer,
    err: *mut *mut sn_error,
) -> sn_status {
    entry!(err => {
        // SAFETY: by the header's rules.
        let (answerer, question, cancel) = unsafe {
            (required("answerer", answerer)?, text("question", question, len)?, cancel::of(cancel))
        };
        let out = place("out", out)?;
        answerer.0.change("answerer", |AnswererWithEngine { answerer, engine }| {
            let question = Question::new("question", question, Vec::new());
            let answered = answerer.answer(&question, &mut context(engine, &Silent, &cancel))?;
            let text = answered.answer.as_deref().map(Text::new);
            // SAFETY: not NULL, so writable, by the header's rules.
            unsafe { hand_out(out, sn_answer { answered, text }) };
            Ok(())
        })
    })
}

/// Frees an answerer and gives its memory back. Does nothing for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_answerer_free(answerer: *mut sn_answerer) {
    // SAFETY: by the header's rules.
    catch!(or () => unsafe { release(answerer) })
}

/// The answer; NULL where none could be read from what the model wrote.
///
/// Returns UTF-8 of `*len` bytes, followed by a NUL; `len` may be NULL. NULL for NULL.
/// Ownership: the answer's; valid until it is freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_answer_text(answer: *const sn_answer, len: *mut usize) -> *const c_char {
    // SAFETY: by the header's rules.
    catch!(or std::ptr::null() => unsafe { lend(answer.as_ref().and_then(|answer| answer.text.as_ref()), len) })
}

/// How sure the answer is, 0 to 1: the model's own probability of a direct one, the share of the votes
/// of a reasoned one. 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_answer_confidence(answer: *const sn_answer) -> f64 {
    // SAFETY: by the header's rules.
    catch!(or 0.0 => unsafe { answer.as_ref() }.map_or(0.0, |answer| answer.answered.confidence))
}

/// Which way the question was answered; SN_ROUTE_DIRECT for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_answer_route(answer: *const sn_answer) -> sn_route {
    // SAFETY: by the header's rules.
    let route = catch!(or None => unsafe { answer.as_ref() }.map(|answer| answer.answered.route));
    match route {
        Some(Route::Reasoned) => sn_route::Reasoned,
        Some(Route::Direct) | None => sn_route::Direct,
    }
}

/// Every token generated for the answer, of both ways where both were taken; 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_answer_tokens(answer: *const sn_answer) -> u64 {
    // SAFETY: by the header's rules.
    catch!(or 0 => unsafe { answer.as_ref() }.map_or(0, |answer| answer.answered.tokens as u64))
}

/// Frees an answer. Does nothing for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_answer_free(answer: *mut sn_answer) {
    // SAFETY: by the header's rules.
    catch!(or () => unsafe { release(answer) })
}
