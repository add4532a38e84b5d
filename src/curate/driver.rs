//! The source of curation's requests: chooses the next step, of which sample, of which variant.
//!
//! A question has one variant for itself and one for each perturbation of the task. The votes on the
//! variants run one after the other, so that a question which its first variant rejects costs no
//! sample of the others, whatever the engine's schedule. Without early stopping they run together.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;

use super::program::Program;
use super::select::PendingSelection;
use super::variant::VariantState;
use super::{CurationPlan, JournalEntry, Observer, Outcome, Sample, sample_seed, variant_seed};
use crate::engine::{Completion, Request, Source, too_long};
use crate::task::Question;
use crate::vote::{PromptTooLong, Verdict, combine_variants, rejects_question};
use crate::{Error, Result};

/// The place of a variant in [`Driver::variants`], and the index of one of its samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct SampleKey {
    variant: usize,
    sample: usize,
}

/// The state of curation, and the source of its requests.
pub struct Driver<'a> {
    plan: &'a CurationPlan<'a>,
    /// The variants of every question, one question after the other, the question itself first.
    variants: Vec<VariantState<'a>>,
    /// The outcome of each question.
    outcomes: Vec<Option<Outcome>>,
    /// Variants before this one are closed.
    first_open: usize,
    /// The running samples.
    programs: HashMap<SampleKey, Program<'a>>,
    /// Request id → sample and number of the call. Requests of closed variants are not here.
    calls: HashMap<u64, (SampleKey, usize)>,
    /// Request id → selection.
    pending_selections: HashMap<u64, PendingSelection>,
    /// Requests that can be handed to the engine.
    ready: VecDeque<Request>,
    next_id: u64,
    failed: Option<Error>,
    observer: &'a mut dyn Observer,
}

impl<'a> Driver<'a> {
    pub fn new(plan: &'a CurationPlan<'a>, observer: &'a mut dyn Observer) -> Self {
        let perturbations = &plan.task.perturbations;
        let variants_of = |question: &'a Question| {
            let perturbed = perturbations.iter().map(Some);
            let variants = std::iter::once(None).chain(perturbed).enumerate();
            variants.map(move |(index, perturbation)| VariantState::new(question, index, perturbation))
        };
        Driver {
            plan,
            variants: plan.questions.iter().flat_map(variants_of).collect(),
            outcomes: plan.questions.iter().map(|_| None).collect(),
            first_open: 0,
            programs: HashMap::new(),
            calls: HashMap::new(),
            pending_selections: HashMap::new(),
            ready: VecDeque::new(),
            next_id: 0,
            failed: None,
            observer,
        }
    }

    /// Takes over what an interrupted run has finished.
    pub fn resume(&mut self, earlier: impl IntoIterator<Item = Result<JournalEntry>>) -> Result<()> {
        let index: HashMap<(&str, &str), usize> =
            self.variants.iter().enumerate().map(|(i, b)| ((b.question.id.as_str(), b.name()), i)).collect();
        for item in earlier {
            match item? {
                JournalEntry::Sample(sample) => {
                    if let Some(i) = index.get(&(sample.question.as_str(), sample.perturbation.as_str())) {
                        self.variants[*i].take(sample);
                    }
                }
                JournalEntry::Selection(selection) => {
                    if let Some(i) =
                        index.get(&(selection.question.as_str(), selection.perturbation.as_str()))
                    {
                        self.variants[*i].earlier.push(selection);
                    }
                }
            }
        }
        (0..self.variants.len()).try_for_each(|i| self.count(i))
    }

    /// Whether every question has its outcome.
    pub fn is_done(&self) -> bool {
        self.outcomes.iter().all(Option::is_some)
    }

    pub fn outcomes(self) -> Result<Vec<Outcome>> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let left = |q: &Question| Error::Internal(format!("question {} was left open", q.id));
        self.outcomes.into_iter().zip(self.plan.questions).map(|(o, q)| o.ok_or_else(|| left(q))).collect()
    }

    /// Number of variants of a question.
    fn n_variants(&self) -> usize {
        self.plan.task.perturbations.len() + 1
    }

    /// Whether variant `i` needs no further sample.
    fn is_closed(&self, i: usize) -> bool {
        self.variants[i].outcome.is_some() || self.outcomes[i / self.n_variants()].is_some()
    }

    /// Counts the finished samples and selections of variant `i`; ends its vote when they suffice.
    fn count(&mut self, i: usize) -> Result<()> {
        if self.is_closed(i) {
            return Ok(());
        }
        let rule = &self.plan.task.vote;
        self.variants[i].count(rule);
        self.variants[i].count_selections(rule);
        if self.variants[i].outcome.is_none() { Ok(()) } else { self.close(i) }
    }

    /// Closes variant `i`, which has its outcome.
    fn close(&mut self, i: usize) -> Result<()> {
        self.drop_work(i..i + 1);
        self.finish_question(i / self.n_variants())
    }

    /// Drops the running samples of `variants`.
    fn drop_work(&mut self, variants: Range<usize>) {
        self.programs.retain(|key, _| !variants.contains(&key.variant));
        self.calls.retain(|_, (key, _)| !variants.contains(&key.variant));
    }

    /// Sets the outcome of `question` if all its variants have theirs, or those up to the first one
    /// that rejects it.
    fn finish_question(&mut self, question: usize) -> Result<()> {
        let n = self.n_variants();
        let all = question * n..(question + 1) * n;
        let variants = &self.variants[all.clone()];
        let votes: Vec<&Verdict> =
            variants.iter().map_while(|b| Some(&b.outcome.as_ref()?.verdict)).collect();
        let rejected_by = votes.iter().position(|vote| rejects_question(votes[0], vote));
        let voted_on = match rejected_by.filter(|_| self.plan.task.vote.early_abandon) {
            Some(variant) => variant + 1,
            None if votes.len() == n => n,
            None => return Ok(()),
        };
        let (mut votes, mut samples, mut selections) = (Vec::new(), Vec::new(), Vec::new());
        for variant in &mut self.variants[all.clone()] {
            variant.release_texts();
            if let Some(outcome) = variant.outcome.take().filter(|_| variant.index < voted_on) {
                votes.push(outcome.verdict);
                samples.extend(outcome.samples);
                selections.extend(outcome.selections);
            }
        }
        let verdict = combine_variants(&self.plan.task.perturbations, votes)
            .ok_or_else(|| Error::Internal("a question has no variant".into()))?;
        self.observer.verdict(&verdict)?;
        self.outcomes[question] = Some(Outcome { verdict, samples, selections });
        self.drop_work(all);
        Ok(())
    }

    /// Whether a sample or a selection of variant `i` can be started now.
    fn can_start(&self, i: usize) -> bool {
        let (variant, rule) = (&self.variants[i], &self.plan.task.vote);
        let is_its_turn = variant.index == 0 || !rule.early_abandon || self.variants[i - 1].outcome.is_some();
        if self.is_closed(i) || !is_its_turn {
            return false;
        }
        if let Some(selections) = &variant.selections {
            return selections.has_next();
        }
        let uncounted = variant.finished.range(variant.counted..).count();
        variant.next < rule.samples && variant.running + uncounted < variant.samples_wanted(rule)
    }

    /// Starts the next sample of variant `i`, or its next selection.
    fn start(&mut self, i: usize) -> Result<()> {
        if self.variants[i].selections.is_some() {
            return self.start_selection(i);
        }
        let variant = &mut self.variants[i];
        while variant.finished.contains_key(&variant.next) {
            variant.next += 1;
        }
        let index = variant.next;
        variant.next += 1;
        variant.running += 1;
        let seed = variant_seed(self.plan.seed, variant.name());
        let program = Program::new(self.plan.task, variant.asked()?, variant.name(), seed, index);
        let key = SampleKey { variant: i, sample: index };
        self.programs.insert(key, program);
        self.advance(key)
    }

    /// Queues the calls of a sample's next step, or ends the sample if its program has finished.
    fn advance(&mut self, key: SampleKey) -> Result<()> {
        let Some(program) = self.programs.get_mut(&key) else { return Ok(()) };
        let requests = program.next_calls()?;
        if requests.is_empty() {
            return self.end(key);
        }
        for request in requests {
            self.calls.insert(self.next_id, (key, request.id as usize));
            self.ready.push_back(Request { id: self.next_id, ..request });
            self.next_id += 1;
        }
        Ok(())
    }

    fn end(&mut self, key: SampleKey) -> Result<()> {
        let Some(program) = self.programs.remove(&key) else { return Ok(()) };
        let mut sample = program.finish();
        sample.rejected = self.is_rejected(key.variant, &sample)?;
        self.variants[key.variant].running -= 1;
        self.observer.sample(&sample)?;
        self.variants[key.variant].take(sample);
        self.count(key.variant)
    }

    fn next_ready(&mut self) -> Option<Request> {
        while let Some(request) = self.ready.pop_front() {
            if self.calls.contains_key(&request.id) || self.pending_selections.contains_key(&request.id) {
                return Some(request);
            }
        }
        None
    }

    fn start_selection(&mut self, i: usize) -> Result<()> {
        let missing = || Error::Internal("no selection to start".into());
        let question = self.variants[i].asked()?;
        let index = self.variants[i].selections.as_mut().and_then(|s| s.next()).ok_or_else(missing)?;
        // The step after the last, so that a selection shares no random numbers with a sample.
        let seed = self.seed(i, index, self.plan.task.system2.len());
        let selections = self.variants[i].selections.as_ref().ok_or_else(missing)?;
        let shown = selections.order(seed);
        let request = selections.request(self.next_id, self.plan.task, &question, &shown, seed)?;
        self.next_id += 1;
        self.pending_selections.insert(request.id, PendingSelection { variant: i, index, seed, shown });
        self.ready.push_back(request);
        Ok(())
    }

    fn seed(&self, i: usize, index: usize, step: usize) -> u64 {
        let variant = &self.variants[i];
        sample_seed(variant_seed(self.plan.seed, variant.name()), &variant.question.id, index, step)
    }

    fn finished_selection(&mut self, pending: PendingSelection, completion: Completion) -> Result<()> {
        let i = pending.variant;
        if self.is_closed(i) {
            return Ok(());
        }
        let variant = &mut self.variants[i];
        let selection = pending.finish(&variant.question.id, variant.name(), completion);
        self.observer.selection(&selection)?;
        if let Some(selections) = &mut variant.selections {
            selections.take(selection);
        }
        self.count(i)
    }

    /// Whether the plan's verifier rejects the answer of `sample`. It is asked once for each sample with
    /// an answer.
    fn is_rejected(&self, i: usize, sample: &Sample) -> Result<bool> {
        let (Some(verifier), Some(answer)) = (self.plan.verifier, &sample.answer) else { return Ok(false) };
        let completion = sample.steps.last().map_or("", |step| step.text.as_str());
        Ok(!verifier.accepts(&*self.variants[i].asked()?, answer, completion)?)
    }
}

impl Source for Driver<'_> {
    fn next(&mut self) -> Option<Request> {
        if self.failed.is_some() {
            return None;
        }
        if let Some(request) = self.next_ready() {
            return Some(request);
        }
        while self.first_open < self.variants.len() && self.is_closed(self.first_open) {
            self.first_open += 1;
        }
        let chosen = (self.first_open..self.variants.len()).find(|i| self.can_start(*i))?;
        match self.start(chosen) {
            Ok(()) => self.next_ready(),
            Err(error) => {
                self.failed = Some(error);
                None
            }
        }
    }

    fn finished(&mut self, completion: Completion) -> Result<()> {
        if let Some(pending) = self.pending_selections.remove(&completion.id) {
            return self.finished_selection(pending, completion);
        }
        // It is unknown if its variant was closed while it ran.
        let Some((key, call)) = self.calls.remove(&completion.id) else { return Ok(()) };
        let Some(program) = self.programs.get_mut(&key) else { return Ok(()) };
        if program.take(call, completion) { self.advance(key) } else { Ok(()) }
    }

    /// A selection shows all responses, whose length has no bound: if they do not fit, the question is
    /// rejected. The length of a sample's prompt is up to the task and the question, so there it is an
    /// error.
    fn too_long(&mut self, id: u64, tokens: usize, limit: usize) -> Result<()> {
        if let Some(PendingSelection { variant, .. }) = self.pending_selections.remove(&id) {
            if !self.is_closed(variant) {
                self.variants[variant].cannot_select(&self.plan.task.vote, PromptTooLong { tokens, limit });
                self.close(variant)?;
            }
            return Ok(());
        }
        let Some((key, _)) = self.calls.get(&id) else { return Ok(()) };
        let question = &self.variants[key.variant].question.id;
        Err(Error::input(format!("question {question:?}"), too_long(tokens, limit)))
    }

    fn enough(&self, id: u64, text: &str) -> bool {
        self.plan.stop_at_answer
            && self
                .calls
                .get(&id)
                .and_then(|(key, _)| self.programs.get(key))
                .is_some_and(|program| program.is_last() && self.plan.task.reasoned_is_complete(text))
    }

    fn wanted(&self, id: u64) -> bool {
        self.calls.contains_key(&id)
            || self.pending_selections.get(&id).is_some_and(|pending| !self.is_closed(pending.variant))
    }
}
