//! What the next round of the race samples, by what the candidates took so far.

use super::contestant::{Contestant, Extent, Origin, SamplingSpeed};
use super::race::{Race, RoundPlan};

/// Questions and samples of the first round, which finds faults and the speed.
pub const FIRST: Extent = Extent { questions: 3, samples: 2 };
/// Least questions of the second round; each round after it has at least twice as many.
pub const SECOND_QUESTIONS: usize = 6;
/// Samples of a question before the last round.
pub const SAMPLES: usize = 4;
/// Share of the time left that is kept for the last round.
const LAST_ROUND_SHARE: f64 = 0.4;
/// Share of the time left that the second round may take with more than half of the candidates, and with
/// fewer.
const SECOND_ROUND_SHARES: [f64; 2] = [0.5, 0.8];
/// Wordings of the direct prompt in the last round.
pub const DIRECT_FINALISTS: usize = 2;

impl Race<'_> {
    /// Plans the next round; `None` when the race is over.
    pub(super) fn next_round(&self, round: usize) -> Option<RoundPlan> {
        let n = self.n_asked();
        let everyone: Vec<usize> = (0..self.contestants.len()).collect();
        if self.rules.keep_all {
            let extent = Extent { questions: self.questions.len(), samples: self.rules.samples };
            return (round == 0).then(|| RoundPlan { is_last: true, ..self.plan(&everyone, extent) });
        }
        if round == 0 {
            let samples = FIRST.samples.min(self.rules.samples);
            return Some(self.plan(&everyone, Extent { questions: FIRST.questions.min(n), samples }));
        }
        let left = self.rules.seconds - self.state.seconds;
        if left <= 0.0 {
            return None;
        }
        let asked = self.state.rounds.last().map_or(0, |plan| plan.extent.questions);
        let questions = (SECOND_QUESTIONS << (round - 1)).max(asked).min(n);
        let (programs, directs) = self.ranking();
        // Where the time allows, nobody is dropped for what a few questions say.
        if round == 1 && n > questions && programs.len() > self.rules.finalists {
            let everyone_left = [&programs[..], &directs].concat();
            if self.estimate(&everyone_left, self.before_last(n)) <= left * SECOND_ROUND_SHARES[0] {
                return Some(self.plan(&everyone_left, self.before_last(n)));
            }
        }
        self.smaller_round(round, questions, (programs, directs), left)
    }

    /// The next round among the better of those that are `ranked`, on `questions` or more: the last one where few
    /// are left or all questions were asked, or where the seconds that are `left` allow no other.
    fn smaller_round(
        &self,
        round: usize,
        questions: usize,
        ranked: (Vec<usize>, Vec<usize>),
        left: f64,
    ) -> Option<RoundPlan> {
        let n = self.n_asked();
        let (mut programs, mut directs) = ranked;
        // What the first round saw is too little to choose by: the best is among the better half nearly always,
        // and among the better two thirds always, as far as has been seen.
        let half = programs.len().div_ceil(2);
        leave(&mut programs, round, self.rules.finalists);
        leave(&mut directs, round, DIRECT_FINALISTS);
        let is_new = |c: &Contestant| c.entrant.origin == Origin::Proposed && c.rounds == 0;
        let proposed: Vec<usize> =
            (0..self.contestants.len()).filter(|i| is_new(&self.contestants[*i])).collect();
        // What nobody has been asked yet cannot be compared.
        let is_enough = questions >= n && proposed.is_empty();
        programs.extend(proposed);
        if programs.len() > self.rules.finalists && !is_enough {
            // Of the time before the last round, each round gets the same part.
            let rounds = (programs.len() as f64 / self.rules.finalists as f64).log2().ceil().max(1.0);
            let allowed = |programs: usize| match round {
                1 => left * SECOND_ROUND_SHARES[usize::from(programs <= half)],
                _ => left * (1.0 - LAST_ROUND_SHARE) / rounds,
            };
            let fits = |programs: &[usize], questions: usize| {
                let chosen = [programs, &directs].concat();
                self.estimate(&chosen, self.before_last(questions)) <= allowed(programs.len())
            };
            while programs.len() > self.rules.finalists && !fits(&programs, questions) {
                programs.pop();
            }
            if programs.len() > self.rules.finalists {
                let most = (questions..=n).rev().find(|more| fits(&programs, *more)).unwrap_or(questions);
                return Some(self.plan(&[programs, directs].concat(), self.before_last(most)));
            }
        }
        programs.truncate(self.rules.finalists);
        directs.truncate(DIRECT_FINALISTS);
        let chosen = [programs, directs].concat();
        (!chosen.is_empty()).then(|| self.last_round(&chosen, left))
    }

    /// Questions of the last round, where the time allows.
    pub(super) fn n_asked(&self) -> usize {
        self.rules.n_questions.min(self.questions.len())
    }

    /// What a round before the last one samples of `questions`.
    fn before_last(&self, questions: usize) -> Extent {
        Extent { questions, samples: SAMPLES.min(self.rules.samples) }
    }

    /// A round that is not the last.
    fn plan(&self, chosen: &[usize], extent: Extent) -> RoundPlan {
        let candidates = chosen.iter().map(|i| self.contestants[*i].entrant.name.clone()).collect();
        RoundPlan { candidates, extent, is_last: false, stopped_at: None }
    }

    /// The last round among `chosen`, with what fits into the seconds that are `left`: fewer questions, then
    /// fewer samples of them, and at least what the first round had.
    pub(super) fn last_round(&self, chosen: &[usize], left: f64) -> RoundPlan {
        let n = self.n_asked();
        let samples = SAMPLES.min(self.rules.samples);
        let of = |samples: usize, min: usize| {
            (min.min(n)..=n).rev().map(move |questions| Extent { questions, samples })
        };
        let smaller = of(self.rules.samples, 2 * SECOND_QUESTIONS).chain(of(samples, FIRST.questions));
        let fits = |extent: &Extent| self.estimate(chosen, *extent) <= left;
        let smallest = Extent { questions: FIRST.questions.min(n), samples };
        let extent = { smaller }.find(fits).unwrap_or(smallest);
        RoundPlan { is_last: true, ..self.plan(chosen, extent) }
    }

    /// The candidates that are in the race, best first: programs, and wordings of the direct prompt.
    fn ranking(&self) -> (Vec<usize>, Vec<usize>) {
        let previous = self.state.rounds.last().map(|plan| plan.candidates.as_slice()).unwrap_or_default();
        let (mut programs, mut directs) = self.still_good();
        let was_in = |i: &usize| previous.contains(&self.contestants[*i].entrant.name);
        programs.retain(was_in);
        directs.retain(was_in);
        (programs, directs)
    }

    /// All candidates without a fault, best first: programs, and wordings of the direct prompt.
    pub(super) fn still_good(&self) -> (Vec<usize>, Vec<usize>) {
        let scores = self.scores();
        let mut all: Vec<usize> =
            (0..self.contestants.len()).filter(|i| self.contestants[*i].dropped.is_none()).collect();
        all.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b)));
        all.into_iter().partition(|i| !self.contestants[*i].is_direct())
    }

    /// The speed of most candidates.
    pub(super) fn usual_speed(&self) -> SamplingSpeed {
        SamplingSpeed::mean(self.contestants.iter().filter_map(Contestant::speed))
    }

    /// Seconds that `chosen` would take for what `extent` needs and they do not have.
    pub(super) fn estimate(&self, chosen: &[usize], extent: Extent) -> f64 {
        let usual = self.usual_speed();
        chosen
            .iter()
            .map(|i| &self.contestants[*i])
            .map(|c| c.speed().unwrap_or(usual).seconds(c.missing(self.questions, extent)))
            .sum()
    }
}

/// Leaves those that take part in `round` if time allows: the better two thirds in the second round, then the
/// better half, and at least `min`.
pub fn leave(ranked: &mut Vec<usize>, round: usize, min: usize) {
    let n = match round {
        1 => (2 * ranked.len()).div_ceil(3),
        _ => ranked.len().div_ceil(2),
    };
    ranked.truncate(n.max(min));
}
