//! Where a step's time goes.

use std::time::Instant;

use serde::Serialize;

/// A kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Products with frozen weights and adapters, unpacking and packing included.
    Linear,
    /// Scores, probabilities and what they weigh.
    Attention,
    /// Norms, rotations, gates, copies.
    Elementwise,
    /// Logits and loss.
    Output,
    /// The update of the adapter.
    Optimiser,
}

/// Seconds by kind of work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Seconds {
    /// [`Work::Linear`]
    pub linear: f64,
    /// [`Work::Attention`]
    pub attention: f64,
    /// [`Work::Elementwise`]
    pub elementwise: f64,
    /// [`Work::Output`]
    pub output: f64,
    /// [`Work::Optimiser`]
    pub optimiser: f64,
}

impl Seconds {
    /// All of them.
    pub fn total(&self) -> f64 {
        self.linear + self.attention + self.elementwise + self.output + self.optimiser
    }

    /// Each over the total.
    pub fn shares(&self) -> Seconds {
        let total = self.total().max(1e-12);
        Seconds {
            linear: self.linear / total,
            attention: self.attention / total,
            elementwise: self.elementwise / total,
            output: self.output / total,
            optimiser: self.optimiser / total,
        }
    }
}

/// A stopwatch with laps: each puts the time since the last one down to a kind of work.
#[derive(Debug)]
pub struct Clock {
    last: Instant,
    /// What was put down so far.
    pub seconds: Seconds,
}

impl Default for Clock {
    fn default() -> Self {
        Clock { last: Instant::now(), seconds: Seconds::default() }
    }
}

impl Clock {
    /// Forgets the time since the last lap.
    pub fn start(&mut self) {
        self.last = Instant::now();
    }

    /// Puts the time since the last lap down to `work`.
    pub fn lap(&mut self, work: Work) {
        let now = Instant::now();
        let seconds = match work {
            Work::Linear => &mut self.seconds.linear,
            Work::Attention => &mut self.seconds.attention,
            Work::Elementwise => &mut self.seconds.elementwise,
            Work::Output => &mut self.seconds.output,
            Work::Optimiser => &mut self.seconds.optimiser,
        };
        *seconds += (now - self.last).as_secs_f64();
        self.last = now;
    }
}
