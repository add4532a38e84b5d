//! The log of llama.cpp. llama.cpp starts once for the process and logs to the terminal by default;
//! here its lines go to the logger of the `log` crate instead, and its last warnings and errors are
//! kept, so that a failed load can say why.

use std::collections::VecDeque;
use std::ffi::{c_char, c_void};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_sys_2 as sys;
use log::Level;

use super::handles::copy_text;

/// The target of log records with lines of llama.cpp.
const TARGET: &str = "llama.cpp";

/// The last warnings and errors that llama.cpp wrote; everything else is dropped.
static LOG: Mutex<VecDeque<(bool, String)>> = Mutex::new(VecDeque::new());

/// A line that llama.cpp has not ended yet, and its level.
static BEGUN: Mutex<(Option<Level>, String)> = Mutex::new((None, String::new()));

unsafe extern "C" fn hear(level: sys::ggml_log_level, text: *const c_char, _: *mut c_void) {
    // SAFETY: as this function was called.
    unsafe { keep_line(level, text) };
    if log::log_enabled!(target: TARGET, Level::Error) {
        // SAFETY: llama.cpp passes NUL-terminated text.
        unsafe { copy_text(text) }.iter().for_each(|text| pass_on(level, text));
    }
}

/// Puts lines together, which llama.cpp may write in pieces, and hands on those that are whole.
fn pass_on(level: sys::ggml_log_level, text: &str) {
    let level = match level {
        sys::GGML_LOG_LEVEL_ERROR => Some(Level::Error),
        sys::GGML_LOG_LEVEL_WARN => Some(Level::Warn),
        sys::GGML_LOG_LEVEL_INFO => Some(Level::Info),
        sys::GGML_LOG_LEVEL_CONT => None, // That of what it continues.
        _ => Some(Level::Debug),
    };
    let mut whole = Vec::new();
    {
        let mut begun = BEGUN.lock().unwrap_or_else(PoisonError::into_inner);
        let (level_begun, line) = &mut *begun;
        *level_begun = level.or(*level_begun);
        for piece in text.split_inclusive('\n') {
            line.push_str(piece);
            if line.ends_with('\n') {
                whole.push((level_begun.unwrap_or(Level::Info), std::mem::take(line)));
            }
        }
    }
    for (level, line) in whole {
        let line = line.trim_end();
        if !line.is_empty() {
            log::log!(target: TARGET, level, "{line}");
        }
    }
}

/// # Safety
/// `text` is NULL or NUL-terminated.
unsafe fn keep_line(level: sys::ggml_log_level, text: *const c_char) {
    let is_error = level == sys::GGML_LOG_LEVEL_ERROR;
    if !is_error && level != sys::GGML_LOG_LEVEL_WARN {
        return;
    }
    // SAFETY: llama.cpp passes NUL-terminated text.
    let Some(line) = (unsafe { copy_text(text) }) else {
        return;
    };
    let mut log = LOG.lock().unwrap_or_else(PoisonError::into_inner);
    if log.len() == 32 {
        log.pop_front();
    }
    log.push_back((is_error, line.trim().replace('\n', " ")));
}

/// Starts llama.cpp once for the process and takes over its log.
fn start_backend() {
    static BACKEND: OnceLock<Option<LlamaBackend>> = OnceLock::new();
    BACKEND.get_or_init(|| {
        // SAFETY: the callback is a plain function and needs no data.
        unsafe { sys::llama_log_set(Some(hear), std::ptr::null_mut()) };
        // An error means that the host already started it, which serves as well.
        let backend = LlamaBackend::init().ok();
        #[cfg(feature = "portable")]
        super::cpu::choose();
        if log::log_enabled!(target: TARGET, Level::Info) {
            // SAFETY: both return static text.
            let texts = unsafe { [copy_text(sys::llama_version()), copy_text(sys::ggml_version())] };
            let [llama, ggml] = texts.map(Option::unwrap_or_default);
            log::info!(target: TARGET, "llama.cpp inside this library: {llama}, ggml {ggml}");
        }
        backend
    });
}

/// What llama.cpp logged since loading began.
pub struct LoadLog;

impl LoadLog {
    /// The reason of a failure in one line: the first error, since later ones only repeat that
    /// loading failed, without the name of the C++ function in front.
    pub fn why(&self) -> String {
        let log = LOG.lock().unwrap_or_else(PoisonError::into_inner);
        let first = log.iter().find(|(is_error, _)| *is_error).or_else(|| log.back());
        let Some((_, line)) = first else {
            return "llama.cpp refused it without a reason".to_string();
        };
        let is_name = |s: &str| s.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        match line.split_once(": ") {
            Some((function, why)) if is_name(function) => why.to_string(),
            _ => line.clone(),
        }
    }
}

/// One load at a time, so that the logged lines belong to it.
pub fn start_loading() -> (MutexGuard<'static, ()>, LoadLog) {
    static LOADING: Mutex<()> = Mutex::new(());
    start_backend();
    let guard = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
    LOG.lock().unwrap_or_else(PoisonError::into_inner).clear();
    (guard, LoadLog)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keeps the records of the test below; other tests load models at the same time.
    struct Sink(Mutex<Vec<(Level, String)>>);

    impl log::Log for Sink {
        fn enabled(&self, _: &log::Metadata) -> bool {
            true
        }

        fn log(&self, record: &log::Record) {
            let line = record.args().to_string();
            if line.contains("piece test") {
                assert_eq!(record.target(), "llama.cpp");
                self.0.lock().unwrap().push((record.level(), line));
            }
        }

        fn flush(&self) {}
    }

    #[test]
    fn pieces_of_lines_are_passed_on_as_lines() {
        static SINK: Sink = Sink(Mutex::new(Vec::new()));
        log::set_logger(&SINK).expect("no other unit test sets a logger");
        log::set_max_level(log::LevelFilter::Info);
        pass_on(sys::GGML_LOG_LEVEL_WARN, "\npiece test 1: a, b\npiece test 2\n");
        pass_on(sys::GGML_LOG_LEVEL_DEBUG, "piece test 3\n");
        log::set_max_level(log::LevelFilter::Off);
        let expected = ["piece test 1: a, b", "piece test 2"];
        let expected = expected.map(|line| (Level::Warn, line.to_string()));
        assert_eq!(*SINK.0.lock().unwrap(), expected);
    }
}
