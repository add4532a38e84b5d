//! The status that calls return.

use std::ffi::c_char;

use super::catch::catch;
use crate::Error;

/// What a call that can fail returns, by what the caller can do about it.
///
/// New codes may be added; treat an unknown one as a failure.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum sn_status {
    /// It worked.
    Ok = 0,
    /// An argument is NULL, not UTF-8 or not a value of its enum. A mistake in the calling program.
    InvalidArgument = 1,
    /// The operating system refused a file operation: missing file, full disk, no permission.
    Io = 2,
    /// A model or adapter file is not usable: not a GGUF, truncated, inconsistent.
    Model = 3,
    /// A well-formed request that this version cannot serve, such as an architecture.
    Unsupported = 4,
    /// A question file or task holds something unusable, or an option is out of range. The message
    /// says where.
    Input = 5,
    /// The run directory cannot be used: it belongs to another run, is locked or damaged.
    Run = 6,
    /// The inference engine failed.
    Engine = 7,
    /// Training stopped: nothing to train on, or a loss that is not a number.
    Training = 8,
    /// The work was refused because its result would not be worth having.
    Refused = 9,
    /// The written adapter does not reproduce the trained one when loaded again.
    Parity = 10,
    /// The caller cancelled. Everything finished so far is kept.
    Cancelled = 11,
    /// A bug in this library. A handle that was in use refuses all further calls.
    Internal = 12,
}

impl sn_status {
    pub(super) fn of(error: &Error) -> sn_status {
        match error {
            Error::Io { .. } => sn_status::Io,
            Error::Model { .. } => sn_status::Model,
            Error::Unsupported(_) => sn_status::Unsupported,
            Error::Input { .. } => sn_status::Input,
            Error::Run { .. } => sn_status::Run,
            Error::Engine(_) => sn_status::Engine,
            Error::Training(_) => sn_status::Training,
            Error::Refused(_) => sn_status::Refused,
            Error::Parity(_) => sn_status::Parity,
            Error::Cancelled => sn_status::Cancelled,
            Error::Internal(_) => sn_status::Internal,
        }
    }
}

/// The name of a status for a log, such as "SN_STATUS_IO"; "unknown" for any other number.
///
/// Ownership: static, never freed. Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn sn_status_name(status: i32) -> *const c_char {
    catch!(or c"unknown".as_ptr() => match status {
        0 => c"SN_STATUS_OK",
        1 => c"SN_STATUS_INVALID_ARGUMENT",
        2 => c"SN_STATUS_IO",
        3 => c"SN_STATUS_MODEL",
        4 => c"SN_STATUS_UNSUPPORTED",
        5 => c"SN_STATUS_INPUT",
        6 => c"SN_STATUS_RUN",
        7 => c"SN_STATUS_ENGINE",
        8 => c"SN_STATUS_TRAINING",
        9 => c"SN_STATUS_REFUSED",
        10 => c"SN_STATUS_PARITY",
        11 => c"SN_STATUS_CANCELLED",
        12 => c"SN_STATUS_INTERNAL",
        _ => c"unknown",
    }
    .as_ptr())
}
