//! A look at a few questions before hours of work.

use std::ffi::c_char;

use super::callbacks::Reporter;
use super::cancel;
use super::catch::catch;
use super::decoder::{self, context};
use super::entry::entry;
use super::error::sn_error;
use super::handle::{hand_out, place, release, required};
use super::model::sn_model;
use super::options::sn_preview_params;
use super::params;
use super::questions::sn_questions;
use super::status::sn_status;
use super::task::sn_task;
use super::text::{Text, lend};
use crate::Error;
use crate::preview::{Finding, PreviewOptions, PreviewSetup, html, preview};

/// What a look at a few questions has shown: every prompt and output, the answers read, the votes, the
/// direct answers, the cost, and findings: what is wrong with the task on this model, with what to change.
///
/// ```c
/// sn_preview *preview = NULL;
/// size_t i;
/// sn_preview_new(model, task, questions, NULL, &preview, &err);
/// for (i = 0; i < sn_preview_findings(preview); i++) {
///     printf("%s: %s\n", sn_preview_finding_kind(preview, i, NULL),
///            sn_preview_finding_message(preview, i, NULL));
/// }
/// sn_preview_free(preview);
/// ```
///
/// with the status checked.
///
/// Ownership: the caller's; free it with sn_preview_free(). Threads: a `const sn_preview *` may be used
/// from any number of threads.
pub struct sn_preview {
    findings: Vec<FindingTexts>,
    unseen: usize,
    json: Text,
    html: Text,
}

/// A finding, as text that C can read.
struct FindingTexts {
    kind: Text,
    step: Option<Text>,
    message: Text,
    advice: Text,
    is_fault: bool,
    stops: bool,
}

impl FindingTexts {
    fn of(finding: &Finding) -> FindingTexts {
        FindingTexts {
            kind: Text::new(finding.kind.name()),
            step: finding.step.as_deref().map(Text::new),
            message: Text::new(&finding.message),
            advice: Text::new(&finding.advice),
            is_fault: finding.fault,
            stops: finding.stops,
        }
    }
}

/// Asks a few of `questions` directly and samples a few answers of each by the steps of `task`. Takes about
/// a minute. `params` may be NULL for the defaults. Nothing is written.
///
/// `*out` is the preview on success and untouched on failure.
///
/// A question of which no prompt can be made is set aside, which is a finding.
///
/// After `params.minutes`, and when it is cancelled, the preview is of the questions that were voted on until
/// then: SN_STATUS_OK, and sn_preview_unseen() counts the others.
///
/// Errors: SN_STATUS_INPUT where there is no question, where more than half of them cannot be asked for the
/// same reason, for a gold answer that the task's rule cannot read, and for an option out of its range;
/// where `params.minutes` are too few for one question; SN_STATUS_CANCELLED before the first vote;
/// SN_STATUS_IO; SN_STATUS_MODEL and SN_STATUS_UNSUPPORTED for the model file;
/// SN_STATUS_ENGINE; SN_STATUS_INVALID_ARGUMENT; SN_STATUS_INTERNAL.
///
/// Ownership: the caller's; free it with sn_preview_free(). `task` and `questions` may be freed as soon as the
/// call returns. Threads: several calls may run at once on one model.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_preview_new(
    model: *const sn_model,
    task: *const sn_task,
    questions: *const sn_questions,
    params: *const sn_preview_params,
    out: *mut *mut sn_preview,
    err: *mut *mut sn_error,
) -> sn_status {
    entry!(err => {
        // SAFETY: by the header's rules.
        let (model, task, questions) = unsafe {
            (required("model", model)?, required("task", task)?, required("questions", questions)?)
        };
        // SAFETY: by the header's rules.
        let params = unsafe { params::read_or_default("params", params) }?;
        let out = place("out", out)?;
        // SAFETY: by the header's rules.
        let given = unsafe { params.given() }?;
        let options = PreviewOptions { engine: given.read()?, ..given.read()? };
        // SAFETY: by the header's rules.
        let cancel = unsafe { cancel::of(params.cancel) };
        let reporter = Reporter::new(params.callbacks());
        model.poison.guard(|| {
            let setup = PreviewSetup {
                model: model.model.path.clone(),
                task: task.task.clone(),
                questions: questions.read("questions")?.as_slice().to_vec(),
                seed: params.seed,
            };
            // SAFETY: by the header's rules.
            let mut engine = unsafe { decoder::engine("params.decoder", params.decoder, &setup.model) }?;
            let found = preview(&setup, &options, &mut context(&mut engine, &reporter, &cancel))?;
            let json = serde_json::to_string_pretty(&found).map_err(|error| Error::Internal(error.to_string()))?;
            let made = sn_preview {
                findings: found.findings.iter().map(FindingTexts::of).collect(),
                json: Text::new(json),
                unseen: found.unseen,
                html: Text::new(html(&found)),
            };
            // SAFETY: not NULL, so writable, by the header's rules.
            unsafe { hand_out(out, made) };
            Ok(())
        })
    })
}

/// Finding number `index` of a preview that may be NULL.
///
/// # Safety
/// `preview` is NULL or a preview that outlives `'a`.
unsafe fn finding<'a>(preview: *const sn_preview, index: usize) -> Option<&'a FindingTexts> {
    // SAFETY: by this function's contract.
    unsafe { preview.as_ref() }.and_then(|preview| preview.findings.get(index))
}

/// The number of findings, the most severe first; 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_preview_findings(preview: *const sn_preview) -> usize {
    // SAFETY: by the header's rules.
    catch!(or 0 => unsafe { preview.as_ref() }.map_or(0, |preview| preview.findings.len()))
}

/// What finding number `index` is about. The names are stable:
///
/// - of the model or its template: template_loses_text, no_end_of_turn, thinking_left_open
/// - of the questions: set_aside, question_lost
/// - of a step: copies_prompt, question_unchanged, same_output, cut_off, refusal, no_reasoning
/// - of the answers: unread, long_answers, constant_answer, all_judged_equal, wrong_votes,
///   opinion_moves_answer, first_option, perturbation_moves_answer, perturbation_changes_nothing,
///   samples_disagree
/// - of System 1: system1_unread, system1_as_good
///
/// Later versions may find more.
///
/// Returns UTF-8 of `*len` bytes, followed by a NUL; `len` may be NULL. NULL past the last finding and
/// for NULL. Ownership: the preview's; valid until it is freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_preview_finding_kind(
    preview: *const sn_preview,
    index: usize,
    len: *mut usize,
) -> *const c_char {
    // SAFETY: by the header's rules.
    catch!(or std::ptr::null() => unsafe { lend(finding(preview, index).map(|found| &found.kind), len) })
}

/// The name of the step that shows finding number `index`; NULL where it is not about one step. As
/// sn_preview_finding_kind() otherwise.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_preview_finding_step(
    preview: *const sn_preview,
    index: usize,
    len: *mut usize,
) -> *const c_char {
    // SAFETY: by the header's rules.
    catch!(or std::ptr::null() => unsafe {
        lend(finding(preview, index).and_then(|found| found.step.as_ref()), len)
    })
}

/// What was found, in one sentence with the figures. As sn_preview_finding_kind() otherwise.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_preview_finding_message(
    preview: *const sn_preview,
    index: usize,
    len: *mut usize,
) -> *const c_char {
    // SAFETY: by the header's rules.
    catch!(or std::ptr::null() => unsafe { lend(finding(preview, index).map(|found| &found.message), len) })
}

/// What to change. As sn_preview_finding_kind() otherwise.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_preview_finding_advice(
    preview: *const sn_preview,
    index: usize,
    len: *mut usize,
) -> *const c_char {
    // SAFETY: by the header's rules.
    catch!(or std::ptr::null() => unsafe { lend(finding(preview, index).map(|found| &found.advice), len) })
}

/// 1 where finding number `index` is a fault; 0 where it is only worth knowing, past the last and for
/// NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_preview_finding_is_fault(preview: *const sn_preview, index: usize) -> i32 {
    // SAFETY: by the header's rules.
    catch!(or 0 => unsafe { finding(preview, index) }.is_some_and(|found| found.is_fault).into())
}

/// 1 where curation stops at finding number `index` with SN_STATUS_REFUSED unless `force` is set; 0
/// otherwise, past the last and for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_preview_finding_stops(preview: *const sn_preview, index: usize) -> i32 {
    // SAFETY: by the header's rules.
    catch!(or 0 => unsafe { finding(preview, index) }.is_some_and(|found| found.stops).into())
}

/// The number of questions for which there was no time before `params.minutes` or a cancellation; 0 for a
/// whole preview and for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_preview_unseen(preview: *const sn_preview) -> usize {
    // SAFETY: by the header's rules.
    catch!(or 0 => unsafe { preview.as_ref() }.map_or(0, |preview| preview.unseen))
}

/// Everything, as the one JSON object that `secondnature preview --json` prints.
///
/// Returns UTF-8 of `*len` bytes, followed by a NUL; `len` may be NULL. NULL for NULL.
/// Ownership: the preview's; valid until it is freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_preview_json(preview: *const sn_preview, len: *mut usize) -> *const c_char {
    // SAFETY: by the header's rules.
    catch!(or std::ptr::null() => unsafe { lend(preview.as_ref().map(|preview| &preview.json), len) })
}

/// Everything, as an HTML page that needs no other file. As sn_preview_json() otherwise.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_preview_html(preview: *const sn_preview, len: *mut usize) -> *const c_char {
    // SAFETY: by the header's rules.
    catch!(or std::ptr::null() => unsafe { lend(preview.as_ref().map(|preview| &preview.html), len) })
}

/// Frees a preview. Does nothing for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_preview_free(preview: *mut sn_preview) {
    // SAFETY: by the header's rules.
    catch!(or () => unsafe { release(preview) })
}
