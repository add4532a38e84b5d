//! Threads for work that falls into thousands of short parallel parts.
//!
//! A training step has some three thousand of them, a decode call a few hundred, with a little serial
//! work between. A worker of rayon that finds nothing to do sleeps, and waking it from an idle
//! processor takes as long as such a part (50–100 µs on a virtual machine). [`Pool::run`] therefore
//! keeps the workers looking for work until it returns, as OpenMP's do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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

    /// Runs `work` on one of the threads; parallel iterators in it use all of them.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.0.install(|| {
            let over = Over(Arc::new(AtomicBool::new(false)));
            let (flag, own) = (over.0.clone(), rayon::current_thread_index());
            // Each worker has its own copy of this, so that none takes another's and waits for itself.
            self.0.spawn_broadcast(move |context| {
                while Some(context.index()) != own && !flag.load(Ordering::Acquire) {
                    if rayon::yield_now() != Some(rayon::Yield::Executed) {
                        (0..16).for_each(|_| std::hint::spin_loop());
                    }
                }
            });
            work()
        })
    }
}

/// Lets the workers sleep when the work is over, however it ends.
struct Over(Arc<AtomicBool>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
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
}
