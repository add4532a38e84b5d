//! Output structs, which grow by appending: writes as much of one as the caller's header knows.

use std::mem::{align_of, size_of};

use super::failure::Failure;

/// No output struct of any version is this large; a size beyond it is garbage.
const LARGEST: usize = 1 << 16;

/// A struct of figures whose first member, set by the caller, is the size that the caller knows.
///
/// # Safety
/// `#[repr(C)]` with the size, a `usize`, as its first member; no padding anywhere; every other member
/// is a number. `FIRST_SIZE` is no more than the size of the struct.
pub unsafe trait Output: Copy {
    /// The size of the struct in its first version.
    const FIRST_SIZE: usize;
}

/// A checked place for an output; `None` for NULL, which asks for nothing.
#[derive(Debug)]
pub struct Place<T> {
    start: *mut T,
    size: usize,
}

/// Checks the place `out` for the output `name`, before the work whose result it receives.
///
/// # Safety
/// `out` is NULL or points to as many writable bytes as its first member says.
pub unsafe fn output<T: Output>(name: &str, out: *mut T) -> Result<Option<Place<T>>, Failure> {
    if out.is_null() {
        return Ok(None);
    }
    // SAFETY: not NULL, so it starts with a size, by this function's contract.
    let size = unsafe { out.cast::<usize>().read() };
    if !(T::FIRST_SIZE..=LARGEST).contains(&size) || !size.is_multiple_of(align_of::<T>()) {
        let reason = format!(
            "has struct_size {size}, expected {}; set {name}.struct_size = sizeof *{name} first",
            size_of::<T>()
        );
        return Err(Failure::argument(name, reason));
    }
    Ok(Some(Place { start: out, size }))
}

impl<T: Output> Place<T> {
    /// Writes `value`, but not its size; a newer caller gets zeros beyond it.
    ///
    /// # Safety
    /// The place is still what [`output`] was promised.
    pub unsafe fn write(self, value: T) {
        let known = self.size.min(size_of::<T>());
        let head = size_of::<usize>();
        let bytes = self.start.cast::<u8>();
        // SAFETY: `size` writable bytes, by this function's contract, of which those up to `known` are
        // copied from as many of `value`, which has no padding, and the rest is zeroed.
        unsafe {
            let from = (&raw const value).cast::<u8>();
            std::ptr::copy_nonoverlapping(from.add(head), bytes.add(head), known - head);
            bytes.add(known).write_bytes(0, self.size - known);
        }
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
    unsafe impl Output for Grown {
        const FIRST_SIZE: usize = offset_of!(Grown, late);
    }

    const VALUE: Grown = Grown { struct_size: 0, early: 1, late: 2 };

    #[test]
    fn older_and_newer_callers_get_what_they_know() {
        let mut places = [Grown { struct_size: 0, early: 9, late: 9 }; 2];
        // SAFETY: each call is given as many bytes as the size says.
        unsafe {
            places[0].struct_size = Grown::FIRST_SIZE;
            output("out", places.as_mut_ptr()).unwrap().unwrap().write(VALUE);
            assert_eq!(places[0], Grown { struct_size: 16, early: 1, late: 9 });
            places[0].struct_size = size_of_val(&places);
            output("out", places.as_mut_ptr()).unwrap().unwrap().write(VALUE);
            assert_eq!(places[0], Grown { struct_size: 48, early: 1, late: 2 });
            assert_eq!(places[1], Grown { struct_size: 0, early: 0, late: 0 });
            assert!(output::<Grown>("out", std::ptr::null_mut()).unwrap().is_none());
        }
    }

    #[test]
    fn a_size_that_no_version_has_is_refused() {
        for struct_size in [0, Grown::FIRST_SIZE - 8, Grown::FIRST_SIZE + 4, LARGEST + 8] {
            let mut place = Grown { struct_size, ..VALUE };
            // SAFETY: the size is refused before anything beyond it is written.
            let message = unsafe { output("out", &raw mut place) }.unwrap_err().message;
            assert!(message.contains("sizeof *out"), "{message}");
        }
    }
}
