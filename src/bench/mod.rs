//! Measures this machine on the work that dominates, in the figures that peers report.

mod sample;
mod train;

pub use sample::{SampleBench, SampleFigures, Shares, SlotRate, sample};
pub use train::{Machine, TrainBench, TrainFigures, train};

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}
