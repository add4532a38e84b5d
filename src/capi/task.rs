//! Tasks.

use std::ffi::c_char;
use std::sync::OnceLock;

use super::catch::catch;
use super::entry::entry;
use super::error::sn_error;
use super::handle::{hand_out, place, release};
use super::status::sn_status;
use super::text::{Text, lend, text};
use crate::task::Task;

/// What is asked: the direct prompt, the steps of a slow answer, how answers are read and voted on.
///
/// A task is JSON; `secondnature tasks schema` prints what may stand in it. Those that are built in
/// suit many questions as they are:
///
/// ```c
/// size_t i, len;
/// for (i = 0; sn_task_builtin(i, &len) != NULL; i++) {
///     puts(sn_task_builtin(i, NULL));
/// }
/// ```
///
/// Ownership: the caller's; free it with sn_task_free(). Calls that take one copy it. Threads: a
/// `const sn_task *` may be used from any number of threads.
pub struct sn_task {
    pub(super) task: Task,
    name: Text,
    json: Text,
}

impl sn_task {
    fn new(task: Task) -> sn_task {
        sn_task { name: Text::new(&task.name), json: Text::new(task.to_json()), task }
    }
}

/// The task that is built in under this name, or the one in this JSON file.
///
/// `name_or_path` is UTF-8 of `len` bytes, or ends in NUL with SN_NUL_TERMINATED. `*out` is the task
/// on success and untouched on failure.
///
/// Errors: SN_STATUS_INPUT where there is neither, listing the built-in tasks, and where the file
/// holds no usable task, saying what is wrong; SN_STATUS_IO; SN_STATUS_INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_task_load(
    name_or_path: *const c_char,
    len: usize,
    out: *mut *mut sn_task,
    err: *mut *mut sn_error,
) -> sn_status {
    entry!(err => {
        // SAFETY: by the header's rules.
        let name_or_path = unsafe { text("name_or_path", name_or_path, len) }?;
        let out = place("out", out)?;
        let task = Task::load(name_or_path)?;
        // SAFETY: not NULL, so writable, by the header's rules.
        unsafe { hand_out(out, sn_task::new(task)) };
        Ok(())
    })
}

/// Reads a task from JSON in memory. As sn_task_load() otherwise; messages call it "json".
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_task_parse(
    json: *const c_char,
    len: usize,
    out: *mut *mut sn_task,
    err: *mut *mut sn_error,
) -> sn_status {
    entry!(err => {
        // SAFETY: by the header's rules.
        let json = unsafe { text("json", json, len) }?;
        let out = place("out", out)?;
        let task = Task::from_json(json, "json")?;
        // SAFETY: not NULL, so writable, by the header's rules.
        unsafe { hand_out(out, sn_task::new(task)) };
        Ok(())
    })
}

/// The task's name, such as "coin-flip".
///
/// Returns UTF-8 of `*len` bytes, followed by a NUL; `len` may be NULL. NULL for NULL.
/// Ownership: the task's; valid until it is freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_task_name(task: *const sn_task, len: *mut usize) -> *const c_char {
    // SAFETY: by the header's rules.
    catch!(or std::ptr::null() => unsafe { lend(task.as_ref().map(|task| &task.name), len) })
}

/// The task as JSON with the defaults written out: to look at, or to change and give to
/// sn_task_parse().
///
/// Returns UTF-8 of `*len` bytes, followed by a NUL; `len` may be NULL. NULL for NULL.
/// Ownership: the task's; valid until it is freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_task_json(task: *const sn_task, len: *mut usize) -> *const c_char {
    // SAFETY: by the header's rules.
    catch!(or std::ptr::null() => unsafe { lend(task.as_ref().map(|task| &task.json), len) })
}

/// The name of the built-in task number `index`, from 0; NULL past the last.
///
/// Returns UTF-8 of `*len` bytes, followed by a NUL; `len` may be NULL.
/// Ownership: static, never freed. Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_task_builtin(index: usize, len: *mut usize) -> *const c_char {
    static NAMES: OnceLock<Vec<Text>> = OnceLock::new();
    catch!(or std::ptr::null() => {
        let names = NAMES.get_or_init(|| Task::builtin_names().iter().map(|name| Text::new(*name)).collect());
        // SAFETY: by the header's rules.
        unsafe { lend(names.get(index), len) }
    })
}

/// Frees a task. Does nothing for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_task_free(task: *mut sn_task) {
    // SAFETY: by the header's rules.
    catch!(or () => unsafe { release(task) })
}
