//! Time as the race sees it; a script in tests.

use std::time::Instant;

/// Tells the seconds since some moment.
pub trait Stopwatch {
    /// Seconds; never fewer than before.
    fn seconds(&self) -> f64;
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
}
