//! The facts of a written adapter, as `report.json` has them.

use serde::{Deserialize, Serialize};

/// The adapter file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AdapterFacts {
    /// Where it was written.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// r
    pub rank: usize,
    /// α
    pub alpha: f32,
    /// Largest difference between the trainer's logits and llama.cpp's with the adapter loaded.
    pub parity_max_abs_diff: f64,
    /// Root mean square of the same difference, relative to the spread of the logits.
    pub parity_relative_rms: f64,
    /// The same of the base model without the adapter, which rounding alone explains.
    #[serde(default)]
    pub parity_base_relative_rms: f64,
}
