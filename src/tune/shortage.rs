//! What a race had too little time for, and how much it would have needed.

use serde::{Deserialize, Serialize};

use super::contestant::{Contestant, Extent};
use super::plan::{DIRECT_FINALISTS, FIRST, SAMPLES, SECOND_QUESTIONS, leave};
use super::race::Race;

/// A stated time is longer than the estimate by this factor: the speed changes.
const RESERVE: f64 = 1.1;

/// What a race had too little time for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Shortage {
    /// Number of questions that every candidate answered, apart from those that were not judged.
    pub first_questions: usize,
    /// Number of questions on which the last ones were compared.
    pub last_questions: usize,
    /// On how many they would be compared with more time.
    pub questions: usize,
    /// Minutes that the race would have taken to its end, estimated from the measured speed.
    pub minutes_needed: f64,
}

impl Race<'_> {
    /// What there was too little time for, if there was.
    pub(super) fn shortage(&self) -> Option<Shortage> {
        let n = self.n_asked();
        let judged = |c: &Contestant| c.judged.questions;
        let last = self.finalists().iter().map(|i| judged(&self.contestants[*i])).max().unwrap_or(0);
        // Where all have faults, no time would have helped.
        let is_over = self.contestants.iter().all(|c| c.dropped.is_some());
        let is_short = !is_over && (last < n || self.contestants.iter().any(|c| judged(c) == 0));
        (is_short && !self.rules.keep_all).then(|| Shortage {
            first_questions: self.contestants.iter().map(judged).filter(|n| *n > 0).min().unwrap_or(0),
            last_questions: last,
            questions: n,
            minutes_needed: (RESERVE * self.seconds_to_the_end() / 60.0).ceil(),
        })
    }

    /// Seconds of all rounds, if the candidates fared as they did so far and none were left out for time.
    fn seconds_to_the_end(&self) -> f64 {
        let n = self.n_asked();
        let mut extents = vec![FIRST; self.contestants.len()];
        let (mut programs, mut directs) = self.still_good();
        let samples = SAMPLES.min(self.rules.samples);
        for round in 1.. {
            let extent = Extent { questions: (SECOND_QUESTIONS << (round - 1)).min(n), samples };
            leave(&mut programs, round, self.rules.finalists);
            leave(&mut directs, round, DIRECT_FINALISTS);
            let is_last = programs.len() <= self.rules.finalists || extent.questions >= n;
            if is_last {
                programs.truncate(self.rules.finalists);
                directs.truncate(DIRECT_FINALISTS);
            }
            let extent = if is_last { Extent { questions: n, samples: self.rules.samples } } else { extent };
            programs.iter().chain(&directs).for_each(|i| extents[*i] = extent);
            if is_last {
                break;
            }
        }
        let usual = self.usual_speed();
        let seconds = |(contestant, extent): (&Contestant, Extent)| {
            contestant.speed().unwrap_or(usual).seconds(contestant.samples_in(extent))
        };
        self.contestants.iter().zip(extents).map(seconds).sum()
    }
}
