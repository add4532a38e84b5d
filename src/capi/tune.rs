//! The choice of a program.

use std::ffi::c_char;
use std::mem::size_of;
use std::path::PathBuf;

use super::callbacks::Reporter;
use super::cancel;
use super::decoder::{self, context};
use super::entry::entry;
use super::error::sn_error;
use super::failure::Failure;
use super::given::texts;
use super::handle::required;
use super::model::sn_model;
use super::options::sn_tune_params;
use super::output::{Output, output};
use super::params;
use super::status::sn_status;
use super::string::give_json;
use super::text::{optional_text, text};
use crate::programs::parse_answer_kind;
use crate::task::read_questions;
use crate::tune::{TuneOptions, TuneReport, TuneSetup, tune};

/// What sn_tune() found. Set `struct_size` to `sizeof(sn_choice)` before the call that fills it. Shares are
/// 0 to 1. Later versions append members.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct sn_choice {
    /// The size of this struct as the caller knows it. Set by the caller.
    pub struct_size: usize,
    /// Not 0: distilling the chosen program looks worthwhile. 0: none is, and the chosen one comes closest.
    pub worthwhile: i32,
    /// 0.
    pub reserved: i32,
    /// Candidates that were judged, wordings of the direct prompt included.
    pub candidates: u64,
    /// Questions on which the chosen program was judged.
    pub questions: u64,
    /// The score of the chosen program; at most 1.
    pub score: f64,
    /// The score of the best direct prompt; NaN where there is none.
    pub baseline_score: f64,
    /// Expected share of the questions whose voted answer is accepted.
    pub kept_share: f64,
    /// Expected samples of a question.
    pub samples_per_question: f64,
    /// Share of the accepted answers that the best direct prompt gives as well; 0 where none is accepted.
    pub system1_agreement: f64,
    /// Share of the accepted answers that are right; NaN where no accepted answer has gold.
    pub label_precision: f64,
    /// Share of the direct answers that are right; NaN without gold questions.
    pub system1_accuracy: f64,
    /// Share of the votes that are right; NaN without gold questions.
    pub vote_accuracy: f64,
    /// Estimated hours to curate all questions.
    pub curate_hours: f64,
    /// Estimated hours to train on what is kept with default options: from the tokens of its examples, the size
    /// of the model and the measured speed of the matmul kernel.
    pub train_hours: f64,
    /// Seconds that choosing took, over all calls.
    pub seconds: f64,
}

// SAFETY: numbers, without padding: two of four bytes together, all others of eight.
unsafe impl Output for sn_choice {
    const FIRST_SIZE: usize = size_of::<sn_choice>();
}

impl From<&TuneReport> for sn_choice {
    fn from(found: &TuneReport) -> sn_choice {
        let candidate =
            |name: &Option<String>| found.candidates.iter().find(|c| Some(&c.name) == name.as_ref());
        let (winner, baseline) = (candidate(&found.winner), candidate(&found.baseline));
        let expected = found.expected.clone().unwrap_or_default();
        sn_choice {
            struct_size: size_of::<sn_choice>(),
            worthwhile: found.worthwhile.into(),
            reserved: 0,
            candidates: found.candidates.len() as u64,
            questions: winner.map_or(0, |winner| winner.features.questions as u64),
            score: winner.map_or(f64::NAN, |winner| winner.score),
            baseline_score: baseline.map_or(f64::NAN, |baseline| baseline.score),
            kept_share: expected.kept_share,
            samples_per_question: expected.samples_per_question,
            system1_agreement: expected.system1_agreement,
            label_precision: expected.label_precision.unwrap_or(f64::NAN),
            system1_accuracy: expected.system1_accuracy.unwrap_or(f64::NAN),
            vote_accuracy: expected.vote_accuracy.unwrap_or(f64::NAN),
            curate_hours: expected.curate_hours,
            train_hours: expected.train_hours,
            seconds: found.seconds,
        }
    }
}

impl sn_tune_params {
    /// # Safety
    /// The members point to what the struct's documentation says.
    unsafe fn setup(&self, model: PathBuf) -> Result<TuneSetup, Failure> {
        // SAFETY: by this function's contract.
        let (questions, out, tasks) = unsafe {
            (
                text("params.questions", self.questions, self.questions_len)?,
                text("params.out_dir", self.out_dir, self.out_dir_len)?,
                texts("params.tasks", self.tasks, self.tasks_len, self.tasks_count)?,
            )
        };
        // SAFETY: by this function's contract.
        let (description, answer, gold) = unsafe {
            (
                optional_text("params.description", self.description, self.description_len)?,
                optional_text("params.answer", self.answer, self.answer_len)?,
                optional_text("params.gold", self.gold, self.gold_len)?,
            )
        };
        let mut setup = TuneSetup {
            model,
            questions: read_questions(questions.as_ref())?,
            description: description.map(str::to_string),
            answer: answer.map(parse_answer_kind).transpose()?,
            gold: gold.map_or(Ok(Vec::new()), |path| read_questions(path.as_ref()))?,
            out: out.into(),
            seed: self.seed,
            ..TuneSetup::default()
        };
        tasks.into_iter().try_for_each(|task| setup.add(task))?;
        Ok(setup)
    }
}

/// Chooses the System 2 program for questions without labels: candidates race on some of the questions,
/// and the one whose samples agree best, with themselves and with other candidates, is written to
/// `out_dir`/task.json, ready for sn_distill() and sn_task_load(). Blocks until done, minutes; the same
/// call resumes after an interruption, and comes to the same choice where the time suffices for all questions.
///
/// ```c
/// sn_tune_params params;
/// sn_choice choice;
/// sn_tune_params_init(&params, sizeof params);
/// params.questions = "train.jsonl";
/// params.description = "In which country is a city?";
/// params.out_dir = "tuned";
/// choice.struct_size = sizeof choice;
/// status = sn_tune(model, &params, &choice, NULL, NULL, &err);
/// if (status == SN_STATUS_OK && choice.worthwhile) {
///     printf("%.0f%% of the questions will be kept\n", 100 * choice.kept_share);
/// }
/// ```
///
/// SN_STATUS_OK also where no program is worth distilling, which `choice->worthwhile` tells. `*json` is
/// the text of tune.json: all candidates with their figures, the choice and why. `*json_len` is its length
/// in bytes without the NUL that follows it; each of the three may be NULL. On failure all are untouched.
///
/// Errors: SN_STATUS_INVALID_ARGUMENT; SN_STATUS_INPUT for a task, a question file or an option, for gold
/// questions that are fewer than 20, have an answer that cannot be read, or are among the others;
/// SN_STATUS_RUN when `out_dir` holds the race of another model, seed or set of questions, or another
/// process works there; SN_STATUS_CANCELLED; SN_STATUS_IO; SN_STATUS_MODEL and SN_STATUS_UNSUPPORTED for the
/// model file; SN_STATUS_ENGINE; SN_STATUS_INTERNAL. Messages call `params->out_dir` "out_dir" and
/// `params->tasks` "task".
///
/// Ownership: free `*json` with sn_string_free(). Threads: several calls may run at once on one model, each
/// in its own `out_dir`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_tune(
    model: *const sn_model,
    params: *const sn_tune_params,
    choice: *mut sn_choice,
    json: *mut *mut c_char,
    json_len: *mut usize,
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
            let given = unsafe { params.given() }?;
            let options = TuneOptions { engine: given.read()?, ..given.read()? };
            // SAFETY: by the header's rules.
            let cancel = unsafe { cancel::of(params.cancel) };
            // SAFETY: by the header's rules.
            let out = unsafe { output("choice", choice) }?;
            let reporter = Reporter::new(params.callbacks());
            // SAFETY: by the header's rules.
            let mut engine = unsafe { decoder::engine("params.decoder", params.decoder, &setup.model) }?;
            let found = tune(&setup, &options, &mut context(&mut engine, &reporter, &cancel))?;
            // SAFETY: by the header's rules.
            unsafe { give_json(&found, json, json_len) }?;
            if let Some(out) = out {
                // SAFETY: still writable, by the header's rules.
                unsafe { out.write(sn_choice::from(&found)) }
            }
            Ok(())
        })
    })
}
