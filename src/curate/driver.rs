//! The source of requests: which step of which sample of which variant is asked next.
//!
//! A question is one variant for itself and one for each perturbation of the task. They are voted on
//! one after the other, so that a question that is lost on its first variant costs no sample of the
//! others, whatever the engine's schedule; with the early stop switched off, all at once.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;

use super::program::Program;
use super::select::SelectionRecord;
use super::variant::VariantState;
use super::{CurationPlan, JournalEntry, Observer, Outcome, Sample, sample_seed, variant_seed};
use crate::engine::{Completion, Request, Source, too_long};
use crate::task::Question;
use crate::vote::{Verdict, combine_variants, rejects_question};
use crate::{Error, Result};

/// A variant's place and a sample's index.
type Key = (usize, usize);

/// A selection that is being asked for.
struct PendingSelection {
    variant: usize,
    index: usize,
    seed: u64,
    shown: Vec<usize>,
}

pub struct Driver<'a> {
    plan: &'a CurationPlan<'a>,
    /// The variants of every question side by side, the question itself first.
    open: Vec<VariantState<'a>>,
    /// What became of each question.
    outcomes: Vec<Option<Outcome>>,
    /// Variants before this one need no further samples.
    first_open: usize,
    programs: HashMap<Key, Program<'a>>,
    /// Which call of which sample a request is; none where its variant is closed.
    calls: HashMap<u64, (Key, usize)>,
    pending_selections: HashMap<u64, PendingSelection>,
    /// Requests of programs under way, ready to be asked.
    ready: VecDeque<Request>,
    next_id: u64,
    failed: Option<Error>,
    observer: &'a mut dyn Observer,
}

impl<'a> Driver<'a> {
    pub fn new(plan: &'a CurationPlan<'a>, observer: &'a mut dyn Observer) -> Self {
        let perturbations = &plan.task.perturbations;
        let variants = |question: &'a Question| {
            let perturbed = perturbations.iter().map(Some);
            let variants = std::iter::once(None).chain(perturbed).enumerate();
            variants.map(move |(index, perturbation)| VariantState::new(question, index, perturbation))
        };
        Driver {
            plan,
            open: plan.questions.iter().flat_map(variants).collect(),
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

    /// Takes what an earlier run finished.
    pub fn resume(&mut self, earlier: impl IntoIterator<Item = Result<JournalEntry>>) -> Result<()> {
        let index: HashMap<(&str, &str), usize> =
            self.open.iter().enumerate().map(|(i, b)| ((b.question.id.as_str(), b.name()), i)).collect();
        for item in earlier {
            match item? {
                JournalEntry::Sample(sample) => {
                    if let Some(i) = index.get(&(sample.question.as_str(), sample.perturbation.as_str())) {
                        self.open[*i].take(sample);
                    }
                }
                JournalEntry::Selection(selection) => {
                    if let Some(i) =
                        index.get(&(selection.question.as_str(), selection.perturbation.as_str()))
                    {
                        self.open[*i].earlier.push(selection);
                    }
                }
            }
        }
        (0..self.open.len()).try_for_each(|i| self.count(i))
    }

    /// Whether no question needs a further sample.
    pub fn is_settled(&self) -> bool {
        self.outcomes.iter().all(Option::is_some)
    }

    pub fn outcomes(self) -> Result<Vec<Outcome>> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let left = |q: &Question| Error::Internal(format!("question {} was left open", q.id));
        self.outcomes.into_iter().zip(self.plan.questions).map(|(o, q)| o.ok_or_else(|| left(q))).collect()
    }

    /// Variants of a question.
    fn width(&self) -> usize {
        self.plan.task.perturbations.len() + 1
    }

    /// Whether nothing more is wanted for variant `i`.
    fn is_closed(&self, i: usize) -> bool {
        self.open[i].outcome.is_some() || self.outcomes[i / self.width()].is_some()
    }

    /// Counts what is there of variant `i`, and settles its question when that suffices.
    fn count(&mut self, i: usize) -> Result<()> {
        if self.is_closed(i) {
            return Ok(());
        }
        let rule = &self.plan.task.vote;
        self.open[i].count(rule);
        self.open[i].count_selections(rule);
        if self.open[i].outcome.is_none() { Ok(()) } else { self.close(i) }
    }

    /// Settles the question of variant `i`, which has its outcome, when that suffices.
    fn close(&mut self, i: usize) -> Result<()> {
        self.drop_work(i..i + 1);
        self.settle_question(i / self.width())
    }

    /// Forgets the samples of `variants` that are under way.
    fn drop_work(&mut self, variants: Range<usize>) {
        self.programs.retain(|(variant, _), _| !variants.contains(variant));
        self.calls.retain(|_, ((variant, _), _)| !variants.contains(variant));
    }

    /// Settles `question` if its variants suffice: all of them, or those up to the first lost one.
    fn settle_question(&mut self, question: usize) -> Result<()> {
        let width = self.width();
        let all = question * width..(question + 1) * width;
        let variants = &self.open[all.clone()];
        let votes: Vec<&Verdict> =
            variants.iter().map_while(|b| Some(&b.outcome.as_ref()?.verdict)).collect();
        let lost = votes.iter().position(|vote| rejects_question(votes[0], vote));
        let asked = match lost.filter(|_| self.plan.task.vote.early_abandon) {
            Some(lost) => lost + 1,
            None if votes.len() == width => width,
            None => return Ok(()),
        };
        let (mut votes, mut samples, mut selections) = (Vec::new(), Vec::new(), Vec::new());
        for variant in &mut self.open[all.clone()] {
            variant.release_texts();
            if let Some(outcome) = variant.outcome.take().filter(|_| variant.index < asked) {
                votes.push(outcome.verdict);
                samples.extend(outcome.samples);
                selections.extend(outcome.selections);
            }
        }
        let verdict = combine_variants(&self.plan.task.perturbations, votes)
            .ok_or_else(|| Error::Internal("a question without a variant".into()))?;
        self.observer.settled(&verdict)?;
        self.outcomes[question] = Some(Outcome { verdict, samples, selections });
        self.drop_work(all);
        Ok(())
    }

    /// Whether something of variant `i` is to be started now.
    fn can_start(&self, i: usize) -> bool {
        let (variant, rule) = (&self.open[i], &self.plan.task.vote);
        let its_turn = variant.index == 0 || !rule.early_abandon || self.open[i - 1].outcome.is_some();
        if self.is_closed(i) || !its_turn {
            return false;
        }
        if let Some(selecting) = &variant.selecting {
            return selecting.has_next();
        }
        let ahead = variant.finished.range(variant.counted..).count();
        variant.next < rule.samples && variant.running + ahead < variant.wanted_now(rule)
    }

    /// Starts a sample of variant `i`, or a selection.
    fn start(&mut self, i: usize) -> Result<()> {
        if self.open[i].selecting.is_some() {
            return self.start_selection(i);
        }
        let variant = &mut self.open[i];
        while variant.finished.contains_key(&variant.next) {
            variant.next += 1;
        }
        let index = variant.next;
        variant.next += 1;
        variant.running += 1;
        let seed = variant_seed(self.plan.seed, variant.name());
        let program = Program::new(self.plan.task, variant.asked()?, variant.name(), seed, index);
        self.programs.insert((i, index), program);
        self.advance((i, index))
    }

    /// Asks for the next step of a sample, or counts the sample where its program is over.
    fn advance(&mut self, key: Key) -> Result<()> {
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

    fn end(&mut self, key: Key) -> Result<()> {
        let Some(program) = self.programs.remove(&key) else { return Ok(()) };
        let mut sample = program.finish();
        sample.rejected = self.is_rejected(key.0, &sample)?;
        self.open[key.0].running -= 1;
        self.observer.sample(&sample)?;
        self.open[key.0].take(sample);
        self.count(key.0)
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
        let question = self.open[i].asked()?;
        let index = self.open[i].selecting.as_mut().and_then(|s| s.next()).ok_or_else(missing)?;
        // Numbered as the step after the last, so that it shares no random numbers with a sample.
        let seed = self.seed(i, index, self.plan.task.system2.len());
        let selecting = self.open[i].selecting.as_ref().ok_or_else(missing)?;
        let shown = selecting.order(seed);
        let request = selecting.request(self.next_id, self.plan.task, &question, &shown, seed)?;
        self.next_id += 1;
        self.pending_selections.insert(request.id, PendingSelection { variant: i, index, seed, shown });
        self.ready.push_back(request);
        Ok(())
    }

    fn seed(&self, i: usize, index: usize, step: usize) -> u64 {
        let variant = &self.open[i];
        sample_seed(variant_seed(self.plan.seed, variant.name()), &variant.question.id, index, step)
    }

    fn finished_selection(&mut self, picking: PendingSelection, completion: Completion) -> Result<()> {
        let i = picking.variant;
        if self.is_closed(i) {
            return Ok(());
        }
        let variant = &mut self.open[i];
        let (id, name) = (&variant.question.id, variant.name());
        let selection =
            SelectionRecord::of(id, name, (picking.index, picking.seed), picking.shown, completion);
        self.observer.selection(&selection)?;
        if let Some(selecting) = &mut variant.selecting {
            selecting.take(selection);
        }
        self.count(i)
    }

    /// Whether the plan's verifier turns `sample` down. Asked once for each sample with an answer.
    fn is_rejected(&self, i: usize, sample: &Sample) -> Result<bool> {
        let (Some(verifier), Some(answer)) = (self.plan.verifier, &sample.answer) else { return Ok(false) };
        let completion = sample.steps.last().map_or("", |step| step.text.as_str());
        Ok(!verifier.accepts(&*self.open[i].asked()?, answer, completion)?)
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
        while self.first_open < self.open.len() && self.is_closed(self.first_open) {
            self.first_open += 1;
        }
        let chosen = (self.first_open..self.open.len()).find(|i| self.can_start(*i))?;
        match self.start(chosen) {
            Ok(()) => self.next_ready(),
            Err(error) => {
                self.failed = Some(error);
                None
            }
        }
    }

    fn finished(&mut self, completion: Completion) -> Result<()> {
        if let Some(picking) = self.pending_selections.remove(&completion.id) {
            return self.finished_selection(picking, completion);
        }
        // Nothing is known of it where its variant was closed while this was under way.
        let Some((key, call)) = self.calls.remove(&completion.id) else { return Ok(()) };
        let Some(program) = self.programs.get_mut(&key) else { return Ok(()) };
        if program.take(call, completion) { self.advance(key) } else { Ok(()) }
    }

    /// A selection shows all responses, which nobody bounds: where they do not fit, the question is
    /// lost. A sample's prompt is the task's own, and its author is told.
    fn too_long(&mut self, id: u64, tokens: usize, limit: usize) -> Result<()> {
        if let Some(PendingSelection { variant, .. }) = self.pending_selections.remove(&id) {
            if !self.is_closed(variant) {
                self.open[variant].cannot_select(&self.plan.task.vote, (tokens, limit));
                self.close(variant)?;
            }
            return Ok(());
        }
        let Some(((variant, _), _)) = self.calls.get(&id) else { return Ok(()) };
        let question = &self.open[*variant].question.id;
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
            || self.pending_selections.get(&id).is_some_and(|picking| !self.is_closed(picking.variant))
    }
}
