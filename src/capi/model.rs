//! Model files.

use std::ffi::c_char;

use super::catch::catch;
use super::entry::entry;
use super::error::sn_error;
use super::handle::{Poison, hand_out, place, release};
use super::status::sn_status;
use super::text::{Text, lend, text};
use crate::ModelFile;

/// A model file that can be distilled.
///
/// Ownership: the caller's; free it with sn_model_free(), after every call that uses it has
/// returned. Threads: a `const sn_model *` may be used from any number of threads.
pub struct sn_model {
    pub(super) model: ModelFile,
    pub(super) poison: Poison,
    name: Text,
    architecture: Text,
}

/// Opens the GGUF file `path` (of a split one, the first part) and checks that it can be
/// distilled. Takes milliseconds; the weights are read when work starts.
///
/// `path` is UTF-8 of `path_len` bytes, or ends in NUL with SN_NUL_TERMINATED. `*out` is the model
/// on success and untouched on failure.
///
/// Errors: SN_STATUS_IO when the file cannot be read, SN_STATUS_MODEL when it is not a well-formed
/// GGUF, SN_STATUS_UNSUPPORTED for an architecture or tensor type that cannot be trained,
/// SN_STATUS_INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_model_open(
    path: *const c_char,
    path_len: usize,
    out: *mut *mut sn_model,
    err: *mut *mut sn_error,
) -> sn_status {
    entry!(err => {
        // SAFETY: by the header's rules.
        let path = unsafe { text("path", path, path_len) }?;
        let out = place("out", out)?;
        let model = ModelFile::open(path)?;
        let handle = sn_model {
            name: Text::new(&model.name),
            architecture: Text::new(&model.architecture),
            poison: Poison::default(),
            model,
        };
        // SAFETY: not NULL, so writable, by the header's rules.
        unsafe { hand_out(out, handle) };
        Ok(())
    })
}

/// The model's own name; empty where it has none.
///
/// Returns UTF-8 of `*len` bytes, followed by a NUL; `len` may be NULL. NULL for NULL.
/// Ownership: the model's; valid until it is freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_model_name(model: *const sn_model, len: *mut usize) -> *const c_char {
    // SAFETY: by the header's rules.
    catch!(or std::ptr::null() => unsafe { lend(model.as_ref().map(|model| &model.name), len) })
}

/// The model's architecture, such as "llama".
///
/// Returns UTF-8 of `*len` bytes, followed by a NUL; `len` may be NULL. NULL for NULL.
/// Ownership: the model's; valid until it is freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_model_architecture(model: *const sn_model, len: *mut usize) -> *const c_char {
    // SAFETY: by the header's rules.
    catch!(or std::ptr::null() => unsafe { lend(model.as_ref().map(|model| &model.architecture), len) })
}

/// The number of parameters of the model; 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_model_parameters(model: *const sn_model) -> u64 {
    // SAFETY: by the header's rules.
    catch!(or 0 => unsafe { model.as_ref() }.map_or(0, |model| model.model.parameters))
}

/// Frees a model. Does nothing for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_model_free(model: *mut sn_model) {
    // SAFETY: by the header's rules.
    catch!(or () => unsafe { release(model) })
}
