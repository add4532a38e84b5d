//! What every entry point does: catch panics, check pointers, hand out errors.

use std::ffi::{CStr, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{RwLock, TryLockError};

use super::error::{Text, sn_error};
use super::naming::HeaderNaming;
use super::status::sn_status;
use crate::Error;

/// The length that stands for "up to the NUL": `SN_NUL_TERMINATED` in the header.
pub const NUL_TERMINATED: usize = usize::MAX;

/// The body of an entry point.
///
/// `entry!(err => body)` is a call that can fail: the body gives `Result<(), Failure>`.
/// `entry!(or value => body)` cannot fail; `value` is what a panic gives.
macro_rules! entry {
    (or $otherwise:expr => $body:expr) => {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| $body)).unwrap_or($otherwise)
    };
    ($err:expr => $body:expr) => {{
        let body = || -> Result<(), $crate::capi::boundary::Failure> { $body };
        // SAFETY: by its own contract, the entry point was given an `err` that is NULL or writable.
        unsafe { $crate::capi::boundary::call($err, body) }
    }};
}
pub(super) use entry;

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

    fn poisoned() -> Failure {
        Failure::internal(
            "an earlier call on this handle ended in an internal error; free the handle and open it again"
                .into(),
        )
    }

    fn internal(message: String) -> Failure {
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

/// Whether a panic may have left a handle half changed.
#[derive(Debug, Default)]
pub struct Poison(AtomicBool);

impl Poison {
    /// Runs `body` on the handle. Refuses when an earlier call panicked.
    pub fn guard(&self, body: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
        if self.0.load(Ordering::Acquire) {
            return Err(Failure::poisoned());
        }
        catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| {
            self.0.store(true, Ordering::Release);
            std::panic::resume_unwind(panic)
        })
    }
}

/// What a handle holds, for one call that changes it or any number that do not. The header asks that
/// of hosts; where one does not keep to it, as from within a callback, the call is refused.
#[derive(Debug)]
pub struct Exclusive<T>(RwLock<T>);

impl<T> Exclusive<T> {
    pub fn new(value: T) -> Exclusive<T> {
        Exclusive(RwLock::new(value))
    }

    /// Runs `body`, which may change the contents, of the argument `name`. Refuses when an earlier
    /// call panicked.
    pub fn change(
        &self,
        name: &str,
        body: impl FnOnce(&mut T) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        match self.0.try_write() {
            Ok(mut value) => body(&mut value),
            Err(error) => Err(refusal(name, &error)),
        }
    }

    /// The same for a body that changes nothing.
    pub fn share<R>(&self, name: &str, body: impl FnOnce(&T) -> Result<R, Failure>) -> Result<R, Failure> {
        match self.0.try_read() {
            Ok(value) => body(&value),
            Err(error) => Err(refusal(name, &error)),
        }
    }
}

fn refusal<T>(name: &str, error: &TryLockError<T>) -> Failure {
    match error {
        TryLockError::Poisoned(_) => Failure::poisoned(),
        TryLockError::WouldBlock => {
            Failure::argument(name, "is in use by a call that has not returned; wait for it")
        }
    }
}

/// Hands out a handle.
///
/// # Safety
/// `out` is writable.
pub unsafe fn hand_out<T>(out: *mut *mut T, handle: T) {
    // SAFETY: by this function's contract.
    unsafe { out.write(Box::into_raw(Box::new(handle))) }
}

/// Frees a handle; does nothing for NULL.
///
/// # Safety
/// `handle` is NULL, or was made by `Box::into_raw` and is not yet freed.
pub unsafe fn release<T>(handle: *mut T) {
    if !handle.is_null() {
        // SAFETY: by this function's contract.
        drop(unsafe { Box::from_raw(handle) })
    }
}

/// `*pointer`, which must not be NULL.
///
/// # Safety
/// `pointer` is NULL or points to a `T` that outlives `'a`.
pub unsafe fn required<'a, T>(name: &str, pointer: *const T) -> Result<&'a T, Failure> {
    // SAFETY: by this function's contract.
    unsafe { pointer.as_ref() }.ok_or_else(|| Failure::argument(name, "is NULL"))
}

/// A place for an output, which must not be NULL.
pub fn place<T>(name: &str, out: *mut T) -> Result<*mut T, Failure> {
    if out.is_null() { Err(Failure::argument(name, "is NULL")) } else { Ok(out) }
}

/// Text that must be there.
///
/// # Safety
/// As [`optional_text`].
pub unsafe fn text<'a>(name: &str, data: *const c_char, len: usize) -> Result<&'a str, Failure> {
    // SAFETY: by this function's contract.
    unsafe { optional_text(name, data, len) }?.ok_or_else(|| Failure::argument(name, "is NULL"))
}

/// Text, or `None` for NULL.
///
/// # Safety
/// `data` is NULL, or points to `len` bytes that outlive `'a`, or, where `len` is
/// [`NUL_TERMINATED`], to a string that ends in NUL and outlives `'a`.
pub unsafe fn optional_text<'a>(
    name: &str,
    data: *const c_char,
    len: usize,
) -> Result<Option<&'a str>, Failure> {
    if data.is_null() {
        return Ok(None);
    }
    let bytes = if len == NUL_TERMINATED {
        // SAFETY: ends in NUL, by this function's contract.
        unsafe { CStr::from_ptr(data) }.to_bytes()
    } else if isize::try_from(len).is_ok() {
        // SAFETY: `len` readable bytes, by this function's contract; no object is larger than `isize::MAX`.
        unsafe { std::slice::from_raw_parts(data.cast(), len) }
    } else {
        return Err(Failure::argument(name, format!("has an impossible length, {len} bytes")));
    };
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(Some(text)),
        Err(error) => {
            Err(Failure::argument(name, format!("is not UTF-8: byte {} is wrong", error.valid_up_to() + 1)))
        }
    }
}

/// Hands out borrowed text: returns its start and writes its length. NULL and 0 for `None`.
///
/// # Safety
/// `len` is NULL or writable.
pub unsafe fn lend(text: Option<&Text>, len: *mut usize) -> *const c_char {
    if !len.is_null() {
        // SAFETY: not NULL, so writable, by this function's contract.
        unsafe { len.write(text.map_or(0, Text::len)) }
    }
    text.map_or(std::ptr::null(), Text::as_ptr)
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(entry!(or 7 => panic!("again")), 7);
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

    #[test]
    fn a_handle_is_changed_by_one_call_at_a_time_and_not_after_a_panic() {
        let handle = Exclusive::new(1);
        let busy = |_: &mut i32| {
            handle.change("run", |_| Ok(())).inspect_err(|failure| {
                assert!(failure.message.contains("\"run\" is in use"), "{}", failure.message);
            })
        };
        assert_eq!(handle.change("run", busy).unwrap_err().status, sn_status::InvalidArgument);
        assert!(handle.share("run", |_| handle.share("run", |value| Ok(*value))).is_ok());
        let no_err = std::ptr::null_mut();
        assert_eq!(entry!(no_err => handle.change("run", |_| panic!("once"))), sn_status::Internal);
        assert_eq!(handle.change("run", |_| Ok(())).unwrap_err().status, sn_status::Internal);
    }

    #[test]
    fn text_is_checked_before_it_is_believed() {
        let word = c"häuser";
        // SAFETY: the pointers below point to `word` and lengths stay within it.
        let read = |len| unsafe { text("word", word.as_ptr(), len) }.map_err(|failure| failure.message);
        assert_eq!(read(NUL_TERMINATED).unwrap(), "häuser");
        assert_eq!(read(3).unwrap(), "hä");
        assert_eq!(read(0).unwrap(), "");
        assert_eq!(read(2).unwrap_err(), "argument \"word\" is not UTF-8: byte 2 is wrong");
        assert!(read(usize::MAX - 1).unwrap_err().contains("impossible length"));
        // SAFETY: NULL is allowed.
        assert!(unsafe { text("word", std::ptr::null(), 4) }.is_err());
    }

    #[test]
    fn the_causes_of_an_error_are_kept_in_order() {
        let io = std::io::Error::new(std::io::ErrorKind::NotFound, "gone");
        let failure = Failure::from(Error::io("open", "m.gguf")(io));
        assert_eq!((failure.status, failure.message.as_str()), (sn_status::Io, "cannot open m.gguf: gone"));
        assert_eq!(failure.causes, ["gone"]);
    }
}
