//! The options of the library's own engine.

use serde::{Deserialize, Serialize};

use crate::engine::{LlamaOptions, Weights};
use crate::options::{Range, options};
use crate::threads::Wait;

options! {
    /// How to sample.
    #[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
    #[serde(default)]
    pub struct EngineOptions: "Sampling" {
        /// Threads to compute with.
        threads: Option<u32> = None, { range: Range::closed(1.0, 1024.0), unset: "all cores" };
        /// Sequences sampled at once.
        slots: u32 = 16, { range: Range::closed(1.0, 256.0) };
        /// Which weights batches of sequences are multiplied with.
        weights: Weights = Weights::Auto, {};
        /// Memory for the model, its expanded weights and its KV cache together.
        max_memory: Option<u64> = None, {
            range: Range::at_least(1.0), placeholder: "SIZE", unset: "what is free", is_bytes: true
        };
        /// What threads do between two loops.
        wait: Wait = Wait::Spin, {};
    }
}

impl EngineOptions {
    /// The same as options of the engine itself.
    pub fn llama(&self) -> LlamaOptions {
        let EngineOptions { threads, slots, weights, max_memory, wait } = *self;
        LlamaOptions { threads, slots, weights, max_memory, wait, ..LlamaOptions::default() }
    }
}
