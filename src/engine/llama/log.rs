//! llama.cpp starts once for the process and logs to the terminal by default. Here its last
//! warnings and errors are kept instead, so that a failed load can say why; a listener of
//! [`crate::log`] hears all of it.

use std::collections::VecDeque;
use std::ffi::{c_char, c_void};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_sys_2 as sys;

use super::handles::copy_text;
use crate::log::{Level, is_heard, tell};

/// The last warnings and errors that llama.cpp wrote; everything else is dropped.
static LOG: Mutex<VecDeque<(bool, String)>> = Mutex::new(VecDeque::new());

/// A line that llama.cpp has not ended yet, and its level.
static BEGUN: Mutex<(Option<Level>, String)> = Mutex::new((None, String::new()));

unsafe extern "C" fn hear(level: sys::ggml_log_level, text: *const c_char, _: *mut c_void) {
    // SAFETY: as this function was called.
    unsafe { keep_line(level, text) };
    if is_heard(Level::Error) {
        // SAFETY: llama.cpp passes NUL-terminated text.
        unsafe { copy_text(text) }.iter().for_each(|text| pass_on(level, text));
    }
}

/// Puts lines together, which llama.cpp may write in pieces, and hands on those that are whole.
fn pass_on(level: sys::ggml_log_level, text: &str) {
    let level = match level {
        sys::GGML_LOG_LEVEL_ERROR => Some(Level::Error),
        sys::GGML_LOG_LEVEL_WARN => Some(Level::Warning),
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
            tell(level, &format!("llama.cpp: {line}"));
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
        if is_heard(Level::Info) {
            // SAFETY: both return static text.
            let texts = unsafe { [copy_text(sys::llama_version()), copy_text(sys::ggml_version())] };
            let [llama, ggml] = texts.map(Option::unwrap_or_default);
            tell(Level::Info, &format!("llama.cpp inside this library: {llama}, ggml {ggml}"));
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
    use std::sync::Arc;

    use super::*;

    #[test]
    fn pieces_of_lines_are_passed_on_as_lines() {
        let _alone = crate::log::tests::ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let heard = Arc::new(Mutex::new(Vec::new()));
        let keep = heard.clone();
        let listener = move |level, line: &str| {
            // Other tests load models meanwhile.
            if line.contains("piece test") {
                keep.lock().unwrap().push((level, line.to_string()));
            }
        };
        crate::log::listen(Level::Info, Some(Box::new(listener)));
        pass_on(sys::GGML_LOG_LEVEL_WARN, "\npiece test 1: a, b\npiece test 2\n");
        pass_on(sys::GGML_LOG_LEVEL_DEBUG, "piece test 3\n");
        crate::log::listen(Level::Error, None);
        let expected = ["piece test 1: a, b", "piece test 2"];
        let expected = expected.map(|line| (Level::Warning, format!("llama.cpp: {line}")));
        assert_eq!(*heard.lock().unwrap(), expected);
    }
}
