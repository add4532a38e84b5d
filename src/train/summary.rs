//! The figures of training, as `report.json` has them.

use serde::{Deserialize, Serialize};

/// What training took.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Training {
    /// Examples trained on.
    pub examples: usize,
    /// Examples held out for early stopping.
    pub held_out: usize,
    /// Passes over the examples (of the adapter that was kept).
    pub epochs: f64,
    /// Optimiser steps taken.
    pub steps: u64,
    /// Tokens fed, as the examples count them (shared prefixes counted for every example).
    pub tokens: u64,
    /// Tokens computed: shared prefixes once.
    pub tokens_computed: u64,
    /// Seconds spent training.
    pub seconds: f64,
    /// `tokens / seconds`
    pub tokens_per_s: f64,
    /// Loss per target token of the first step.
    pub loss_first: f64,
    /// Loss per target token of the last step.
    pub loss_last: f64,
    /// The lowest loss on held-out pseudo-labels, that of the adapter kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_out_loss: Option<f64>,
    /// Peak resident memory of the process so far.
    pub peak_rss_mb: f64,
    /// Loss per target token of every optimiser step.
    #[serde(default)]
    pub loss_curve: Vec<f64>,
    /// Held-out loss after every half epoch, the base model's first.
    #[serde(default)]
    pub held_out_curve: Vec<f64>,
}
