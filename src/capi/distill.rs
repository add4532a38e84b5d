//! The whole pipeline in one call.

use std::ffi::c_char;
use std::path::PathBuf;

use super::callbacks::Reporter;
use super::cancel;
use super::decoder::{self, context};
use super::entry::entry;
use super::error::sn_error;
use super::failure::Failure;
use super::figures::sn_report;
use super::handle::required;
use super::model::sn_model;
use super::options::sn_distill_params;
use super::output::output;
use super::params;
use super::status::sn_status;
use super::string::give_json;
use super::text::{optional_text, text};
use super::verifier::verifier;
use crate::distill::{CurateOptions, Options, Setup, distill};
use crate::task::{Task, read_questions};

impl sn_distill_params {
    /// # Safety
    /// The members point to what the struct's documentation says.
    unsafe fn setup(&self, model: PathBuf) -> Result<Setup, Failure> {
        // SAFETY: by this function's contract.
        let (task, questions, out) = unsafe {
            (
                text("params.task", self.task, self.task_len)?,
                text("params.questions", self.questions, self.questions_len)?,
                text("params.out_dir", self.out_dir, self.out_dir_len)?,
            )
        };
        Ok(Setup {
            model,
            task: Task::load(task)?,
            questions: read_questions(questions.as_ref())?,
            out: out.into(),
            seed: self.seed,
        })
    }

    /// # Safety
    /// The members point to what the struct's documentation says.
    unsafe fn options(&self) -> Result<Options, Failure> {
        // SAFETY: by this function's contract.
        let given = unsafe { self.given() }?;
        Ok(Options {
            curate: CurateOptions { engine: given.read()?, ..given.read()? },
            train: given.read()?,
            data: given.read()?,
            acceptance: given.read()?,
            verifier: verifier(self.verifier, self.verifier_user_data),
            force: self.force != 0,
        })
    }
}

/// Turns the slow, voted answers of `model` into an adapter that answers directly: samples, votes,
/// trains, measures. Blocks until done, minutes to hours; everything finished is kept in
/// `out_dir`, and the same call resumes after an interruption.
///
/// On success `*report` holds the figures to decide by, `*report_json` is the whole report (the text
/// of report.json), and `*report_json_len` its length in bytes without the NUL that follows it; each
/// may be NULL. On failure all are untouched.
///
/// Errors: SN_STATUS_INVALID_ARGUMENT; SN_STATUS_INPUT for a task or a question file;
/// SN_STATUS_RUN when `out_dir` holds another run; SN_STATUS_MODEL and SN_STATUS_UNSUPPORTED for the model
/// file; SN_STATUS_REFUSED when distilling is not
/// worthwhile and `force` is 0; SN_STATUS_CANCELLED; SN_STATUS_IO; SN_STATUS_ENGINE; SN_STATUS_TRAINING;
/// SN_STATUS_PARITY; SN_STATUS_INTERNAL.
///
/// Ownership: free `*report_json` with sn_string_free(). Threads: several calls may run at once on
/// one model, each in its own `out_dir`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_distill(
    model: *const sn_model,
    params: *const sn_distill_params,
    report: *mut sn_report,
    report_json: *mut *mut c_char,
    report_json_len: *mut usize,
    err: *mut *mut sn_error,
) -> sn_status {
    entry!(err => {
        // SAFETY: by the header's rules.
        let handle = unsafe { required("model", model) }?;
        handle.poison.guard(|| {
            // SAFETY: by the header's rules.
            let params = unsafe { params::read("params", params) }?;
            // SAFETY: by the header's rules.
            let setup = unsafe { params.setup(handle.model.path.clone()) }?;
            // SAFETY: by the header's rules.
            let eval = unsafe { optional_text("params.eval", params.eval, params.eval_len) }?;
            let eval = eval.map_or(Ok(Vec::new()), |path| read_questions(path.as_ref()))?;
            // SAFETY: by the header's rules.
            let cancel = unsafe { cancel::of(params.cancel) };
            // SAFETY: by the header's rules.
            let out = unsafe { output("report", report) }?;
            let reporter = Reporter::new(params.callbacks());
            // SAFETY: by the header's rules.
            let options = unsafe { params.options() }?;
            // SAFETY: by the header's rules.
            let mut engine = unsafe { decoder::engine("params.decoder", params.decoder, &setup.model) }?;
            let found = distill(&setup, &eval, &options, &mut context(&mut engine, &reporter, &cancel))?;
            // SAFETY: by the header's rules.
            unsafe { give_json(&found, report_json, report_json_len) }?;
            if let Some(out) = out {
                // SAFETY: still writable, by the header's rules.
                unsafe { out.write(sn_report::from(&found)) }
            }
            Ok(())
        })
    })
}
