//! The source of curation's requests: chooses the next step, of which sample, of which variant.
//!
//! A question has one variant for itself and one for each perturbation of the task. The votes on the
//! variants run one after the other, so that a question which its first variant rejects costs no
//! sample of the others, whatever the engine's schedule. Without early stopping they run together.

mod judging;

use std::collections::{HashMap, VecDeque};
use std::ops::Range;

use super::equivalence::{AnswerPair, Judgements};
use super::program::Program;
use super::select::PendingSelection;
use super::set_aside::{SetAside, fault_of_question};
use super::variant::VariantState;
use super::{
    CurationPlan, JournalEntry, Observer, Outcome, Sample, first_messages, sample_seed, variant_seed,
};
use crate::engine::{Completion, Request, Source, too_long};
use crate::task::{ClosingWhen, Equivalence, Question, UNPERTURBED};
use crate::vote::{PromptTooLong, Verdict, combine_variants, rejects_question, verdict_set_aside};
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
    /// The variants of every question, one question after the other, the question itself first. Of a million
    /// questions few are open, so only these have a state.
    variants: Vec<Option<Box<VariantState<'a>>>>,
    /// Whether the model judges which answers mean the same.
    judges: bool,
    /// Question → the judgements on its answers.
    judgements: HashMap<usize, Judgements>,
    /// Request id → question and the pair that it judges.
    pending_judgements: HashMap<u64, (usize, AnswerPair)>,
    /// The outcome of each question.
    outcomes: Vec<Option<Box<Outcome>>>,
    set_aside: SetAside,
    /// Variants before this one are closed.
    first_open: usize,
    /// The running samples.
    programs: HashMap<SampleKey, Program<'a>>,
    /// Request id → sample and number of the call. Requests of closed variants are not here.
    calls: HashMap<u64, (SampleKey, usize)>,
    /// Id of a finished request → sample and number of the step, whose conversation goes on.
    conversations: HashMap<u64, (SampleKey, usize)>,
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
        let n_variants = plan.questions.len() * (plan.task.perturbations.len() + 1);
        Driver {
            plan,
            variants: std::iter::repeat_with(|| None).take(n_variants).collect(),
            judges: plan.task.vote.equivalence == Equivalence::Model,
            judgements: HashMap::new(),
            pending_judgements: HashMap::new(),
            outcomes: plan.questions.iter().map(|_| None).collect(),
            set_aside: SetAside::default(),
            first_open: 0,
            programs: HashMap::new(),
            calls: HashMap::new(),
            conversations: HashMap::new(),
            pending_selections: HashMap::new(),
            ready: VecDeque::new(),
            next_id: 0,
            failed: None,
            observer,
        }
    }

    /// Takes over what an interrupted run has finished.
    pub fn resume(&mut self, earlier: impl IntoIterator<Item = Result<JournalEntry>>) -> Result<()> {
        let mut earlier = earlier.into_iter().peekable();
        if earlier.peek().is_none() {
            return Ok(());
        }
        let questions: HashMap<&str, usize> =
            self.plan.questions.iter().enumerate().map(|(i, question)| (question.id.as_str(), i)).collect();
        let (n, perturbations) = (self.n_variants(), &self.plan.task.perturbations);
        let place = |question: &str, perturbation: &str| {
            let variant = match perturbation {
                UNPERTURBED => 0,
                name => perturbations.iter().position(|p| p.name == name)? + 1,
            };
            Some(questions.get(question)? * n + variant)
        };
        let closing = self.closing();
        for item in earlier {
            match item? {
                JournalEntry::Sample(sample) => {
                    if let Some(i) = place(&sample.question, &sample.perturbation) {
                        self.open(i).take(sample, closing);
                    }
                }
                JournalEntry::Selection(selection) => {
                    if let Some(i) = place(&selection.question, &selection.perturbation) {
                        self.open(i).earlier.push(selection);
                    }
                }
                JournalEntry::Equivalence(record) => {
                    if let Some(question) = questions.get(record.question.as_str()).filter(|_| self.judges) {
                        self.judgements.entry(*question).or_default().take(record);
                    }
                }
            }
        }
        (0..self.variants.len()).try_for_each(|i| match self.variants[i].is_some() {
            true => self.count(i),
            false => Ok(()),
        })
    }

    /// The state of variant `i`, which begins with it.
    fn open(&mut self, i: usize) -> &mut VariantState<'a> {
        let (n, plan) = (self.n_variants(), self.plan);
        self.variants[i].get_or_insert_with(|| {
            let index = i % n;
            let perturbation = index.checked_sub(1).map(|index| &plan.task.perturbations[index]);
            Box::new(VariantState::new(&plan.questions[i / n], index, perturbation))
        })
    }

    /// Which samples have a closing turn.
    fn closing(&self) -> Option<ClosingWhen> {
        self.plan.task.closing.as_ref().map(|closing| closing.when)
    }

    fn question(&self, i: usize) -> &'a Question {
        &self.plan.questions[i / self.n_variants()]
    }

    fn has_outcome(&self, i: usize) -> bool {
        self.variants[i].as_ref().is_some_and(|variant| variant.outcome.is_some())
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
        let outcomes = self.outcomes.into_iter().zip(self.plan.questions);
        outcomes.map(|(outcome, q)| outcome.map(|outcome| *outcome).ok_or_else(|| left(q))).collect()
    }

    /// Number of variants of a question.
    fn n_variants(&self) -> usize {
        self.plan.task.perturbations.len() + 1
    }

    /// Whether variant `i` needs no further sample.
    fn is_closed(&self, i: usize) -> bool {
        self.has_outcome(i) || self.outcomes[i / self.n_variants()].is_some()
    }

    /// Counts the finished samples and selections of variant `i`; ends its vote when they suffice.
    fn count(&mut self, i: usize) -> Result<()> {
        if self.is_closed(i) {
            return Ok(());
        }
        if self.judges {
            return self.count_judged(i);
        }
        let rule = &self.plan.task.vote;
        let variant = self.open(i);
        variant.count(rule, None);
        variant.count_selections(rule);
        if variant.outcome.is_none() { Ok(()) } else { self.close(i) }
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
        self.conversations.retain(|_, (key, _)| !variants.contains(&key.variant));
    }

    /// Sets the outcome of `question` if all its variants have theirs, or those up to the first one
    /// that rejects it.
    fn finish_question(&mut self, question: usize) -> Result<()> {
        let n = self.n_variants();
        let all = question * n..(question + 1) * n;
        if !self.unify_variants(question)? {
            return Ok(());
        }
        let variants = &self.variants[all.clone()];
        let votes: Vec<&Verdict> =
            variants.iter().map_while(|v| Some(&v.as_ref()?.outcome.as_ref()?.verdict)).collect();
        let rejected_by = votes.iter().position(|vote| rejects_question(votes[0], vote));
        let voted_on = match rejected_by.filter(|_| self.plan.task.vote.early_abandon) {
            Some(variant) => variant + 1,
            None if votes.len() == n => n,
            // Its samples may be there already, from an interrupted run.
            None if self.judges => return self.count(question * n + votes.len()),
            None => return Ok(()),
        };
        let (mut votes, mut samples, mut selections) = (Vec::new(), Vec::new(), Vec::new());
        for variant in &mut self.variants[all.clone()] {
            let Some(mut variant) = variant.take() else { continue };
            if let Some(outcome) = variant.outcome.take().filter(|_| variant.index < voted_on) {
                votes.push(outcome.verdict);
                samples.extend(outcome.samples);
                selections.extend(outcome.selections);
            }
        }
        let verdict = combine_variants(&self.plan.task.perturbations, votes)
            .ok_or_else(|| Error::Internal("a question has no variant".into()))?;
        self.observer.verdict(&verdict)?;
        let equivalences = self.end_judging(question);
        self.outcomes[question] = Some(Box::new(Outcome { verdict, samples, selections, equivalences }));
        self.drop_work(all);
        Ok(())
    }

    /// Sets aside the question of variant `i`, which cannot be asked.
    fn set_aside(&mut self, i: usize, why: &str) -> Result<()> {
        let (n, question) = (self.n_variants(), i / self.n_variants());
        let id = &self.plan.questions[question].id;
        let added = self.set_aside.add(id, why, self.plan.questions.len());
        added.or_else(|error| self.observer.mostly_set_aside(error))?;
        let verdict = verdict_set_aside(id, why);
        self.observer.verdict(&verdict)?;
        let (samples, selections, equivalences) = (vec![], vec![], vec![]);
        self.outcomes[question] = Some(Box::new(Outcome { verdict, samples, selections, equivalences }));
        self.end_judging(question);
        let all = question * n..(question + 1) * n;
        self.variants[all.clone()].iter_mut().for_each(|variant| *variant = None);
        self.drop_work(all);
        Ok(())
    }

    /// Continues without the request `id`, whose prompt cannot run. What the first sample of a variant asks
    /// first decides about the question, whatever the engine's schedule. A sample that gets that far has no
    /// answer.
    fn cannot_run(&mut self, id: u64, why: &str) -> Result<()> {
        let Some((key, _)) = self.calls.remove(&id) else { return Ok(()) };
        let Some(program) = self.programs.get_mut(&key) else { return Ok(()) };
        if program.skip_closing() {
            return self.end(key);
        }
        if program.is_first() && key.sample == 0 {
            return self.set_aside(key.variant, why);
        }
        program.cut_short();
        self.calls.retain(|_, (other, _)| *other != key);
        self.end(key)
    }

    /// Whether a sample or a selection of variant `i` can be started now.
    fn can_start(&self, i: usize) -> bool {
        let rule = &self.plan.task.vote;
        if self.is_closed(i) || !self.is_its_turn(i) {
            return false;
        }
        let Some(variant) = &self.variants[i] else { return rule.samples > 0 };
        if let Some(selections) = &variant.selections {
            return selections.has_next();
        }
        let uncounted = variant.finished.range(variant.counted..).count();
        variant.next < rule.samples && variant.running + uncounted < variant.samples_wanted(rule)
    }

    /// Whether the votes on the variants before variant `i` have ended, where it waits for them.
    fn is_its_turn(&self, i: usize) -> bool {
        let (question, index) = (i / self.n_variants(), i % self.n_variants());
        let waits = self.plan.task.vote.early_abandon || self.judges;
        let is_awaited = || self.judgements.get(&question).is_some_and(|judgements| judgements.awaited);
        index == 0 || !waits || (self.has_outcome(i - 1) && !is_awaited())
    }

    /// Starts the next sample of variant `i`, or its next selection.
    fn start(&mut self, i: usize) -> Result<()> {
        let (plan, question) = (self.plan, self.question(i));
        let variant = self.open(i);
        if variant.selections.is_some() {
            return self.start_selection(i);
        }
        while variant.finished.contains_key(&variant.next) {
            variant.next += 1;
        }
        let index = variant.next;
        variant.next += 1;
        variant.running += 1;
        let seed = variant_seed(plan.seed, variant.name());
        let can_be_asked = if index == 0 { first_messages(plan.task, question) } else { Ok(()) };
        let asked = can_be_asked.and_then(|()| variant.asked());
        let asked = match asked {
            Ok(asked) => asked,
            Err(error) => return self.set_aside(i, &fault_of_question(error)?),
        };
        let program = Program::new(plan.task, asked, variant.name(), seed, index);
        let key = SampleKey { variant: i, sample: index };
        self.programs.insert(key, program);
        self.advance(key)
    }

    /// Queues the calls of a sample's next step, or ends the sample if its program has finished.
    fn advance(&mut self, key: SampleKey) -> Result<()> {
        let Some(program) = self.programs.get_mut(&key) else { return Ok(()) };
        let requests = match program.next_calls() {
            Ok(requests) => requests,
            Err(error) if key.sample == 0 => return self.set_aside(key.variant, &fault_of_question(error)?),
            Err(error) => {
                fault_of_question(error)?;
                return self.end(key);
            }
        };
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
        self.conversations.retain(|_, (other, _)| *other != key);
        let mut sample = program.finish();
        sample.rejected = self.is_rejected(key.variant, &sample)?;
        self.observer.sample(&sample)?;
        let closing = self.closing();
        let variant = self.open(key.variant);
        variant.running -= 1;
        variant.take(sample, closing);
        self.count(key.variant)
    }

    fn next_ready(&mut self) -> Option<Request> {
        while let Some(request) = self.ready.pop_front() {
            let is_call = self.calls.contains_key(&request.id);
            if is_call
                || self.pending_selections.contains_key(&request.id)
                || self.pending_judgements.contains_key(&request.id)
            {
                return Some(request);
            }
        }
        None
    }

    fn start_selection(&mut self, i: usize) -> Result<()> {
        let missing = || Error::Internal("no selection to start".into());
        let variant = self.open(i);
        let question = variant.asked()?;
        let index = variant.selections.as_mut().and_then(|s| s.next()).ok_or_else(missing)?;
        // The step after the last, so that a selection shares no random numbers with a sample.
        let seed = self.seed(i, index, self.plan.task.system2.len());
        let (id, task) = (self.next_id, &self.plan.task);
        let selections = self.open(i).selections.as_ref().ok_or_else(missing)?;
        let shown = selections.order(seed);
        let request = match selections.request(id, task, &question, &shown, seed) {
            Ok(request) => request,
            Err(error) => return self.set_aside(i, &fault_of_question(error)?),
        };
        self.next_id += 1;
        self.pending_selections.insert(request.id, PendingSelection { variant: i, index, seed, shown });
        self.ready.push_back(request);
        Ok(())
    }

    fn seed(&mut self, i: usize, index: usize, step: usize) -> u64 {
        let seed = variant_seed(self.plan.seed, self.open(i).name());
        sample_seed(seed, &self.question(i).id, index, step)
    }

    fn finished_selection(&mut self, pending: PendingSelection, completion: Completion) -> Result<()> {
        let i = pending.variant;
        if self.is_closed(i) {
            return Ok(());
        }
        let name = self.open(i).name();
        let selection = pending.finish(&self.question(i).id, name, completion);
        self.observer.selection(&selection)?;
        if let Some(selections) = &mut self.open(i).selections {
            selections.take(selection);
        }
        self.count(i)
    }

    /// Whether the plan's verifier rejects the answer of `sample`. It is asked once for each sample with
    /// an answer.
    fn is_rejected(&mut self, i: usize, sample: &Sample) -> Result<bool> {
        let (Some(verifier), Some(answer)) = (self.plan.verifier, &sample.answer) else { return Ok(false) };
        Ok(!verifier.accepts(&*self.open(i).asked()?, answer, sample.completion())?)
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
        loop {
            let chosen = (self.first_open..self.variants.len()).find(|i| self.can_start(*i))?;
            if let Err(error) = self.start(chosen) {
                self.failed = Some(error);
                return None;
            }
            if let Some(request) = self.next_ready() {
                return Some(request);
            }
            // The question was set aside.
            while self.first_open < self.variants.len() && self.is_closed(self.first_open) {
                self.first_open += 1;
            }
        }
    }

    fn finished(&mut self, completion: Completion) -> Result<()> {
        if let Some(pending) = self.pending_selections.remove(&completion.id) {
            return self.finished_selection(pending, completion);
        }
        if let Some((question, pair)) = self.pending_judgements.remove(&completion.id) {
            return self.finished_judgement(question, pair, completion);
        }
        // It is unknown if its variant was closed while it ran.
        let Some((key, call)) = self.calls.remove(&completion.id) else { return Ok(()) };
        let Some(program) = self.programs.get_mut(&key) else { return Ok(()) };
        let (id, step) = (completion.id, program.step());
        let has_ended = program.take(call, completion);
        if program.continues(step) {
            self.conversations.insert(id, (key, step));
        }
        if has_ended { self.advance(key) } else { Ok(()) }
    }

    /// A selection shows all responses, whose length has no bound: if they do not fit, the question is
    /// rejected. A question that is too long itself is set aside. A sample whose conversation leaves no room
    /// for its closing turn ends without one, and answers whose comparison does not fit stay two.
    fn too_long(&mut self, id: u64, tokens: usize, limit: usize) -> Result<()> {
        if let Some(PendingSelection { variant, .. }) = self.pending_selections.remove(&id) {
            if !self.is_closed(variant) {
                let rule = &self.plan.task.vote;
                self.open(variant).cannot_select(rule, PromptTooLong { tokens, limit });
                self.close(variant)?;
            }
            return Ok(());
        }
        if let Some((question, pair)) = self.pending_judgements.remove(&id) {
            return self.take_judgement(question, pair.unjudged(&self.plan.questions[question].id));
        }
        self.cannot_run(id, &too_long(tokens, limit))
    }

    fn cannot_render(&mut self, id: u64, error: Error) -> Result<()> {
        if let Some((question, pair)) = self.pending_judgements.remove(&id) {
            return self.take_judgement(question, pair.unjudged(&self.plan.questions[question].id));
        }
        match self.pending_selections.remove(&id) {
            Some(PendingSelection { variant, .. }) if self.is_closed(variant) => Ok(()),
            Some(PendingSelection { variant, .. }) => self.set_aside(variant, &fault_of_question(error)?),
            None => self.cannot_run(id, &fault_of_question(error)?),
        }
    }

    fn enough(&self, id: u64, text: &str) -> bool {
        self.plan.stop_at_answer
            && self
                .calls
                .get(&id)
                .and_then(|(key, _)| self.programs.get(key))
                .is_some_and(|program| program.is_complete(text))
    }

    fn continues(&self, id: u64) -> bool {
        let Some((key, step)) = self.conversations.get(&id) else { return false };
        self.programs.get(key).is_some_and(|program| program.continues(*step))
    }

    fn wanted(&self, id: u64) -> bool {
        self.calls.contains_key(&id)
            || self.pending_judgements.contains_key(&id)
            || self.pending_selections.get(&id).is_some_and(|pending| !self.is_closed(pending.variant))
    }
}
