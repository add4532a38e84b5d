//! Cancellation from another thread or a signal handler.

use super::catch::catch;
use super::handle::release;
use crate::Cancel;

/// A request to stop that any thread can make.
///
/// Work that was given one stops within one decode batch or one optimiser step, keeps everything
/// finished so far and returns SN_STATUS_CANCELLED; the same call with a new sn_cancel resumes it. Only a
/// preview ends with what it has seen, in sn_preview_new().
///
/// Ownership: counted. sn_cancel_new() and sn_cancel_share() each give a reference to free; a call
/// that takes one keeps a reference of its own. Threads: any number may use one at once.
pub struct sn_cancel(pub(super) Cancel);

/// The request behind `cancel`, or one that is never made.
///
/// # Safety
/// `cancel` is NULL or points to a request.
pub(super) unsafe fn of(cancel: *const sn_cancel) -> Cancel {
    // SAFETY: by this function's contract.
    unsafe { cancel.as_ref() }.map_or_else(Cancel::new, |cancel| cancel.0.clone())
}

fn give(cancel: Cancel) -> *mut sn_cancel {
    Box::into_raw(Box::new(sn_cancel(cancel)))
}

/// A new request, not yet made.
///
/// Ownership: the caller's; free it with sn_cancel_free().
#[unsafe(no_mangle)]
pub extern "C" fn sn_cancel_new() -> *mut sn_cancel {
    catch!(or std::ptr::null_mut() => give(Cancel::new()))
}

/// Another reference to the same request, for another thread to use and to free. NULL for NULL.
///
/// Ownership: the caller's; free it with sn_cancel_free().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_cancel_share(cancel: *const sn_cancel) -> *mut sn_cancel {
    // SAFETY: by the header's rules.
    catch!(or std::ptr::null_mut() => match unsafe { cancel.as_ref() } {
        Some(cancel) => give(cancel.0.clone()),
        None => std::ptr::null_mut(),
    })
}

/// Asks the work to stop; this cannot be undone. Does nothing for NULL.
///
/// Safe to call from a signal handler.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_cancel_request(cancel: *const sn_cancel) {
    // SAFETY: by the header's rules.
    catch!(or () => if let Some(cancel) = unsafe { cancel.as_ref() } {
        cancel.0.cancel();
    })
}

/// Frees a reference. Work that holds one of its own is not disturbed. Does nothing for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_cancel_free(cancel: *mut sn_cancel) {
    // SAFETY: by the header's rules.
    catch!(or () => unsafe { release(cancel) })
}
