//! Params structs, which grow by appending: reads those of older (shorter) and newer (longer)
//! callers, and fills in the defaults.

use std::mem::{align_of, size_of};

use super::failure::Failure;
use super::handle::required;

/// No params struct of any version is this large; a size beyond it is garbage.
const LARGEST: usize = 1 << 16;

/// A struct that says its own size, which a caller fills through its `_init` function.
///
/// # Safety
/// `#[repr(C)]` with the size, a `usize`, as its first member; no padding at its end; and every
/// member takes any bit pattern: numbers, pointers, function pointers that may be NULL, arrays and
/// structs of these. `FIRST_SIZE` is no more than the size of the struct.
pub unsafe trait Params: Copy {
    /// The size of the struct in its first version: less cannot have been filled by init.
    const FIRST_SIZE: usize;
    /// The function that fills it, for messages.
    const INIT: &'static str;
    /// The defaults.
    const DEFAULT: Self;
}

/// Reads params called `name`, whose struct may be older or newer than ours.
///
/// # Safety
/// `params` is NULL or points to as many readable bytes as its first member says.
pub unsafe fn read<P: Params>(name: &str, params: *const P) -> Result<P, Failure> {
    // SAFETY: by this function's contract.
    let size = *unsafe { required(name, params.cast::<usize>()) }?;
    // Any version ends where its alignment does, so none ends within a pointer.
    if !(P::FIRST_SIZE..=LARGEST).contains(&size) || !size.is_multiple_of(align_of::<P>()) {
        let why = format!("has struct_size {size}, expected {}; call {}() first", size_of::<P>(), P::INIT);
        return Err(Failure::argument(name, why));
    }
    let known = size.min(size_of::<P>());
    // SAFETY: `size` readable bytes, by this function's contract. What a newer version appends is filled by
    // init, padding included.
    let newer = unsafe { std::slice::from_raw_parts(params.cast::<u8>().add(known), size - known) };
    if newer.iter().any(|byte| *byte != 0) {
        let why = format!(
            "sets a field that version {} does not know; use the library that belongs to the header",
            env!("CARGO_PKG_VERSION")
        );
        return Err(Failure::argument(name, why));
    }
    let mut read = P::DEFAULT;
    // SAFETY: `known` is no longer than `read` or what the caller gave, and every member takes any bit
    // pattern, by the contract of `Params`.
    unsafe { std::ptr::copy_nonoverlapping(params.cast::<u8>(), (&raw mut read).cast(), known) };
    Ok(read)
}

/// As [`read`], where NULL stands for the defaults.
///
/// # Safety
/// As [`read`].
pub unsafe fn read_or_default<P: Params>(name: &str, params: *const P) -> Result<P, Failure> {
    if params.is_null() {
        return Ok(P::DEFAULT);
    }
    // SAFETY: by this function's contract.
    unsafe { read(name, params) }
}

/// Fills `params` with the defaults, and what a newer caller has beyond them with zeros. Does
/// nothing for NULL.
///
/// # Safety
/// `params` is NULL or points to `struct_size` writable bytes.
pub unsafe fn init<P: Params>(params: *mut P, struct_size: usize) {
    if params.is_null() {
        return;
    }
    let mut defaults = P::DEFAULT;
    // SAFETY: the first member is the size, by the contract of `Params`.
    unsafe { (&raw mut defaults).cast::<usize>().write(struct_size) };
    let known = struct_size.min(size_of::<P>());
    let bytes = params.cast::<u8>();
    // SAFETY: `struct_size` writable bytes, by this function's contract, of which the first `known`
    // are copied from as many, and the rest is zeroed.
    unsafe {
        std::ptr::copy_nonoverlapping((&raw const defaults).cast::<u8>(), bytes, known);
        bytes.add(known).write_bytes(0, struct_size - known);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    /// The second version of a struct: `late` was appended.
    #[repr(C)]
    #[derive(Debug, Clone, Copy, PartialEq)]
    struct Grown {
        struct_size: usize,
        early: u64,
        late: u64,
    }

    // SAFETY: three numbers of eight bytes.
    unsafe impl Params for Grown {
        const FIRST_SIZE: usize = offset_of!(Grown, late);
        const INIT: &'static str = "grown_init";
        const DEFAULT: Grown = Grown { struct_size: size_of::<Grown>(), early: 1, late: 2 };
    }

    #[test]
    fn older_and_newer_callers_are_served_and_unknown_wishes_refused() {
        let mut newer = [Grown { struct_size: 0, early: 9, late: 9 }; 2];
        // SAFETY: each call is given as many bytes as it is told.
        unsafe {
            init(newer.as_mut_ptr(), Grown::FIRST_SIZE);
            assert_eq!(newer[0], Grown { struct_size: 16, early: 1, late: 9 });
            newer[0].early = 5;
            assert_eq!(read("p", newer.as_ptr()).unwrap(), Grown { struct_size: 16, early: 5, late: 2 });

            init(newer.as_mut_ptr(), 48);
            assert_eq!(newer[1], Grown { struct_size: 0, early: 0, late: 0 });
            assert_eq!(read("p", newer.as_ptr()).unwrap(), Grown { struct_size: 48, ..Grown::DEFAULT });
            newer[1].late = 1;
            assert!(read("p", newer.as_ptr()).unwrap_err().message.contains("does not know"));
        }
    }

    #[test]
    fn a_size_that_init_cannot_have_written_is_refused() {
        for struct_size in [0, Grown::FIRST_SIZE - 8, Grown::FIRST_SIZE + 4, LARGEST + 8] {
            let params = Grown { struct_size, ..Grown::DEFAULT };
            // SAFETY: the size is refused before anything beyond it is read.
            let message = unsafe { read("p", &raw const params) }.unwrap_err().message;
            assert!(message.contains("grown_init"), "{message}");
        }
        // SAFETY: NULL is allowed.
        unsafe {
            assert!(read::<Grown>("p", std::ptr::null()).unwrap_err().message.contains("NULL"));
            assert_eq!(read_or_default::<Grown>("p", std::ptr::null()).unwrap(), Grown::DEFAULT);
            init::<Grown>(std::ptr::null_mut(), 8);
        }
    }
}
