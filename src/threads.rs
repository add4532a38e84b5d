//! A fixed team of threads for work that falls into thousands of short parallel loops.
//!
//! A training step has some three thousand such loops, a decode call a few hundred, with little
//! serial work between them. Waking a sleeping thread takes as long as one of them (50–100 µs on a
//! virtual machine), so the threads of a [`Team`] spin between the loops of one [`Team::enter`], as
//! OpenMP's do, and sleep outside of it.
//!
//! A loop is cut into fixed ranges, and the calling thread and the team's threads claim them one by
//! one. Nothing that is computed depends on who computes it, and a thread that another program keeps
//! from its processor delays nobody: only ranges that were claimed are waited for.

use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::null;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crate::{Error, Result};

crate::options::choices! {
    /// What threads do between two loops of one piece of work.
    pub enum Wait: "wait" {
        /// Spin: the next loop begins at once, and every core is busy meanwhile.
        Spin = "spin",
        /// Sleep soon, for a process that shares its cores: slower by the time it takes to wake them.
        Sleep = "sleep",
    }
}

/// Threads that share the loops of one caller at a time.
#[derive(Debug)]
pub struct Team {
    shared: Arc<TeamState>,
    workers: Vec<JoinHandle<()>>,
    /// Held by the thread that has entered.
    entered: Mutex<()>,
}

impl Team {
    /// A team of `threads`, by default one for each core, the calling thread included. Its own
    /// threads are called `sn-<name>-1` and so on.
    ///
    /// # Errors
    /// [`Error::Internal`] where the system starts no more threads.
    pub fn new(threads: Option<u32>, name: &str, wait: Wait) -> Result<Team> {
        let cores = || std::thread::available_parallelism().map_or(1, |n| n.get());
        let threads = threads.map_or_else(cores, |n| n as usize).max(1);
        let shared = Arc::new(TeamState::new(threads, wait));
        let mut team = Team { shared, workers: Vec::new(), entered: Mutex::new(()) };
        for i in 1..threads {
            let shared = team.shared.clone();
            let worker = std::thread::Builder::new()
                .name(format!("sn-{name}-{i}"))
                .spawn(move || shared.work())
                .map_err(|e| Error::Internal(format!("cannot start threads: {e}")))?;
            team.workers.push(worker);
        }
        Ok(team)
    }

    /// Its number of threads, the caller's included.
    pub fn threads(&self) -> usize {
        self.shared.threads
    }

    /// Runs `work` on the calling thread; loops in it ([`for_each`], [`for_each_index`]) use the
    /// whole team. One thread at a time: others wait. Inside of `work` the same team may be entered
    /// again, and another one instead of it.
    pub fn enter<T>(&self, work: impl FnOnce() -> T) -> T {
        if std::ptr::eq(CURRENT.get(), &*self.shared) {
            return work();
        }
        let _alone = lock(&self.entered);
        let _current = Current::set(&*self.shared);
        let _awake = Awake::new(&self.shared);
        work()
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        self.shared.wake();
        for worker in self.workers.drain(..) {
            // A worker catches every panic of the work it runs.
            let _ = worker.join();
        }
    }
}

thread_local! {
    /// The team that the loops of this thread use; null for none.
    static CURRENT: Cell<*const TeamState> = const { Cell::new(null()) };
}

/// Makes a team the current one until it is dropped.
struct Current(*const TeamState);

impl Current {
    fn set(shared: *const TeamState) -> Current {
        Current(CURRENT.replace(shared))
    }
}

impl Drop for Current {
    fn drop(&mut self) {
        CURRENT.set(self.0);
    }
}

/// Keeps the threads of a team spinning until it is dropped.
struct Awake<'a>(&'a TeamState);

impl Awake<'_> {
    fn new(shared: &TeamState) -> Awake<'_> {
        if shared.wait == Wait::Spin && shared.threads > 1 {
            shared.awake.store(true, Ordering::SeqCst);
            shared.wake();
        }
        Awake(shared)
    }
}

impl Drop for Awake<'_> {
    fn drop(&mut self) {
        self.0.awake.store(false, Ordering::SeqCst);
    }
}

/// The number of threads that a loop on this thread uses.
pub fn current_threads() -> usize {
    // SAFETY: set by `enter`, which is still on this thread's stack and borrows the team.
    unsafe { CURRENT.get().as_ref() }.map_or(1, |shared| shared.threads)
}

/// Most ranges that a loop is cut into, for each thread: small enough to end together, few enough
/// that claiming them costs nothing.
const RANGES_PER_THREAD: usize = 64;

/// Calls `work` with every index below `count`, on the current team; at least `min` of them in a
/// row on one thread. On the calling thread alone where no team was entered, or inside of another
/// loop.
///
/// # Panics
/// As `work` does, when all threads have left it.
pub fn for_each_index(count: usize, min: usize, work: impl Fn(usize) + Sync) {
    // SAFETY: as in `current_threads`.
    let team = unsafe { CURRENT.get().as_ref() };
    let ranges = |team: &TeamState| (count / min.max(1)).min(team.threads * RANGES_PER_THREAD);
    match team {
        Some(team) if team.threads > 1 && ranges(team) > 1 => {
            let ranges = ranges(team);
            let _nested_loops_run_alone = Current::set(null());
            team.run(ranges as u32, &|range| {
                let start = |range: usize| (range as u128 * count as u128 / ranges as u128) as usize;
                (start(range)..start(range + 1)).for_each(&work);
            });
        }
        _ => (0..count).for_each(work),
    }
}

/// Calls `work` with every part of `parts` and its index, as [`for_each_index`] does.
pub fn for_each<P: Parts>(parts: P, min: usize, work: impl Fn(usize, P::Part) + Sync) {
    for_each_index(parts.count(), min, |i| {
        // SAFETY: every index below `count` comes once.
        work(i, unsafe { parts.part(i) });
    });
}

/// Slices cut into parts that threads use at the same time: [`chunks`], [`chunks_mut`], or a tuple
/// of them, cut alike.
pub trait Parts: Sync {
    /// What one call of the loop gets.
    type Part;

    /// Their number.
    fn count(&self) -> usize;

    /// # Safety
    /// `i` is below `count`, and no part is taken twice.
    unsafe fn part(&self, i: usize) -> Self::Part;
}

/// See [`chunks`].
pub struct Chunks<'a, T>(&'a [T], usize);

/// `x` in chunks of `len`, the last one shorter where it does not divide.
pub fn chunks<T>(x: &[T], len: usize) -> Chunks<'_, T> {
    Chunks(x, len.max(1))
}

impl<'a, T: Sync> Parts for Chunks<'a, T> {
    type Part = &'a [T];

    fn count(&self) -> usize {
        self.0.len().div_ceil(self.1)
    }

    unsafe fn part(&self, i: usize) -> &'a [T] {
        let from = i * self.1;
        &self.0[from..self.0.len().min(from + self.1)]
    }
}

/// See [`chunks_mut`].
pub struct ChunksMut<'a, T> {
    data: *mut T,
    total: usize,
    len: usize,
    borrowed: PhantomData<&'a mut [T]>,
}

// SAFETY: threads take disjoint chunks of a slice that is borrowed exclusively (`Parts::part`).
unsafe impl<T: Send> Sync for ChunksMut<'_, T> {}

/// `x` in chunks of `len`, the last one shorter where it does not divide.
pub fn chunks_mut<T>(x: &mut [T], len: usize) -> ChunksMut<'_, T> {
    ChunksMut { data: x.as_mut_ptr(), total: x.len(), len: len.max(1), borrowed: PhantomData }
}

impl<'a, T: Send> Parts for ChunksMut<'a, T> {
    type Part = &'a mut [T];

    fn count(&self) -> usize {
        self.total.div_ceil(self.len)
    }

    unsafe fn part(&self, i: usize) -> &'a mut [T] {
        let from = i * self.len;
        assert!(from < self.total);
        // SAFETY: inside the slice that was borrowed for 'a; the caller takes no part twice.
        unsafe { std::slice::from_raw_parts_mut(self.data.add(from), self.len.min(self.total - from)) }
    }
}

macro_rules! parts_of_tuple {
    ($($name:ident $place:tt),*) => {
        impl<$($name: Parts),*> Parts for ($($name,)*) {
            type Part = ($($name::Part,)*);

            fn count(&self) -> usize {
                [$(self.$place.count()),*].into_iter().min().unwrap_or(0)
            }

            unsafe fn part(&self, i: usize) -> Self::Part {
                // SAFETY: the caller's promise holds for each.
                unsafe { ($(self.$place.part(i),)*) }
            }
        }
    };
}

parts_of_tuple!(A 0, B 1);
parts_of_tuple!(A 0, B 1, C 2);
parts_of_tuple!(A 0, B 1, C 2, D 3);

/// What the threads of a team share.
struct TeamState {
    threads: usize,
    wait: Wait,
    /// The loop that runs: the number of its ranges above, of those claimed below (see [`Claims`]).
    claims: AtomicU64,
    /// Ranges that are finished.
    finished: AtomicUsize,
    /// What a range is given to. Written by the caller before `claims` offers its first range, and
    /// not again until all of them are finished.
    job: UnsafeCell<Job>,
    /// The first panic of a range; `has_panicked` says so without the lock.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    has_panicked: AtomicBool,
    /// Threads spin where they find no work.
    awake: AtomicBool,
    /// The team is dropped.
    over: AtomicBool,
    /// Threads that sleep or are about to.
    sleepers: AtomicUsize,
    lock: Mutex<()>,
    wakes: Condvar,
}

/// A loop's body, whose lifetime [`TeamState::run`] guards.
type Job = Option<&'static (dyn Fn(usize) + Sync)>;

// SAFETY: `job` is the only field that is not `Sync` itself. Its writer has the team alone
// (`Team::entered`) and waits until all claimed ranges are finished; a reader has claimed one.
unsafe impl Sync for TeamState {}
// SAFETY: as above; what it points to is `Sync`.
unsafe impl Send for TeamState {}

impl std::fmt::Debug for TeamState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TeamState").field("threads", &self.threads).field("wait", &self.wait).finish()
    }
}

/// What a thread waits for.
#[derive(Clone, Copy, PartialEq)]
enum Until {
    /// A worker: the next loop.
    Work,
    /// The caller: the ranges that others have claimed.
    Finished,
}

/// Times that the caller looks whether others have finished before it sleeps, spinning or not: some
/// 100 µs. A thread that is later than that has lost its processor, perhaps to the caller.
const LOOKS_FOR_A_STRAGGLER: u32 = 160;

/// Times that a thread looks for work before it sleeps, where it may not spin: some 10 µs.
const LOOKS_BEFORE_SLEEP: u32 = 32;

impl TeamState {
    fn new(threads: usize, wait: Wait) -> TeamState {
        TeamState {
            threads,
            wait,
            claims: AtomicU64::new(0),
            finished: AtomicUsize::new(0),
            job: UnsafeCell::new(None),
            panic: Mutex::default(),
            has_panicked: AtomicBool::new(false),
            awake: AtomicBool::new(false),
            over: AtomicBool::new(false),
            sleepers: AtomicUsize::new(0),
            lock: Mutex::default(),
            wakes: Condvar::new(),
        }
    }

    /// Runs `job` with every number below `ranges`, on all threads. Only the thread that entered
    /// the team may call it, and not from inside of a job.
    fn run(&self, ranges: u32, job: &(dyn Fn(usize) + Sync)) {
        // SAFETY: only the lifetime changes. Threads call the job of a claimed range alone, and this
        // function returns when all are finished.
        let job =
            unsafe { std::mem::transmute::<&(dyn Fn(usize) + Sync), &'static (dyn Fn(usize) + Sync)>(job) };
        self.finished.store(0, Ordering::Relaxed);
        // SAFETY: all ranges of the loop before are finished, so that nobody reads it.
        unsafe { *self.job.get() = Some(job) };
        self.claims.store(u64::from(ranges) << 32, Ordering::SeqCst);
        self.wake();
        while self.run_range() {}
        self.wait_until(Until::Finished, || self.finished.load(Ordering::SeqCst) == ranges as usize);
        if self.has_panicked.swap(false, Ordering::Relaxed)
            && let Some(panic) = lock(&self.panic).take()
        {
            resume_unwind(panic);
        }
    }

    /// A worker's life.
    fn work(&self) {
        loop {
            self.wait_until(Until::Work, || self.has_range() || self.over.load(Ordering::SeqCst));
            if self.over.load(Ordering::SeqCst) {
                return;
            }
            while self.run_range() {}
        }
    }

    fn has_range(&self) -> bool {
        let claims = self.claims.load(Ordering::SeqCst);
        (claims as u32) < (claims >> 32) as u32
    }

    /// Claims a range and runs it; false where none is left.
    fn run_range(&self) -> bool {
        let claim = |claims: u64| ((claims as u32) < (claims >> 32) as u32).then(|| claims + 1);
        let Ok(claims) = self.claims.fetch_update(Ordering::AcqRel, Ordering::Acquire, claim) else {
            return false;
        };
        if !self.has_panicked.load(Ordering::Relaxed) {
            // SAFETY: written before this range was offered, and valid until it is finished.
            let job = unsafe { *self.job.get() }.expect("a loop that has ranges has a job");
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| job(claims as u32 as usize))) {
                lock(&self.panic).get_or_insert(panic);
                self.has_panicked.store(true, Ordering::Relaxed);
            }
        }
        let finished = self.finished.fetch_add(1, Ordering::SeqCst) + 1;
        if finished == (claims >> 32) as usize {
            self.wake();
        }
        true
    }

    /// Returns when `is_true`, which another thread makes true before it calls [`TeamState::wake`].
    fn wait_until(&self, until: Until, is_true: impl Fn() -> bool) {
        let mut looks = 0u32;
        while !is_true() {
            let spins =
                self.awake.load(Ordering::SeqCst) && (until == Until::Work || looks < LOOKS_FOR_A_STRAGGLER);
            if looks >= LOOKS_BEFORE_SLEEP && !spins {
                self.sleep_until(until, &is_true);
                continue;
            }
            (0..16).for_each(|_| std::hint::spin_loop());
            looks = looks.saturating_add(1);
            // With more threads than processors, those that have work need one.
            if looks.is_multiple_of(64) {
                std::thread::yield_now();
            }
        }
    }

    /// Sleeps until `is_true`, or until threads without work are to spin.
    fn sleep_until(&self, until: Until, is_true: impl Fn() -> bool) {
        let mut guard = lock(&self.lock);
        // Counted before the check: whoever makes it true after the check sees a sleeper, and waits
        // for the lock before it wakes it.
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        while !(is_true() || until == Until::Work && self.awake.load(Ordering::SeqCst)) {
            guard = self.wakes.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
    }

    /// Wakes all sleepers, so that they look again.
    fn wake(&self) {
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            drop(lock(&self.lock));
            self.wakes.notify_all();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn sum_below(n: u64) -> u64 {
        let sum = AtomicU64::new(0);
        for_each_index(n as usize, 1, |i| {
            sum.fetch_add(i as u64, Ordering::Relaxed);
        });
        sum.into_inner()
    }

    #[test]
    fn loops_visit_every_index_once_on_all_threads_again_and_again() {
        for wait in [Wait::Spin, Wait::Sleep] {
            let team = Team::new(Some(3), "test", wait).unwrap();
            assert_eq!((team.threads(), current_threads()), (3, 1));
            for _ in 0..200 {
                let sums = team.enter(|| {
                    assert_eq!(current_threads(), 3);
                    [0, 1, 2, 100, 1000].map(sum_below)
                });
                assert_eq!(sums, [0, 0, 1, 4950, 499_500]);
            }
            // A loop of three ranges that wait for each other ends only where three threads run it.
            let met = AtomicUsize::new(0);
            team.enter(|| {
                for_each_index(3, 1, |_| {
                    met.fetch_add(1, Ordering::SeqCst);
                    let called = Instant::now();
                    while met.load(Ordering::SeqCst) < 3 {
                        assert!(called.elapsed() < Duration::from_secs(60), "a thread is missing");
                        std::thread::yield_now();
                    }
                });
            });
        }
    }

    #[test]
    fn a_panic_of_any_thread_reaches_the_caller_and_the_team_goes_on() {
        let team = Team::new(Some(3), "test", Wait::Spin).unwrap();
        for bad in [0, 7, 99] {
            let panicked = catch_unwind(AssertUnwindSafe(|| {
                team.enter(|| for_each_index(100, 1, |i| assert_ne!(i, bad, "on purpose")));
            }));
            let message = panicked.unwrap_err().downcast::<String>().unwrap();
            assert!(message.contains("on purpose"), "{message}");
            assert_eq!(team.enter(|| sum_below(100)), 4950);
            assert_eq!(current_threads(), 1);
        }
    }

    #[test]
    fn loops_inside_of_loops_run_on_one_thread_and_teams_may_be_entered_within_teams() {
        let (outer, inner) = (
            Team::new(Some(2), "test", Wait::Spin).unwrap(),
            Team::new(Some(2), "test", Wait::Spin).unwrap(),
        );
        let total = AtomicU64::new(0);
        outer.enter(|| {
            for_each_index(8, 1, |_| {
                assert_eq!(current_threads(), 1);
                total.fetch_add(sum_below(10), Ordering::Relaxed);
            });
            assert_eq!(outer.enter(current_threads), 2);
            assert_eq!(inner.enter(|| sum_below(10)), 45);
            assert_eq!(current_threads(), 2);
        });
        assert_eq!(total.into_inner(), 8 * 45);
        let threads = [1, 2].map(|_| outer.enter(|| sum_below(1000)));
        assert_eq!(threads, [499_500; 2]);
    }

    #[test]
    fn slices_are_cut_alike() {
        let team = Team::new(Some(2), "test", Wait::Spin).unwrap();
        let (mut y, x, z) = (vec![0; 10], (0..10).collect::<Vec<_>>(), [10, 20, 30, 40]);
        team.enter(|| {
            for_each((chunks_mut(&mut y, 3), chunks(&x, 3), chunks(&z, 1)), 1, |i, (y, x, z)| {
                assert_eq!(y.len(), if i == 3 { 1 } else { 3 });
                y.iter_mut().zip(x).for_each(|(y, x)| *y = x + z[0]);
            });
        });
        assert_eq!(y, [10, 11, 12, 23, 24, 25, 36, 37, 38, 49]);
    }

    /// Seconds of processor time that the threads called `name` have used.
    #[cfg(target_os = "linux")]
    fn processor_seconds(name: &str) -> f64 {
        let of_thread = |entry: std::io::Result<std::fs::DirEntry>| {
            let path = entry.ok()?.path();
            let comm = std::fs::read_to_string(path.join("comm")).ok()?;
            let stat = std::fs::read_to_string(path.join("schedstat")).ok()?;
            (comm.trim() == name).then(|| stat.split(' ').next()?.parse::<f64>().ok())?
        };
        std::fs::read_dir("/proc/self/task").unwrap().filter_map(of_thread).sum::<f64>() / 1e9
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn threads_spin_between_loops_only_where_they_may_and_never_between_calls() {
        let rest = Duration::from_millis(200);
        let (spins, sleeps) = (
            Team::new(Some(2), "spins", Wait::Spin).unwrap(),
            Team::new(Some(2), "sleeps", Wait::Sleep).unwrap(),
        );
        spins.enter(|| std::thread::sleep(rest));
        sleeps.enter(|| {
            sum_below(1000);
            std::thread::sleep(rest);
        });
        let used = processor_seconds("sn-spins-1");
        assert!(processor_seconds("sn-sleeps-1") < 0.05, "{}", processor_seconds("sn-sleeps-1"));
        std::thread::sleep(rest);
        assert!(processor_seconds("sn-spins-1") - used < 0.05);
    }
}
