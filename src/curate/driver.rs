//! The source of requests: which step of which sample of which ballot is asked next.
//!
//! A question is one ballot for itself and one for each perturbation of the task. They are voted on
//! one after the other, so that a question that is lost on its first ballot costs no sample of the
//! others, whatever the engine's schedule; with the early stop switched off, all at once.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;

use super::open::Open;
use super::program::Program;
use super::select::Selection;
use super::{Earlier, Observer, Outcome, Plan, Sample, form_seed, sample_seed};
use crate::engine::{Completion, Request, Source, too_long};
use crate::task::Question;
use crate::vote::{Verdict, is_lost, unite};
use crate::{Error, Result};

/// A ballot's place and a sample's index.
type Key = (usize, usize);

/// A selection that is being asked for.
struct Picking {
    ballot: usize,
    index: usize,
    seed: u64,
    shown: Vec<usize>,
}

pub struct Driver<'a> {
    plan: &'a Plan<'a>,
    /// The ballots of every question side by side, the question itself first.
    open: Vec<Open<'a>>,
    /// What became of each question.
    outcomes: Vec<Option<Outcome>>,
    /// Ballots before this one need no further samples.
    first: usize,
    programs: HashMap<Key, Program<'a>>,
    /// Which call of which sample a request is; none where its ballot is closed.
    calls: HashMap<u64, (Key, usize)>,
    picking: HashMap<u64, Picking>,
    /// Requests of programs under way, ready to be asked.
    ready: VecDeque<Request>,
    next_id: u64,
    failed: Option<Error>,
    observer: &'a mut dyn Observer,
}

impl<'a> Driver<'a> {
    pub fn new(plan: &'a Plan<'a>, observer: &'a mut dyn Observer) -> Self {
        let forms = &plan.task.perturbations;
        let ballots = |question: &'a Question| {
            let forms = forms.iter().map(Some);
            std::iter::once(None).chain(forms).enumerate().map(move |(i, form)| Open::new(question, i, form))
        };
        Driver {
            plan,
            open: plan.questions.iter().flat_map(ballots).collect(),
            outcomes: plan.questions.iter().map(|_| None).collect(),
            first: 0,
            programs: HashMap::new(),
            calls: HashMap::new(),
            picking: HashMap::new(),
            ready: VecDeque::new(),
            next_id: 0,
            failed: None,
            observer,
        }
    }

    /// Takes what an earlier run finished.
    pub fn resume(&mut self, earlier: impl IntoIterator<Item = Result<Earlier>>) -> Result<()> {
        let index: HashMap<(&str, &str), usize> =
            self.open.iter().enumerate().map(|(i, b)| ((b.question.id.as_str(), b.name()), i)).collect();
        for item in earlier {
            match item? {
                Earlier::Sample(sample) => {
                    if let Some(i) = index.get(&(sample.question.as_str(), sample.perturbation.as_str())) {
                        self.open[*i].take(sample);
                    }
                }
                Earlier::Selection(selection) => {
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

    /// Ballots of a question.
    fn width(&self) -> usize {
        self.plan.task.perturbations.len() + 1
    }

    /// Whether nothing more is wanted for ballot `i`.
    fn is_closed(&self, i: usize) -> bool {
        self.open[i].outcome.is_some() || self.outcomes[i / self.width()].is_some()
    }

    /// Counts what is there of ballot `i`, and settles its question when that suffices.
    fn count(&mut self, i: usize) -> Result<()> {
        if self.is_closed(i) {
            return Ok(());
        }
        let rule = &self.plan.task.vote;
        self.open[i].count(rule);
        self.open[i].count_selections(rule);
        if self.open[i].outcome.is_none() { Ok(()) } else { self.close(i) }
    }

    /// Settles the question of ballot `i`, which has its outcome, when that suffices.
    fn close(&mut self, i: usize) -> Result<()> {
        self.drop_work(i..i + 1);
        self.conclude(i / self.width())
    }

    /// Forgets the samples of `ballots` that are under way.
    fn drop_work(&mut self, ballots: Range<usize>) {
        self.programs.retain(|(ballot, _), _| !ballots.contains(ballot));
        self.calls.retain(|_, ((ballot, _), _)| !ballots.contains(ballot));
    }

    /// Settles `question` if its ballots suffice: all of them, or those up to the first lost one.
    fn conclude(&mut self, question: usize) -> Result<()> {
        let width = self.width();
        let all = question * width..(question + 1) * width;
        let ballots = &self.open[all.clone()];
        let votes: Vec<&Verdict> = ballots.iter().map_while(|b| Some(&b.outcome.as_ref()?.verdict)).collect();
        let lost = votes.iter().position(|vote| is_lost(votes[0], vote));
        let asked = match lost.filter(|_| self.plan.task.vote.give_up) {
            Some(lost) => lost + 1,
            None if votes.len() == width => width,
            None => return Ok(()),
        };
        let (mut votes, mut samples, mut selections) = (Vec::new(), Vec::new(), Vec::new());
        for ballot in &mut self.open[all.clone()] {
            ballot.forget();
            if let Some(outcome) = ballot.outcome.take().filter(|_| ballot.form < asked) {
                votes.push(outcome.verdict);
                samples.extend(outcome.samples);
                selections.extend(outcome.selections);
            }
        }
        let verdict = unite(&self.plan.task.perturbations, votes)
            .ok_or_else(|| Error::Internal("a question without a ballot".into()))?;
        self.observer.settled(&verdict)?;
        self.outcomes[question] = Some(Outcome { verdict, samples, selections });
        self.drop_work(all);
        Ok(())
    }

    /// Whether something of ballot `i` is to be started now.
    fn wants(&self, i: usize) -> bool {
        let (ballot, rule) = (&self.open[i], &self.plan.task.vote);
        let its_turn = ballot.form == 0 || !rule.give_up || self.open[i - 1].outcome.is_some();
        if self.is_closed(i) || !its_turn {
            return false;
        }
        if let Some(selecting) = &ballot.selecting {
            return selecting.has_next();
        }
        let ahead = ballot.finished.range(ballot.counted..).count();
        ballot.next < rule.samples && ballot.running + ahead < ballot.wanted_now(rule)
    }

    /// Starts a sample of ballot `i`, or a selection.
    fn start(&mut self, i: usize) -> Result<()> {
        if self.open[i].selecting.is_some() {
            return self.start_selection(i);
        }
        let ballot = &mut self.open[i];
        while ballot.finished.contains_key(&ballot.next) {
            ballot.next += 1;
        }
        let index = ballot.next;
        ballot.next += 1;
        ballot.running += 1;
        let seed = form_seed(self.plan.seed, ballot.name());
        let program = Program::new(self.plan.task, ballot.asked()?, ballot.name(), seed, index);
        self.programs.insert((i, index), program);
        self.go_on((i, index))
    }

    /// Asks for the next step of a sample, or counts the sample where its program is over.
    fn go_on(&mut self, key: Key) -> Result<()> {
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
            if self.calls.contains_key(&request.id) || self.picking.contains_key(&request.id) {
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
        self.picking.insert(request.id, Picking { ballot: i, index, seed, shown });
        self.ready.push_back(request);
        Ok(())
    }

    fn seed(&self, i: usize, index: usize, step: usize) -> u64 {
        let ballot = &self.open[i];
        sample_seed(form_seed(self.plan.seed, ballot.name()), &ballot.question.id, index, step)
    }

    fn finished_selection(&mut self, picking: Picking, completion: Completion) -> Result<()> {
        let i = picking.ballot;
        if self.is_closed(i) {
            return Ok(());
        }
        let ballot = &mut self.open[i];
        let (id, name) = (&ballot.question.id, ballot.name());
        let selection = Selection::of(id, name, (picking.index, picking.seed), picking.shown, completion);
        self.observer.selection(&selection)?;
        if let Some(selecting) = &mut ballot.selecting {
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
        while self.first < self.open.len() && self.is_closed(self.first) {
            self.first += 1;
        }
        let chosen = (self.first..self.open.len()).find(|i| self.wants(*i))?;
        match self.start(chosen) {
            Ok(()) => self.next_ready(),
            Err(error) => {
                self.failed = Some(error);
                None
            }
        }
    }

    fn finished(&mut self, completion: Completion) -> Result<()> {
        if let Some(picking) = self.picking.remove(&completion.id) {
            return self.finished_selection(picking, completion);
        }
        // Nothing is known of it where its ballot was closed while this was under way.
        let Some((key, call)) = self.calls.remove(&completion.id) else { return Ok(()) };
        let Some(program) = self.programs.get_mut(&key) else { return Ok(()) };
        if program.take(call, completion) { self.go_on(key) } else { Ok(()) }
    }

    /// A selection shows all responses, which nobody bounds: where they do not fit, the question is
    /// lost. A sample's prompt is the task's own, and its author is told.
    fn too_long(&mut self, id: u64, tokens: usize, limit: usize) -> Result<()> {
        if let Some(Picking { ballot, .. }) = self.picking.remove(&id) {
            if !self.is_closed(ballot) {
                self.open[ballot].cannot_select(&self.plan.task.vote, (tokens, limit));
                self.close(ballot)?;
            }
            return Ok(());
        }
        let Some(((ballot, _), _)) = self.calls.get(&id) else { return Ok(()) };
        let question = &self.open[*ballot].question.id;
        Err(Error::input(format!("question {question:?}"), too_long(tokens, limit)))
    }

    fn enough(&self, id: u64, text: &str) -> bool {
        self.plan.stop_at_answer
            && self
                .calls
                .get(&id)
                .and_then(|(key, _)| self.programs.get(key))
                .is_some_and(|program| program.is_last() && self.plan.task.complete2(text))
    }

    fn wanted(&self, id: u64) -> bool {
        self.calls.contains_key(&id)
            || self.picking.get(&id).is_some_and(|picking| !self.is_closed(picking.ballot))
    }
}
