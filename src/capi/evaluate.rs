//! How a run is judged and measured.

use std::ffi::{c_char, c_void};
use std::mem::{offset_of, size_of};
use std::path::Path;

use super::callbacks::Callbacks;
use super::cancel::sn_cancel;
use super::catch::catch;
use super::decoder::sn_decoder;
use super::failure::Failure;
use super::params::{self, Params};
use super::progress::sn_progress_fn;
use super::sampling::{Sampling, Voting};
use super::text::{NUL_TERMINATED, optional_text};
use super::verdict::sn_verdict_fn;
use super::verifier::sn_verifier_fn;
use crate::distill::CurateOptions;
use crate::evaluate::Acceptance;

/// How sn_run_judge() and sn_run_evaluate() sample, vote and measure. Fill it with
/// sn_evaluate_params_init(), then set what you need; 0 and NULL stand for the defaults. Give both
/// calls the same, so that the second finds what the first has sampled. Everything is borrowed for
/// the duration of the call. Later versions append fields, whose zero means what this version does.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct sn_evaluate_params {
    /// The size of this struct as the caller knows it. Set by sn_evaluate_params_init().
    pub struct_size: usize,
    /// Threads to compute with, at most 1024; 0 for all cores.
    pub threads: u32,
    /// Sequences sampled at once, at most 256; 0 for the default, 16.
    pub slots: u32,
    /// An sn_weights.
    pub weights: i32,
    /// Most samples per question, 1 to 1000; 0 for the task's.
    pub samples: u32,
    /// Share of the samples that must agree, at most 1; 0 for the task's.
    pub threshold: f64,
    /// Bytes for the model, its expanded weights and its KV cache together; 0 for what is free.
    pub max_memory: u64,
    /// Not 0: a completion goes on after it holds its answer.
    pub no_stop_answer: i32,
    /// Not 0: sampling goes on after the vote is settled.
    pub no_stop_settled: i32,
    /// Judging: fewest kept questions that are enough to learn from; 0 for the default, 20.
    pub least_kept: u32,
    /// Must be 0.
    pub reserved: u32,
    /// Judging: least share of kept questions, at most 1; 0 for the default, 0.1; below 0 for none.
    pub least_share: f64,
    /// Evaluating: measure this adapter, a path. NULL: the run's own.
    pub adapter: *const c_char,
    pub adapter_len: usize,
    /// Receives progress; NULL for none.
    pub progress: sn_progress_fn,
    /// Handed to `progress`.
    pub progress_user_data: *mut c_void,
    /// Stops the work; NULL for none.
    pub cancel: *const sn_cancel,
    /// Receives the verdict on each held-out question; NULL for none.
    pub verdict: sn_verdict_fn,
    /// Handed to `verdict`.
    pub verdict_user_data: *mut c_void,
    /// Checks each sampled answer; NULL for nobody.
    pub verifier: sn_verifier_fn,
    /// Handed to `verifier`.
    pub verifier_user_data: *mut c_void,
    /// The host's own inference to sample with; NULL for the library's.
    pub decoder: *const sn_decoder,
}

// SAFETY: numbers, pointers and function pointers that may be NULL; the last has the largest
// alignment.
unsafe impl Params for sn_evaluate_params {
    const FIRST_SIZE: usize = offset_of!(sn_evaluate_params, decoder) + size_of::<*const sn_decoder>();
    const INIT: &'static str = "sn_evaluate_params_init";
    const DEFAULT: sn_evaluate_params = sn_evaluate_params {
        struct_size: size_of::<sn_evaluate_params>(),
        threads: 0,
        slots: 0,
        weights: 0,
        samples: 0,
        threshold: 0.0,
        max_memory: 0,
        no_stop_answer: 0,
        no_stop_settled: 0,
        least_kept: 0,
        reserved: 0,
        least_share: 0.0,
        adapter: std::ptr::null(),
        adapter_len: NUL_TERMINATED,
        progress: None,
        progress_user_data: std::ptr::null_mut(),
        cancel: std::ptr::null(),
        verdict: None,
        verdict_user_data: std::ptr::null_mut(),
        verifier: None,
        verifier_user_data: std::ptr::null_mut(),
        decoder: std::ptr::null(),
    };
}

impl sn_evaluate_params {
    pub(super) fn options(&self) -> Result<CurateOptions, Failure> {
        params::zero("params.reserved", self.reserved)?;
        let sampling = Sampling {
            threads: self.threads,
            slots: self.slots,
            weights: self.weights,
            max_memory: self.max_memory,
        };
        let voting = Voting {
            samples: self.samples,
            threshold: self.threshold,
            no_stop_answer: self.no_stop_answer,
            no_stop_settled: self.no_stop_settled,
            no_stop_threshold: 0,
        };
        Ok(voting.options(sampling.engine()?))
    }

    /// # Safety
    /// The members point to what the struct's documentation says.
    pub(super) unsafe fn adapter(&self) -> Result<Option<&Path>, Failure> {
        // SAFETY: by this function's contract.
        let path = unsafe { optional_text("params.adapter", self.adapter, self.adapter_len) }?;
        Ok(path.map(Path::new))
    }

    pub(super) fn gate(&self) -> Result<Acceptance, Failure> {
        gate(self.least_kept, self.least_share)
    }

    pub(super) fn callbacks(&self) -> Callbacks {
        Callbacks {
            progress: (self.progress, self.progress_user_data),
            verdict: (self.verdict, self.verdict_user_data),
            ..Callbacks::default()
        }
    }
}

/// How many questions must settle, as it stands in a params struct.
pub(super) fn gate(least_kept: u32, least_share: f64) -> Result<Acceptance, Failure> {
    let defaults = Acceptance::default();
    if least_share.is_nan() || least_share > 1.0 {
        return Err(Failure::argument("params.least_share", format!("is {least_share}; at most 1")));
    }
    Ok(Acceptance {
        min_kept: if least_kept == 0 { defaults.min_kept } else { least_kept as usize },
        min_kept_share: if least_share == 0.0 { defaults.min_kept_share } else { least_share.max(0.0) },
    })
}

/// Fills `params` with the defaults. `struct_size` is `sizeof *params`. Does nothing for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_evaluate_params_init(params: *mut sn_evaluate_params, struct_size: usize) {
    // SAFETY: by the header's rules.
    catch!(or () => unsafe { params::init(params, struct_size) })
}
