//! How a run is curated.

use std::ffi::c_void;
use std::mem::{offset_of, size_of};

use super::callbacks::Callbacks;
use super::cancel::sn_cancel;
use super::catch::catch;
use super::decoder::sn_decoder;
use super::failure::Failure;
use super::params::{self, Params};
use super::progress::sn_progress_fn;
use super::sampling::{Sampling, Voting};
use super::verdict::sn_verdict_fn;
use super::verifier::sn_verifier_fn;
use crate::distill::CurateOptions;

/// How sn_run_curate() samples and votes. Fill it with sn_curate_params_init(), then set what you
/// need; 0 and NULL stand for the defaults. Everything is borrowed for the duration of the call.
/// Later versions append fields, whose zero means what this version does.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct sn_curate_params {
    /// The size of this struct as the caller knows it. Set by sn_curate_params_init().
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
    /// Not 0: sampling goes on after no answer can reach the threshold any more.
    pub no_stop_threshold: i32,
    /// Must be 0.
    pub reserved: u32,
    /// Receives progress; NULL for none.
    pub progress: sn_progress_fn,
    /// Handed to `progress`.
    pub progress_user_data: *mut c_void,
    /// Stops the work; NULL for none.
    pub cancel: *const sn_cancel,
    /// Receives each verdict; NULL for none.
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
unsafe impl Params for sn_curate_params {
    const FIRST_SIZE: usize = offset_of!(sn_curate_params, decoder) + size_of::<*const sn_decoder>();
    const INIT: &'static str = "sn_curate_params_init";
    const DEFAULT: sn_curate_params = sn_curate_params {
        struct_size: size_of::<sn_curate_params>(),
        threads: 0,
        slots: 0,
        weights: 0,
        samples: 0,
        threshold: 0.0,
        max_memory: 0,
        no_stop_answer: 0,
        no_stop_settled: 0,
        no_stop_threshold: 0,
        reserved: 0,
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

impl sn_curate_params {
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
            no_stop_threshold: self.no_stop_threshold,
        };
        Ok(voting.options(sampling.engine()?))
    }

    pub(super) fn callbacks(&self) -> Callbacks {
        Callbacks {
            progress: (self.progress, self.progress_user_data),
            verdict: (self.verdict, self.verdict_user_data),
            ..Callbacks::default()
        }
    }
}

/// Fills `params` with the defaults. `struct_size` is `sizeof *params`. Does nothing for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_curate_params_init(params: *mut sn_curate_params, struct_size: usize) {
    // SAFETY: by the header's rules.
    catch!(or () => unsafe { params::init(params, struct_size) })
}
