//! For the library's own tests, and not in the header.

use super::boundary::{entry, required};
use super::error::sn_error;
use super::model::sn_model;
use super::status::sn_status;

/// Panics while it uses `model`, so that a C program can see what a bug in the library does to it:
/// nothing but SN_STATUS_INTERNAL, and a handle that refuses further calls.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_test_panic(model: *const sn_model, err: *mut *mut sn_error) -> sn_status {
    entry!(err => {
        // SAFETY: by the header's rules.
        let handle = unsafe { required("model", model) }?;
        handle.poison.guard(|| panic!("on purpose"))
    })
}
