//! The options of a run's stages, apart from training's.

use std::path::PathBuf;

use crate::context::EngineOptions;
use crate::options::{EnumInfo, OptionKind, OptionValue, Range, ValueInfo, options};
use crate::task::{Question, read_questions};
use crate::{Error, Result};

options! {
    /// How to sample and vote.
    #[derive(Debug, Clone, Copy, PartialEq)]
    pub struct CurateOptions: "Voting" {
        /// Maximum number of samples of a question.
        samples: Option<usize> = None, { range: Range::closed(1.0, 1000.0), unset: "the task's" };
        /// Share of the samples that must agree.
        threshold: Option<f32> = None, {
            range: Range::above(0.0).up_to(1.0), placeholder: "SHARE", unset: "the task's"
        };
        /// Reasons to stop early that are switched off.
        early_stopping as disable_early_stop: EarlyStopping = EarlyStopping::default(), {
            placeholder: "REASONS"
        };
        /// Go on where the first questions show that no answer is read, that the question is lost or
        /// that a step repeats its own prompt.
        force: bool = false, {};
    }
    with {
        /// The engine.
        engine: EngineOptions,
    }
}

/// Reasons to sample less than everything. All are on by default; switched off to measure what they
/// change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EarlyStopping {
    /// A completion ends where its answer is complete.
    pub answer: bool,
    /// A question ends when its vote has converged.
    pub converged: bool,
    /// A question ends when no answer can reach the threshold any more.
    pub abandon: bool,
}

impl Default for EarlyStopping {
    fn default() -> Self {
        EarlyStopping { answer: true, converged: true, abandon: true }
    }
}

const EARLY_STOPS: EnumInfo = EnumInfo {
    name: "early_stop",
    lines: "A reason to stop early.",
    values: &[
        ValueInfo { name: "answer", lines: "The completion holds its answer." },
        ValueInfo { name: "converged", lines: "The vote has converged." },
        ValueInfo { name: "abandon", lines: "No answer can reach the threshold any more." },
    ],
};

/// As a text, the reasons that are switched off: `converged,abandon`.
impl OptionValue for EarlyStopping {
    const KIND: OptionKind = OptionKind::Names(&EARLY_STOPS);

    fn parse(option: &'static str, texts: &[&str]) -> Result<EarlyStopping> {
        let mut stops = EarlyStopping::default();
        let text = texts.first().copied().unwrap_or_default();
        for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            match name {
                "answer" => stops.answer = false,
                "converged" => stops.converged = false,
                "abandon" => stops.abandon = false,
                _ => {
                    let known = "answer, converged, abandon";
                    return Err(Error::field(option, format!("{name:?} is not one of {known}")));
                }
            }
        }
        Ok(stops)
    }

    fn text(&self) -> String {
        let named = [("answer", self.answer), ("converged", self.converged), ("abandon", self.abandon)];
        named.iter().filter(|(_, is_on)| !is_on).map(|(name, _)| *name).collect::<Vec<_>>().join(",")
    }
}

options! {
    /// What is trained on besides a run's own answers, and where training starts.
    #[derive(Debug, Clone, PartialEq)]
    pub struct DataMix: "Data mix" {
        /// An adapter of the same model to continue from.
        init_adapter: Option<PathBuf> = None, { placeholder: "ADAPTER", unset: "a fresh one" };
        /// Other run directories of the same model whose kept answers are learned as well: several tasks
        /// in one adapter.
        extra_runs: Vec<PathBuf> = Vec::new(), { placeholder: "DIR" };
        /// Unrelated prompts, one a line. The base model's own answers to them are mixed in, against
        /// forgetting.
        replay: Vec<Question> = Vec::new(), { placeholder: "FILE" };
        /// Number of replayed prompts as a share of the task's examples.
        replay_share: f32 = 0.25, { range: Range::closed(0.0, 10.0), placeholder: "SHARE" };
    }
}

/// As a text, the path of a question file.
impl OptionValue for Vec<Question> {
    const KIND: OptionKind = OptionKind::Path;

    fn parse(_: &'static str, texts: &[&str]) -> Result<Vec<Question>> {
        match texts.first().copied().unwrap_or_default() {
            "" => Ok(Vec::new()),
            path => read_questions(path.as_ref()),
        }
    }

    fn text(&self) -> String {
        String::new()
    }
}
