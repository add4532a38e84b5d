//! Text that the library hands over.

use std::ffi::{CString, c_char};

use super::boundary::{Failure, entry};

/// Hands `text` to the caller, who frees it with `sn_string_free`.
pub(super) fn give(text: String) -> Result<*mut c_char, Failure> {
    let text = CString::new(text).map_err(|_| crate::Error::Internal("text holds a NUL".into()))?;
    Ok(text.into_raw())
}

/// Frees text that a call handed over. Does nothing for NULL. Since 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_string_free(string: *mut c_char) {
    entry!(or () => if !string.is_null() {
        // SAFETY: made by `CString::into_raw` in `give`, by the header's rules.
        drop(unsafe { CString::from_raw(string) })
    })
}
