//! How far a call has come, as its callback receives it.

use std::ffi::{c_char, c_void};

use super::stage::sn_stage;

/// One progress report. Later versions may append fields.
#[repr(C)]
pub struct sn_progress {
    /// Which part of the run.
    pub stage: sn_stage,
    /// Units finished: questions, samples or optimiser steps, as the stage has them.
    pub done: u64,
    /// Units in all; 0 when unknown.
    pub total: u64,
    /// A short note for the user, UTF-8, followed by a NUL.
    pub note: *const c_char,
    /// Its length in bytes.
    pub note_len: usize,
}

/// Receives progress, often; keep it quick. `progress` is valid during the call only.
///
/// Threads: called by one thread at a time, not always the one that made the call. Must return
/// normally: no exception or longjmp may leave it.
pub type sn_progress_fn = Option<unsafe extern "C" fn(progress: *const sn_progress, user_data: *mut c_void)>;
