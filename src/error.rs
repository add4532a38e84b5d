//! One error type for the library: every message is a single line that says what was expected,
//! what was found, where, and what to do.

use std::path::{Path, PathBuf};

/// What the library returns when something fails.
pub type Result<T> = std::result::Result<T, Error>;

/// Everything that can go wrong, by what the caller can do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused a file operation (missing file, full disk, no permission).
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was attempted, as a verb: `read`, `create`, `append to`.
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's own word.
        source: std::io::Error,
    },
    /// A model or adapter file is not usable: not a GGUF, truncated, inconsistent.
    #[error("{}: {why}", path.display())]
    Model {
        /// The file.
        path: PathBuf,
        /// What is wrong with it and what to do.
        why: String,
    },
    /// A well-formed request that this version cannot serve (an architecture, a tensor type).
    #[error("{0}")]
    Unsupported(String),
    /// A question file, task file or option holds something unusable.
    #[error("{at}: {why}")]
    Input {
        /// Where: `questions.jsonl:17`, `--task`.
        at: String,
        /// What was expected, what was found, what to do.
        why: String,
    },
    /// A run directory cannot be used for this run (other model, locked, damaged).
    #[error("{}: {why}", dir.display())]
    Run {
        /// The run directory.
        dir: PathBuf,
        /// What was expected, what was found, what to do.
        why: String,
    },
    /// The inference engine failed (context full, decode error, server unreachable).
    #[error("engine: {0}")]
    Engine(String),
    /// Training stopped: non-finite loss, nothing to train on.
    #[error("training: {0}")]
    Training(String),
    /// The work was refused because its result would not be worth having.
    #[error("{0}")]
    Refused(String),
    /// The written adapter does not reproduce the trainer's logits when loaded again.
    #[error("adapter parity: {0}")]
    Parity(String),
    /// The caller cancelled; everything finished so far is kept.
    #[error("stopped on request; everything finished so far is kept")]
    Cancelled,
    /// A bug in this library.
    #[error("internal error (please report it): {0}")]
    Internal(String),
}

impl Error {
    /// An [`Error::Io`] builder for `map_err`.
    pub fn io(doing: &'static str, path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.as_ref().to_path_buf();
        move |source| Error::Io { doing, path, source }
    }

    /// An [`Error::Model`].
    pub fn model(path: impl AsRef<Path>, why: impl Into<String>) -> Error {
        Error::Model { path: path.as_ref().to_path_buf(), why: why.into() }
    }

    /// An [`Error::Input`].
    pub fn input(at: impl Into<String>, why: impl Into<String>) -> Error {
        Error::Input { at: at.into(), why: why.into() }
    }

    /// An [`Error::Run`].
    pub fn run(dir: impl AsRef<Path>, why: impl Into<String>) -> Error {
        Error::Run { dir: dir.as_ref().to_path_buf(), why: why.into() }
    }
}
