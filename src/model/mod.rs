//! What a model is: architectures, shapes, frozen weights, and the facts of model and adapter files.

mod adapter_file;
pub mod arch;
mod inspect;
mod parts;
pub mod spec;
mod weights;

use std::path::{Path, PathBuf};

pub use adapter_file::AdapterFile;
pub(crate) use adapter_file::{fallback_threshold, lora_alpha};
pub use inspect::{Inspection, inspect};
pub(crate) use weights::FrozenWeights;

use crate::Result;
use crate::gguf::Gguf;
use spec::Spec;

/// The facts of a model file that can be distilled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelFile {
    /// The path of the file.
    pub path: PathBuf,
    /// Its `general.name`; empty if there is none.
    pub name: String,
    /// Its `general.architecture`.
    pub architecture: String,
    /// Number of parameters, of all tensors.
    pub parameters: u64,
}

impl ModelFile {
    /// Reads the metadata of `path` and checks the place and the shape of every tensor. This takes
    /// milliseconds, since no weights are read.
    ///
    /// # Errors
    /// [`crate::Error::Io`] if the file cannot be read, [`crate::Error::Model`] if it is not a
    /// well-formed GGUF file, [`crate::Error::Unsupported`] if this version cannot train the model.
    pub fn open(path: impl AsRef<Path>) -> Result<ModelFile> {
        let gguf = Gguf::open(&path)?;
        let spec = Spec::of(&gguf)?;
        Ok(ModelFile {
            path: path.as_ref().to_path_buf(),
            name: gguf.str("general.name").unwrap_or_default().to_string(),
            architecture: spec.arch.name.to_string(),
            parameters: gguf.tensors().map(|tensor| tensor.elements() as u64).sum(),
        })
    }
}
