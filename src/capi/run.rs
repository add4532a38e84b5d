//! Runs, stage by stage.

use std::ffi::c_char;
use std::path::PathBuf;

use serde::Serialize;

use super::callbacks::Reporter;
use super::cancel;
use super::catch::catch;
use super::decoder::{self, context};
use super::entry::entry;
use super::error::sn_error;
use super::failure::Failure;
use super::figures::{sn_curation, sn_evaluation, sn_training};
use super::handle::{Exclusive, hand_out, place, release, required};
use super::model::sn_model;
use super::options::{sn_curate_params, sn_evaluate_params, sn_train_params};
use super::output::{Output, Place, output};
use super::params;
use super::questions::sn_questions;
use super::status::sn_status;
use super::string::give_json;
use super::task::sn_task;
use super::text::{Text, lend, optional_text, text};
use super::verifier::verifier;
use crate::Context;
use crate::distill::{CurateOptions, DataMix, Run, Setup, finished_adapter};
use crate::train::TrainOptions;

/// A run directory and its stages. Each keeps what it finishes, so that the same call resumes it
/// after an interruption, in this process or another. In order:
///
/// ```c
/// sn_run *run = NULL;
/// sn_run_create(model, task, questions, "run", SN_NUL_TERMINATED, 1, &run, &err);
/// sn_run_curate(run, NULL, NULL, NULL, NULL, &err);              (samples and votes)
/// sn_run_decide(run, eval, NULL, &worthwhile, NULL, NULL, &err);
/// if (worthwhile) {
///     sn_run_train(run, NULL, NULL, NULL, NULL, &err);           (writes adapter.gguf)
///     sn_run_evaluate(run, eval, NULL, &evaluation, NULL, NULL, &err);
/// }
/// sn_run_free(run);
/// ```
///
/// with every status checked. The engine stays loaded between stages that can share it.
///
/// Ownership: the caller's; free it with sn_run_free(), which unlocks the directory. Threads: a
/// `sn_run *` may be used by one thread at a time; a call while another is running, as from within a
/// callback, is SN_STATUS_INVALID_ARGUMENT.
pub struct sn_run {
    run: Exclusive<Run>,
    out: PathBuf,
    adapter: Text,
}

/// Writes the result of a stage: its figures to `out`, and all of it as JSON.
///
/// # Safety
/// `json` and `len` are NULL or writable; `out` is still writable.
unsafe fn give<T: Serialize, O: Output + for<'a> From<&'a T>>(
    found: &T,
    out: Option<Place<O>>,
    json: *mut *mut c_char,
    len: *mut usize,
) -> Result<(), Failure> {
    // SAFETY: by this function's contract.
    unsafe { give_json(found, json, len) }?;
    if let Some(out) = out {
        // SAFETY: by this function's contract.
        unsafe { out.write(found.into()) }
    }
    Ok(())
}

impl sn_run {
    fn new(run: Run) -> sn_run {
        let out = run.path().to_path_buf();
        let adapter = Text::new(out.join("adapter.gguf").display().to_string());
        sn_run { run: Exclusive::new(run), out, adapter }
    }
}

/// Makes the run directory `out_dir`, or opens it to resume the same run. Hashes the model, which
/// takes a second for each gigabyte or so. `seed` is where all sampling comes from.
///
/// `out_dir` is UTF-8 of `len` bytes, or ends in NUL with SN_NUL_TERMINATED. Task and questions are
/// copied. `*out` is the run on success and untouched on failure.
///
/// Errors: SN_STATUS_INPUT where there is no question; SN_STATUS_RUN when `out_dir` holds another run
/// or is in use; SN_STATUS_IO; SN_STATUS_MODEL; SN_STATUS_INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_run_create(
    model: *const sn_model,
    task: *const sn_task,
    questions: *const sn_questions,
    out_dir: *const c_char,
    len: usize,
    seed: u64,
    out: *mut *mut sn_run,
    err: *mut *mut sn_error,
) -> sn_status {
    entry!(err => {
        // SAFETY: by the header's rules.
        let (model, task, questions) = unsafe {
            (required("model", model)?, required("task", task)?, required("questions", questions)?)
        };
        // SAFETY: by the header's rules.
        let out_dir = unsafe { text("out_dir", out_dir, len) }?;
        let out = place("out", out)?;
        model.poison.guard(|| {
            let setup = Setup {
                model: model.model.path.clone(),
                task: task.task.clone(),
                questions: questions.read("questions")?.as_slice().to_vec(),
                out: out_dir.into(),
                seed,
            };
            let run = Run::create(&setup, &mut Context::new())?;
            // SAFETY: not NULL, so writable, by the header's rules.
            unsafe { hand_out(out, sn_run::new(run)) };
            Ok(())
        })
    })
}

/// Opens an existing run directory. `model_path` is where its model is now, if that has moved; NULL:
/// where the run found it.
///
/// `*out` is the run on success and untouched on failure.
///
/// Errors: SN_STATUS_RUN when `out_dir` is not a run directory, is in use, or belongs to a model with
/// other contents; SN_STATUS_IO; SN_STATUS_MODEL; SN_STATUS_INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_run_open(
    out_dir: *const c_char,
    len: usize,
    model_path: *const c_char,
    model_path_len: usize,
    out: *mut *mut sn_run,
    err: *mut *mut sn_error,
) -> sn_status {
    entry!(err => {
        // SAFETY: by the header's rules.
        let (out_dir, model) = unsafe {
            (text("out_dir", out_dir, len)?, optional_text("model_path", model_path, model_path_len)?)
        };
        let out = place("out", out)?;
        let run = Run::open(out_dir.as_ref(), model.map(str::as_ref), &mut Context::new())?;
        // SAFETY: not NULL, so writable, by the header's rules.
        unsafe { hand_out(out, sn_run::new(run)) };
        Ok(())
    })
}

/// The first stage: samples every training question until its vote has converged. Blocks until done,
/// minutes to hours. `params` may be NULL for the defaults.
///
/// ```c
/// sn_curate_params params;
/// sn_curate_params_init(&params, sizeof params);
/// params.verdict = show;                    (called with each question's verdict)
/// params.cancel = stop;                     (another thread calls sn_cancel_request(stop))
/// curation.struct_size = sizeof curation;
/// status = sn_run_curate(run, &params, &curation, NULL, NULL, &err);
/// ```
///
/// On success `*curation` holds the figures, `*json` all of what report.json has under "curation",
/// and `*json_len` its length in bytes without the NUL that follows it; each may be NULL. On failure
/// all are untouched.
///
/// Errors: SN_STATUS_INVALID_ARGUMENT; SN_STATUS_INPUT; SN_STATUS_REFUSED where the first questions show
/// that the task cannot work and `force` is 0; SN_STATUS_CANCELLED; SN_STATUS_IO; SN_STATUS_ENGINE;
/// SN_STATUS_INTERNAL. Ownership: free `*json` with sn_string_free().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_run_curate(
    run: *mut sn_run,
    params: *const sn_curate_params,
    curation: *mut sn_curation,
    json: *mut *mut c_char,
    json_len: *mut usize,
    err: *mut *mut sn_error,
) -> sn_status {
    entry!(err => {
        // SAFETY: by the header's rules.
        let (handle, params) = unsafe { (required("run", run)?, params::read_or_default("params", params)?) };
        // SAFETY: by the header's rules.
        let given = unsafe { params.given() }?;
        let options = CurateOptions { engine: given.read()?, ..given.read()? };
        // SAFETY: by the header's rules.
        let cancel = unsafe { cancel::of(params.cancel) };
        // SAFETY: by the header's rules.
        let out = unsafe { output("curation", curation) }?;
        let reporter = Reporter::new(params.callbacks());
        handle.run.change("run", |run| {
            run.verifier = verifier(params.verifier, params.verifier_user_data);
            // SAFETY: by the header's rules.
            let mut engine = unsafe { decoder::engine("params.decoder", params.decoder, run.model()) }?;
            let found = run.curate(&options, &mut context(&mut engine, &reporter, &cancel))?;
            // SAFETY: by the header's rules.
            unsafe { give(&found, out, json, json_len) }
        })
    })
}

/// Decides, before training, whether distilling is worthwhile: from how many answers were accepted and how they are
/// spread, and with held-out questions, `eval`, also from whether the vote is right more often than
/// the direct answer. `eval` may be NULL, and so may `params`, for the defaults. The answers to `eval`
/// are kept for sn_run_evaluate().
///
/// ```c
/// status = sn_run_decide(run, held_out, NULL, &worthwhile, &json, NULL, &err);
/// if (status == SN_STATUS_OK && !worthwhile) {
///     puts(json);                           (why not, and what to try)
/// }
/// sn_string_free(json);
/// ```
///
/// SN_STATUS_OK either way: `*worthwhile` is 1 or 0, `*json` what report.json has under "decision",
/// where not with "reasons" and "advice". Each may be NULL, as may `json_len`.
///
/// Errors: SN_STATUS_RUN before curation is finished; SN_STATUS_INPUT where a held-out question is a
/// training question; else as sn_run_curate(). Ownership: free `*json` with sn_string_free().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_run_decide(
    run: *mut sn_run,
    eval: *const sn_questions,
    params: *const sn_evaluate_params,
    worthwhile: *mut i32,
    json: *mut *mut c_char,
    json_len: *mut usize,
    err: *mut *mut sn_error,
) -> sn_status {
    entry!(err => {
        // SAFETY: by the header's rules.
        let (handle, params) = unsafe { (required("run", run)?, params::read_or_default("params", params)?) };
        // SAFETY: by the header's rules.
        let eval = unsafe { eval.as_ref() }.map_or(Ok(Default::default()), |eval| eval.read("eval"))?;
        // SAFETY: by the header's rules.
        let given = unsafe { params.given() }?;
        let options = CurateOptions { engine: given.read()?, ..given.read()? };
        let acceptance = given.read()?;
        // SAFETY: by the header's rules.
        let cancel = unsafe { cancel::of(params.cancel) };
        let reporter = Reporter::new(params.callbacks());
        handle.run.change("run", |run| {
            run.verifier = verifier(params.verifier, params.verifier_user_data);
            // SAFETY: by the header's rules.
            let mut engine = unsafe { decoder::engine("params.decoder", params.decoder, run.model()) }?;
            let mut cx = context(&mut engine, &reporter, &cancel);
            let decision = run.decide(eval.as_slice(), &acceptance, &options, &mut cx)?;
            // SAFETY: by the header's rules.
            unsafe { give_json(&decision, json, json_len) }?;
            if !worthwhile.is_null() {
                // SAFETY: not NULL, so writable, by the header's rules.
                unsafe { worthwhile.write(decision.distill.into()) }
            }
            Ok(())
        })
    })
}

/// The second stage: trains the adapter on the kept answers, writes adapter.gguf, compares it with
/// llama.cpp, and finds the confidence from which its direct answers can be trusted. `params` may be
/// NULL for the defaults. Training goes on whatever sn_run_decide() found, as long as one answer was
/// accepted.
///
/// ```c
/// sn_train_params params;
/// sn_train_params_init(&params, sizeof params);
/// params.rank = 32;
/// params.step = plot;                       (called with the loss of each step)
/// status = sn_run_train(run, &params, NULL, NULL, NULL, &err);
/// ```
///
/// On success `*training` holds the figures and `*json` what report.json has under "training"; as in
/// sn_run_curate().
///
/// Errors: SN_STATUS_RUN before curation is finished; SN_STATUS_REFUSED where no answer was accepted;
/// SN_STATUS_TRAINING; SN_STATUS_PARITY; else as sn_run_curate(). Ownership: free `*json` with
/// sn_string_free().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_run_train(
    run: *mut sn_run,
    params: *const sn_train_params,
    training: *mut sn_training,
    json: *mut *mut c_char,
    json_len: *mut usize,
    err: *mut *mut sn_error,
) -> sn_status {
    entry!(err => {
        // SAFETY: by the header's rules.
        let (handle, params) = unsafe { (required("run", run)?, params::read_or_default("params", params)?) };
        // SAFETY: by the header's rules.
        let (given, cancel) = unsafe { (params.given()?, cancel::of(params.cancel)) };
        let (options, data): (TrainOptions, DataMix) = (given.read()?, given.read()?);
        // SAFETY: by the header's rules.
        let out = unsafe { output("training", training) }?;
        let reporter = Reporter::new(params.callbacks());
        handle.run.change("run", |run| {
            // SAFETY: by the header's rules.
            let mut engine = unsafe { decoder::engine("params.decoder", params.decoder, run.model()) }?;
            let found = run.train(&options, &data, &mut context(&mut engine, &reporter, &cancel))?;
            // SAFETY: by the header's rules.
            unsafe { give(&found, out, json, json_len) }
        })
    })
}

/// The last stage: measures the direct answer, the vote and the distilled model on the held-out
/// questions `eval`, with gold answers if there are any. `params` may be NULL for the defaults.
///
/// ```c
/// evaluation.struct_size = sizeof evaluation;
/// status = sn_run_evaluate(run, held_out, NULL, &evaluation, NULL, NULL, &err);
/// if (status == SN_STATUS_OK && evaluation.worthwhile) {
///     puts(sn_run_adapter_path(run, NULL));
/// }
/// ```
///
/// On success `*evaluation` holds the figures and `*json` what report.json has under "evaluation"; as
/// in sn_run_curate().
///
/// Errors: SN_STATUS_RUN where there is no adapter yet; SN_STATUS_INPUT where there is no question, or a
/// training question among them; else as sn_run_curate(). Ownership: free `*json` with sn_string_free().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_run_evaluate(
    run: *mut sn_run,
    eval: *const sn_questions,
    params: *const sn_evaluate_params,
    evaluation: *mut sn_evaluation,
    json: *mut *mut c_char,
    json_len: *mut usize,
    err: *mut *mut sn_error,
) -> sn_status {
    entry!(err => {
        // SAFETY: by the header's rules.
        let (handle, params) = unsafe { (required("run", run)?, params::read_or_default("params", params)?) };
        // SAFETY: by the header's rules.
        let eval = unsafe { required("eval", eval) }?.read("eval")?;
        // SAFETY: by the header's rules.
        let (given, adapter, cancel) = unsafe {
            (
                params.given()?,
                optional_text("params.adapter", params.adapter, params.adapter_len)?,
                cancel::of(params.cancel),
            )
        };
        let options = CurateOptions { engine: given.read()?, ..given.read()? };
        // SAFETY: by the header's rules.
        let out = unsafe { output("evaluation", evaluation) }?;
        let reporter = Reporter::new(params.callbacks());
        handle.run.change("run", |run| {
            run.verifier = verifier(params.verifier, params.verifier_user_data);
            // SAFETY: by the header's rules.
            let mut engine = unsafe { decoder::engine("params.decoder", params.decoder, run.model()) }?;
            let mut cx = context(&mut engine, &reporter, &cancel);
            let found = run.evaluate(eval.as_slice(), adapter.map(str::as_ref), &options, &mut cx)?;
            // SAFETY: by the header's rules.
            unsafe { give(&found, out, json, json_len) }
        })
    })
}

/// Writes report.json, with what the finished stages found; its text is `*json`, as in
/// sn_run_curate().
///
/// Errors: SN_STATUS_IO; SN_STATUS_RUN; SN_STATUS_INVALID_ARGUMENT. Ownership: free `*json` with
/// sn_string_free().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_run_report(
    run: *mut sn_run,
    json: *mut *mut c_char,
    json_len: *mut usize,
    err: *mut *mut sn_error,
) -> sn_status {
    entry!(err => {
        // SAFETY: by the header's rules.
        let handle = unsafe { required("run", run) }?;
        handle.run.change("run", |run| {
            let report = run.write_report()?;
            // SAFETY: by the header's rules.
            unsafe { give_json(&report, json, json_len) }
        })
    })
}

/// The path of the run's adapter; NULL before there is one that is finished and verified.
///
/// Returns UTF-8 of `*len` bytes, followed by a NUL; `len` may be NULL. NULL for NULL.
/// Ownership: the run's; valid until it is freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_run_adapter_path(run: *const sn_run, len: *mut usize) -> *const c_char {
    catch!(or std::ptr::null() => {
        // SAFETY: by the header's rules.
        let finished = unsafe { run.as_ref() }.filter(|run| finished_adapter(&run.out).is_some());
        // SAFETY: by the header's rules.
        unsafe { lend(finished.map(|run| &run.adapter), len) }
    })
}

/// Frees a run and unlocks its directory. Does nothing for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_run_free(run: *mut sn_run) {
    // SAFETY: by the header's rules.
    catch!(or () => unsafe { release(run) })
}
