//! The macro that every call that can fail passes through.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::error::sn_error;
use super::failure::Failure;
use super::status::sn_status;

/// The body of a call that can fail: `entry!(err => body)`, where the body gives
/// `Result<(), Failure>`. A failure or a panic is written to `err`, and its status returned.
macro_rules! entry {
    ($err:expr => $body:expr) => {{
        let body = || -> Result<(), $crate::capi::failure::Failure> { $body };
        // SAFETY: by its own contract, the entry point was given an `err` that is NULL or writable.
        unsafe { $crate::capi::entry::call($err, body) }
    }};
}
pub(super) use entry;

/// Runs `body`; a failure, or a panic, goes to `err`.
///
/// # Safety
/// `err` is NULL or writable.
pub unsafe fn call(err: *mut *mut sn_error, body: impl FnOnce() -> Result<(), Failure>) -> sn_status {
    // What a panic leaves behind is reachable only through handles, and those are poisoned.
    let outcome = catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| {
        Err(Failure::internal(format!("internal error (please report it): {}", text_of(&*panic))))
    });
    let Err(failure) = outcome else { return sn_status::Ok };
    let status = failure.status;
    if !err.is_null() {
        // SAFETY: not NULL, so writable, by this function's contract.
        unsafe { err.write(Box::into_raw(Box::new(sn_error::new(failure)))) }
    }
    status
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> &str {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    owned.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without a message")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capi::handle::Poison;

    fn take(err: *mut sn_error) -> Failure {
        // SAFETY: written by `call`, and taken once.
        unsafe { Box::from_raw(err) }.into_failure()
    }

    #[test]
    fn a_panic_is_an_internal_error_and_does_not_cross() {
        let mut err = std::ptr::null_mut();
        let status = entry!(&raw mut err => panic!("the {} fell down", "sky"));
        assert_eq!(status, sn_status::Internal);
        assert_eq!(take(err).message, "internal error (please report it): the sky fell down");
    }

    #[test]
    fn a_panic_poisons_the_handle_it_happened_on() {
        let poison = Poison::default();
        let no_err = std::ptr::null_mut();
        assert_eq!(entry!(no_err => poison.guard(|| Ok(()))), sn_status::Ok);
        assert_eq!(entry!(no_err => poison.guard(|| panic!("once"))), sn_status::Internal);
        let mut err = std::ptr::null_mut();
        assert_eq!(entry!(&raw mut err => poison.guard(|| Ok(()))), sn_status::Internal);
        assert!(take(err).message.contains("open it again"));
    }
}
