//! The first round, which finds faults and the speed: every candidate gets something.
//!
//! How fast the candidates are is not known before it. Where the time is too short for what the round should
//! sample, each candidate is asked fewer questions, so that all can be compared, rather than the last ones
//! none. A program and a wording of the direct prompt come first, for the time may not even suffice for more.

use super::contestant::Extent;
use super::race::{Race, Turn};
use crate::context::EngineCache;
use crate::{Context, Result};

/// What a candidate may get, short of the whole round: least first.
const STEPS: [Extent; 3] = [
    Extent { questions: 1, samples: 1 },
    Extent { questions: 1, samples: 2 },
    Extent { questions: 2, samples: 2 },
];
/// Share of the race's time that the round may take, for more than the least: most questions are for the
/// candidates that are good.
const SHARE: f64 = 0.8;

impl Race<'_> {
    /// Samples every candidate and writes down what all of them got, and who got nothing.
    pub(super) fn sample_first_round(&mut self, base: &mut EngineCache, cx: &mut Context) -> Result<()> {
        let plan = self.state.rounds[0].clone();
        let (order, steps) = (self.first_order(), steps(plan.extent));
        for i in &order {
            self.contestants[*i].rounds = self.contestants[*i].rounds.max(1);
        }
        // Without a program and a direct prompt there is no choice, so these are sampled in any time; they show
        // the speed.
        let begun = &order[..order.len().min(2)];
        let mut in_time = self.step(begun, plan.extent, false, base, cx)?;
        in_time = in_time && self.step(&order, steps[0], true, base, cx)?;
        // Estimates change while candidates are sampled, and in the end all have the same.
        for _ in 0..steps.len() {
            let step = self.affordable(&order, &steps);
            in_time = in_time && self.step(&order, step, true, base, cx)?;
        }
        self.record_first_round(&order, &steps);
        self.save()
    }

    fn step(
        &mut self,
        candidates: &[usize],
        step: Extent,
        is_timed: bool,
        base: &mut EngineCache,
        cx: &mut Context,
    ) -> Result<bool> {
        let plan = &self.state.rounds[0];
        let (round, whole) = (self.in_round(plan), plan.extent);
        let total = round.iter().map(|i| self.contestants[*i].samples_in(whole)).sum();
        let turn = Turn {
            round: 0,
            candidates,
            questions: 0..step.questions,
            samples: step.samples,
            is_timed,
            missing: [self.missing(&round, whole).min(total), total],
        };
        self.take(turn, base, cx)
    }

    /// The candidates of the round, a wording of the direct prompt in the second place.
    fn first_order(&self) -> Vec<usize> {
        let mut order = self.in_round(&self.state.rounds[0]);
        if let Some(direct) = order.iter().position(|i| self.contestants[*i].is_direct()) {
            order[direct.min(1)..=direct].rotate_right(1);
        }
        order
    }

    /// The most that all candidates can get in the time.
    fn affordable(&self, order: &[usize], steps: &[Extent]) -> Extent {
        let left = self.left() - (1.0 - SHARE) * self.rules.seconds;
        *steps.iter().rev().find(|step| self.estimate(order, **step) <= left).unwrap_or(&steps[0])
    }

    /// Writes down what all candidates have; those that have nothing are not in the round.
    fn record_first_round(&mut self, order: &[usize], steps: &[Extent]) {
        let has = |race: &Race, i: usize, step: Extent| {
            let contestant = &race.contestants[i];
            contestant.missing(race.questions, step) == 0
        };
        let seen: Vec<usize> = order.iter().copied().filter(|i| has(self, *i, steps[0])).collect();
        let reached = steps.iter().rev().find(|step| seen.iter().all(|i| has(self, *i, **step)));
        let names: Vec<String> = seen.iter().map(|i| self.contestants[*i].entrant.name.clone()).collect();
        for i in order.iter().filter(|i| !seen.contains(i)) {
            self.contestants[*i].rounds = 0;
        }
        let plan = &mut self.state.rounds[0];
        plan.candidates.retain(|name| names.contains(name));
        plan.extent = *reached.unwrap_or(&steps[0]);
    }
}

/// The steps up to `whole`.
fn steps(whole: Extent) -> Vec<Extent> {
    let is_less =
        |step: &Extent| step.questions <= whole.questions && step.samples <= whole.samples && *step != whole;
    STEPS.into_iter().filter(is_less).chain([whole]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_of_few_questions_or_samples_has_fewer_steps() {
        let of = |questions, samples| steps(Extent { questions, samples });
        assert_eq!(of(3, 2).len(), 4);
        assert_eq!(of(3, 1), [STEPS[0], Extent { questions: 3, samples: 1 }]);
        assert_eq!(of(1, 2), STEPS[..2]);
    }
}
