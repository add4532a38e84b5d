//! The race: rounds with ever more questions and ever fewer candidates (successive halving).
//!
//! All candidates of a round answer the same questions, the first ones of an order that the seed decides,
//! with the seeds that curation uses. A round goes through its questions in slices, every candidate on one
//! slice before the next, so that a race whose time is up ends with candidates that can be compared.
//!
//! What a round shall sample depends on the measured speed, so it is written down before the round begins;
//! a resumed race follows what is written and comes to the same choice. Which candidates are dropped, and
//! the choice, follow from the samples alone.

use serde::{Deserialize, Serialize};

use super::contestant::{Contestant, Extent, Origin, Sampler};
use super::features::{Features, features};
use super::score::{ScoreWeights, fault, score};
use super::votes::CandidateVotes;
use crate::context::EngineCache;
use crate::programs::Brief;
use crate::task::{AnswerRule, Question};
use crate::{Context, EngineOptions, Result, Stage, Update};

/// Questions and samples of the first round, which finds faults and the speed.
const FIRST: Extent = Extent { questions: 3, samples: 2 };
/// Questions of the second round; each round after it has twice as many.
const SECOND_QUESTIONS: usize = 6;
/// Samples of a question before the last round.
const SAMPLES: usize = 4;
/// The round before which the model proposes wordings.
const PROPOSE_BEFORE: usize = 2;
/// Questions of a slice.
const SLICE: usize = 6;
/// Share of the time left that is kept for the last round.
const LAST_ROUND_SHARE: f64 = 0.4;
/// Share of the time left that the second round may take.
const SECOND_ROUND_SHARE: f64 = 0.8;
/// Wordings of the direct prompt in the last round.
const DIRECT_FINALISTS: usize = 2;

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
    /// What is sampled with.
    pub sampler: Sampler<'a>,
    /// The options of the engine.
    pub engine_options: EngineOptions,
}

impl Race<'_> {
    /// Runs the race to its end, or until the time is up.
    pub fn run(&mut self, base: &mut EngineCache, cx: &mut Context) -> Result<()> {
        let begin = self.sampler.stopwatch.seconds() - self.state.seconds;
        self.enter_earlier_own_examples()?;
        let mut round = 0;
        loop {
            if round == PROPOSE_BEFORE && self.rules.propose > 0 {
                self.enter_proposals(base, cx)?;
            }
            if round == self.state.rounds.len() {
                let Some(mut plan) = self.next_round(round) else { return Ok(()) };
                if plan.is_last && self.rules.own_examples && !self.rules.keep_all {
                    plan = self.with_variation(plan)?;
                }
                self.state.rounds.push(plan);
                self.save(begin)?;
            }
            self.sample_round(round, begin, base, cx)?;
            self.judge_round(round);
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

    fn save(&mut self, begin: f64) -> Result<()> {
        self.state.seconds = self.sampler.stopwatch.seconds() - begin;
        self.sampler.dir.save(STATE, &self.state)
    }

    fn sample_round(
        &mut self,
        round: usize,
        begin: f64,
        base: &mut EngineCache,
        cx: &mut Context,
    ) -> Result<()> {
        let plan = self.state.rounds[round].clone();
        let end = plan.stopped_at.unwrap_or(plan.extent.questions).min(self.questions.len());
        let slice = if self.rules.keep_all { end.max(1) } else { SLICE };
        let in_round: Vec<usize> = (0..self.contestants.len())
            .filter(|i| plan.candidates.contains(&self.contestants[*i].entrant.name))
            .collect();
        for i in &in_round {
            self.contestants[*i].rounds = self.contestants[*i].rounds.max(round + 1);
        }
        let mut done = 0;
        while done < end {
            let next = (done + slice).min(end);
            for (place, i) in in_round.iter().enumerate() {
                let questions = &self.questions[done..next];
                let extent = Extent { questions: questions.len(), samples: plan.extent.samples };
                if self.contestants[*i].missing(questions, extent) == 0 {
                    continue;
                }
                // The first candidates are sampled in any time: without any there is no choice.
                let is_timed =
                    !self.rules.keep_all && plan.stopped_at.is_none() && (round > 0 || done > 0 || place > 1);
                let deadline = is_timed.then_some(begin + self.rules.seconds);
                if deadline.is_some_and(|deadline| self.sampler.stopwatch.seconds() >= deadline) {
                    self.time_is_up(round, done, &in_round[place..]);
                    return self.save(begin);
                }
                let (progress, options) = (cx.progress, self.engine_options);
                progress.update(&Update {
                    stage: Stage::Tune,
                    done: (done * in_round.len() + place * (next - done)) as u64,
                    total: (end * in_round.len()) as u64,
                    note: self.note(round, in_round.len(), *i, begin),
                });
                let engine = base.engine(cx, None, &options)?;
                let samples = plan.extent.samples;
                let contestant = &mut self.contestants[*i];
                let in_time = contestant.sample(questions, samples, &self.sampler, deadline, engine);
                self.save(begin)?;
                if !in_time? {
                    self.time_is_up(round, done, &in_round[place..]);
                    return self.save(begin);
                }
            }
            done = next;
        }
        Ok(())
    }

    /// Records that the time was up when all candidates had `done` questions of `round`, of which `left` had
    /// no more.
    fn time_is_up(&mut self, round: usize, done: usize, left: &[usize]) {
        let plan = &mut self.state.rounds[round];
        plan.stopped_at = Some(done);
        if round == 0 && done == 0 {
            let names: Vec<&str> = left.iter().map(|i| self.contestants[*i].name()).collect();
            plan.candidates.retain(|name| !names.contains(&name.as_str()));
            plan.stopped_at = Some(SLICE.min(plan.extent.questions));
        }
    }

    fn note(&self, round: usize, candidates: usize, contestant: usize, begin: f64) -> String {
        let name = self.contestants[contestant].name();
        let left = self.rules.seconds - (self.sampler.stopwatch.seconds() - begin);
        let left = match self.rules.keep_all {
            true => String::new(),
            false => format!(", {:.0} min left", (left / 60.0).max(0.0)),
        };
        format!("round {}, {candidates} candidates left{left}: {name}", round + 1)
    }

    /// Judges the candidates of a finished round, and drops those with faults.
    fn judge_round(&mut self, round: usize) {
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
            return;
        }
        let features = self.features();
        for (contestant, features) in self.contestants.iter_mut().zip(&features) {
            if contestant.dropped.is_none() && plan.candidates.contains(&contestant.entrant.name) {
                contestant.dropped = fault(features);
            }
        }
    }

    /// The votes of all candidates, each on what it was last judged on.
    pub fn votes(&self) -> Vec<CandidateVotes> {
        self.contestants.iter().map(|c| c.votes(self.questions, c.judged, self.rule)).collect()
    }

    /// The features of all candidates; those that were dropped for a fault are no witnesses for the others.
    pub fn features(&self) -> Vec<Features> {
        let mut votes = self.votes();
        let mut found = features(&votes);
        if self.contestants.iter().any(|c| c.dropped.is_some()) {
            for (votes, contestant) in votes.iter_mut().zip(&self.contestants) {
                if contestant.dropped.is_some() {
                    votes.questions.clear();
                }
            }
            for ((found, others), contestant) in found.iter_mut().zip(features(&votes)).zip(&self.contestants)
            {
                if contestant.dropped.is_none() {
                    *found = others;
                }
            }
        }
        for (features, contestant) in found.iter_mut().zip(&self.contestants) {
            self.judge_by_gold(features, contestant);
        }
        found
    }

    fn judge_by_gold(&self, features: &mut Features, contestant: &Contestant) {
        if self.gold.is_empty() {
            return;
        }
        let votes = contestant.votes(self.questions, contestant.judged, self.rule);
        let judged: Vec<f64> = votes
            .questions
            .iter()
            .filter_map(|votes| {
                let gold = self.gold.get(&votes.question)?;
                let keys: Vec<String> = gold.iter().filter_map(|gold| self.rule.key(gold)).collect();
                Some(keys.iter().map(|key| votes.share(key)).sum::<f64>().min(1.0))
            })
            .collect();
        if !judged.is_empty() {
            features.gold_accuracy = Some(judged.iter().sum::<f64>() / judged.len() as f64);
            features.gold_questions = judged.len();
        }
    }

    /// The scores of all candidates.
    pub fn scores(&self) -> Vec<f64> {
        self.features().iter().map(|features| score(features, &self.rules.weights)).collect()
    }

    /// Plans the next round; `None` when the race is over.
    fn next_round(&self, round: usize) -> Option<RoundPlan> {
        let n = self.rules.n_questions.min(self.questions.len());
        let last = Extent { questions: n, samples: self.rules.samples };
        let names =
            |chosen: &[usize]| chosen.iter().map(|i| self.contestants[*i].entrant.name.clone()).collect();
        let everyone: Vec<usize> = (0..self.contestants.len()).collect();
        if self.rules.keep_all {
            let extent = Extent { questions: self.questions.len(), ..last };
            return (round == 0).then(|| RoundPlan {
                candidates: names(&everyone),
                extent,
                is_last: true,
                stopped_at: None,
            });
        }
        if round == 0 {
            let extent =
                Extent { questions: FIRST.questions.min(n), samples: FIRST.samples.min(last.samples) };
            return Some(RoundPlan {
                candidates: names(&everyone),
                extent,
                is_last: false,
                stopped_at: None,
            });
        }
        let left = self.rules.seconds - self.state.seconds;
        if left <= 0.0 {
            return None;
        }
        let (mut programs, mut directs) = self.ranking();
        let samples = SAMPLES.min(last.samples);
        let extent = Extent { questions: (SECOND_QUESTIONS << (round - 1)).min(n), samples };
        if round > 1 {
            halve(&mut programs, self.rules.finalists);
            halve(&mut directs, DIRECT_FINALISTS);
        }
        let is_new = |c: &Contestant| c.entrant.origin == Origin::Proposed && c.rounds == 0;
        programs.extend((0..self.contestants.len()).filter(|i| is_new(&self.contestants[*i])));
        let is_last = programs.len() <= self.rules.finalists || extent.questions >= n;
        if !is_last {
            // Of the time before the last round, each round gets the same part.
            let rounds = (programs.len() as f64 / self.rules.finalists as f64).log2().ceil().max(1.0);
            let allowed = match round {
                // What the first round saw is too little to choose by, so as many as possible go on.
                1 => left * SECOND_ROUND_SHARE,
                _ => left * (1.0 - LAST_ROUND_SHARE) / rounds,
            };
            let both = |programs: &[usize]| [programs, &directs].concat();
            while programs.len() > self.rules.finalists && self.estimate(&both(&programs), extent) > allowed {
                programs.pop();
            }
            if programs.len() > self.rules.finalists {
                let candidates = names(&both(&programs));
                return Some(RoundPlan { candidates, extent, is_last: false, stopped_at: None });
            }
        }
        programs.truncate(self.rules.finalists);
        directs.truncate(DIRECT_FINALISTS);
        let chosen = [programs, directs].concat();
        (!chosen.is_empty()).then(|| self.last_round(&chosen, left))
    }

    /// The last round among `chosen`, with what fits into the seconds that are `left`: fewer questions, then
    /// fewer samples of them, and at least what the first round had.
    fn last_round(&self, chosen: &[usize], left: f64) -> RoundPlan {
        let n = self.rules.n_questions.min(self.questions.len());
        let samples = SAMPLES.min(self.rules.samples);
        let of = |samples: usize, min: usize| {
            (min.min(n)..=n).rev().map(move |questions| Extent { questions, samples })
        };
        let smaller = of(self.rules.samples, 2 * SECOND_QUESTIONS).chain(of(samples, FIRST.questions));
        let fits = |extent: &Extent| self.estimate(chosen, *extent) <= left;
        let smallest = Extent { questions: FIRST.questions.min(n), samples };
        RoundPlan {
            candidates: chosen.iter().map(|i| self.contestants[*i].entrant.name.clone()).collect(),
            extent: { smaller }.find(fits).unwrap_or(smallest),
            is_last: true,
            stopped_at: None,
        }
    }

    /// The last round with a variation of its best program.
    fn with_variation(&mut self, plan: RoundPlan) -> Result<RoundPlan> {
        let place = |name: &String| self.contestants.iter().position(|c| c.entrant.name == *name);
        let mut chosen: Vec<usize> = plan.candidates.iter().filter_map(place).collect();
        let best = chosen.iter().copied().find(|i| !self.contestants[*i].is_direct());
        let variation = match best {
            Some(best) => self.enter_own_examples(best)?,
            None => None,
        };
        let Some(variation) = variation else { return Ok(plan) };
        chosen.insert(1, variation);
        Ok(self.last_round(&chosen, self.rules.seconds - self.state.seconds))
    }

    /// The candidates that are in the race, best first: programs, and wordings of the direct prompt.
    fn ranking(&self) -> (Vec<usize>, Vec<usize>) {
        let scores = self.scores();
        let previous = self.state.rounds.last().map(|plan| plan.candidates.as_slice()).unwrap_or_default();
        let mut all: Vec<usize> = (0..self.contestants.len())
            .filter(|i| {
                let contestant = &self.contestants[*i];
                contestant.dropped.is_none() && previous.contains(&contestant.entrant.name)
            })
            .collect();
        all.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b)));
        all.into_iter().partition(|i| !self.contestants[*i].is_direct())
    }

    /// Seconds that `chosen` would take for what `extent` needs and they do not have.
    fn estimate(&self, chosen: &[usize], extent: Extent) -> f64 {
        let known: Vec<f64> = self.contestants.iter().filter_map(Contestant::seconds_per_sample).collect();
        let usual = known.iter().sum::<f64>() / known.len().max(1) as f64;
        chosen
            .iter()
            .map(|i| &self.contestants[*i])
            .map(|c| c.missing(self.questions, extent) as f64 * c.seconds_per_sample().unwrap_or(usual))
            .sum()
    }
}

/// The file of the [`RaceState`].
pub const STATE: &str = "race.json";

/// Leaves the better half, and at least `min`.
fn halve(ranked: &mut Vec<usize>, min: usize) {
    let half = ranked.len().div_ceil(2).max(min);
    ranked.truncate(half);
}
