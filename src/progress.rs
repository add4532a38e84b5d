//! Progress reports of long work.

use crate::Stage;
use crate::finding::Finding;
use crate::vote::Verdict;

/// One progress report. Counts are in the stage's own unit (questions, samples, optimiser steps).
#[derive(Debug, Clone)]
pub struct Update {
    /// Which part of the run.
    pub stage: Stage,
    /// Units finished.
    pub done: u64,
    /// Units in all; 0 when unknown.
    pub total: u64,
    /// A short note for people: questions accepted so far, the loss, the rate.
    pub note: String,
}

/// One optimiser step, done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrainStep {
    /// Steps taken, this one included and those of an interrupted run.
    pub step: u64,
    /// Most steps there will be; early stopping may end sooner.
    pub steps: u64,
    /// Passes over the examples so far.
    pub epoch: f64,
    /// The mean loss per target token of the step's examples.
    pub loss: f64,
    /// The last loss on held-out examples; none where none are held out.
    pub held_out_loss: Option<f64>,
    /// Tokens per second so far, shared prefixes counted for every example.
    pub tokens_per_s: f64,
    /// The learning rate of the step.
    pub lr: f32,
}

/// Receives progress. Called from the thread that does the work, often; keep it quick.
pub trait Progress: Send + Sync {
    /// Takes one report.
    fn update(&self, update: &Update);
    /// Takes the verdict on a question of the training set ([`Stage::Curate`]) or of the held-out
    /// one ([`Stage::Evaluate`]), once a stage: those that an earlier call reached come first. The
    /// pipeline in one call asks for the held-out ones twice, to decide and to evaluate.
    fn verdict(&self, _stage: Stage, _verdict: &Verdict) {}
    /// Takes a finding about the first questions of a stage, once a call; one that stops the run is its error
    /// instead.
    fn finding(&self, _stage: Stage, _finding: &Finding) {}
    /// Takes the figures of one optimiser step.
    fn step(&self, _step: &TrainStep) {}
}

/// Reports nowhere.
pub struct Silent;

impl Progress for Silent {
    fn update(&self, _: &Update) {}
}
