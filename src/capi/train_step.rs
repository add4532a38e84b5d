//! The figures of an optimiser step, as its callback receives them.

use std::ffi::c_void;

use crate::TrainStep;

/// One optimiser step, done. Later versions may append fields.
#[repr(C)]
pub struct sn_train_step {
    /// Steps taken, this one and those of an interrupted call included.
    pub step: u64,
    /// Most steps there will be; early stopping may end sooner.
    pub steps: u64,
    /// Passes over the examples so far.
    pub epoch: f64,
    /// The mean loss per token of the answers learnt in this step, in nats.
    pub loss: f64,
    /// The last loss on held-out examples; NaN where none are held out.
    pub held_out_loss: f64,
    /// Tokens per second so far.
    pub tokens_per_s: f64,
    /// The learning rate of the step.
    pub lr: f64,
}

/// Receives the figures of each optimiser step. `step` is valid during the call only.
///
/// Threads: as sn_progress_fn. Must return normally: no exception or longjmp may leave it.
pub type sn_train_step_fn = Option<unsafe extern "C" fn(step: *const sn_train_step, user_data: *mut c_void)>;

impl sn_train_step {
    pub(super) fn of(step: &TrainStep) -> sn_train_step {
        sn_train_step {
            step: step.step,
            steps: step.steps,
            epoch: step.epoch,
            loss: step.loss,
            held_out_loss: step.held_out_loss.unwrap_or(f64::NAN),
            tokens_per_s: step.tokens_per_s,
            lr: step.lr.into(),
        }
    }
}
