//! Cancellation of long work.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::{Error, Result};

/// A request to stop, shared between threads. Work notices it within one decode batch or one
/// optimiser step and returns [`Error::Cancelled`]; only a preview returns what it has seen.
#[derive(Debug, Clone, Default)]
pub struct Cancel {
    asked: Arc<AtomicBool>,
    deadline: Option<Instant>,
}

impl Cancel {
    /// A fresh token, not cancelled.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks the work to stop. Safe from any thread and from a signal handler.
    pub fn cancel(&self) {
        self.asked.store(true, Ordering::Relaxed);
    }

    /// The same request, which also counts as made from `deadline` on.
    pub fn or_at(&self, deadline: Instant) -> Cancel {
        let earlier = self.deadline.map_or(deadline, |earlier| earlier.min(deadline));
        Cancel { asked: self.asked.clone(), deadline: Some(earlier) }
    }

    /// Whether somebody asked, or it is late.
    pub fn is_cancelled(&self) -> bool {
        self.asked.load(Ordering::Relaxed) || self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// `Err(Cancelled)` once the work is to stop.
    pub fn check(&self) -> Result<()> {
        if self.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_deadline_stops_the_work_that_has_it_and_a_request_all() {
        let (all, now) = (Cancel::new(), Instant::now());
        let (late, early) = (all.or_at(now), all.or_at(now + Duration::from_secs(3600)));
        assert_eq!([&all, &late, &early].map(Cancel::is_cancelled), [false, true, false]);
        assert!(late.or_at(now + Duration::from_secs(3600)).is_cancelled());
        all.cancel();
        assert!(early.is_cancelled());
    }
}
