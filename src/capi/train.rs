//! How an adapter is trained.

use std::ffi::{c_char, c_void};
use std::mem::{offset_of, size_of};

use super::callbacks::Callbacks;
use super::cancel::sn_cancel;
use super::catch::catch;
use super::decoder::sn_decoder;
use super::failure::Failure;
use super::params::{self, Params};
use super::progress::sn_progress_fn;
use super::sampling::{choose, threads};
use super::text::{NUL_TERMINATED, optional_text, text};
use super::train_step::sn_train_step_fn;
use crate::distill::DataMix;
use crate::model::spec::Module;
use crate::task::read_questions;
use crate::train::{Arithmetic, Memory, Precision, Schedule, TrainOptions};

/// How the learning rate falls after the warm-up.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum sn_schedule {
    /// Along half a cosine, to zero.
    Cosine = 0,
    /// In a straight line, to zero.
    Linear = 1,
    /// Not at all.
    Constant = 2,
}

/// How much of the forward pass is kept for the backward pass; the adapter is the same.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum sn_memory {
    /// Fast where that fits into half of the free memory.
    Auto = 0,
    /// Everything that is expensive to compute again.
    Fast = 1,
    /// The input of every layer; a third more work.
    Lean = 2,
}

/// How an adapter file stores its numbers.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum sn_precision {
    /// As trained.
    F32 = 0,
    /// Half the size.
    F16 = 1,
}

/// What products multiply in training.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum sn_arithmetic {
    /// What this processor is faster at: bf16 only where that is half as fast again.
    Auto = 0,
    /// 24 bits of precision.
    F32 = 1,
    /// 8 bits of precision, summed in f32.
    Bf16 = 2,
}

/// How sn_run_train() trains. Fill it with sn_train_params_init(), then set what you need. 0 and
/// NULL stand for the defaults, except where it is said that init sets the default: there, 0 is a
/// value like others. Everything is borrowed for the duration of the call. Later versions append
/// fields, whose zero means what this version does.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct sn_train_params {
    /// The size of this struct as the caller knows it. Set by sn_train_params_init().
    pub struct_size: usize,
    /// Seed of the initial weights and of the order of examples. Default 0.
    pub seed: u64,
    /// Rank of the adapter, 1 to 256; 0 for the default, 16.
    pub rank: u32,
    /// Most passes over the examples; 0 for the default, 4.
    pub epochs: u32,
    /// Examples per optimiser step; 0 for the default, 16.
    pub batch: u32,
    /// Epochs without gain on held-out examples before training stops; 0 never stops early. Init
    /// sets the default, 1.
    pub patience: u32,
    /// Most optimiser steps; 0 for as many as the epochs have.
    pub max_steps: u64,
    /// The adapter counts alpha/rank times; 0 for the default, 32.
    pub alpha: f64,
    /// Peak learning rate, below 1; 0 for the default, 2e-4.
    pub lr: f64,
    /// How many times faster B learns than A (LoRA+); 0 for the default, 1, which is plain LoRA.
    pub lora_plus: f64,
    /// Dropout of what the adapter reads, below 1. Default 0.
    pub dropout: f64,
    /// Share of the steps that warm up, at most 1. Init sets the default, 0.05.
    pub warmup: f64,
    /// Largest norm of the gradient; 0 for no limit. Init sets the default, 1.
    pub clip: f64,
    /// AdamW's weight decay. Default 0.
    pub weight_decay: f64,
    /// Share of the kept questions held out to choose the best moment, at most 0.5. Init sets the
    /// default, 0.1.
    pub held_out: f64,
    /// Not 0: the adapter counts alpha/sqrt(rank) times (rsLoRA), for large ranks.
    pub rslora: i32,
    /// An sn_schedule.
    pub schedule: i32,
    /// An sn_precision.
    pub precision: i32,
    /// An sn_arithmetic. What a run began with it resumes with.
    pub arithmetic: i32,
    /// An sn_memory.
    pub memory: i32,
    /// Most tokens computed at once, less of which takes less memory; 0 for the default, 1024.
    pub max_tokens: u32,
    /// Threads to compute with, at most 1024; 0 for all cores.
    pub threads: u32,
    /// Must be 0.
    pub reserved: u32,
    /// Modules that get an adapter, such as "attn_q,attn_v". NULL: all linear ones.
    pub modules: *const c_char,
    pub modules_len: usize,
    /// Path of an adapter of the same model to go on from. NULL: a fresh one.
    pub start: *const c_char,
    pub start_len: usize,
    /// Other run directories of the same model whose kept answers are learnt, too: `also_count`
    /// paths, each as long as `also_len` has it, or ending in NUL where `also_len` is NULL.
    pub also: *const *const c_char,
    pub also_len: *const usize,
    pub also_count: usize,
    /// Path of unrelated prompts, one a line; the base model's own answers to them are mixed in,
    /// against forgetting. NULL: none.
    pub replay: *const c_char,
    pub replay_len: usize,
    /// How many of those, as a share of the task's examples, at most 10; 0 for the default, 0.25.
    pub replay_share: f64,
    /// Receives progress; NULL for none.
    pub progress: sn_progress_fn,
    /// Handed to `progress`.
    pub progress_user_data: *mut c_void,
    /// Stops the work; NULL for none.
    pub cancel: *const sn_cancel,
    /// Receives the figures of each optimiser step; NULL for none.
    pub step: sn_train_step_fn,
    /// Handed to `step`.
    pub step_user_data: *mut c_void,
    /// The host's own inference, to read the questions as tokens and to find the confidence from
    /// which direct answers can be trusted; NULL for the library's. Training itself reads the
    /// model's file.
    pub decoder: *const sn_decoder,
}

const DEFAULT_REPLAY_SHARE: f32 = 0.25;

// SAFETY: numbers, pointers and function pointers that may be NULL; the last has the largest
// alignment.
unsafe impl Params for sn_train_params {
    const FIRST_SIZE: usize = offset_of!(sn_train_params, decoder) + size_of::<*const sn_decoder>();
    const INIT: &'static str = "sn_train_params_init";
    const DEFAULT: sn_train_params = sn_train_params {
        struct_size: size_of::<sn_train_params>(),
        seed: 0,
        rank: 0,
        epochs: 0,
        batch: 0,
        patience: 1,
        max_steps: 0,
        alpha: 0.0,
        lr: 0.0,
        lora_plus: 0.0,
        dropout: 0.0,
        warmup: 0.05,
        clip: 1.0,
        weight_decay: 0.0,
        held_out: 0.1,
        rslora: 0,
        schedule: 0,
        precision: 0,
        arithmetic: 0,
        memory: 0,
        max_tokens: 0,
        threads: 0,
        reserved: 0,
        modules: std::ptr::null(),
        modules_len: NUL_TERMINATED,
        start: std::ptr::null(),
        start_len: NUL_TERMINATED,
        also: std::ptr::null(),
        also_len: std::ptr::null(),
        also_count: 0,
        replay: std::ptr::null(),
        replay_len: NUL_TERMINATED,
        replay_share: 0.0,
        progress: None,
        progress_user_data: std::ptr::null_mut(),
        cancel: std::ptr::null(),
        step: None,
        step_user_data: std::ptr::null_mut(),
        decoder: std::ptr::null(),
    };
}

impl sn_train_params {
    /// # Safety
    /// The members point to what the struct's documentation says.
    pub(super) unsafe fn options(&self) -> Result<TrainOptions, Failure> {
        params::zero("params.reserved", self.reserved)?;
        // SAFETY: by this function's contract.
        let modules = unsafe { optional_text("params.modules", self.modules, self.modules_len) }?;
        let defaults = TrainOptions::default();
        let count = |given: u32, default: usize| if given == 0 { default } else { given as usize };
        let number = |given: f64, default: f32| if given == 0.0 { default } else { given as f32 };
        let schedules = [
            (sn_schedule::Cosine as i32, Schedule::Cosine),
            (sn_schedule::Linear as i32, Schedule::Linear),
            (sn_schedule::Constant as i32, Schedule::Constant),
        ];
        let arithmetics = [
            (sn_arithmetic::Auto as i32, None),
            (sn_arithmetic::F32 as i32, Some(Arithmetic::F32)),
            (sn_arithmetic::Bf16 as i32, Some(Arithmetic::Bf16)),
        ];
        let memories = [
            (sn_memory::Auto as i32, Memory::Auto),
            (sn_memory::Fast as i32, Memory::Fast),
            (sn_memory::Lean as i32, Memory::Lean),
        ];
        let precisions =
            [(sn_precision::F32 as i32, Precision::F32), (sn_precision::F16 as i32, Precision::F16)];
        let options = TrainOptions {
            rank: count(self.rank, defaults.rank),
            alpha: number(self.alpha, defaults.alpha),
            rslora: self.rslora != 0,
            modules: Module::list(modules.unwrap_or_default())?,
            dropout: self.dropout as f32,
            lr: number(self.lr, defaults.lr),
            lora_plus: number(self.lora_plus, defaults.lora_plus),
            schedule: choose("params.schedule", "sn_schedule", self.schedule, &schedules)?,
            warmup: self.warmup as f32,
            epochs: count(self.epochs, defaults.epochs),
            max_steps: (self.max_steps != 0).then_some(self.max_steps),
            batch: count(self.batch, defaults.batch),
            clip: self.clip as f32,
            weight_decay: self.weight_decay as f32,
            patience: self.patience as usize,
            held_out: self.held_out as f32,
            precision: choose("params.precision", "sn_precision", self.precision, &precisions)?,
            arithmetic: choose("params.arithmetic", "sn_arithmetic", self.arithmetic, &arithmetics)?,
            seed: self.seed,
            threads: threads(self.threads)?,
            max_tokens: count(self.max_tokens, defaults.max_tokens),
            memory: choose("params.memory", "sn_memory", self.memory, &memories)?,
            wait: crate::Wait::default(),
        };
        options.check()?;
        Ok(options)
    }

    /// # Safety
    /// The members point to what the struct's documentation says.
    pub(super) unsafe fn mixture(&self) -> Result<DataMix, Failure> {
        // SAFETY: by this function's contract.
        let (start, replay) = unsafe {
            (
                optional_text("params.start", self.start, self.start_len)?,
                optional_text("params.replay", self.replay, self.replay_len)?,
            )
        };
        if !(0.0..=10.0).contains(&self.replay_share) {
            return Err(Failure::argument(
                "params.replay_share",
                format!("is {}, outside 0 to 10", self.replay_share),
            ));
        }
        let share = if self.replay_share == 0.0 { DEFAULT_REPLAY_SHARE } else { self.replay_share as f32 };
        Ok(DataMix {
            init_adapter: start.map(Into::into),
            // SAFETY: by this function's contract.
            extra_runs: unsafe { self.also() }?.into_iter().map(Into::into).collect(),
            replay: replay.map_or(Ok(Vec::new()), |path| read_questions(path.as_ref()))?,
            replay_share: share,
        })
    }

    /// # Safety
    /// The members point to what the struct's documentation says.
    unsafe fn also(&self) -> Result<Vec<&str>, Failure> {
        if self.also_count > 0 && self.also.is_null() {
            return Err(Failure::argument("params.also", "is NULL, but also_count is not 0"));
        }
        let each = (0..self.also_count).map(|i| {
            // SAFETY: `also_count` elements in each array that is not NULL, by this function's
            // contract.
            unsafe {
                let len = if self.also_len.is_null() { NUL_TERMINATED } else { *self.also_len.add(i) };
                text("params.also", *self.also.add(i), len)
            }
        });
        each.collect()
    }

    pub(super) fn callbacks(&self) -> Callbacks {
        Callbacks {
            progress: (self.progress, self.progress_user_data),
            step: (self.step, self.step_user_data),
            ..Callbacks::default()
        }
    }
}

/// Fills `params` with the defaults. `struct_size` is `sizeof *params`. Does nothing for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_train_params_init(params: *mut sn_train_params, struct_size: usize) {
    // SAFETY: by the header's rules.
    catch!(or () => unsafe { params::init(params, struct_size) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_init_fills_in_are_the_defaults_of_the_library() {
        // SAFETY: no pointer is set.
        let options = unsafe { sn_train_params::DEFAULT.options() }.unwrap();
        assert_eq!(options, TrainOptions::default());
        // SAFETY: as above.
        let mixture = unsafe { sn_train_params::DEFAULT.mixture() }.unwrap();
        assert_eq!(mixture, DataMix { replay_share: DEFAULT_REPLAY_SHARE, ..DataMix::default() });
    }
}
