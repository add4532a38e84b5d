//! Curation: samples the System 2 program of each question on an engine until its vote has ended.
//!
//! The code depends on no model; in tests a scripted engine runs it. Votes are counted in the order
//! of the sample indices and not of completion, so that a verdict does not depend on the engine's
//! schedule. Samples that turn out not to be needed are dropped.

mod driver;
mod equivalence;
mod program;
mod select;
mod set_aside;
mod summary;
mod variant;

pub(crate) use equivalence::EquivalenceCost;
pub use equivalence::EquivalenceRecord;
pub use select::SelectionRecord;
use serde::{Deserialize, Serialize};
pub(crate) use set_aside::{SetAside, fault_of_question};
use sha2::{Digest, Sha256};
pub use summary::{Curation, Equivalences, Stops};

use driver::Driver;

use crate::engine::{
    Engine, Finish, Message, Request, Role, Sampling, Source, Sources, TemplateFacts, template_facts,
};
use crate::task::{Answer, CLOSING, Equivalence, Output, Question, Select, Step, Task, UNPERTURBED};
use crate::vote::Verdict;
use crate::{Cancel, Error, Result};

/// A completed call of a sample.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// The step's name.
    pub name: String,
    /// The item that the call was for, if the step runs once for each item.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<String>,
    /// The completion.
    pub text: String,
    /// Number of tokens of the prompt.
    pub prompt_tokens: usize,
    /// Number of tokens generated.
    pub generated_tokens: usize,
}

/// A finished sample: a line of `samples.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// The question's id.
    pub question: String,
    /// The sample's index among those of the same variant of the question, from 0.
    pub index: usize,
    /// The name of the perturbation that was asked; `none` for the question itself.
    pub perturbation: String,
    /// The seed of its first step.
    pub seed: u64,
    /// The calls, in the order of the steps and of their items. The closing turn, if the sample has one,
    /// is the last, with the name `closing`.
    pub steps: Vec<StepRecord>,
    /// The answer read from the last step or from the closing turn, if there is one. It answers the question as it was asked:
    /// under a perturbation it is not mapped back.
    pub answer: Option<Answer>,
    /// Which of the two holds the answer.
    #[serde(default, skip_serializing_if = "ReadFrom::is_default")]
    pub read_from: ReadFrom,
    /// Whether a [`Verifier`] rejected the answer. The sample then counts as one without an answer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rejected: bool,
    /// Geometric mean of the probabilities of the tokens of the task's last step, in `0..=1`; `None` if
    /// the engine does not report probabilities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f32>,
    /// Why the task's last step ended.
    pub finish: Finish,
}

impl Sample {
    /// The completion of the task's last step, which the closing turn follows; empty if the program did
    /// not get there.
    pub fn completion(&self) -> &str {
        let is_closing = |step: &&StepRecord| step.name == CLOSING;
        self.steps.iter().rev().find(|step| !is_closing(step)).map_or("", |step| &step.text)
    }
}

/// Where the answer of a sample was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadFrom {
    /// From the completion of the last step.
    #[default]
    Completion,
    /// From the closing turn.
    Closing,
}

impl ReadFrom {
    fn is_default(&self) -> bool {
        *self == ReadFrom::default()
    }
}

/// A sample that has voted, without its texts, which the observer has stored.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct VoteSummary {
    /// The variant that was asked: 0 is the question itself, then come the task's perturbations in
    /// their order.
    pub variant: usize,
    /// The sample's index among those of the variant, from 0.
    pub index: usize,
    /// The answer that it voted for, mapped back to an answer to the question itself.
    pub answer: Option<Answer>,
    /// Where the answer was read.
    pub read_from: ReadFrom,
    /// Number of prompt tokens, of all calls.
    pub prompt_tokens: usize,
    /// Number of tokens generated, in all calls.
    pub generated_tokens: usize,
    /// Why the last step ended.
    pub finish: Finish,
}

/// The tokens of a selection that has voted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SelectionCost {
    /// The variant that was asked, as in [`VoteSummary`].
    pub variant: usize,
    /// Number of tokens of the prompt.
    pub prompt_tokens: usize,
    /// Number of tokens generated.
    pub generated_tokens: usize,
}

/// The outcome of the vote on one question.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Outcome {
    /// The verdict.
    pub verdict: Verdict,
    /// The samples that voted, variant by variant.
    pub samples: Vec<VoteSummary>,
    /// The selections among the responses, in a universal vote.
    pub selections: Vec<SelectionCost>,
    /// The judgements whether answers mean the same.
    pub equivalences: Vec<EquivalenceCost>,
}

impl Outcome {
    /// The samples of the question itself.
    pub fn own_samples(&self) -> impl Iterator<Item = &VoteSummary> {
        self.samples.iter().filter(|sample| sample.variant == 0)
    }

    /// Number of tokens generated to answer the question itself, without its perturbations.
    pub fn own_tokens(&self) -> usize {
        let selections = self.selections.iter().filter(|selection| selection.variant == 0);
        let equivalences = self.equivalences.iter().filter(|judgement| judgement.variant == 0);
        self.own_samples().map(|sample| sample.generated_tokens).sum::<usize>()
            + selections.map(|selection| selection.generated_tokens).sum::<usize>()
            + equivalences.map(|judgement| judgement.generated_tokens).sum::<usize>()
    }

    /// Number of tokens generated for all variants.
    pub fn all_tokens(&self) -> usize {
        self.samples.iter().map(|sample| sample.generated_tokens).sum::<usize>()
            + self.selections.iter().map(|selection| selection.generated_tokens).sum::<usize>()
            + self.equivalences.iter().map(|judgement| judgement.generated_tokens).sum::<usize>()
    }
}

/// Receives the results of curation while it runs.
pub(crate) trait Observer {
    /// A sample has finished. The observer stores it before it returns, so that a resumed run does
    /// not sample it again.
    fn sample(&mut self, sample: &Sample) -> Result<()>;
    /// A selection of a universal vote has finished. The observer stores it as well.
    fn selection(&mut self, _selection: &SelectionRecord) -> Result<()> {
        Ok(())
    }
    /// A judgement whether two answers mean the same has finished. The observer stores it as well.
    fn equivalence(&mut self, _judgement: &EquivalenceRecord) -> Result<()> {
        Ok(())
    }
    /// The verdict on a question is there.
    fn verdict(&mut self, verdict: &Verdict) -> Result<()>;
    /// More than half of the questions cannot be asked, all for the reason in `error`. Curation ends with
    /// what this returns, unless it is `Ok`.
    fn mostly_set_aside(&mut self, error: Error) -> Result<()> {
        Err(error)
    }
}

/// Checks answers by means other than the model: a unit test, a calculator, a list.
///
/// # Threads
/// The sampling thread calls it, one call at a time.
pub trait Verifier: Send + Sync {
    /// Whether `answer`, read from `completion`, can be the answer to `question`. The question is
    /// passed as it was asked: perturbed, for a sample of a perturbation.
    ///
    /// Called once for each sample with an answer, when the sample finishes; a resumed run does not
    /// call it again. A rejected sample stays in the vote as one without an answer.
    ///
    /// # Errors
    /// Any error ends curation. The sample is taken again when the run resumes.
    fn accepts(&self, question: &Question, answer: &Answer, completion: &str) -> Result<bool>;
}

impl std::fmt::Debug for dyn Verifier + '_ {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Verifier")
    }
}

/// A line of a journal: what an interrupted run has finished.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum JournalEntry {
    /// A line of `samples.jsonl`.
    Sample(Sample),
    /// A line of `selections.jsonl`.
    Selection(SelectionRecord),
    /// A line of `equivalences.jsonl`.
    Equivalence(EquivalenceRecord),
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

/// The work of [`curate`].
#[derive(Debug)]
pub(crate) struct CurationPlan<'a> {
    /// The task whose System 2 program is sampled.
    pub task: &'a Task,
    /// The questions.
    pub questions: &'a [Question],
    /// The seed from which the seeds of all samples are derived.
    pub seed: u64,
    /// Whether the last step of a sample ends as soon as its answer is complete.
    pub stop_at_answer: bool,
    /// Checks each answer.
    pub verifier: Option<&'a dyn Verifier>,
}

/// Samples every question of `plan` until its vote has ended. Returns the outcomes in the order of the
/// questions.
///
/// `earlier` is what an interrupted run has finished. `engine` is called only if more samples are
/// needed.
///
/// # Errors
/// Errors of the engine, the verifier and the observer; [`Error::Unsupported`] where the model's chat template
/// leaves out turns that the task needs; [`Error::Cancelled`]. What the observer has received stays valid.
pub(crate) fn curate<'e, E: Engine + ?Sized + 'e>(
    engine: impl FnOnce() -> Result<&'e mut E>,
    plan: &CurationPlan,
    earlier: impl IntoIterator<Item = Result<impl Into<JournalEntry>>>,
    observer: &mut dyn Observer,
    cancel: &Cancel,
) -> Result<Vec<Outcome>> {
    let mut driver = resumed(plan, earlier, observer)?;
    if !driver.is_done() {
        let engine = engine()?;
        if let Some(decoder) = engine.decoder() {
            let lost = turns_lost(plan.task, &template_facts(decoder)?);
            lost.map_or(Ok(()), |why| Err(Error::unsupported(why)))?;
        }
        engine.run(&mut driver, cancel)?;
    }
    driver.outcomes()
}

/// What [`curate`] is given for one of several plans.
pub(crate) struct PlannedRun<'a> {
    /// What to sample.
    pub plan: &'a CurationPlan<'a>,
    /// What an interrupted run has finished.
    pub earlier: Vec<Sample>,
    /// Receives what is sampled.
    pub observer: &'a mut (dyn Observer + 'a),
}

/// [`curate`] for several plans in one run of the engine, which is fuller for it: a few samples are computed
/// together in nearly the time of one.
pub(crate) fn curate_together<'a>(
    engine: &mut dyn Engine,
    runs: Vec<PlannedRun<'a>>,
    cancel: &Cancel,
) -> Result<Vec<Vec<Outcome>>> {
    let begin = |run: PlannedRun<'a>| resumed(run.plan, run.earlier.into_iter().map(Ok), run.observer);
    let mut drivers = runs.into_iter().map(begin).collect::<Result<Vec<_>>>()?;
    let mut open = Vec::<&mut dyn Source>::new();
    for driver in drivers.iter_mut().filter(|driver| !driver.is_done()) {
        open.push(driver);
    }
    if !open.is_empty() {
        engine.run(&mut Sources::new(open), cancel)?;
    }
    drivers.into_iter().map(Driver::outcomes).collect()
}

/// The source of the requests of `plan` that are left.
fn resumed<'a>(
    plan: &'a CurationPlan<'a>,
    earlier: impl IntoIterator<Item = Result<impl Into<JournalEntry>>>,
    observer: &'a mut dyn Observer,
) -> Result<Driver<'a>> {
    check_questions(plan, observer)?;
    let mut driver = Driver::new(plan, observer);
    driver.resume(earlier.into_iter().map(|item| item.map(Into::into)))?;
    Ok(driver)
}

/// The requests that `sample` of `question` made, in the order of its steps: their messages and seeds are
/// those of the calls. `seed` is the plan's.
pub(crate) fn requests_of(
    task: &Task,
    question: &Question,
    sample: &Sample,
    seed: u64,
) -> Result<Vec<Request>> {
    program::requests_of(task, question, sample, seed)
}

/// Why the model cannot be asked what `task` asks, where its chat template leaves turns of a conversation out.
pub(crate) fn turns_lost(task: &Task, template: &TemplateFacts) -> Option<String> {
    let needs = task.several_turns().filter(|_| !template.conversations)?;
    Some(format!(
        "the model's chat template leaves out turns of a conversation, which {needs} of task {:?} makes, so the \
         model would not see all of them; use a model file whose tokenizer.chat_template renders every message, \
         or a task that asks everything in one message",
        task.name
    ))
}

#[cfg(test)]
impl Sample {
    /// A sample without steps of a question without an id, for tests.
    pub(crate) fn of_nothing() -> Sample {
        Sample {
            question: String::new(),
            index: 0,
            perturbation: UNPERTURBED.into(),
            seed: 0,
            steps: vec![],
            answer: None,
            read_from: Default::default(),
            rejected: false,
            confidence: None,
            finish: Finish::EndOfTurn,
        }
    }
}

/// Renders what each question is asked first, of some thousands of the questions, before an engine is loaded.
///
/// # Errors
/// [`Error::Input`] if more than half of them cannot be asked for the same reason,
/// such as a field that no question has.
fn check_questions(plan: &CurationPlan, observer: &mut dyn Observer) -> Result<()> {
    const EXAMINED: usize = 4096;
    let stride = plan.questions.len().div_ceil(EXAMINED).max(1);
    let n = plan.questions.len().div_ceil(stride);
    let mut set_aside = SetAside::default();
    for question in plan.questions.iter().step_by(stride) {
        if let Err(error) = first_messages(plan.task, question) {
            let added = set_aside.add(&question.id, &fault_of_question(error)?, n);
            added.or_else(|error| observer.mostly_set_aside(error))?;
        }
    }
    Ok(())
}

/// That `question` has what its direct prompt, the first step of the program, the perturbations and the vote need.
pub(crate) fn first_messages(task: &Task, question: &Question) -> Result<()> {
    messages(&task.system1, question, &[])?;
    // What is sampled later sees the outputs of earlier steps beside the fields.
    let n_seen = task.system2.len().saturating_sub(usize::from(task.closing.is_none()));
    if let Some(step) = task.system2[..n_seen].iter().find(|step| question.fields.get(&step.name).is_some()) {
        let name = &step.name;
        let why =
            format!("its field {name:?} has the name of a step; rename one of them (\"name\" in the task)");
        return Err(Error::input(format!("question {:?}", question.id), why));
    }
    if task.vote.equivalence == Equivalence::Model {
        let blank = Answer { key: String::new(), text: String::new() };
        task.vote.equivalence_prompt.render(question, &blank, &blank)?;
    }
    if task.vote.select == Select::Universal {
        task.vote.select_prompt.render(question, &vec![""; task.vote.samples])?;
    }
    if let Some(step) = task.system2.first().filter(|step| step.for_each.is_none()) {
        messages(step, question, &[])?;
    }
    task.perturbations.iter().try_for_each(|perturbation| perturbation.asked(question).map(drop))
}

/// The seed of a step of a sample: a hash of all that identifies it. No two samples share random
/// numbers, and the engine's schedule has no influence.
pub(crate) fn sample_seed(seed: u64, question: &str, index: usize, step: usize) -> u64 {
    let mut hasher = Sha256::new();
    hasher.update(seed.to_le_bytes());
    hasher.update((index as u64).to_le_bytes());
    hasher.update((step as u64).to_le_bytes());
    hasher.update(question.as_bytes());
    let hash = hasher.finalize();
    u64::from_le_bytes(hash[..8].try_into().expect("SHA-256 has 32 bytes"))
}

/// The seed of a step's call for item number `item` of an earlier output. Its hash is over fewer bytes
/// than any of [`sample_seed`], so the two never hash the same input.
pub(crate) fn item_seed(seed: u64, question: &str, index: usize, step: usize, item: usize) -> u64 {
    let mut hasher = Sha256::new();
    hasher.update(sample_seed(seed, question, index, step).to_le_bytes());
    hasher.update((item as u64).to_le_bytes());
    let hash = hasher.finalize();
    u64::from_le_bytes(hash[..8].try_into().expect("SHA-256 has 32 bytes"))
}

/// The seed from which the seeds of a variant's samples are derived: `seed` for the questions
/// themselves.
pub(crate) fn variant_seed(seed: u64, perturbation: &str) -> u64 {
    if perturbation == UNPERTURBED {
        return seed;
    }
    let hash = Sha256::new().chain_update(seed.to_le_bytes()).chain_update(perturbation).finalize();
    u64::from_le_bytes(hash[..8].try_into().expect("SHA-256 has 32 bytes"))
}

/// The messages of `step` for `question`, in the engine's type.
pub fn messages(step: &Step, question: &Question, outputs: &[(String, Output)]) -> Result<Vec<Message>> {
    messages_drawn(step, question, outputs, 0)
}

/// The same with the worked examples that `seed` draws, for a step with `max_examples`.
pub(crate) fn messages_drawn(
    step: &Step,
    question: &Question,
    outputs: &[(String, Output)],
    seed: u64,
) -> Result<Vec<Message>> {
    let role = |name: &str| match name {
        "system" => Role::System,
        "assistant" => Role::Assistant,
        _ => Role::User,
    };
    let messages = step.render_drawn(question, outputs, seed)?;
    Ok(messages.into_iter().map(|(name, content)| Message::new(role(name), content)).collect())
}

/// The sampling parameters of `step`, in the engine's type.
pub(crate) fn sampling(step: &Step) -> Sampling {
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
mod conversation_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod verification_tests;
