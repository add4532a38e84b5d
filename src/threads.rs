//! Threads for work that falls into thousands of short parallel parts.
//!
//! A training step has some three thousand of them, a decode call a few hundred, with a little serial
//! work between. A worker of rayon that finds nothing to do sleeps, and waking it from an idle
//! processor takes as long as such a part (50–100 µs on a virtual machine). [`Pool::run`] therefore
//! keeps the workers looking for work until it returns, as OpenMP's do.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::{Error, Result};

/// A pool whose workers stay awake while it is used.
#[derive(Debug)]
pub struct Pool(rayon::ThreadPool);

impl Pool {
    /// A pool of `threads`, by default one for each core, called `name`.
    pub fn new(threads: Option<u32>, name: &'static str) -> Result<Pool> {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads.map_or(0, |n| n as usize))
            .thread_name(move |i| format!("sn-{name}-{i}"))
            .build()
            .map(Pool)
            .map_err(|e| Error::Internal(format!("cannot start threads: {e}")))
    }

    /// Its number of threads.
    pub fn threads(&self) -> usize {
        self.0.current_num_threads()
    }

    /// Runs `work` on one of the threads; parallel iterators in it use all of them. For work that is
    /// over soon, and comes again: a worker that another program keeps from its processor is not
    /// waited for, and sleeps between the parts of this one.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.run_with(Duration::from_micros(200), work)
    }

    /// As [`Pool::run`], for work of minutes and hours, which no worker may miss.
    pub fn run_long<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.run_with(Duration::from_millis(500), work)
    }

    /// As [`Pool::run`], where `patience` is how long work waits for workers to wake up.
    fn run_with<T: Send>(&self, patience: Duration, work: impl FnOnce() -> T + Send) -> T {
        self.0.install(|| {
            let watch = Arc::new(Watch::default());
            let (shared, own) = (watch.clone(), rayon::current_thread_index());
            // Each worker has its own copy of this, so that none takes another's and waits for itself.
            self.0.spawn_broadcast(move |context| {
                if Some(context.index()) != own {
                    shared.stand();
                }
            });
            let _over = Over(&watch);
            watch.begin(self.threads() - 1, patience);
            work()
        })
    }
}

/// The workers that look for the parts of one [`Pool::run`].
#[derive(Default)]
struct Watch {
    /// One of the states below.
    state: AtomicUsize,
    standing: AtomicUsize,
}

const GATHERING: usize = 0;
const WORKING: usize = 1;
const OVER: usize = 2;

impl Watch {
    /// Looks for parts until the work is over.
    ///
    /// Not where it has begun already: the worker may be in the middle of a part then, waiting for
    /// another worker's half of it, and that part would never end.
    fn stand(&self) {
        if self.state.load(Ordering::Acquire) != GATHERING {
            return;
        }
        self.standing.fetch_add(1, Ordering::Relaxed);
        let mut idle = 0u32;
        while self.state.load(Ordering::Acquire) != OVER {
            if rayon::yield_now() == Some(rayon::Yield::Executed) {
                idle = 0;
                continue;
            }
            (0..16).for_each(|_| std::hint::spin_loop());
            idle += 1;
            // Others may need the processor: of more threads than processors, those with work.
            if idle.is_multiple_of(64) {
                std::thread::yield_now();
            }
        }
    }

    /// Begins when `workers` stand, or have been waited for long enough.
    fn begin(&self, workers: usize, patience: Duration) {
        let called = Instant::now();
        while self.standing.load(Ordering::Relaxed) < workers && called.elapsed() < patience {
            std::hint::spin_loop();
        }
        self.state.store(WORKING, Ordering::Release);
    }
}

/// Lets the workers sleep when the work is over, however it ends.
struct Over<'a>(&'a Watch);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.state.store(OVER, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rayon::prelude::*;

    #[test]
    fn work_runs_on_all_threads_again_and_again_and_a_panic_ends_it() {
        let pool = Pool::new(Some(3), "test").unwrap();
        assert_eq!(pool.threads(), 3);
        for round in 0..200u64 {
            let sum = pool.run(|| {
                (0..5)
                    .map(|_| (0..1000u32).into_par_iter().with_max_len(100).map(u64::from).sum::<u64>())
                    .sum::<u64>()
                    + round
            });
            assert_eq!(sum, 5 * 499_500 + round);
        }
        let panicked =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| pool.run(|| panic!("on purpose"))));
        assert!(panicked.is_err());
        assert_eq!(pool.run(|| 7), 7);
    }

    /// A worker that began to look for work in the middle of a part would never finish that part.
    #[test]
    fn short_work_of_nested_parts_always_comes_to_an_end() {
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let pool = Pool::new(Some(2), "test").unwrap();
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_secs(8) {
                pool.run(|| (0..16u32).into_par_iter().with_max_len(1).for_each(|_| std::hint::spin_loop()));
            }
            tell.send(()).unwrap();
        });
        told.recv_timeout(Duration::from_secs(120)).expect("it hangs");
    }
}
