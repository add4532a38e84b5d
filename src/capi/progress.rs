//! Progress, told to the host.

use std::ffi::{c_char, c_void};
use std::sync::{Mutex, PoisonError};

use crate::{Progress, Stage, Update};

/// The part of a run that progress speaks of. New ones may be added. Since 0.1.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum sn_stage {
    /// Reading, hashing and loading the model.
    Load = 0,
    /// Sampling and voting on the training questions.
    Curate = 1,
    /// Training the adapter.
    Train = 2,
    /// Writing the adapter and comparing it with llama.cpp.
    Export = 3,
    /// Measuring System 1, System 2 and the distilled model.
    Evaluate = 4,
}

/// One progress report. Later versions may append fields. Since 0.1.
#[repr(C)]
pub struct sn_progress {
    /// Which part of the run.
    pub stage: sn_stage,
    /// Units finished: questions or optimiser steps, as the stage has them.
    pub done: u64,
    /// Units in all; 0 when unknown.
    pub total: u64,
    /// A short note for a person, UTF-8, followed by a NUL.
    pub note: *const c_char,
    /// Its length in bytes.
    pub note_len: usize,
}

/// Receives progress, often; keep it quick. `progress` is valid during the call only.
///
/// Threads: called by one thread at a time, not always the one that made the call. Must return
/// normally: no exception or longjmp may leave it. Since 0.1.
pub type sn_progress_fn = Option<unsafe extern "C" fn(progress: *const sn_progress, user_data: *mut c_void)>;

/// The host's callback as the library knows it.
pub(super) struct Host {
    pub callback: sn_progress_fn,
    pub user_data: Mutex<*mut c_void>,
}

// SAFETY: `user_data` is only handed to `callback`, under the lock, and the header tells the host
// that this happens on any thread.
unsafe impl Send for Host {}
// SAFETY: as above.
unsafe impl Sync for Host {}

impl Progress for Host {
    fn update(&self, update: &Update) {
        let Some(callback) = self.callback else { return };
        let note = super::error::Text::new(update.note.as_str());
        let progress = sn_progress {
            stage: match update.stage {
                Stage::Load => sn_stage::Load,
                Stage::Curate => sn_stage::Curate,
                Stage::Train => sn_stage::Train,
                Stage::Export => sn_stage::Export,
                Stage::Evaluate => sn_stage::Evaluate,
            },
            done: update.done,
            total: update.total,
            note: note.as_ptr(),
            note_len: note.len(),
        };
        let user_data = self.user_data.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the host gave a function of this type together with what it wants to be given.
        unsafe { callback(&progress, *user_data) }
    }
}
