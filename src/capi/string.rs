//! Text that the library returns and the caller frees.

use std::ffi::{CString, c_char};

use serde::Serialize;

use super::catch::catch;
use super::failure::Failure;
use crate::Error;

/// Gives `value` as JSON to the caller, who frees it with `sn_string_free`, and its length.
///
/// # Safety
/// `json` and `len` are NULL or writable.
pub(super) unsafe fn give_json(
    value: &impl Serialize,
    json: *mut *mut c_char,
    len: *mut usize,
) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Error::Internal(error.to_string()))?;
    let bytes = text.len();
    let text = CString::new(text).map_err(|_| Error::Internal("text holds a NUL".into()))?;
    if !json.is_null() {
        // SAFETY: not NULL, so writable, by this function's contract.
        unsafe { json.write(text.into_raw()) }
    }
    if !len.is_null() {
        // SAFETY: as above.
        unsafe { len.write(bytes) }
    }
    Ok(())
}

/// Frees text that a call returned. Does nothing for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_string_free(string: *mut c_char) {
    catch!(or () => if !string.is_null() {
        // SAFETY: made by `CString::into_raw` in `give_json`, by the header's rules.
        drop(unsafe { CString::from_raw(string) })
    })
}
