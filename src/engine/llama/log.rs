//! llama.cpp starts once for the process and logs to the terminal by default. Here its last
//! warnings and errors are kept instead, so that a failed load can say why.

use std::collections::VecDeque;
use std::ffi::{c_char, c_void};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_sys_2 as sys;

use super::handles::copy_text;

/// The last warnings and errors that llama.cpp wrote; everything else is dropped.
static LOG: Mutex<VecDeque<(bool, String)>> = Mutex::new(VecDeque::new());

unsafe extern "C" fn keep_line(level: sys::ggml_log_level, text: *const c_char, _: *mut c_void) {
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
        unsafe { sys::llama_log_set(Some(keep_line), std::ptr::null_mut()) };
        // An error means that the host already started it, which serves as well.
        let backend = LlamaBackend::init().ok();
        #[cfg(feature = "portable")]
        super::cpu::choose();
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
