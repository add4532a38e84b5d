//! Handles: made, freed, locked, and refused after a panic; and pointers that must not be NULL.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{RwLock, TryLockError};

use super::failure::Failure;

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

/// The contents of a handle, for one call that changes them or any number that do not. The header
/// requires that of callers; a call that breaks it, as from within a callback, is refused.
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

/// Writes a new handle to `out`.
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

/// The place of an output, which must not be NULL.
pub fn place<T>(name: &str, out: *mut T) -> Result<*mut T, Failure> {
    if out.is_null() { Err(Failure::argument(name, "is NULL")) } else { Ok(out) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capi::entry::entry;
    use crate::capi::status::sn_status;

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
}
