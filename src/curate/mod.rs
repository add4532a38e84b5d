//! Drives each question's System 2 program over an engine until its vote is settled.
//!
//! Nothing here knows a model: a scripted engine drives the same code in tests. A question's vote
//! is counted in the order of its sample indices, not of their completion, so that the verdict does
//! not depend on how the engine scheduled them; samples that turn out not to be needed are dropped.

mod driver;
mod program;
mod select;
mod summary;
mod variant;

pub use select::SelectionRecord;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
pub use summary::{Curation, Stops};

use crate::engine::{Engine, Finish, Message, Role, Sampling};
use crate::task::{Answer, Output, Question, Step, Task, UNPERTURBED};
use crate::vote::Verdict;
use crate::{Cancel, Result};

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
    /// The answer read from the last step, if it holds one; to the question as it was asked, so
    /// under a perturbation in that one's words.
    pub answer: Option<Answer>,
    /// Whether a [`Verifier`] turned the answer down, so that the sample counts as one without.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rejected: bool,
    /// The geometric mean of the probabilities of the last step's tokens, in 0..=1; none where the
    /// engine cannot tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f32>,
    /// Why the last step ended.
    pub finish: Finish,
}

/// What is kept of a sample once it has voted: everything but its texts, which the observer has.
#[derive(Debug, Clone, PartialEq)]
pub struct VoteSummary {
    /// Which variant of the question was asked: 0 is the question itself, the others are the task's
    /// perturbations in their order.
    pub variant: usize,
    /// Its index among the variant's samples, from 0.
    pub index: usize,
    /// The answer to the question itself that it voted for, if any.
    pub answer: Option<Answer>,
    /// Tokens of all its prompts.
    pub prompt_tokens: usize,
    /// Tokens sampled in all its steps.
    pub generated_tokens: usize,
    /// Why its last step ended.
    pub finish: Finish,
}

/// What is kept of a selection once it has voted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SelectionCost {
    /// Which variant of the question was asked, as in [`VoteSummary`].
    pub variant: usize,
    /// Tokens of its prompt.
    pub prompt_tokens: usize,
    /// Tokens sampled.
    pub generated_tokens: usize,
}

/// What became of one question.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The vote.
    pub verdict: Verdict,
    /// The samples that voted, those of each variant together.
    pub samples: Vec<VoteSummary>,
    /// The selections among their responses, where the vote is a universal one.
    pub selections: Vec<SelectionCost>,
}

impl Outcome {
    /// The samples of the question itself.
    pub fn own_samples(&self) -> impl Iterator<Item = &VoteSummary> {
        self.samples.iter().filter(|sample| sample.variant == 0)
    }

    /// Every token sampled to answer the question itself.
    pub fn own_tokens(&self) -> usize {
        let selections = self.selections.iter().filter(|selection| selection.variant == 0);
        self.own_samples().map(|sample| sample.generated_tokens).sum::<usize>()
            + selections.map(|selection| selection.generated_tokens).sum::<usize>()
    }

    /// Every token sampled, for all variants.
    pub fn all_tokens(&self) -> usize {
        self.samples.iter().map(|sample| sample.generated_tokens).sum::<usize>()
            + self.selections.iter().map(|selection| selection.generated_tokens).sum::<usize>()
    }
}

/// Who is told what while questions are being settled.
pub trait Observer {
    /// A sample finished; keep it before returning, so that it is not sampled again.
    fn sample(&mut self, sample: &Sample) -> Result<()>;
    /// A selection finished, in a universal vote; keep it as well.
    fn selection(&mut self, _selection: &SelectionRecord) -> Result<()> {
        Ok(())
    }
    /// A question is settled.
    fn settled(&mut self, verdict: &Verdict) -> Result<()>;
}

/// Checks answers by other means than asking again: a unit test, a calculator, a list.
///
/// Threads: called by the one that samples, one call at a time.
pub trait Verifier: Send + Sync {
    /// Whether `answer`, read from `completion`, may be the answer to `question`, which is as it was
    /// asked: perturbed, where the sample is of a perturbation. Called once for each sample that
    /// holds an answer, when it finishes; a resumed run does not ask again. A sample that is turned
    /// down stays in the vote as one without an answer.
    ///
    /// # Errors
    /// Any; it ends the sampling, and the sample is taken again when the run resumes.
    fn accepts(&self, question: &Question, answer: &Answer, completion: &str) -> Result<bool>;
}

impl std::fmt::Debug for dyn Verifier + '_ {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Verifier")
    }
}

/// What an earlier run finished.
#[derive(Debug, Clone, PartialEq)]
pub enum JournalEntry {
    /// A line of `samples.jsonl`.
    Sample(Sample),
    /// A line of `selections.jsonl`.
    Selection(SelectionRecord),
}

impl From<Sample> for JournalEntry {
    fn from(sample: Sample) -> JournalEntry {
        JournalEntry::Sample(sample)
    }
}

impl From<SelectionRecord> for JournalEntry {
    fn from(selection: SelectionRecord) -> JournalEntry {
        JournalEntry::Selection(selection)
    }
}

/// What is sampled.
#[derive(Debug)]
pub struct CurationPlan<'a> {
    /// The task whose program is sampled.
    pub task: &'a Task,
    /// Its questions.
    pub questions: &'a [Question],
    /// The seed of all samples.
    pub seed: u64,
    /// Whether a completion ends where its answer is complete, even if the model would go on.
    pub stop_at_answer: bool,
    /// Who checks each answer, if anybody does.
    pub verifier: Option<&'a dyn Verifier>,
}

/// Samples every question of `plan` until its vote is settled. `earlier` is what an interrupted
/// run finished; `engine` is asked for only where they do not suffice. Returns the outcomes in the
/// order of the questions.
///
/// # Errors
/// The engine's and the observer's; [`Error::Cancelled`]. What was observed before stays valid.
pub fn curate<'e, E: Engine + ?Sized + 'e>(
    engine: impl FnOnce() -> Result<&'e mut E>,
    plan: &CurationPlan,
    earlier: impl IntoIterator<Item = Result<impl Into<JournalEntry>>>,
    observer: &mut dyn Observer,
    cancel: &Cancel,
) -> Result<Vec<Outcome>> {
    let mut driver = driver::Driver::new(plan, observer);
    driver.resume(earlier.into_iter().map(|item| item.map(Into::into)))?;
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

/// The seed of all samples of one variant of the questions: `seed` itself for the questions as they are.
pub fn variant_seed(seed: u64, perturbation: &str) -> u64 {
    if perturbation == UNPERTURBED {
        return seed;
    }
    let hash = Sha256::new().chain_update(seed.to_le_bytes()).chain_update(perturbation).finalize();
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
        repeat_last: step.repeat_last,
        choices: step.choices.clone(),
        grammar: step.grammar.clone(),
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod verification_tests;
