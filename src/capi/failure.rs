//! Why a call failed, before it becomes an `sn_error`.

use super::naming::HeaderNaming;
use super::status::sn_status;
use crate::Error;

/// Why a call failed.
#[derive(Debug)]
pub struct Failure {
    pub status: sn_status,
    pub message: String,
    /// What caused it, the nearest cause first.
    pub causes: Vec<String>,
}

impl Failure {
    /// An argument that the caller must change.
    pub fn argument(name: &str, why: impl std::fmt::Display) -> Failure {
        Failure {
            status: sn_status::InvalidArgument,
            message: format!("argument \"{name}\" {why}"),
            causes: Vec::new(),
        }
    }

    /// A handle that an earlier call may have left half changed.
    pub(super) fn poisoned() -> Failure {
        Failure::internal(
            "an earlier call on this handle ended in an internal error; free the handle and open it again"
                .into(),
        )
    }

    /// A bug in this library.
    pub(super) fn internal(message: String) -> Failure {
        Failure { status: sn_status::Internal, message, causes: Vec::new() }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let causes = std::iter::successors(std::error::Error::source(&error), |cause| cause.source());
        Failure {
            status: sn_status::of(&error),
            causes: causes.map(|cause| cause.to_string()).collect(),
            message: error.message(&HeaderNaming),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_causes_of_an_error_are_kept_in_order() {
        let io = std::io::Error::new(std::io::ErrorKind::NotFound, "gone");
        let failure = Failure::from(Error::io("open", "m.gguf")(io));
        assert_eq!((failure.status, failure.message.as_str()), (sn_status::Io, "cannot open m.gguf: gone"));
        assert_eq!(failure.causes, ["gone"]);
    }
}
