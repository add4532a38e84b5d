//! What is asked: the direct prompt, the slow program, how answers are read and voted on.
//!
//! A task is data, a JSON file, so that users add methods without compiling. It is parsed, not
//! validated: a [`Task`] that exists has templates and patterns that compile and numbers in
//! range, and nothing downstream checks them again. This room asks no model and keeps no state.

mod answer;
mod items;
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
    Answer, AnswerRule, ChoiceRule, JsonRule, LastLineRule, Normalize, NumberRule, Pattern, PatternRule,
    TextRule,
};
pub use items::ItemRule;
#[cfg(test)]
pub(crate) use normalize::normalize;
pub use perturbation::{Perturbation, UNPERTURBED};
pub use question::{Question, parse_questions, read_questions};
pub use select::{SelectPrompt, read_number};
pub use set::QuestionSet;
pub(crate) use step::without_thinking;
pub use step::{Marker, Output, Part, Step};

use crate::{Error, Result};

/// Tasks, then methods for questions of one's own.
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

/// Everything about a kind of question that does not depend on the model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Task {
    /// Short name, in lower case with hyphens.
    pub name: String,
    /// One line for a person who chooses.
    pub description: String,
    /// The System 2 method: `chain-of-thought`, `system-2-attention`, or a name of one's own.
    pub method: String,
    /// The direct question: what a distilled model is trained to answer.
    pub system1: Step,
    /// The slow program, in order. The last step's completion holds the answer.
    pub system2: Vec<Step>,
    /// How an answer is read from a completion.
    pub answer: AnswerRule,
    /// How many samples vote, and what they must agree on.
    pub vote: VoteRule,
    /// What the distilled model learns to write.
    pub target: Target,
    /// Forms of a question that may not change its answer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub perturbations: Vec<Perturbation>,
}

/// What a distilled model learns to write.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// The answer alone: fewest tokens.
    #[default]
    Answer,
    /// The last step of a sample that gave the answer, word for word. For models too small to
    /// recall a name without the sentence that leads to it.
    Completion,
}

/// When the samples of one question have said enough, and whether their answer is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct VoteRule {
    /// Most samples of a question, `1..=1000`.
    #[schemars(range(min = 1, max = 1000))]
    pub samples: usize,
    /// The part of all samples, unparsed ones included, that must agree; above 0, at most 1.
    #[schemars(range(min = 0, max = 1))]
    pub threshold: f32,
    /// Samples before a vote may be called settled, `1..=samples`.
    #[schemars(range(min = 1, max = 1000))]
    pub min_samples: usize,
    /// How sure it must be that the leader is the true majority before sampling stops early;
    /// above 0.5, at most 1. At 1 no vote is called settled.
    #[schemars(range(min = 0.5, max = 1))]
    pub confidence: f32,
    /// Whether sampling stops once the samples left cannot lift any answer to the threshold.
    #[serde(alias = "give_up", skip_serializing_if = "is_true")]
    pub early_abandon: bool,
    /// What a sample counts. Only agreement is weighed; when to stop is a matter of counts.
    #[serde(skip_serializing_if = "is_default")]
    pub weights: Weighing,
    /// How the answer is chosen among the samples.
    #[serde(skip_serializing_if = "is_default")]
    pub select: Select,
    /// With `select` universal: how often the model is asked to select, `1..=100`.
    #[serde(skip_serializing_if = "is_three")]
    pub selections: usize,
    /// With `select` universal: the template that asks.
    #[serde(skip_serializing_if = "SelectPrompt::is_default")]
    pub select_prompt: SelectPrompt,
}

/// What a sample counts in a vote.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Weighing {
    /// Every sample the same.
    #[default]
    Equal,
    /// The geometric mean of the probabilities of its last step's tokens.
    Confidence,
}

/// How the answer is chosen among the samples of a question.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Select {
    /// Equal answers are counted.
    #[default]
    Count,
    /// The model is shown its responses and asked which agrees most with the others: for free
    /// text, where no two answers are written alike (universal self-consistency).
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
        }
    }
}

impl Task {
    /// Parses a task. `origin` names the text in errors.
    ///
    /// # Errors
    /// [`Error::Input`] with the line, or the part of the task, that cannot be used.
    pub fn from_json(text: &str, origin: &str) -> Result<Task> {
        raw::parse(text).map_err(|why| Error::input(origin, why))
    }

    /// The built-in task of this name, or the task in this JSON file.
    ///
    /// # Errors
    /// [`Error::Input`] that lists the built-in tasks where there is neither.
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
            Err(error) => Err(Error::io("read", name_or_path)(error)),
        }
    }

    /// Names that [`Task::load`] knows without a file.
    pub fn builtin_names() -> &'static [&'static str] {
        &BUILTIN_NAMES
    }

    /// The task as indented JSON, defaults written out. [`Task::from_json`] reads it back
    /// unchanged.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a task has only text keys")
    }

    /// The answer in a System 1 completion.
    pub fn read_direct(&self, completion: &str) -> Option<Answer> {
        self.answer.extract(&self.system1, completion)
    }

    /// The answer in the completion of the last System 2 step.
    pub fn read_reasoned(&self, completion: &str) -> Option<Answer> {
        self.answer.extract(self.last_step(), completion)
    }

    /// Whether a System 1 completion that begins like this needs no further text.
    pub fn direct_is_complete(&self, partial: &str) -> bool {
        self.answer.complete(&self.system1, partial)
    }

    /// Whether a completion of the last System 2 step that begins like this needs no further text.
    pub fn reasoned_is_complete(&self, partial: &str) -> bool {
        self.answer.complete(self.last_step(), partial)
    }

    fn last_step(&self) -> &Step {
        self.system2.last().unwrap_or(&self.system1)
    }
}

#[cfg(test)]
mod tests;
