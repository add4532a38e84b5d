//! Time as the race sees it; a script in tests.

use std::time::{Duration, Instant};

/// Tells the seconds since some moment.
pub trait Stopwatch {
    /// Seconds; never fewer than before.
    fn seconds(&self) -> f64;

    /// The moment at which it shows `seconds`, if it is the time on the wall.
    fn moment(&self, _seconds: f64) -> Option<Instant> {
        None
    }
}

/// The time on the wall.
pub struct WallTime(Instant);

impl WallTime {
    /// Begins now.
    pub fn new() -> WallTime {
        WallTime(Instant::now())
    }
}

impl Stopwatch for WallTime {
    fn seconds(&self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }

    fn moment(&self, seconds: f64) -> Option<Instant> {
        self.0.checked_add(Duration::try_from_secs_f64(seconds.max(0.0)).ok()?)
    }
}
