//! The caller's callbacks as the library's `Progress`.

use std::ffi::c_void;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::progress::{sn_progress, sn_progress_fn};
use super::text::Text;
use super::train_step::{sn_train_step, sn_train_step_fn};
use super::verdict::{self, sn_verdict_fn};
use crate::vote::Verdict;
use crate::{Progress, Stage, TrainStep, Update};

/// The caller's callbacks, called by one thread at a time.
pub(super) struct Reporter(Mutex<Callbacks>);

/// Each callback with its user data.
#[derive(Clone, Copy)]
pub(super) struct Callbacks {
    pub progress: (sn_progress_fn, *mut c_void),
    pub verdict: (sn_verdict_fn, *mut c_void),
    pub step: (sn_train_step_fn, *mut c_void),
}

impl Default for Callbacks {
    fn default() -> Callbacks {
        let none = std::ptr::null_mut();
        Callbacks { progress: (None, none), verdict: (None, none), step: (None, none) }
    }
}

// SAFETY: each `user_data` is only handed to its callback, one at a time, and the header tells
// the caller that this happens on any thread.
unsafe impl Send for Callbacks {}

impl Reporter {
    pub fn new(callbacks: Callbacks) -> Reporter {
        Reporter(Mutex::new(callbacks))
    }

    /// The callbacks, for one thread at a time.
    fn call(&self) -> MutexGuard<'_, Callbacks> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress for Reporter {
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
        // SAFETY: the caller gave a function of this type with its user data.
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
        unsafe { callback(&sn_train_step::of(step), user_data) }
    }
}
