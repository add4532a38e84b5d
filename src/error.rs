//! The library's error type: one line that says what was expected, what was found, where, and what
//! to do.
//!
//! Messages name an option by its field, `lora_plus`, and a remedy is a [`Hint`], so that each front
//! end can say both in its own words ([`Error::message`]): the program `--lora-plus`, the C functions
//! `params.lora_plus`.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::Stage;

/// What the library returns when something fails.
pub type Result<T> = std::result::Result<T, Error>;

/// Everything that can go wrong, by what the caller can do about it.
///
/// `Debug` prints the message as `Display` does, since `fn main() -> Result<()>` shows that to users.
#[non_exhaustive]
pub enum Error {
    /// The operating system refused a file operation (missing file, full disk, no permission).
    Io {
        /// What was attempted, as a verb: `read`, `create`, `append to`.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// A model or adapter file is not usable: not a GGUF, truncated, inconsistent.
    Model {
        /// The file.
        path: PathBuf,
        /// What is wrong with it and what to do.
        reason: Reason,
    },
    /// A well-formed request that this version cannot serve (an architecture, a tensor type).
    Unsupported(Reason),
    /// A question file, task file or option holds something unusable.
    Input {
        /// Where: an option's field, or a place in a file.
        location: Location,
        /// What was expected, what was found, what to do.
        reason: Reason,
    },
    /// A run directory cannot be used for this run (other model, locked, damaged).
    Run {
        /// The run directory.
        dir: PathBuf,
        /// What was expected, what was found, what to do.
        reason: Reason,
    },
    /// The inference engine failed (context full, decode error, server unreachable).
    Engine(String),
    /// Training stopped: non-finite loss, nothing to train on.
    Training(Reason),
    /// The work was refused because its result would not be worth having.
    Refused(Reason),
    /// The written adapter does not reproduce the trainer's logits when loaded again.
    Parity(String),
    /// The caller cancelled; everything finished so far is kept.
    Cancelled,
    /// A bug in this library.
    Internal(String),
}

/// Where an unusable input is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// An option or argument, by its field: `lora_plus`.
    Field(&'static str),
    /// A place in a text: `questions.jsonl:17`.
    Source(String),
}

impl From<String> for Location {
    fn from(source: String) -> Location {
        Location::Source(source)
    }
}

impl From<&str> for Location {
    fn from(source: &str) -> Location {
        Location::Source(source.into())
    }
}

/// Why something failed, and what the caller can do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// What was expected and what was found, without the hints.
    pub text: String,
    /// Remedies, any of which may help.
    pub hints: Vec<Hint>,
}

impl Reason {
    /// The reason with a further remedy.
    pub fn hint(mut self, hint: Hint) -> Reason {
        self.hints.push(hint);
        self
    }

    /// One line with the hints, in the words of `naming`.
    pub fn message(&self, naming: &dyn Naming) -> String {
        let hints: Vec<String> = self.hints.iter().map(|hint| hint.message(naming)).collect();
        match hints.is_empty() {
            true => self.text.clone(),
            false => format!("{}; {}", self.text, hints.join(" or ")),
        }
    }
}

impl From<String> for Reason {
    fn from(text: String) -> Reason {
        Reason { text, hints: Vec::new() }
    }
}

impl From<&str> for Reason {
    fn from(text: &str) -> Reason {
        Reason::from(text.to_string())
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message(&RustNaming))
    }
}

/// Something that the caller can do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hint {
    /// Run a stage of the run, or resume it.
    RunStage(Stage),
    /// Start a run in the directory.
    StartRun,
    /// Resume the run with the same inputs as before.
    Resume,
    /// Go on in spite of the refusal.
    Force,
    /// Set a field to another value.
    Set {
        /// The field.
        field: &'static str,
        /// The value, or what it is: `8`, `another directory`.
        to: String,
    },
    /// Lower a field.
    Lower {
        /// The field.
        field: &'static str,
        /// Its value now.
        now: String,
    },
}

impl Hint {
    /// A [`Hint::Set`].
    pub fn set(field: &'static str, to: impl fmt::Display) -> Hint {
        Hint::Set { field, to: to.to_string() }
    }

    /// A [`Hint::Lower`].
    pub fn lower(field: &'static str, now: impl fmt::Display) -> Hint {
        Hint::Lower { field, now: now.to_string() }
    }

    /// Use another run directory.
    pub fn other_directory() -> Hint {
        Hint::set("out", "another directory")
    }

    fn message(&self, naming: &dyn Naming) -> String {
        match self {
            Hint::RunStage(stage) => format!("run {}", naming.stage(*stage)),
            Hint::StartRun => format!("start one with {}", naming.start()),
            Hint::Resume => "resume it as it was started".into(),
            Hint::Force => format!("set {} to go on all the same", naming.field("force")),
            Hint::Set { field, to } => format!("set {} to {to}", naming.field(field)),
            Hint::Lower { field, now } => format!("lower {} (now {now})", naming.field(field)),
        }
    }
}

/// How a front end names fields and calls.
pub trait Naming {
    /// The option or argument called `name` in this library.
    fn field(&self, name: &str) -> String;
    /// The call that runs `stage` on a run directory.
    fn stage(&self, stage: Stage) -> String;
    /// The calls that start a run.
    fn start(&self) -> String;
}

/// The names of the Rust API, in which errors display.
struct RustNaming;

impl Naming for RustNaming {
    fn field(&self, name: &str) -> String {
        name.into()
    }

    fn stage(&self, stage: Stage) -> String {
        match stage {
            Stage::Load => "Run::open",
            Stage::Preview => "preview",
            Stage::Tune => "tune",
            Stage::Curate => "Run::curate",
            Stage::Train | Stage::Export => "Run::train",
            Stage::Evaluate => "Run::evaluate",
        }
        .into()
    }

    fn start(&self) -> String {
        "Run::create or distill".into()
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message(&RustNaming))
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl Error {
    /// The error in one line, with fields and calls in the words of `naming`.
    pub fn message(&self, naming: &dyn Naming) -> String {
        match self {
            Error::Io { action, path, source } => format!("cannot {action} {}: {source}", path.display()),
            Error::Model { path, reason } | Error::Run { dir: path, reason } => {
                format!("{}: {}", path.display(), reason.message(naming))
            }
            Error::Input { location: Location::Field(name), reason } => {
                format!("{}: {}", naming.field(name), reason.message(naming))
            }
            Error::Input { location: Location::Source(source), reason } => {
                format!("{source}: {}", reason.message(naming))
            }
            Error::Unsupported(reason) | Error::Refused(reason) => reason.message(naming),
            Error::Training(reason) => format!("training: {}", reason.message(naming)),
            Error::Engine(reason) => format!("engine: {reason}"),
            Error::Parity(reason) => format!("adapter parity: {reason}"),
            Error::Cancelled => "stopped on request; everything finished so far is kept".into(),
            Error::Internal(reason) => format!("internal error (please report it): {reason}"),
        }
    }

    /// The error with a further remedy, where errors of its kind have some.
    pub fn hint(mut self, hint: Hint) -> Error {
        match &mut self {
            Error::Model { reason, .. }
            | Error::Input { reason, .. }
            | Error::Run { reason, .. }
            | Error::Unsupported(reason)
            | Error::Training(reason)
            | Error::Refused(reason) => reason.hints.push(hint),
            Error::Io { .. }
            | Error::Engine(_)
            | Error::Parity(_)
            | Error::Cancelled
            | Error::Internal(_) => {}
        }
        self
    }

    /// An [`Error::Io`] builder for `map_err`.
    pub fn io(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.as_ref().to_path_buf();
        move |source| Error::Io { action, path, source }
    }

    /// An [`Error::Model`].
    pub fn model(path: impl AsRef<Path>, reason: impl Into<Reason>) -> Error {
        Error::Model { path: path.as_ref().to_path_buf(), reason: reason.into() }
    }

    /// An [`Error::Input`] in a text, such as `questions.jsonl:17`.
    pub fn input(location: impl Into<Location>, reason: impl Into<Reason>) -> Error {
        Error::Input { location: location.into(), reason: reason.into() }
    }

    /// An [`Error::Input`] in the option or argument whose field is `name`.
    pub fn field(name: &'static str, reason: impl Into<Reason>) -> Error {
        Error::input(Location::Field(name), reason)
    }

    /// An [`Error::Unsupported`].
    pub fn unsupported(reason: impl Into<Reason>) -> Error {
        Error::Unsupported(reason.into())
    }

    /// An [`Error::Training`].
    pub fn training(reason: impl Into<Reason>) -> Error {
        Error::Training(reason.into())
    }

    /// An [`Error::Refused`].
    pub fn refused(reason: impl Into<Reason>) -> Error {
        Error::Refused(reason.into())
    }

    /// An [`Error::Run`].
    pub fn run(dir: impl AsRef<Path>, reason: impl Into<Reason>) -> Error {
        Error::Run { dir: dir.as_ref().to_path_buf(), reason: reason.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A front end with names that are easy to tell from the library's.
    struct Loud;

    impl Naming for Loud {
        fn field(&self, name: &str) -> String {
            name.to_uppercase()
        }
        fn stage(&self, stage: Stage) -> String {
            format!("{stage:?}!")
        }
        fn start(&self) -> String {
            "Start!".into()
        }
    }

    #[test]
    fn fields_and_hints_are_said_in_the_words_of_the_front_end() {
        let rank = Error::field("rank", "the adapter has rank 8, training 16").hint(Hint::set("rank", 8));
        assert_eq!(rank.to_string(), "rank: the adapter has rank 8, training 16; set rank to 8");
        assert_eq!(rank.message(&Loud), "RANK: the adapter has rank 8, training 16; set RANK to 8");
        let early = Error::run("run", "has no verdicts").hint(Hint::RunStage(Stage::Curate));
        assert_eq!(early.to_string(), "run: has no verdicts; run Run::curate");
        assert_eq!(early.message(&Loud), "run: has no verdicts; run Curate!");
    }

    #[test]
    fn several_hints_are_alternatives() {
        let diverged = Error::Training("the loss is NaN".into())
            .hint(Hint::lower("lr", 1))
            .hint(Hint::lower("lora_plus", 16));
        assert_eq!(
            diverged.to_string(),
            "training: the loss is NaN; lower lr (now 1) or lower lora_plus (now 16)"
        );
    }

    #[test]
    fn text_of_the_user_is_not_taken_for_a_name() {
        let error = Error::input("--rank.jsonl:1", "run `secondnature curate` --rank");
        assert_eq!(error.message(&Loud), "--rank.jsonl:1: run `secondnature curate` --rank");
    }
}
