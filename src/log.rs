//! Lines for whoever wants to read along: the library's own warnings and llama.cpp's log.
//!
//! Process-wide, because llama.cpp's log is. Without a listener nothing is printed and nothing kept.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};

/// How much a line matters; a listener hears its own level and those above.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// Something failed.
    Error = 1,
    /// Something is not as it should be, and work goes on.
    Warning = 2,
    /// What is being done.
    Info = 3,
    /// Everything.
    Debug = 4,
}

type Listener = Box<dyn Fn(Level, &str) + Send>;

/// The least important level that is heard; 0 for silence. Read before a line is made.
static HEARD: AtomicU8 = AtomicU8::new(0);
static LISTENER: Mutex<Option<Listener>> = Mutex::new(None);

/// Hands every line at `level` or above to `listener` from now on, instead of an earlier one; `None`
/// for silence. When it returns, the earlier one is not called any more.
///
/// Threads: the listener is called by any thread, one call at a time. It must not log.
pub fn listen(level: Level, listener: Option<Listener>) {
    let mut place = LISTENER.lock().unwrap_or_else(PoisonError::into_inner);
    HEARD.store(if listener.is_some() { level as u8 } else { 0 }, Ordering::Relaxed);
    *place = listener;
}

/// Whether a line at `level` would be heard.
pub(crate) fn is_heard(level: Level) -> bool {
    level as u8 <= HEARD.load(Ordering::Relaxed)
}

/// Tells the listener, if there is one for this level.
pub(crate) fn tell(level: Level, line: &str) {
    if !is_heard(level) {
        return;
    }
    let listener = LISTENER.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(listener) = listener.as_ref().filter(|_| is_heard(level)) {
        listener(level, line);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use super::*;

    /// There is one listener in the process, so one test at a time.
    pub(crate) static ALONE: Mutex<()> = Mutex::new(());

    #[test]
    fn a_listener_hears_its_level_and_above_until_it_is_replaced() {
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let heard = Arc::new(Mutex::new(Vec::new()));
        let ours = |line: &str| line.starts_with("log test");
        let keep = heard.clone();
        listen(
            Level::Warning,
            Some(Box::new(move |level, line| {
                if ours(line) {
                    keep.lock().unwrap().push((level, line.to_string()));
                }
            })),
        );
        tell(Level::Error, "log test 1");
        tell(Level::Info, "log test 2");
        tell(Level::Warning, "log test 3");
        listen(Level::Debug, None);
        tell(Level::Error, "log test 4");
        let heard = heard.lock().unwrap();
        assert_eq!(*heard, [(Level::Error, "log test 1".into()), (Level::Warning, "log test 3".into())]);
    }
}
