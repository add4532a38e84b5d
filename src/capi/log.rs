//! The log: the caller's callback as the logger of the `log` crate, through which the library and the
//! llama.cpp inside it write their lines.

use std::ffi::{c_char, c_void};
use std::sync::{Mutex, OnceLock, PoisonError};

use log::{LevelFilter, Log, Metadata, Record};

use super::entry::entry;
use super::error::sn_error;
use super::failure::Failure;
use super::status::sn_status;
use super::text::Text;

/// How much a line of the log matters. New ones may be added.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum sn_log_level {
    /// Something failed. Calls report it themselves; llama.cpp may log details.
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
/// library's own messages and the log of the llama.cpp inside it, not of one that the caller has.
/// Process-wide: it replaces an earlier one, which is not called any more when this returns. NULL
/// for silence, which is the default; `level` does not matter then.
///
/// Errors: SN_STATUS_INVALID_ARGUMENT for an unknown level; SN_STATUS_UNSUPPORTED in a Rust program
/// that has a logger of its own, which receives these lines already. Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_log_set(
    level: i32,
    callback: sn_log_fn,
    user_data: *mut c_void,
    err: *mut *mut sn_error,
) -> sn_status {
    entry!(err => {
        let Some(callback) = callback else {
            SINK.set(None);
            return Ok(());
        };
        let filter = match level {
            1 => LevelFilter::Error,
            2 => LevelFilter::Warn,
            3 => LevelFilter::Info,
            4 => LevelFilter::Trace,
            _ => return Err(Failure::argument("level", format!("is {level}; expected 1 to 4"))),
        };
        if !Sink::install() {
            let reason = "this program has a logger of its own, which receives these lines already";
            return Err(crate::Error::Unsupported(reason.into()).into());
        }
        SINK.set(Some(Callback { callback, user_data, filter }));
        Ok(())
    })
}

/// The logger of the process, once a callback was set.
static SINK: Sink = Sink(Mutex::new(None));

struct Sink(Mutex<Option<Callback>>);

struct Callback {
    callback: unsafe extern "C" fn(level: i32, line: *const c_char, line_len: usize, user_data: *mut c_void),
    user_data: *mut c_void,
    filter: LevelFilter,
}

// SAFETY: `user_data` is only handed to `callback`, one call at a time, and the header tells the
// caller that this happens on any thread.
unsafe impl Send for Callback {}

impl Sink {
    /// Whether the sink is the logger of the process, which it stays from the first call on.
    fn install() -> bool {
        static INSTALLED: OnceLock<bool> = OnceLock::new();
        *INSTALLED.get_or_init(|| log::set_logger(&SINK).is_ok())
    }

    fn set(&self, callback: Option<Callback>) {
        // Held while a line is handed out, so an earlier callback has returned.
        let mut place = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A program's own logger keeps its level: with that, there never was a callback.
        if place.is_some() || callback.is_some() {
            log::set_max_level(callback.as_ref().map_or(LevelFilter::Off, |callback| callback.filter));
        }
        *place = callback;
    }
}

impl Log for Sink {
    /// Lines of this library, and of llama.cpp; not of other crates that a program may have.
    fn enabled(&self, metadata: &Metadata) -> bool {
        let target = metadata.target();
        target == "llama.cpp" || target.split("::").next() == Some("secondnature")
    }

    fn log(&self, record: &Record) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let callback = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(callback) = callback.as_ref().filter(|callback| record.level() <= callback.filter) else {
            return;
        };
        let line = match record.target() {
            "llama.cpp" => Text::new(format!("llama.cpp: {}", record.args())),
            _ => Text::new(record.args().to_string()),
        };
        let level = match record.level() {
            log::Level::Error => sn_log_level::Error,
            log::Level::Warn => sn_log_level::Warning,
            log::Level::Info => sn_log_level::Info,
            log::Level::Debug | log::Level::Trace => sn_log_level::Debug,
        };
        // SAFETY: the caller gave a function of this type with its user data.
        unsafe { (callback.callback)(level as i32, line.as_ptr(), line.len(), callback.user_data) }
    }

    fn flush(&self) {}
}
