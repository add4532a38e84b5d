//! How long work tells its caller where it is, and how the caller stops it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::{Error, Result};

/// The part of a run that an [`Update`] speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Reading, hashing and loading the model.
    Load,
    /// Sampling and voting on the training questions.
    Curate,
    /// Training the adapter.
    Train,
    /// Writing the adapter and comparing it with llama.cpp.
    Export,
    /// Measuring System 1, System 2 and the distilled model.
    Evaluate,
}

/// One progress report. Counts are in the stage's own unit (questions, optimiser steps).
#[derive(Debug, Clone)]
pub struct Update {
    /// Which part of the run.
    pub stage: Stage,
    /// Units finished.
    pub done: u64,
    /// Units in all; 0 when unknown.
    pub total: u64,
    /// A short human note: kept so far, the loss, the rate.
    pub note: String,
}

/// Receives progress. Called from the thread that does the work, often; keep it quick.
pub trait Progress: Send + Sync {
    /// Takes one report.
    fn update(&self, update: &Update);
}

/// Reports nowhere.
pub struct Silent;

impl Progress for Silent {
    fn update(&self, _: &Update) {}
}

/// A request to stop, shared between threads. Work notices it within one decode batch or one
/// optimiser step and returns [`Error::Cancelled`].
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// A fresh token, not cancelled.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks the work to stop. Safe from any thread and from a signal handler.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether somebody asked.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// `Err(Cancelled)` once somebody asked.
    pub fn check(&self) -> Result<()> {
        if self.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }
}
