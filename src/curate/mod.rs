//! Drives each question's System 2 program over an engine until its vote is settled.
//!
//! Nothing here knows a model: a scripted engine drives the same code in tests. A question's vote
//! is counted in the order of its sample indices, not of their completion, so that the verdict does
//! not depend on how the engine scheduled them; samples that turn out not to be needed are dropped.

mod driver;
mod program;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::engine::{Engine, Finish, Message, Role, Sampling};
use crate::task::{Answer, Output, Question, Step, Task};
use crate::vote::Verdict;
use crate::{Cancel, Error, Result};

/// One call of a sample as it was completed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// The step's name.
    pub name: String,
    /// The item it ran on, where the step runs once for each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<String>,
    /// What the model wrote.
    pub text: String,
    /// Tokens of its prompt.
    pub prompt_tokens: usize,
    /// Tokens sampled.
    pub generated_tokens: usize,
}

/// A finished sample: a line of `samples.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// The question's id.
    pub question: String,
    /// Its index among the question's samples, from 0.
    pub index: usize,
    /// Which perturbation of the question was asked; `none` is the question itself.
    pub perturbation: String,
    /// The seed of its first step.
    pub seed: u64,
    /// Its calls, in the order of its steps and their items.
    pub steps: Vec<StepRecord>,
    /// The answer read from the last step, if it holds one.
    pub answer: Option<Answer>,
    /// Why the last step ended.
    pub finish: Finish,
}

/// What is kept of a sample once it has voted: everything but its texts, which the observer has.
#[derive(Debug, Clone, PartialEq)]
pub struct Voted {
    /// Its index among the question's samples, from 0.
    pub index: usize,
    /// The answer read from the last step, if it holds one.
    pub answer: Option<Answer>,
    /// Tokens of all its prompts.
    pub prompt_tokens: usize,
    /// Tokens sampled in all its steps.
    pub generated_tokens: usize,
    /// Why its last step ended.
    pub finish: Finish,
}

impl From<&Sample> for Voted {
    fn from(sample: &Sample) -> Voted {
        Voted {
            index: sample.index,
            answer: sample.answer.clone(),
            prompt_tokens: sample.steps.iter().map(|s| s.prompt_tokens).sum(),
            generated_tokens: sample.steps.iter().map(|s| s.generated_tokens).sum(),
            finish: sample.finish,
        }
    }
}

/// What became of one question.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The vote.
    pub verdict: Verdict,
    /// The samples that voted.
    pub samples: Vec<Voted>,
}

/// Who is told what while questions are being settled.
pub trait Observer {
    /// A sample finished; keep it before returning, so that it is not sampled again.
    fn sample(&mut self, sample: &Sample) -> Result<()>;
    /// A question is settled.
    fn settled(&mut self, verdict: &Verdict) -> Result<()>;
}

/// What is sampled.
#[derive(Debug)]
pub struct Plan<'a> {
    /// The task whose program is sampled.
    pub task: &'a Task,
    /// Its questions.
    pub questions: &'a [Question],
    /// The seed of all samples.
    pub seed: u64,
    /// Whether a completion ends where its answer is complete, even if the model would go on.
    pub stop_at_answer: bool,
}

/// Samples every question of `plan` until its vote is settled. `earlier` are samples finished by an
/// interrupted run; `engine` is asked for only where they do not suffice. Returns the outcomes in the
/// order of the questions.
///
/// # Errors
/// The engine's and the observer's; [`Error::Cancelled`]. What was observed before stays valid.
pub fn curate<'e, E: Engine + ?Sized + 'e>(
    engine: impl FnOnce() -> Result<&'e mut E>,
    plan: &Plan,
    earlier: impl IntoIterator<Item = Result<Sample>>,
    observer: &mut dyn Observer,
    cancel: &Cancel,
) -> Result<Vec<Outcome>> {
    let mut driver = driver::Driver::new(plan, observer);
    driver.resume(earlier)?;
    if !driver.is_settled() {
        engine()?.run(&mut driver, cancel)?;
    }
    driver.outcomes()
}

/// The seed of one step of one sample: a hash of everything that names it, so that no two samples
/// share random numbers and scheduling has no influence.
pub fn sample_seed(seed: u64, question: &str, index: usize, step: usize) -> u64 {
    let mut hasher = Sha256::new();
    hasher.update(seed.to_le_bytes());
    hasher.update((index as u64).to_le_bytes());
    hasher.update((step as u64).to_le_bytes());
    hasher.update(question.as_bytes());
    let hash = hasher.finalize();
    u64::from_le_bytes(hash[..8].try_into().expect("SHA-256 has 32 bytes"))
}

/// The seed of a step's call for the `item`th item of an earlier output. It is hashed from less than
/// [`sample_seed`] ever is, so that the two never meet.
pub fn item_seed(seed: u64, question: &str, index: usize, step: usize, item: usize) -> u64 {
    let mut hasher = Sha256::new();
    hasher.update(sample_seed(seed, question, index, step).to_le_bytes());
    hasher.update((item as u64).to_le_bytes());
    let hash = hasher.finalize();
    u64::from_le_bytes(hash[..8].try_into().expect("SHA-256 has 32 bytes"))
}

/// The messages of `step` for `question`, as the engine takes them.
pub fn messages(step: &Step, question: &Question, outputs: &[(String, Output)]) -> Result<Vec<Message>> {
    let messages = step.render(question, outputs)?;
    Ok(messages
        .into_iter()
        .map(|(role, content)| Message {
            role: if role == "system" { Role::System } else { Role::User },
            content,
        })
        .collect())
}

/// The sampling parameters of `step`, as the engine takes them.
pub fn sampling(step: &Step) -> Sampling {
    Sampling {
        temperature: step.temperature,
        top_p: step.top_p,
        top_k: step.top_k,
        min_p: step.min_p,
        max_tokens: step.max_tokens,
        stop: step.stop.clone(),
        repeat_penalty: step.repeat_penalty,
        choices: step.choices.clone(),
        grammar: step.grammar.clone(),
        ..Sampling::default()
    }
}

/// Refuses verdicts that are not worth training on: METHOD's "should I distil?" on the labels alone.
///
/// # Errors
/// [`Error::Refused`] with the figures.
pub fn check_worth(verdicts: &[&Verdict]) -> Result<()> {
    let kept: Vec<&Verdict> = verdicts.iter().copied().filter(|v| v.kept).collect();
    if kept.is_empty() {
        return Err(Error::Refused(format!(
            "no question was kept: in none of {} did enough samples agree; lower --threshold, raise --samples, or try a model that reasons better",
            verdicts.len()
        )));
    }
    let mut counts = std::collections::HashMap::new();
    for v in &kept {
        *counts.entry(v.answer.as_ref().map_or("", |a| a.key.as_str())).or_insert(0usize) += 1;
    }
    let (answer, most) = counts.iter().max_by_key(|(_, n)| **n).map_or(("", 0), |(a, n)| (*a, *n));
    if kept.len() >= 20 && most as f64 > 0.95 * kept.len() as f64 {
        return Err(Error::Refused(format!(
            "{most} of {} kept answers are \"{answer}\": the labels have collapsed onto one answer; check the task's prompts, or pass --force to train all the same",
            kept.len()
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
