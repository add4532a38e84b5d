//! The version of the library.

use std::ffi::c_char;

use super::catch::catch;

/// The version of the library that is loaded, such as "0.1.0". `SN_VERSION` is the header's.
///
/// Ownership: static, never freed. Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn sn_version() -> *const c_char {
    catch!(or c"".as_ptr() => concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast())
}

/// The same as a number, MAJOR * 10000 + MINOR * 100 + PATCH, to compare with SN_VERSION_NUMBER.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn sn_version_number() -> i32 {
    catch!(or 0 => {
        let part = |part: &str| part.parse::<i32>().unwrap_or(0);
        part(env!("CARGO_PKG_VERSION_MAJOR")) * 10_000
            + part(env!("CARGO_PKG_VERSION_MINOR")) * 100
            + part(env!("CARGO_PKG_VERSION_PATCH"))
    })
}
