//! What C can do wrong is an error with a message, not a crash.

use std::ffi::CStr;
use std::ptr;

use cygnet_capi::*;

fn last_error() -> String {
    // SAFETY: the library's own text, which lives until the next failure of this thread.
    unsafe { CStr::from_ptr(cygnet_last_error()) }.to_str().unwrap().to_owned()
}

#[test]
fn null_and_nonsense_are_refused_with_a_message() {
    assert_eq!(last_error(), "");
    // SAFETY: NULL is allowed everywhere, and the bytes are as many as is said.
    unsafe {
        assert!(cygnet_model_open(ptr::null()).is_null());
        assert!(last_error().contains("NULL"), "{}", last_error());
        assert!(cygnet_model_open(c"absent.cygnet".as_ptr()).is_null());
        assert!(last_error().contains("absent.cygnet"), "{}", last_error());
        let text = b"no model at all, but long enough to have a header";
        assert!(cygnet_model_from_bytes(text.as_ptr().cast(), text.len()).is_null());
        assert!(last_error().contains(".cygnet"), "{}", last_error());
        assert!(cygnet_model_from_static(text.as_ptr().cast(), 0).is_null());
        assert!(cygnet_session_new(ptr::null(), 0, 0).is_null());
        assert!(last_error().contains("model is NULL"), "{}", last_error());
        assert_eq!(cygnet_session_run(ptr::null_mut()), -1);
        assert!(cygnet_session_output_data(ptr::null(), 0).is_null());
        assert_eq!(cygnet_session_set_input(ptr::null_mut(), 0, ptr::null(), 0), -1);
        assert_eq!(cygnet_session_input(ptr::null(), 0, ptr::null_mut()), -1);
        assert_eq!((cygnet_model_programs(ptr::null()), cygnet_session_inputs(ptr::null())), (0, 0));
        cygnet_model_close(ptr::null_mut());
        cygnet_session_free(ptr::null_mut());
        assert!(CStr::from_ptr(cygnet_version()).to_str().unwrap().starts_with("0."));
    }
}
