//! How to train.

use serde::{Deserialize, Serialize};

use crate::kernels::gemm::{Arithmetic, Kernel};
use crate::model::spec::Module;
use crate::threads::Wait;
use crate::{Error, Hint, Result};

/// How the learning rate falls after the warm-up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// Along half a cosine, to zero.
    #[default]
    Cosine,
    /// In a straight line, to zero.
    Linear,
    /// Not at all.
    Constant,
}

impl Schedule {
    /// The rate of step `step`, from 0: a linear warm-up over `warmup` steps to `peak`, then the
    /// schedule until `total`.
    pub fn rate(self, step: u64, warmup: u64, total: u64, peak: f32) -> f32 {
        if step < warmup {
            return peak * (step + 1) as f32 / (warmup + 1) as f32;
        }
        let done = (step - warmup) as f32 / (total.saturating_sub(warmup)).max(1) as f32;
        let done = done.min(1.0);
        match self {
            Schedule::Cosine => peak * 0.5 * (1.0 + (std::f32::consts::PI * done).cos()),
            Schedule::Linear => peak * (1.0 - done),
            Schedule::Constant => peak,
        }
    }
}

/// How much of the forward pass is kept for the backward pass. The adapter is the same either way,
/// to the bit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Memory {
    /// Everything that is expensive to compute again.
    Fast,
    /// The input of every layer; a third more work.
    Lean,
    /// Fast where that fits into half of the memory that is free, else lean.
    #[default]
    Auto,
}

/// How an adapter file stores its numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// As trained.
    #[default]
    F32,
    /// Half the size; differences of 10⁻³ of a weight.
    F16,
}

/// How to train. The defaults suit a few hundred short answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrainOptions {
    /// Rank of every low-rank pair, 1..=256.
    pub rank: usize,
    /// α; the adapter counts α/rank times.
    pub alpha: f32,
    /// Count it α/√rank times instead (rsLoRA, arXiv 2312.03732), so that large ranks learn.
    pub rslora: bool,
    /// The modules that get a pair, of those that the model has.
    pub modules: Vec<Module>,
    /// Dropout of what the adapter reads, in 0..1.
    pub dropout: f32,
    /// Peak learning rate.
    pub lr: f32,
    /// How many times faster B learns than A (LoRA+, arXiv 2402.12354); 1 for equally fast.
    pub lora_plus: f32,
    /// How the learning rate falls.
    pub schedule: Schedule,
    /// Share of the steps that warm up.
    pub warmup: f32,
    /// Most passes over the examples.
    pub epochs: usize,
    /// Most optimiser steps, if fewer than the epochs have.
    pub max_steps: Option<u64>,
    /// Examples per optimiser step.
    pub batch: usize,
    /// Largest norm of the gradient; 0 for no limit.
    pub clip: f32,
    /// AdamW's weight decay.
    pub weight_decay: f32,
    /// Stop after this many epochs without a lower held-out loss; 0 never stops early.
    pub patience: usize,
    /// Share of the kept questions held out to choose the best moment.
    pub held_out: f32,
    /// How the adapter file stores its numbers.
    pub precision: Precision,
    /// What products multiply; by default what this processor is faster at, `bf16` only where it is
    /// half as fast again. A run that resumes keeps what it began with.
    pub arithmetic: Option<Arithmetic>,
    /// Seed of the initial weights and the order of examples.
    pub seed: u64,
    /// Threads; all cores by default.
    pub threads: Option<u32>,
    /// Most tokens computed at once; the gradients of a step with more are accumulated. Bounds
    /// memory.
    pub max_tokens: usize,
    /// What is kept for the backward pass. Not part of what determines the result.
    #[serde(skip)]
    pub memory: Memory,
    /// What the threads do between the loops of a step. Not part of what determines the result.
    #[serde(skip)]
    pub wait: Wait,
}

impl Default for TrainOptions {
    fn default() -> Self {
        TrainOptions {
            rank: 16,
            alpha: 32.0,
            rslora: false,
            modules: Module::ALL.to_vec(),
            dropout: 0.0,
            lr: 2e-4,
            lora_plus: 1.0,
            schedule: Schedule::Cosine,
            warmup: 0.05,
            epochs: 4,
            max_steps: None,
            batch: 16,
            clip: 1.0,
            weight_decay: 0.0,
            patience: 1,
            held_out: 0.1,
            precision: Precision::F32,
            arithmetic: None,
            seed: 0,
            threads: None,
            max_tokens: 1024,
            memory: Memory::Auto,
            wait: Wait::Spin,
        }
    }
}

impl TrainOptions {
    /// The kernel that `arithmetic` asks for.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where this processor has no instructions for it.
    pub(crate) fn kernel(&self) -> Result<&'static Kernel> {
        match self.arithmetic {
            None => Ok(Kernel::fastest()),
            Some(arithmetic) => Kernel::of(arithmetic).ok_or_else(|| {
                Error::unsupported("this processor cannot multiply bf16")
                    .hint(Hint::set("compute_dtype", "f32 or auto"))
            }),
        }
    }

    /// Refuses values that cannot work, naming the option.
    pub fn check(&self) -> Result<()> {
        let bad = |field: &'static str, reason: String| Err(Error::field(field, reason));
        if !(1..=256).contains(&self.rank) {
            return bad("rank", format!("{} is outside 1..=256", self.rank));
        }
        if !(self.alpha.is_finite() && self.alpha > 0.0) {
            return bad("alpha", format!("{} is not a positive number", self.alpha));
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return bad("dropout", format!("{} is outside 0..1; 0.05 is usual", self.dropout));
        }
        if !(self.lr.is_finite() && self.lr > 0.0 && self.lr < 1.0) {
            return bad("lr", format!("{} is outside 0..1; 2e-4 is usual", self.lr));
        }
        if !(self.lora_plus.is_finite() && self.lora_plus > 0.0) {
            return bad("lora_plus", format!("{} is not a positive number; 16 is usual", self.lora_plus));
        }
        if !(0.0..=1.0).contains(&self.warmup) {
            return bad("warmup", format!("{} is outside 0..=1; 0.05 is usual", self.warmup));
        }
        let counts = [
            ("epochs", self.epochs == 0),
            ("batch", self.batch == 0),
            ("max_steps", self.max_steps == Some(0)),
            ("max_tokens", self.max_tokens == 0),
        ];
        if let Some((field, _)) = counts.iter().find(|(_, is_zero)| *is_zero) {
            return bad(field, "0 is not at least 1".into());
        }
        for (field, value) in [("clip", self.clip), ("weight_decay", self.weight_decay)] {
            if !(value >= 0.0) {
                return bad(field, format!("{value} is not at least 0"));
            }
        }
        if !(0.0..=0.5).contains(&self.held_out) {
            return bad("held_out", format!("{} is outside 0..=0.5", self.held_out));
        }
        if self.modules.is_empty() {
            return bad("modules", "names no module; leave it out for all linear ones".into());
        }
        Ok(())
    }

    /// The α with which α/rank is what the adapter counts: the one its file states.
    pub fn effective_alpha(&self) -> f32 {
        if self.rslora { self.alpha * (self.rank as f32).sqrt() } else { self.alpha }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_schedule_warms_up_to_its_peak_and_ends_where_it_should() {
        for (schedule, half, end) in
            [(Schedule::Cosine, 0.5, 0.0), (Schedule::Linear, 0.5, 0.0), (Schedule::Constant, 1.0, 1.0)]
        {
            let at = |step| schedule.rate(step, 4, 20, 1.0);
            assert!(at(0) > 0.0 && at(0) < at(1) && at(3) < 1.0);
            assert_eq!(at(4), 1.0);
            assert!((at(12) - half).abs() < 1e-6 && (at(20) - end).abs() < 1e-6, "{schedule:?}");
        }
    }

    #[test]
    fn the_stated_alpha_of_rslora_makes_the_scale_alpha_over_root_rank() {
        let options = TrainOptions { rank: 64, alpha: 16.0, rslora: true, ..TrainOptions::default() };
        assert!((options.effective_alpha() / 64.0 - 16.0 / 8.0).abs() < 1e-6);
    }

    #[test]
    fn values_that_cannot_work_are_refused_by_name() {
        let d = TrainOptions::default;
        for (name, options) in [
            ("rank", TrainOptions { rank: 0, ..d() }),
            ("dropout", TrainOptions { dropout: 1.0, ..d() }),
            ("lora_plus", TrainOptions { lora_plus: 0.0, ..d() }),
            ("warmup", TrainOptions { warmup: f32::NAN, ..d() }),
            ("max_steps", TrainOptions { max_steps: Some(0), ..d() }),
            ("clip", TrainOptions { clip: -1.0, ..d() }),
        ] {
            let message = options.check().unwrap_err().to_string();
            assert!(message.contains(name), "{message}");
        }
    }
}
