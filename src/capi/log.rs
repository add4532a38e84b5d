//! Reading along.

use std::ffi::{c_char, c_void};

use super::entry::entry;
use super::error::sn_error;
use super::failure::Failure;
use super::status::sn_status;
use super::text::Text;
use crate::log::{Level, listen};

/// How much a line of the log matters. New ones may be added.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum sn_log_level {
    /// Something failed. Calls say so themselves; llama.cpp may have more to say.
    Error = 1,
    /// Something is not as it should be, and work goes on.
    Warning = 2,
    /// What is being done.
    Info = 3,
    /// Everything.
    Debug = 4,
}

/// Receives a line of the log: UTF-8 of `line_len` bytes without a line end, followed by a NUL and
/// valid during the call only. `level` is one of sn_log_level.
///
/// Threads: called by any thread, one call at a time, from within calls into the library. Must not
/// call into the library, and must return normally: no exception or longjmp may leave it.
pub type sn_log_fn =
    Option<unsafe extern "C" fn(level: i32, line: *const c_char, line_len: usize, user_data: *mut c_void)>;

/// Hands every line at `level`, one of sn_log_level, or above to `callback` from now on: the
/// library's own warnings and the log of the llama.cpp inside it, not of one that the host has.
/// Process-wide: it replaces an earlier one, which is not called any more when this returns. NULL
/// for silence, which is how it starts; `level` does not matter then.
///
/// Errors: SN_STATUS_INVALID_ARGUMENT for an unknown level. Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_log_set(
    level: i32,
    callback: sn_log_fn,
    user_data: *mut c_void,
    err: *mut *mut sn_error,
) -> sn_status {
    entry!(err => {
        let Some(callback) = callback else {
            listen(Level::Error, None);
            return Ok(());
        };
        let known = LEVELS.iter().find(|(known, _)| *known as i32 == level);
        let Some((_, level)) = known else {
            return Err(Failure::argument("level", format!("is {level}; expected 1 to 4")));
        };
        let host = Host { callback, user_data };
        listen(*level, Some(Box::new(move |level, line| host.tell(level, line))));
        Ok(())
    })
}

const LEVELS: [(sn_log_level, Level); 4] = [
    (sn_log_level::Error, Level::Error),
    (sn_log_level::Warning, Level::Warning),
    (sn_log_level::Info, Level::Info),
    (sn_log_level::Debug, Level::Debug),
];

struct Host {
    callback: unsafe extern "C" fn(level: i32, line: *const c_char, line_len: usize, user_data: *mut c_void),
    user_data: *mut c_void,
}

// SAFETY: `user_data` is only handed to `callback`, one call at a time, and the header tells the host
// that this happens on any thread.
unsafe impl Send for Host {}

impl Host {
    fn tell(&self, level: Level, line: &str) {
        let line = Text::new(line);
        let level = LEVELS.iter().find(|(_, ours)| *ours == level).map_or(0, |(known, _)| *known as i32);
        // SAFETY: the host gave a function of this type together with what it wants to be given.
        unsafe { (self.callback)(level, line.as_ptr(), line.len(), self.user_data) }
    }
}
