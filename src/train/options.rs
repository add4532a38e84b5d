//! How to train: the table of training options.

use serde::{Deserialize, Serialize};

use crate::kernels::gemm::{ComputeDtype, Kernel};
use crate::model::spec::Module;
use crate::options::{Range, choices, options};
use crate::threads::Wait;
use crate::{Error, Hint, Result};

choices! {
    /// How the learning rate falls after the warm-up.
    pub enum Schedule: "schedule" {
        /// Along half a cosine, to zero.
        Cosine = "cosine",
        /// In a straight line, to zero.
        Linear = "linear",
        /// Not at all.
        Constant = "constant",
    }
}

choices! {
    /// Whether activations are computed again in the backward pass instead of kept. The adapter is the
    /// same either way, to the bit.
    pub enum Recompute: "recompute" {
        /// Never where that fits into half of the free memory, else always.
        Auto = "auto",
        /// Keep everything that is expensive to compute again.
        Never = "never",
        /// Keep the input of every layer alone: least memory, a third more work.
        Always = "always",
    }
}

choices! {
    /// How an adapter file stores its numbers.
    pub enum AdapterDtype: "adapter_dtype" {
        /// As trained.
        F32 = "f32",
        /// Half the size; differences of 10⁻³ of a weight.
        F16 = "f16",
    }
}

options! {
    /// How to train. The defaults suit a few hundred short answers.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(default)]
    pub struct TrainOptions: "Training" {
        /// Rank of the adapter.
        rank: usize = 16, { range: Range::closed(1.0, 256.0), placeholder: "R" };
        /// Scale of the adapter: its product counts alpha/rank times.
        alpha: f32 = 32.0, { range: Range::above(0.0), placeholder: "A" };
        /// Scale by alpha/sqrt(rank) instead (rsLoRA, arXiv 2312.03732), so that large ranks learn.
        rslora: bool = false, {};
        /// Modules that get an adapter, of those that the model has.
        modules: Vec<Module> = Module::ALL.to_vec(), { placeholder: "NAMES" };
        /// Dropout on the adapter's input.
        dropout: f32 = 0.0, { range: Range::at_least(0.0).below(1.0), usual: "0.05", placeholder: "P" };
        /// Peak learning rate.
        lr: f32 = 2e-4, { range: Range::above(0.0).below(1.0), usual: "2e-4", placeholder: "RATE" };
        /// Learning rate of B over that of A (LoRA+, arXiv 2402.12354); 1 is plain LoRA.
        lora_plus: f32 = 1.0, { range: Range::above(0.0), usual: "16", placeholder: "RATIO" };
        /// How the learning rate falls after the warm-up.
        schedule: Schedule = Schedule::Cosine, {};
        /// Share of the steps that warm up.
        warmup: f32 = 0.05, { range: Range::closed(0.0, 1.0), usual: "0.05", placeholder: "SHARE" };
        /// Maximum number of passes over the examples.
        epochs: usize = 4, { range: Range::at_least(1.0) };
        /// Maximum number of optimiser steps.
        max_steps: Option<u64> = None, { range: Range::at_least(1.0), unset: "as many as the epochs have" };
        /// Examples per optimiser step.
        batch: usize = 16, { range: Range::at_least(1.0) };
        /// Maximum norm of the gradient; 0 for no limit.
        clip: f32 = 1.0, { range: Range::at_least(0.0), placeholder: "NORM" };
        /// Weight decay of AdamW.
        weight_decay: f32 = 0.0, { range: Range::at_least(0.0), placeholder: "DECAY" };
        /// Epochs without a lower held-out loss after which training stops; 0 never stops early.
        patience: usize = 1, {};
        /// Share of the kept questions that is held out to choose the best checkpoint.
        held_out: f32 = 0.1, { range: Range::closed(0.0, 0.5), placeholder: "SHARE" };
        /// How the adapter file stores its numbers.
        #[serde(alias = "precision")]
        adapter_dtype: AdapterDtype = AdapterDtype::F32, {};
        /// What matmuls multiply. A run that resumes keeps what it began with.
        #[serde(alias = "arithmetic")]
        compute_dtype: Option<ComputeDtype> = None, {
            unset: "What this processor is faster at: bf16 only where that is half as fast again."
        };
        /// Seed of the initial weights and of the order of examples.
        seed: u64 = 0, {};
        /// Threads to compute with.
        threads: Option<u32> = None, { range: Range::closed(1.0, 1024.0), unset: "all cores" };
        /// Maximum number of tokens computed at once; a larger step accumulates gradients. Fewer tokens
        /// take less memory.
        max_tokens: usize = 1024, { range: Range::at_least(1.0) };
        /// Whether activations are computed again in the backward pass, to save memory. The adapter is the
        /// same to the bit.
        #[serde(skip)]
        recompute: Recompute = Recompute::Auto, {};
        /// What threads do between two loops.
        #[serde(skip)]
        wait: Wait = Wait::Spin, {};
    }
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

impl TrainOptions {
    /// The kernel that `compute_dtype` asks for.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where this processor has no instructions for it.
    pub(crate) fn kernel(&self) -> Result<&'static Kernel> {
        match self.compute_dtype {
            None => Ok(Kernel::fastest()),
            Some(arithmetic) => Kernel::of(arithmetic).ok_or_else(|| {
                Error::unsupported("this processor cannot multiply bf16")
                    .hint(Hint::set("compute_dtype", "f32 or auto"))
            }),
        }
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
    fn every_value_that_cannot_work_is_refused_by_its_own_name() {
        let d = TrainOptions::default;
        for (options, message) in [
            (TrainOptions { rank: 0, ..d() }, "rank: 0 is not from 1 to 256"),
            (TrainOptions { alpha: f32::INFINITY, ..d() }, "alpha: inf is not a finite number above 0"),
            (TrainOptions { dropout: 1.0, ..d() }, "dropout: 1 is not at least 0 and below 1; 0.05 is usual"),
            (TrainOptions { lora_plus: 0.0, ..d() }, "lora_plus: 0 is not above 0; 16 is usual"),
            (TrainOptions { warmup: f32::NAN, ..d() }, "warmup: NaN is not from 0 to 1; 0.05 is usual"),
            (TrainOptions { epochs: 0, ..d() }, "epochs: 0 is not at least 1"),
            (TrainOptions { batch: 0, ..d() }, "batch: 0 is not at least 1"),
            (TrainOptions { max_steps: Some(0), ..d() }, "max_steps: 0 is not at least 1"),
            (TrainOptions { max_tokens: 0, ..d() }, "max_tokens: 0 is not at least 1"),
            (TrainOptions { clip: -1.0, ..d() }, "clip: -1 is not at least 0"),
            (TrainOptions { weight_decay: -1.0, ..d() }, "weight_decay: -1 is not at least 0"),
        ] {
            assert_eq!(options.check().unwrap_err().to_string(), message);
        }
        let refusal = TrainOptions { modules: Vec::new(), ..d() }.check().unwrap_err().to_string();
        assert!(refusal.starts_with("modules: names nothing; name some of attn_q, "), "{refusal}");
    }

    #[test]
    fn every_row_is_in_files_but_those_that_change_no_result() {
        use crate::options::OptionGroup;

        let file = serde_json::to_value(TrainOptions::default()).unwrap();
        let names: Vec<_> = TrainOptions::OPTIONS.iter().map(|option| option.name).collect();
        let missing: Vec<_> = names.iter().filter(|name| file.get(name).is_none()).collect();
        assert_eq!(missing, [&"recompute", &"wait"]);
        assert_eq!(file.as_object().unwrap().len() + 2, names.len());
    }

    #[test]
    fn options_written_under_their_earlier_names_are_read() {
        let old = r#"{"rank": 8, "precision": "f16", "arithmetic": "bf16"}"#;
        let read: TrainOptions = serde_json::from_str(old).unwrap();
        let (adapter_dtype, compute_dtype) = (AdapterDtype::F16, Some(ComputeDtype::Bf16));
        assert_eq!(read, TrainOptions { rank: 8, adapter_dtype, compute_dtype, ..TrainOptions::default() });
    }
}
