//! A panic in the library as a C program meets it: a status, a message, and a handle that refuses
//! further calls. The panics are caused here, in a unit test, so that the library exports nothing
//! that panics.

use std::ffi::CString;
use std::path::Path;
use std::ptr::{null, null_mut};

use super::answerer::sn_answerer_new;
use super::distill::sn_distill;
use super::entry::entry;
use super::error::{sn_error, sn_error_free, sn_error_message};
use super::handle::Poison;
use super::model::{sn_model, sn_model_architecture, sn_model_free, sn_model_open};
use super::options::sn_distill_params_init;
use super::questions::{sn_questions_free, sn_questions_new};
use super::run::sn_run_create;
use super::status::sn_status;
use super::task::{sn_task_free, sn_task_load};
use super::text::NUL_TERMINATED;

fn open(path: &CString) -> *mut sn_model {
    let mut model = null_mut();
    // SAFETY: text that ends in NUL, and a place for the handle.
    let status = unsafe { sn_model_open(path.as_ptr(), NUL_TERMINATED, &raw mut model, null_mut()) };
    assert_eq!(status, sn_status::Ok);
    model
}

/// The status of a failed call and its message.
fn failure(call: impl FnOnce(*mut *mut sn_error) -> sn_status) -> (sn_status, String) {
    let mut err = null_mut();
    let status = call(&raw mut err);
    // SAFETY: the call failed, so it wrote an error, whose message ends in NUL.
    unsafe {
        let message = std::ffi::CStr::from_ptr(sn_error_message(err, null_mut()));
        let message = message.to_str().unwrap().to_string();
        sn_error_free(err);
        (status, message)
    }
}

fn panic_with(poison: &Poison, err: *mut *mut sn_error) -> sn_status {
    entry!(err => poison.guard(|| panic!("on purpose")))
}

fn refuses_after_panic(call: impl FnOnce(*mut *mut sn_error) -> sn_status) {
    let (status, message) = failure(call);
    assert_eq!(status, sn_status::Internal);
    assert!(message.contains("open it again"), "{message}");
}

#[test]
fn after_a_panic_every_call_on_the_model_is_refused_and_a_new_handle_works() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/coin-flip-tiny-q8_0.gguf");
    let path = CString::new(path.to_str().unwrap()).unwrap();
    let model = open(&path);
    // SAFETY: handles are those that the calls gave, freed once at the end; text ends in NUL.
    unsafe {
        let (status, message) = failure(|err| panic_with(&(*model).poison, err));
        assert_eq!(status, sn_status::Internal);
        assert_eq!(message, "internal error (please report it): on purpose");

        let (mut task, questions) = (null_mut(), sn_questions_new());
        let name = c"coin-flip".as_ptr();
        assert_eq!(sn_task_load(name, NUL_TERMINATED, &raw mut task, null_mut()), sn_status::Ok);
        let mut params = std::mem::zeroed();
        sn_distill_params_init(&raw mut params, std::mem::size_of_val(&params));
        let (mut run, mut answerer) = (null_mut(), null_mut());
        refuses_after_panic(|err| {
            sn_distill(model, &raw const params, null_mut(), null_mut(), null_mut(), err)
        });
        let out_dir = c"unused".as_ptr();
        refuses_after_panic(|err| {
            sn_run_create(model, task, questions, out_dir, NUL_TERMINATED, 0, &raw mut run, err)
        });
        refuses_after_panic(|err| sn_answerer_new(model, task, null(), 0, null(), &raw mut answerer, err));
        assert!(run.is_null() && answerer.is_null());
        assert!(!sn_model_architecture(model, null_mut()).is_null());
        sn_model_free(model);
        sn_model_free(open(&path));
        sn_task_free(task);
        sn_questions_free(questions);
    }
}
