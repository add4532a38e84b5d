//! Progress, told to the host.

use std::ffi::{c_char, c_void};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::error::Text;
use super::step::{sn_step, sn_step_fn};
use super::verdict::{self, sn_verdict_fn};
use crate::vote::Verdict;
use crate::{Progress, Stage, TrainStep, Update};

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

/// The host's callbacks as the library knows them.
pub(super) struct Host(Mutex<Callbacks>);

/// Each callback with what it wants to be given.
#[derive(Clone, Copy)]
pub(super) struct Callbacks {
    pub progress: (sn_progress_fn, *mut c_void),
    pub verdict: (sn_verdict_fn, *mut c_void),
    pub step: (sn_step_fn, *mut c_void),
}

impl Default for Callbacks {
    fn default() -> Callbacks {
        let nowhere = std::ptr::null_mut();
        Callbacks { progress: (None, nowhere), verdict: (None, nowhere), step: (None, nowhere) }
    }
}

// SAFETY: each `user_data` is only handed to its callback, one at a time, and the header tells the
// host that this happens on any thread.
unsafe impl Send for Callbacks {}

impl Host {
    pub fn new(callbacks: Callbacks) -> Host {
        Host(Mutex::new(callbacks))
    }

    /// The callbacks, for one thread at a time.
    fn call(&self) -> MutexGuard<'_, Callbacks> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress for Host {
    fn update(&self, update: &Update) {
        let callbacks = self.call();
        let (Some(callback), user_data) = callbacks.progress else { return };
        let note = Text::new(update.note.as_str());
        let progress = sn_progress {
            stage: update.stage.into(),
            done: update.done,
            total: update.total,
            note: note.as_ptr(),
            note_len: note.len(),
        };
        // SAFETY: the host gave a function of this type together with what it wants to be given.
        unsafe { callback(&progress, user_data) }
    }

    fn verdict(&self, stage: Stage, verdict: &Verdict) {
        let callbacks = self.call();
        let (Some(callback), user_data) = callbacks.verdict else { return };
        // SAFETY: as above.
        verdict::show(stage.into(), verdict, |verdict| unsafe { callback(verdict, user_data) });
    }

    fn step(&self, step: &TrainStep) {
        let callbacks = self.call();
        let (Some(callback), user_data) = callbacks.step else { return };
        // SAFETY: as above.
        unsafe { callback(&sn_step::of(step), user_data) }
    }
}

impl From<Stage> for sn_stage {
    fn from(stage: Stage) -> sn_stage {
        match stage {
            Stage::Load => sn_stage::Load,
            Stage::Curate => sn_stage::Curate,
            Stage::Train => sn_stage::Train,
            Stage::Export => sn_stage::Export,
            Stage::Evaluate => sn_stage::Evaluate,
        }
    }
}
