//! The stages of a run.

/// A part of a run: what progress reports and hints in errors speak of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Reading, hashing and loading the model.
    Load,
    /// Looking at a few questions.
    Preview,
    /// Choosing the System 2 program.
    Tune,
    /// Sampling and voting on the training questions.
    Curate,
    /// Training the adapter.
    Train,
    /// Writing the adapter and comparing it with llama.cpp.
    Export,
    /// Measuring System 1, System 2 and the distilled model.
    Evaluate,
}
