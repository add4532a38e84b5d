//! The stages of a run, as numbers.

use crate::Stage;

/// The part of a run that progress speaks of. New ones may be added.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum sn_stage {
    /// Reading, hashing and loading the model.
    Load = 0,
    /// Sampling and voting on the training questions.
    Curate = 1,
    /// Training the adapter.
    Train = 2,
    /// Writing the adapter and comparing it with llama.cpp.
    Export = 3,
    /// Measuring System 1, System 2 and the distilled model.
    Evaluate = 4,
    /// Choosing the System 2 program.
    Tune = 5,
    /// Looking at a few questions.
    Preview = 6,
}

impl From<Stage> for sn_stage {
    fn from(stage: Stage) -> sn_stage {
        match stage {
            Stage::Load => sn_stage::Load,
            Stage::Preview => sn_stage::Preview,
            Stage::Tune => sn_stage::Tune,
            Stage::Curate => sn_stage::Curate,
            Stage::Train => sn_stage::Train,
            Stage::Export => sn_stage::Export,
            Stage::Evaluate => sn_stage::Evaluate,
        }
    }
}
