//! Adapter files.

use std::ffi::c_char;

use super::catch::catch;
use super::entry::entry;
use super::error::sn_error;
use super::handle::{hand_out, place, release};
use super::status::sn_status;
use super::text::{Text, lend, text};
use crate::Error;
use crate::model::AdapterFile;

/// A LoRA adapter in a GGUF file, and its metadata. To use it, give its path to llama.cpp
/// or to sn_answerer_new().
///
/// ```c
/// sn_adapter *adapter = NULL;
/// if (sn_adapter_open("run/adapter.gguf", SN_NUL_TERMINATED, &adapter, &err) == SN_STATUS_OK) {
///     printf("%s, rank %u\n", sn_adapter_task(adapter, NULL), sn_adapter_rank(adapter));
/// }
/// sn_adapter_free(adapter);
/// ```
///
/// Ownership: the caller's; free it with sn_adapter_free(). Threads: a `const sn_adapter *` may be
/// used from any number of threads.
pub struct sn_adapter {
    adapter: AdapterFile,
    task: Text,
    facts: Text,
}

/// Opens the file `path` and checks that it holds a LoRA adapter. Takes milliseconds.
///
/// `path` is UTF-8 of `len` bytes, or ends in NUL with SN_NUL_TERMINATED. `*out` is the adapter on
/// success and untouched on failure.
///
/// Errors: SN_STATUS_IO when the file cannot be read, SN_STATUS_MODEL when it is not a well-formed
/// GGUF or not a LoRA adapter, SN_STATUS_INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_adapter_open(
    path: *const c_char,
    len: usize,
    out: *mut *mut sn_adapter,
    err: *mut *mut sn_error,
) -> sn_status {
    entry!(err => {
        // SAFETY: by the header's rules.
        let path = unsafe { text("path", path, len) }?;
        let out = place("out", out)?;
        let adapter = AdapterFile::open(path)?;
        let facts = serde_json::to_string_pretty(&adapter.inspection.to_json());
        let handle = sn_adapter {
            task: Text::new(adapter.task.as_str()),
            facts: Text::new(facts.map_err(|error| Error::Internal(error.to_string()))?),
            adapter,
        };
        // SAFETY: not NULL, so writable, by the header's rules.
        unsafe { hand_out(out, handle) };
        Ok(())
    })
}

/// The rank of the adapter, the largest where its pairs differ; 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_adapter_rank(adapter: *const sn_adapter) -> u32 {
    // SAFETY: by the header's rules.
    catch!(or 0 => unsafe { adapter.as_ref() }.map_or(0, |adapter| adapter.adapter.rank as u32))
}

/// The adapter's alpha: it is applied with the scale alpha/rank. 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_adapter_alpha(adapter: *const sn_adapter) -> f64 {
    // SAFETY: by the header's rules.
    catch!(or 0.0 => unsafe { adapter.as_ref() }.map_or(0.0, |adapter| adapter.adapter.alpha.into()))
}

/// The name of the task that the adapter was trained on; empty where another program trained it.
///
/// Returns UTF-8 of `*len` bytes, followed by a NUL; `len` may be NULL. NULL for NULL.
/// Ownership: the adapter's; valid until it is freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_adapter_task(adapter: *const sn_adapter, len: *mut usize) -> *const c_char {
    // SAFETY: by the header's rules.
    catch!(or std::ptr::null() => unsafe { lend(adapter.as_ref().map(|adapter| &adapter.task), len) })
}

/// The file's metadata, as a JSON object of texts: "rank", "alpha", and of an adapter
/// that this library trained also its task, its model's hash, and how it was trained.
///
/// Returns UTF-8 of `*len` bytes, followed by a NUL; `len` may be NULL. NULL for NULL.
/// Ownership: the adapter's; valid until it is freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_adapter_describe(adapter: *const sn_adapter, len: *mut usize) -> *const c_char {
    // SAFETY: by the header's rules.
    catch!(or std::ptr::null() => unsafe { lend(adapter.as_ref().map(|adapter| &adapter.facts), len) })
}

/// Frees an adapter. Does nothing for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_adapter_free(adapter: *mut sn_adapter) {
    // SAFETY: by the header's rules.
    catch!(or () => unsafe { release(adapter) })
}
