//! The whole pipeline in one call.

use std::ffi::{c_char, c_void};
use std::mem::{offset_of, size_of};
use std::path::PathBuf;

use super::callbacks::{Callbacks, Reporter};
use super::cancel::{self, sn_cancel};
use super::catch::catch;
use super::decoder::{self, context, sn_decoder};
use super::entry::entry;
use super::error::sn_error;
use super::evaluate::gate;
use super::failure::Failure;
use super::figures::sn_report;
use super::handle::required;
use super::model::sn_model;
use super::output::output;
use super::params::{self, Params};
use super::progress::sn_progress_fn;
use super::sampling::{Sampling, Voting};
use super::status::sn_status;
use super::string::give_json;
use super::text::{NUL_TERMINATED, optional_text, text};
use super::train_step::sn_train_step_fn;
use super::verdict::sn_verdict_fn;
use super::verifier::{sn_verifier_fn, verifier};
use crate::distill::{Options, Setup, distill};
use crate::task::{Task, read_questions};
use crate::train::TrainOptions;

/// What sn_distill() is to do.
///
/// Fill it with sn_distill_params_init(), then set what you need. All text is UTF-8 of the length
/// beside it, or ends in NUL where that length is SN_NUL_TERMINATED, which init sets. Everything
/// is borrowed for the duration of the call. Later versions append fields, whose zero means what
/// this version does.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct sn_distill_params {
    /// The size of this struct as the caller knows it. Set by sn_distill_params_init().
    pub struct_size: usize,
    /// Required: the name of a built-in task, or the path of a JSON file.
    pub task: *const c_char,
    pub task_len: usize,
    /// Required: path of the questions to learn from, one a line, as JSON or plain text.
    pub questions: *const c_char,
    pub questions_len: usize,
    /// Path of held-out questions to measure on, with answers if there are any. NULL: nothing is
    /// measured.
    pub eval: *const c_char,
    pub eval_len: usize,
    /// Required: the run directory. A new one is created; the same run in it is resumed. Gets
    /// adapter.gguf and report.json.
    pub out_dir: *const c_char,
    pub out_dir_len: usize,
    /// Where all randomness comes from. Default 0.
    pub seed: u64,
    /// Rank of the adapter, 1 to 256; 0 for the default, 16.
    pub rank: u32,
    /// Most passes over the training examples; 0 for the default, 4.
    pub epochs: u32,
    /// Threads to compute with; 0 for all cores.
    pub threads: u32,
    /// Sequences sampled at once, at most 256; 0 for the default, 16.
    pub slots: u32,
    /// Not 0: go on where distilling does not seem to pay, instead of SN_STATUS_REFUSED.
    pub force: i32,
    /// Must be 0.
    pub reserved: u32,
    /// Receives progress; NULL for none.
    pub progress: sn_progress_fn,
    /// Handed to `progress`.
    pub progress_user_data: *mut c_void,
    /// Stops the work; NULL for none.
    pub cancel: *const sn_cancel,
    /// The host's own inference to sample with; NULL for the library's.
    pub decoder: *const sn_decoder,
    /// Checks each sampled answer; NULL for nobody.
    pub verifier: sn_verifier_fn,
    /// Handed to `verifier`.
    pub verifier_user_data: *mut c_void,
    /// Receives each verdict, on training and on held-out questions; NULL for none.
    pub verdict: sn_verdict_fn,
    /// Handed to `verdict`.
    pub verdict_user_data: *mut c_void,
    /// Receives the figures of each optimiser step; NULL for none.
    pub step: sn_train_step_fn,
    /// Handed to `step`.
    pub step_user_data: *mut c_void,
    /// Bytes for the model, its expanded weights and its KV cache together; 0 for what is free.
    pub max_memory: u64,
    /// Share of the samples that must agree, at most 1; 0 for the task's.
    pub threshold: f64,
    /// Least share of kept questions to go on with, at most 1; 0 for the default, 0.1; below 0 for
    /// none.
    pub least_share: f64,
    /// Peak learning rate, below 1; 0 for the default, 2e-4.
    pub lr: f64,
    /// Fewest kept questions to go on with; 0 for the default, 20.
    pub least_kept: u32,
    /// Most samples per question, 1 to 1000; 0 for the task's.
    pub samples: u32,
    /// An sn_weights.
    pub weights: i32,
    /// Must be 0.
    pub reserved2: u32,
}

// SAFETY: numbers, pointers and function pointers that may be NULL; the last has the largest alignment.
unsafe impl Params for sn_distill_params {
    const FIRST_SIZE: usize = offset_of!(sn_distill_params, cancel) + size_of::<*const sn_cancel>();
    const INIT: &'static str = "sn_distill_params_init";
    const DEFAULT: sn_distill_params = sn_distill_params {
        struct_size: size_of::<sn_distill_params>(),
        task: std::ptr::null(),
        task_len: NUL_TERMINATED,
        questions: std::ptr::null(),
        questions_len: NUL_TERMINATED,
        eval: std::ptr::null(),
        eval_len: NUL_TERMINATED,
        out_dir: std::ptr::null(),
        out_dir_len: NUL_TERMINATED,
        seed: 0,
        rank: 0,
        epochs: 0,
        threads: 0,
        slots: 0,
        force: 0,
        reserved: 0,
        progress: None,
        progress_user_data: std::ptr::null_mut(),
        cancel: std::ptr::null(),
        decoder: std::ptr::null(),
        verifier: None,
        verifier_user_data: std::ptr::null_mut(),
        verdict: None,
        verdict_user_data: std::ptr::null_mut(),
        step: None,
        step_user_data: std::ptr::null_mut(),
        max_memory: 0,
        threshold: 0.0,
        least_share: 0.0,
        lr: 0.0,
        least_kept: 0,
        samples: 0,
        weights: 0,
        reserved2: 0,
    };
}

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

    fn options(&self) -> Result<Options, Failure> {
        params::zero("params.reserved", self.reserved)?;
        params::zero("params.reserved2", self.reserved2)?;
        let sampling = Sampling {
            threads: self.threads,
            slots: self.slots,
            weights: self.weights,
            max_memory: self.max_memory,
        };
        let voting = Voting { samples: self.samples, threshold: self.threshold, ..Voting::default() };
        let engine = sampling.engine()?;
        let defaults = TrainOptions::default();
        let or = |given: u32, default: usize| if given == 0 { default } else { given as usize };
        Ok(Options {
            train: TrainOptions {
                rank: or(self.rank, defaults.rank),
                epochs: or(self.epochs, defaults.epochs),
                lr: if self.lr == 0.0 { defaults.lr } else { self.lr as f32 },
                seed: self.seed,
                threads: engine.threads,
                ..defaults
            },
            curate: voting.options(engine),
            acceptance: gate(self.least_kept, self.least_share)?,
            force: self.force != 0,
            verifier: verifier(self.verifier, self.verifier_user_data),
            ..Options::default()
        })
    }

    fn callbacks(&self) -> Callbacks {
        Callbacks {
            progress: (self.progress, self.progress_user_data),
            verdict: (self.verdict, self.verdict_user_data),
            step: (self.step, self.step_user_data),
        }
    }
}

/// Fills `params` with the defaults. `struct_size` is `sizeof *params`. Does nothing for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_distill_params_init(params: *mut sn_distill_params, struct_size: usize) {
    // SAFETY: by the header's rules.
    catch!(or () => unsafe { params::init(params, struct_size) })
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
/// SN_STATUS_RUN when `out_dir` holds another run; SN_STATUS_REFUSED when distilling does not pay
/// and `force` is 0; SN_STATUS_CANCELLED; SN_STATUS_IO; SN_STATUS_ENGINE; SN_STATUS_TRAINING;
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
            let host = Reporter::new(params.callbacks());
            let options = params.options()?;
            // SAFETY: by the header's rules.
            let mut engine = unsafe { decoder::engine("params.decoder", params.decoder, &setup.model) }?;
            let found = distill(&setup, &eval, &options, &mut context(&mut engine, &host, &cancel))?;
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
