//! Which library this is.

use std::ffi::c_char;

use super::boundary::entry;

/// The version of the library that is loaded, such as "0.1.0". `SN_VERSION` is the header's.
///
/// Ownership: static, never freed. Threads: any. Since 0.1.
#[unsafe(no_mangle)]
pub extern "C" fn sn_version() -> *const c_char {
    entry!(or c"".as_ptr() => concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast())
}
