//! Text arguments, checked to be UTF-8, and text results, which end in NUL.

use std::ffi::{CStr, c_char};

use super::failure::Failure;

/// The length that stands for "up to the NUL": `SN_NUL_TERMINATED` in the header.
pub const NUL_TERMINATED: usize = usize::MAX;

/// Text that C can read with its length or up to its NUL.
#[derive(Debug)]
pub struct Text(String);

impl Text {
    pub fn new(text: impl Into<String>) -> Text {
        let mut text = text.into();
        text.push('\0');
        Text(text)
    }

    /// Bytes before the NUL.
    pub fn len(&self) -> usize {
        self.0.len() - 1
    }

    /// The text without its NUL.
    #[cfg(test)]
    pub fn as_str(&self) -> &str {
        self.0.trim_end_matches('\0')
    }

    pub fn as_ptr(&self) -> *const c_char {
        self.0.as_ptr().cast()
    }
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
    // SAFETY: by this function's contract.
    let Some(bytes) = (unsafe { optional_bytes(name, data, len) })? else { return Ok(None) };
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(Some(text)),
        Err(error) => {
            Err(Failure::argument(name, format!("is not UTF-8: byte {} is wrong", error.valid_up_to() + 1)))
        }
    }
}

/// What a file holds, in any encoding; it must be there.
///
/// # Safety
/// As [`optional_text`].
pub unsafe fn file_bytes<'a>(name: &str, data: *const c_char, len: usize) -> Result<&'a [u8], Failure> {
    // SAFETY: by this function's contract.
    unsafe { optional_bytes(name, data, len) }?.ok_or_else(|| Failure::argument(name, "is NULL"))
}

/// # Safety
/// As [`optional_text`].
unsafe fn optional_bytes<'a>(
    name: &str,
    data: *const c_char,
    len: usize,
) -> Result<Option<&'a [u8]>, Failure> {
    if data.is_null() {
        return Ok(None);
    }
    if len == NUL_TERMINATED {
        // SAFETY: ends in NUL, by this function's contract.
        Ok(Some(unsafe { CStr::from_ptr(data) }.to_bytes()))
    } else if isize::try_from(len).is_ok() {
        // SAFETY: `len` readable bytes, by this function's contract; no object is larger than `isize::MAX`.
        Ok(Some(unsafe { std::slice::from_raw_parts(data.cast(), len) }))
    } else {
        Err(Failure::argument(name, format!("has an impossible length, {len} bytes")))
    }
}

/// Lends text: returns its start and writes its length. NULL and 0 for `None`.
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

    #[test]
    fn text_is_checked_before_it_is_used() {
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
}
