//! Errors, as objects that the caller owns.

use std::ffi::c_char;

use super::catch::catch;
use super::failure::Failure;
use super::handle::release;
use super::status::sn_status;
use super::text::{Text, lend};

/// Why a call failed: a status, a message and its causes.
///
/// A call that fails writes a new one to its last argument `err`, unless that is NULL; what was
/// there before is overwritten, not freed. A call that succeeds leaves `err` alone.
///
/// Ownership: the caller's; free it with sn_error_free(). Threads: a `const sn_error *` may be
/// read from any number of threads.
pub struct sn_error {
    status: sn_status,
    message: Text,
    causes: Vec<Text>,
}

impl sn_error {
    pub(super) fn new(failure: Failure) -> sn_error {
        sn_error {
            status: failure.status,
            message: Text::new(failure.message),
            causes: failure.causes.into_iter().map(Text::new).collect(),
        }
    }

    #[cfg(test)]
    pub(super) fn into_failure(self) -> Failure {
        let text = |text: Text| text.as_str().to_string();
        Failure {
            status: self.status,
            message: text(self.message),
            causes: self.causes.into_iter().map(text).collect(),
        }
    }
}

/// The status that the failed call returned; SN_STATUS_OK for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_error_code(error: *const sn_error) -> sn_status {
    // SAFETY: by the header's rules.
    catch!(or sn_status::Internal => unsafe { error.as_ref() }.map_or(sn_status::Ok, |error| error.status))
}

/// What went wrong, in one line: what was expected, what was found, where, and what to do.
///
/// Returns UTF-8 of `*len` bytes, followed by a NUL; `len` may be NULL. NULL for NULL.
/// Ownership: the error's; valid until it is freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_error_message(error: *const sn_error, len: *mut usize) -> *const c_char {
    // SAFETY: by the header's rules.
    catch!(or std::ptr::null() => unsafe { lend(error.as_ref().map(|error| &error.message), len) })
}

/// The cause number `index` of the error, 0 being the nearest: such as the operating system's
/// message. NULL when there are not that many. The error's message already includes what matters.
///
/// Returns UTF-8 of `*len` bytes, followed by a NUL; `len` may be NULL.
/// Ownership: the error's; valid until it is freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_error_cause(
    error: *const sn_error,
    index: usize,
    len: *mut usize,
) -> *const c_char {
    // SAFETY: by the header's rules.
    catch!(or std::ptr::null() => unsafe { lend(error.as_ref().and_then(|error| error.causes.get(index)), len) })
}

/// Frees an error. Does nothing for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_error_free(error: *mut sn_error) {
    // SAFETY: by the header's rules.
    catch!(or () => unsafe { release(error) })
}
