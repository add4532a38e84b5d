//! How long training will probably take, without training anything.

use std::time::Duration;

use crate::kernels::gemm::Kernel;
use crate::model::spec::Spec;

/// Passes over the examples, those for the held-out loss included: training stops early before its fourth.
const PASSES: f64 = 3.0;
/// Operations for each linear parameter and token: a multiply-add forward, and one for the gradient of the
/// input. A frozen weight has no gradient of its own.
const OPERATIONS: f64 = 4.0;
/// Share of the rate of the matmul kernel that training reaches in all (`benches/record.md`).
const UTILISATION: f64 = 0.5;

/// How fast this machine trains a model.
#[derive(Debug, Clone, Copy)]
pub struct TrainingSpeed {
    tokens_per_second: f64,
}

impl TrainingSpeed {
    /// Measures the kernel that training would choose, for some milliseconds; `threads` as in the options.
    pub fn measured(spec: &Spec, threads: Option<u32>) -> TrainingSpeed {
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
        let threads = threads.map_or(cores, |n| cores.min(n as usize));
        let kernel = Kernel::fastest();
        let gflops = (0..3).map(|_| kernel.gflops(Duration::from_millis(2))).fold(0.0, f64::max);
        let operations = UTILISATION * gflops * 1e9 * threads as f64;
        TrainingSpeed { tokens_per_second: operations / (OPERATIONS * spec.linear_parameters() as f64) }
    }

    /// Hours to train on `examples` of so many tokens.
    pub fn hours(&self, examples: f64, tokens: f64) -> f64 {
        examples * tokens * PASSES / self.tokens_per_second / 3600.0
    }
}

#[cfg(test)]
impl TrainingSpeed {
    pub fn of(tokens_per_second: f64) -> TrainingSpeed {
        TrainingSpeed { tokens_per_second }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gguf::Gguf;

    #[test]
    fn training_takes_as_long_as_its_tokens_at_a_speed_that_the_model_s_size_decides() {
        assert_eq!(TrainingSpeed::of(100.0).hours(600.0, 50.0), 0.25);
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/coin-flip-tiny-q8_0.gguf");
        let spec = Spec::of(&Gguf::open(std::path::Path::new(file)).unwrap()).unwrap();
        let speed = TrainingSpeed::measured(&spec, Some(1)).tokens_per_second;
        assert!(speed.is_finite() && speed > 1000.0, "{speed} tokens/s of a model of a megabyte");
    }
}
