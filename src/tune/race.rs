//! The race: rounds with ever more questions and ever fewer candidates (successive halving).
//!
//! All candidates of a round answer the same questions, the first ones of an order that the seed decides,
//! with the seeds that curation uses. A round goes through its questions in slices, every candidate on one
//! slice before the next, so that a race whose time is up ends with candidates that can be compared.
//!
//! What a round shall sample depends on the measured speed, so it is written down before the round begins;
//! a resumed race follows what is written. Which candidates are dropped, and the choice, follow from the samples
//! alone. A race that is interrupted where time is short may plan the rounds that follow otherwise.

use std::cell::Cell;

use serde::{Deserialize, Serialize};

use super::contestant::{Contestant, Extent, Origin, Sampler};
use super::features::{Features, features};
use super::outside::{mark_outside, may_be_offered};
use super::plan::FIRST;
use super::sampling::sample_together;
use super::score::{ScoreWeights, fault, score};
use super::votes::CandidateVotes;
use crate::context::EngineCache;
use crate::programs::Brief;
use crate::task::{AnswerRule, Question};
use crate::{Context, Result, Stage, Update};

/// The round before which the model proposes wordings.
const PROPOSE_BEFORE: usize = 2;
/// Questions of a slice, where the time allows so many.
const SLICE: usize = 6;
/// A slice is planned as if it took longer by this factor, since one that is not finished says nothing.
const RESERVE: f64 = 1.25;

/// What a round samples.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoundPlan {
    /// The names of the candidates.
    pub candidates: Vec<String>,
    /// The questions and samples.
    pub extent: Extent,
    /// Whether it is the last round.
    pub is_last: bool,
    /// The number of questions that all candidates had answered when the time was up, if it was up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_at: Option<usize>,
}

/// `race.json`: what was planned, and how long it took so far.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RaceState {
    /// A hash of candidates, questions and options; another race begins anew, with the samples there are.
    pub identity: String,
    /// Seconds over all invocations.
    pub seconds: f64,
    /// The rounds begun.
    pub rounds: Vec<RoundPlan>,
}

/// How a race goes.
#[derive(Debug, Clone, Copy)]
pub struct RaceRules {
    /// Questions of the last round.
    pub n_questions: usize,
    /// Maximal number of samples of a question in the last round.
    pub samples: usize,
    /// Programs in the last round.
    pub finalists: usize,
    /// Seconds that it may take.
    pub seconds: f64,
    /// Every candidate on every question, in any time.
    pub keep_all: bool,
    /// Number of wordings that the model writes.
    pub propose: usize,
    /// Whether the best program is varied by its own examples.
    pub own_examples: bool,
    /// Whether it is varied in temperature.
    pub temperatures: bool,
    /// The weights of the score.
    pub weights: ScoreWeights,
}

/// A race that is running.
pub struct Race<'a> {
    /// The candidates.
    pub contestants: Vec<Contestant>,
    /// The questions in the race's order; no gold answers.
    pub questions: &'a [Question],
    /// Gold answers of some of them, by id.
    pub gold: &'a std::collections::HashMap<String, Vec<String>>,
    /// The rule whose keys compare the answers of different candidates.
    pub rule: &'a AnswerRule,
    /// What the library is told of the questions.
    pub brief: &'a Brief,
    /// How it goes.
    pub rules: RaceRules,
    /// What was planned.
    pub state: RaceState,
    /// Why fewer wordings take part than were asked of the model.
    pub not_proposed: Option<String>,
    /// What is sampled with.
    pub sampler: Sampler<'a>,
    /// What the stopwatch would have shown at the beginning, had all invocations been one.
    pub begin: f64,
}

/// Samples that candidates are to take in a round.
pub struct Turn<'a> {
    /// The round.
    pub round: usize,
    /// The places of the candidates among all.
    pub candidates: &'a [usize],
    /// The questions, as places in the race's order.
    pub questions: std::ops::Range<usize>,
    /// Samples of each.
    pub samples: usize,
    /// Whether it ends when the time is up.
    pub is_timed: bool,
    /// The samples of the round that are missing, this turn's included, and how many it had at its beginning.
    pub missing: [usize; 2],
}

impl Race<'_> {
    /// Runs the race to its end, or until the time is up.
    pub fn run(&mut self, base: &mut EngineCache, cx: &mut Context) -> Result<()> {
        let mut round = 0;
        loop {
            if round == PROPOSE_BEFORE && self.rules.propose > 0 {
                self.enter_proposals(base, cx)?;
            }
            if round == self.state.rounds.len() {
                let Some(mut plan) = self.next_round(round) else { return Ok(()) };
                if plan.is_last && !self.rules.keep_all {
                    plan = self.with_variations(plan)?;
                }
                self.state.rounds.push(plan);
                self.save()?;
            } else if self.state.rounds[round].is_last {
                self.enter_earlier_variations()?;
            }
            match round == 0 && !self.rules.keep_all {
                true => self.sample_first_round(base, cx)?,
                false => self.sample_round(round, base, cx)?,
            }
            self.judge_round(round)?;
            let plan = &self.state.rounds[round];
            if plan.is_last || plan.stopped_at.is_some() {
                return Ok(());
            }
            round += 1;
        }
    }

    /// The names of the programs that the last round compared.
    pub fn finalists(&self) -> Vec<usize> {
        let last = self.state.rounds.last().map(|plan| plan.candidates.as_slice()).unwrap_or_default();
        let is_in = |c: &Contestant| last.contains(&c.entrant.name) && c.dropped.is_none();
        (0..self.contestants.len()).filter(|i| is_in(&self.contestants[*i])).collect()
    }

    pub(super) fn save(&mut self) -> Result<()> {
        self.state.seconds = self.sampler.stopwatch.seconds() - self.begin;
        self.sampler.dir.save(STATE, &self.state)
    }

    /// Seconds that are left.
    pub(super) fn left(&self) -> f64 {
        self.rules.seconds - (self.sampler.stopwatch.seconds() - self.begin)
    }

    /// The places of the candidates in `plan`.
    pub(super) fn in_round(&self, plan: &RoundPlan) -> Vec<usize> {
        let is_in = |i: &usize| plan.candidates.contains(&self.contestants[*i].entrant.name);
        (0..self.contestants.len()).filter(is_in).collect()
    }

    fn sample_round(&mut self, round: usize, base: &mut EngineCache, cx: &mut Context) -> Result<()> {
        let plan = self.state.rounds[round].clone();
        let end = plan.stopped_at.unwrap_or(plan.extent.questions).min(self.questions.len());
        let is_timed = !self.rules.keep_all && plan.stopped_at.is_none();
        let in_round = self.in_round(&plan);
        for i in &in_round {
            self.contestants[*i].rounds = self.contestants[*i].rounds.max(round + 1);
        }
        let all = Extent { questions: end, samples: plan.extent.samples };
        let missing = self.missing(&in_round, all);
        let mut done = 0;
        while done < end {
            let next = match (self.rules.keep_all, is_timed) {
                (true, _) => end,
                (_, false) => (done + SLICE).min(end),
                (_, true) => self.end_of_slice(&in_round, done, end, plan.extent.samples),
            };
            let turn = Turn {
                round,
                candidates: &in_round,
                questions: done..next,
                samples: plan.extent.samples,
                is_timed,
                missing: [self.missing(&in_round, all), missing],
            };
            if !self.take(turn, base, cx)? {
                self.state.rounds[round].stopped_at = Some(done);
                return self.save();
            }
            done = next;
        }
        Ok(())
    }

    /// The samples that `chosen` lack.
    pub(super) fn missing(&self, chosen: &[usize], extent: Extent) -> usize {
        chosen.iter().map(|i| self.contestants[*i].missing(self.questions, extent)).sum()
    }

    /// Where the slice that begins at question `done` ends: small enough that all candidates may finish it.
    fn end_of_slice(&self, in_round: &[usize], done: usize, end: usize, samples: usize) -> usize {
        let left = self.left();
        let seconds = |next: usize| self.estimate(in_round, Extent { questions: next, samples });
        let fits = |next: &usize| RESERVE * seconds(*next) <= left;
        (done + 1..=(done + SLICE).min(end)).rev().find(fits).unwrap_or(done + 1)
    }

    /// Takes what the candidates lack. Returns whether they have all before the time is up.
    pub(super) fn take(&mut self, turn: Turn, base: &mut EngineCache, cx: &mut Context) -> Result<bool> {
        let questions = &self.questions[turn.questions.clone()];
        let extent = Extent { questions: questions.len(), samples: turn.samples };
        let lacks = |i: &usize| self.contestants[*i].missing(questions, extent) > 0;
        let chosen: Vec<usize> = turn.candidates.iter().copied().filter(lacks).collect();
        if chosen.is_empty() {
            return Ok(true);
        }
        let deadline = turn.is_timed.then_some(self.begin + self.rules.seconds);
        if deadline.is_some_and(|deadline| self.sampler.stopwatch.seconds() >= deadline) {
            return Ok(false);
        }
        let who = match chosen.as_slice() {
            [one] => self.contestants[*one].name().to_string(),
            several => format!("{} candidates", several.len()),
        };
        let (progress, stopwatch) = (cx.progress, self.sampler.stopwatch);
        let end = (!self.rules.keep_all).then_some(self.begin + self.rules.seconds);
        let [missing, total] = turn.missing;
        let taken = Cell::new(total - missing);
        let tell = || {
            let minutes = |end: f64| (end - stopwatch.seconds()).max(0.0) / 60.0;
            let left = end.map_or(String::new(), |end| format!(", {:.0} min left", minutes(end)));
            progress.update(&Update {
                stage: Stage::Tune,
                done: taken.get() as u64,
                total: total as u64,
                note: format!("samples, round {}: {who}{left}", turn.round + 1),
            });
        };
        tell();
        let count = || {
            taken.set(taken.get() + 1);
            tell();
        };
        let engine = base.engine(cx, None, &self.sampler.engine_options)?;
        let asked = (questions, turn.samples);
        let (contestants, sampler) = (&mut self.contestants, &self.sampler);
        let in_time = sample_together(contestants, &chosen, asked, sampler, deadline, &count, engine);
        self.save()?;
        in_time
    }

    /// Judges the candidates of a finished round, and drops those with faults.
    fn judge_round(&mut self, round: usize) -> Result<()> {
        let plan = self.state.rounds[round].clone();
        let reached = plan.stopped_at.unwrap_or(plan.extent.questions).min(self.questions.len());
        for contestant in &mut self.contestants {
            let is_in = plan.candidates.contains(&contestant.entrant.name);
            // A round that was stopped before it came as far as the one before says less than that.
            if is_in && reached >= contestant.judged.questions && reached > 0 {
                contestant.judged = Extent { questions: reached, ..plan.extent };
            }
        }
        if self.rules.keep_all {
            return Ok(());
        }
        let features = self.features();
        for i in self.in_round(&plan) {
            if self.contestants[i].dropped.is_none() {
                self.contestants[i].dropped = self.why_dropped(&self.contestants[i], &features[i])?;
            }
        }
        Ok(())
    }

    /// Why no question more is spent on a candidate: it cannot be asked, or its outputs are faulty beyond
    /// repair, in the words of `preview` where that would stop.
    fn why_dropped(&self, contestant: &Contestant, features: &Features) -> Result<Option<String>> {
        // Samples of a question or two may be faulty by chance, and one question may be the only long one.
        let n = FIRST.questions.min(self.n_asked());
        if contestant.judged.questions < n {
            return Ok(None);
        }
        if let Some(why) = contestant.why_not_asked(self.questions) {
            return Ok(Some(format!("no question can be asked: {why}")));
        }
        let found = contestant.findings(self.questions, &self.sampler)?;
        let stops = found.into_iter().find(|finding| finding.stops);
        Ok(stops.map(|finding| finding.message).or_else(|| fault(features)))
    }

    /// The votes of all candidates, each on what it was last judged on.
    pub fn votes(&self) -> Vec<CandidateVotes> {
        let votes = |c: &Contestant| c.votes(self.questions, c.judged, self.rule);
        let mut all: Vec<CandidateVotes> = self.contestants.iter().map(votes).collect();
        if may_be_offered(self.rule) {
            mark_outside(&mut all);
        }
        all
    }

    /// The features of all candidates; those that were dropped for a fault are no witnesses for the others,
    /// and neither are variations in temperature, which say what their base says once more.
    pub fn features(&self) -> Vec<Features> {
        let votes = self.votes();
        let is_variation = |i: &usize| self.contestants[*i].entrant.origin == Origin::Temperature;
        let (variations, others): (Vec<usize>, Vec<usize>) = (0..votes.len()).partition(is_variation);
        let mut of_others: Vec<CandidateVotes> = others.iter().map(|i| votes[*i].clone()).collect();
        let mut found = features(&of_others);
        let dropped: Vec<usize> =
            (0..others.len()).filter(|k| self.contestants[others[*k]].dropped.is_some()).collect();
        if !dropped.is_empty() {
            dropped.iter().for_each(|k| of_others[*k].questions.clear());
            for (k, without) in features(&of_others).into_iter().enumerate() {
                if !dropped.contains(&k) {
                    found[k] = without;
                }
            }
        }
        for (k, i) in others.iter().enumerate() {
            (found[k].gold_accuracy, found[k].gold_questions) = self.by_gold(&votes[*i]);
        }
        let mut all = vec![Features::default(); votes.len()];
        for (k, features) in others.iter().zip(found) {
            all[*k] = features;
        }
        for i in variations {
            let base = others.iter().position(|k| self.is_base_of(*k, i));
            if let Some(base) = base {
                all[i] = self.features_at_temperature(&all[others[base]], base, &of_others, &votes[i]);
            }
        }
        all
    }

    /// The share of a candidate's samples that are right, and the number of its questions with gold.
    pub(super) fn by_gold(&self, votes: &CandidateVotes) -> (Option<f64>, usize) {
        let judged: Vec<f64> = votes
            .questions
            .iter()
            .filter_map(|votes| {
                let gold = self.gold.get(&votes.question)?;
                let keys: Vec<String> = gold.iter().filter_map(|gold| self.rule.key(gold)).collect();
                Some(keys.iter().map(|key| votes.share(key)).sum::<f64>().min(1.0))
            })
            .collect();
        let n = judged.len();
        ((n > 0).then(|| judged.iter().sum::<f64>() / n as f64), n)
    }

    /// The scores of all candidates.
    pub fn scores(&self) -> Vec<f64> {
        self.features().iter().map(|features| self.score(features)).collect()
    }

    /// The score of a candidate with these features.
    pub fn score(&self, features: &Features) -> f64 {
        score(features, &self.rules.weights)
    }
}

/// The file of the [`RaceState`].
pub const STATE: &str = "race.json";
