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
pub use weights::FrozenWeights;

use crate::Result;
use crate::gguf::Gguf;
use spec::Spec;

/// A model file that can be distilled, and its facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelFile {
    /// The file.
    pub path: PathBuf,
    /// Its `general.name`; empty where it has none.
    pub name: String,
    /// Its `general.architecture`.
    pub architecture: String,
    /// Its parameters, of all tensors.
    pub parameters: u64,
}

impl ModelFile {
    /// Reads the metadata of `path` and checks every tensor's place and shape. Takes milliseconds:
    /// no weight is read.
    ///
    /// # Errors
    /// [`crate::Error::Io`] where the file cannot be read, [`crate::Error::Model`] where it is no
    /// well-formed GGUF, [`crate::Error::Unsupported`] for a model that this version cannot train.
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
