//! Tasks: the direct prompt, the reasoning program, how answers are read and how they are voted on.
//!
//! A task is a JSON file, so that users add methods without compiling. A [`Task`] is valid by
//! construction: its templates, patterns and grammars compile and its numbers are in range, so no other
//! module checks them again. This module calls no model and has no state.
//!
//! - [`Task`] is read with [`Task::load`] and [`Task::from_json`], and [`Task::schema`] is the format.
//! - [`Question`]s come from [`read_questions`].
//! - [`AnswerRule`] reads an [`Answer`] from a completion.
//! - [`Perturbation`] asks a question in a variant that must not change its answer.

mod answer;
mod closing;
mod equivalence;
mod example;
mod fields;
mod gold;
mod items;
mod lines;
mod name;
mod normalize;
mod perturbation;
mod question;
mod raw;
mod schema;
mod select;
mod set;
mod step;
mod validate;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use answer::{
    Answer, AnswerConstraint, AnswerRule, ChoiceRule, DateOrder, DateRule, Decimal, JsonRule, LastLineRule,
    Normalize, NumberRule, Pattern, PatternRule, TextRule,
};
pub use closing::{CLOSING, Closing, ClosingKind, ClosingWhen};
pub use equivalence::EquivalencePrompt;
pub use example::WorkedExample;
pub use fields::{FieldIter, Fields};
pub(crate) use gold::{check_gold, shared_question};
pub use items::ItemRule;
#[cfg(test)]
pub(crate) use normalize::normalize;
pub use perturbation::{Perturbation, UNPERTURBED};
pub use question::{Question, parse_questions, read_questions};
pub use select::SelectPrompt;
pub(crate) use select::read_number;
pub use set::QuestionSet;
pub(crate) use step::without_thinking;
pub use step::{Marker, Output, Part, Step};

use crate::{Error, Result};

/// First tasks with questions of their own, then methods for the user's questions.
const BUILTINS: [(&str, &str); 11] = [
    ("coin-flip", include_str!("data/coin-flip.json")),
    ("biased-fact", include_str!("data/biased-fact.json")),
    ("last-letters", include_str!("data/last-letters.json")),
    ("pairwise-judge", include_str!("data/pairwise-judge.json")),
    ("arithmetic", include_str!("data/arithmetic.json")),
    ("cot", include_str!("data/cot.json")),
    ("rar-1", include_str!("data/rar-1.json")),
    ("rar-2", include_str!("data/rar-2.json")),
    ("s2a", include_str!("data/s2a.json")),
    ("bsm", include_str!("data/bsm.json")),
    ("thinking", include_str!("data/thinking.json")),
];
const BUILTIN_NAMES: [&str; BUILTINS.len()] = {
    let mut names = [""; BUILTINS.len()];
    let mut i = 0;
    while i < names.len() {
        names[i] = BUILTINS[i].0;
        i += 1;
    }
    names
};

/// A kind of question: how to ask it directly, how to reason about it, and how to read and vote on the
/// answers. A task does not depend on the model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Task {
    /// Short name, in lower case with hyphens.
    pub name: String,
    /// A description of one line.
    pub description: String,
    /// The name of the System 2 method, such as `chain-of-thought`. It has no effect.
    pub method: String,
    /// The direct prompt, which the distilled model is trained to answer.
    pub system1: Step,
    /// The reasoning program: steps in order. The completion of the last step holds the answer.
    pub system2: Vec<Step>,
    /// How an answer is read from a completion.
    pub answer: AnswerRule,
    /// A last turn that asks for the answer alone; none unless the task has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closing: Option<Closing>,
    /// How many samples vote, and when their answer is accepted.
    pub vote: VoteRule,
    /// The text that the distilled model is trained to write.
    pub target: Target,
    /// Variants of a question that must not change its answer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub perturbations: Vec<Perturbation>,
}

/// The text that a distilled model is trained to write.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// The answer alone, which takes the fewest tokens.
    #[default]
    Answer,
    /// The last completion of a sample that gave the answer, word for word: for models too small to
    /// recall a name without the sentence that leads to it.
    Completion,
}

/// When sampling of a question stops, and when the voted answer is accepted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct VoteRule {
    /// Maximal number of samples of a question, `1..=1000`.
    #[schemars(range(min = 1, max = 1000))]
    pub samples: usize,
    /// Share of the samples that must agree, including those without an answer; above 0, at most 1.
    #[schemars(range(min = 0, max = 1))]
    pub threshold: f32,
    /// Minimal number of samples before a vote can converge, `1..=samples`.
    #[schemars(range(min = 1, max = 1000))]
    pub min_samples: usize,
    /// Probability that the leader is the true majority at which a vote converges and sampling stops
    /// early; above 0.5, at most 1. At 1 no vote converges early.
    #[schemars(range(min = 0.5, max = 1))]
    pub confidence: f32,
    /// Whether sampling stops as soon as no answer can reach the threshold any more.
    #[serde(alias = "give_up", skip_serializing_if = "is_true")]
    pub early_abandon: bool,
    /// The weight of a sample. Weights change the agreement, not when sampling stops.
    #[serde(skip_serializing_if = "is_default")]
    pub weights: Weighing,
    /// How the answer is chosen among the samples.
    #[serde(skip_serializing_if = "is_default")]
    pub select: Select,
    /// Number of selections in a universal vote, `1..=100`.
    #[serde(skip_serializing_if = "is_three")]
    pub selections: usize,
    /// The template that asks for a selection in a universal vote.
    #[serde(skip_serializing_if = "SelectPrompt::is_default")]
    pub select_prompt: SelectPrompt,
    /// When two different answers that were read mean the same.
    #[serde(skip_serializing_if = "is_default")]
    pub equivalence: Equivalence,
    /// The template that asks whether two answers mean the same.
    #[serde(skip_serializing_if = "EquivalencePrompt::is_default")]
    pub equivalence_prompt: EquivalencePrompt,
}

/// When two different answers of one question mean the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Equivalence {
    /// Never: the answer rule says which answers are equal.
    #[default]
    Exact,
    /// When the model says so, asked once for each pair, greedily: for free text that has many wordings.
    Model,
}

/// The weight of a sample in a vote.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Weighing {
    /// All samples have the same weight.
    #[default]
    Equal,
    /// The geometric mean of the probabilities of the last step's tokens.
    Confidence,
}

/// How the answer is chosen among the samples of a question.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Select {
    /// Equal answers are counted.
    #[default]
    Count,
    /// The model reads its responses and selects the one that agrees most with the others: for free
    /// text, in which no two answers are written alike (universal self-consistency).
    Universal,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn is_three(value: &usize) -> bool {
    *value == 3
}

fn is_true(value: &bool) -> bool {
    *value
}

impl Default for VoteRule {
    fn default() -> Self {
        VoteRule {
            samples: 8,
            threshold: 0.75,
            min_samples: 4,
            confidence: 0.95,
            early_abandon: true,
            weights: Weighing::Equal,
            select: Select::Count,
            selections: 3,
            select_prompt: SelectPrompt::default(),
            equivalence: Equivalence::Exact,
            equivalence_prompt: EquivalencePrompt::default(),
        }
    }
}

impl Task {
    /// Parses a task. `origin` names the text in errors.
    ///
    /// # Errors
    /// [`Error::Input`] with the line or the part of the task that is invalid.
    pub fn from_json(text: &str, origin: &str) -> Result<Task> {
        raw::parse(text).map_err(|why| Error::input(origin, why))
    }

    /// The built-in task of this name, or the task in this JSON file.
    ///
    /// # Errors
    /// [`Error::Input`] if there is neither, with the names of the built-in tasks, or if the task is
    /// invalid. [`Error::Io`] if the file cannot be read.
    pub fn load(name_or_path: &str) -> Result<Task> {
        if let Some((name, text)) = BUILTINS.iter().find(|(name, _)| *name == name_or_path) {
            return Task::from_json(text, name);
        }
        match std::fs::read(name_or_path) {
            Ok(bytes) => match String::from_utf8(bytes) {
                Ok(text) => Task::from_json(text.trim_start_matches('\u{feff}'), name_or_path),
                Err(_) => Err(Error::input(name_or_path, "not UTF-8; expected a task as JSON")),
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(Error::input(
                format!("task {name_or_path:?}"),
                format!("no such built-in task or file; built-in tasks: {}", BUILTIN_NAMES.join(", ")),
            )),
            Err(_) if std::path::Path::new(name_or_path).is_dir() => Err(Error::input(
                name_or_path,
                format!("is a directory, expected a task as JSON; tune writes {name_or_path}/task.json"),
            )),
            Err(error) => Err(Error::io("read", name_or_path)(error)),
        }
    }

    /// The names of the built-in tasks, for [`Task::load`].
    pub fn builtin_names() -> &'static [&'static str] {
        &BUILTIN_NAMES
    }

    /// The task as indented JSON, with most defaults written out. [`Task::from_json`] reads it back
    /// unchanged.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a task has only text keys")
    }

    /// The answer in a System 1 completion, which `is_cut` if it ended at its limit of tokens.
    pub fn read_direct(&self, completion: &str, is_cut: bool) -> Option<Answer> {
        self.read(&self.system1, completion, is_cut)
    }

    /// The answer in the completion of the last System 2 step, which `is_cut` if it ended at its limit of
    /// tokens.
    pub fn read_reasoned(&self, completion: &str, is_cut: bool) -> Option<Answer> {
        self.read(self.last_step(), completion, is_cut)
    }

    fn read(&self, step: &Step, completion: &str, is_cut: bool) -> Option<Answer> {
        match is_cut {
            true => self.answer.extract_cut(step, completion),
            false => self.answer.extract(step, completion),
        }
    }

    /// The answer in the completion of the closing turn, which is nothing but the answer.
    pub fn read_closing(&self, completion: &str, is_cut: bool) -> Option<Answer> {
        self.answer.read_alone(completion).filter(|_| !is_cut)
    }

    /// Whether a System 1 completion that begins with `partial` already has its answer.
    pub fn direct_is_complete(&self, partial: &str) -> bool {
        self.answer.complete(&self.system1, partial)
    }

    /// Whether a completion of the last System 2 step that begins with `partial` already has its answer.
    pub fn reasoned_is_complete(&self, partial: &str) -> bool {
        self.answer.complete(self.last_step(), partial)
    }

    /// The beginning of a completion of the last System 2 step up to where it has its answer; all of it if it
    /// never is complete.
    pub(crate) fn reasoned_until_answer<'t>(&self, completion: &'t str) -> &'t str {
        let spaces = completion.char_indices().filter(|(_, c)| c.is_whitespace());
        let mut ends = spaces.map(|(at, c)| at + c.len_utf8());
        let end = ends.find(|end| self.reasoned_is_complete(&completion[..*end]));
        &completion[..end.unwrap_or(completion.len())]
    }

    /// Which part of the task makes a call a conversation of several turns; `None` where every call is one
    /// message, with or without a system message.
    pub(crate) fn several_turns(&self) -> Option<String> {
        if !self.system1.examples.is_empty() {
            return Some("the \"examples\" of \"system1\"".into());
        }
        let of_step = |step: &Step| {
            let name = &step.name;
            match (&step.continues, step.examples.is_empty()) {
                (Some(_), _) => Some(format!("\"continues\" of step {name:?}")),
                (None, false) => Some(format!("the \"examples\" of step {name:?}")),
                (None, true) => None,
            }
        };
        let closing = || self.closing.as_ref().map(|_| "the \"closing\" turn".to_string());
        self.system2.iter().find_map(of_step).or_else(closing)
    }

    fn last_step(&self) -> &Step {
        self.system2.last().unwrap_or(&self.system1)
    }
}

#[cfg(test)]
mod tests;
