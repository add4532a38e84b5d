//! How answers are sampled: what several params structs say alike.

use super::failure::Failure;
use crate::distill::{CurateOptions, EarlyStopping, EngineOptions};
use crate::engine::Weights;

/// Which weights batches of sequences are multiplied with.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum sn_weights {
    /// Expanded where that pays and fits into half of the free memory.
    Auto = 0,
    /// As they are stored, by llama.cpp.
    AsIs = 1,
    /// Unpacked to 16 bits in memory: two to three times as fast from some eight sequences on.
    Expanded = 2,
}

/// The fields of that, as they stand in a params struct.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sampling {
    pub threads: u32,
    pub slots: u32,
    pub weights: i32,
    pub max_memory: u64,
}

impl Sampling {
    pub fn engine(self) -> Result<EngineOptions, Failure> {
        Ok(EngineOptions {
            threads: threads(self.threads)?,
            slots: match self.slots {
                0 => EngineOptions::default().slots,
                slots @ 1..=256 => slots,
                slots => return Err(Failure::argument("params.slots", format!("is {slots}; at most 256"))),
            },
            weights: choose(
                "params.weights",
                "sn_weights",
                self.weights,
                &[
                    (sn_weights::Auto as i32, Weights::Auto),
                    (sn_weights::AsIs as i32, Weights::AsIs),
                    (sn_weights::Expanded as i32, Weights::Expanded),
                ],
            )?,
            max_memory: (self.max_memory != 0).then_some(self.max_memory),
        })
    }
}

/// How samples vote, as it stands in a params struct.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Voting {
    pub samples: u32,
    pub threshold: f64,
    pub no_stop_answer: i32,
    pub no_stop_settled: i32,
    pub no_stop_threshold: i32,
}

impl Voting {
    pub fn options(self, engine: EngineOptions) -> CurateOptions {
        CurateOptions {
            engine,
            samples: (self.samples != 0).then_some(self.samples as usize),
            threshold: (self.threshold != 0.0).then_some(self.threshold as f32),
            early_stopping: EarlyStopping {
                answer: self.no_stop_answer == 0,
                settled: self.no_stop_settled == 0,
                threshold: self.no_stop_threshold == 0,
            },
        }
    }
}

/// A number of threads; `None` is all cores.
pub(super) fn threads(threads: u32) -> Result<Option<u32>, Failure> {
    match threads {
        0 => Ok(None),
        1..=1024 => Ok(Some(threads)),
        _ => Err(Failure::argument("params.threads", format!("is {threads}; at most 1024"))),
    }
}

/// The value that `number`, of the enum `name`, stands for.
pub(super) fn choose<T: Copy>(
    field: &str,
    name: &str,
    number: i32,
    known: &[(i32, T)],
) -> Result<T, Failure> {
    match known.iter().find(|(known, _)| *known == number) {
        Some((_, value)) => Ok(*value),
        None => Err(Failure::argument(
            field,
            format!("is {number}, expected an {name}, 0 to {}", known.len() - 1),
        )),
    }
}
