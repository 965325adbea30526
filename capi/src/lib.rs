//! The Cygnet runtime for C: `include/cygnet.h` says what each function does.
//!
//! Unsafe code cannot be avoided where C calls: pointers come in that only the caller can vouch for. It is confined to
//! this file, where pointers become references; all else is the safe runtime. No panic crosses the boundary: each
//! function that could panic catches it and fails with a message.

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::ptr;

use cygnet::format::program::Tensor;
use cygnet::{DType, Model, Select, Session, SessionOptions};

thread_local! {
    static LAST_ERROR: RefCell<CString> = RefCell::default();
}

/// A model that C holds.
pub struct CygnetModel(Model);

/// A session that C holds, with the names of its inputs and outputs as C wants them.
pub struct CygnetSession {
    session: Session,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
}

struct Port {
    /// For C.
    name: CString,
    /// For the runtime.
    key: String,
    dtype: DType,
    dims: Vec<u32>,
    bytes: usize,
    quant: Option<(f32, i32)>,
}

/// `cygnet_tensor`.
#[repr(C)]
pub struct CygnetTensor {
    name: *const c_char,
    dtype: i32,
    rank: u32,
    dims: [u32; 6],
    bytes: usize,
    scale: f32,
    zero_point: i32,
}

/// Remembers why a call failed. A zero byte in a message, which no message has, would end it.
fn remember(message: &str) {
    let text: String = message.chars().filter(|&c| c != '\0').collect();
    LAST_ERROR.with(|last| *last.borrow_mut() = CString::new(text).unwrap_or_default());
}

/// Runs `work`; its error, or its panic, is remembered.
fn guarded<T>(work: impl FnOnce() -> Result<T, String>) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => Some(value),
        Ok(Err(message)) => {
            remember(&message);
            None
        }
        Err(_) => {
            remember("the runtime panicked; report this as a defect, with the model");
            None
        }
    }
}

/// To a pointer that C owns.
fn give<T>(value: Option<T>) -> *mut T {
    value.map_or(ptr::null_mut(), |value| Box::into_raw(Box::new(value)))
}

fn missing(what: &str) -> String {
    format!("the {what} is NULL; give one that this library made")
}

/// `cygnet_version`.
#[unsafe(no_mangle)]
pub extern "C" fn cygnet_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// `cygnet_last_error`.
#[unsafe(no_mangle)]
pub extern "C" fn cygnet_last_error() -> *const c_char {
    LAST_ERROR.with(|last| last.borrow().as_ptr())
}

/// `cygnet_model_open`.
///
/// # Safety
/// `path` is NULL or ends in a zero.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cygnet_model_open(path: *const c_char) -> *mut CygnetModel {
    give(guarded(|| {
        if path.is_null() {
            return Err("the path is NULL; give the file's name".to_owned());
        }
        // SAFETY: not NULL, and the caller says that it ends in a zero.
        let path = unsafe { CStr::from_ptr(path) };
        #[cfg(unix)]
        let path = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(path.to_bytes());
        #[cfg(not(unix))]
        let path = path.to_str().map_err(|e| format!("the path is no UTF-8: {e}; rename the file"))?;
        Model::open(Path::new(path)).map(CygnetModel).map_err(|e| e.to_string())
    }))
}

/// `cygnet_model_from_bytes`.
///
/// # Safety
/// `bytes` is NULL or begins `length` bytes that nobody changes during the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cygnet_model_from_bytes(bytes: *const c_void, length: usize) -> *mut CygnetModel {
    give(guarded(|| {
        if bytes.is_null() {
            return Err(missing("memory"));
        }
        // SAFETY: not NULL; the caller vouches for the rest.
        let bytes = unsafe { std::slice::from_raw_parts(bytes.cast(), length) };
        Model::from_bytes(bytes).map(CygnetModel).map_err(|e| e.to_string())
    }))
}

/// `cygnet_model_from_static`.
///
/// # Safety
/// `bytes` is NULL or begins `length` bytes that stay as they are for as long as the process.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cygnet_model_from_static(bytes: *const c_void, length: usize) -> *mut CygnetModel {
    give(guarded(|| {
        if bytes.is_null() {
            return Err(missing("memory"));
        }
        // SAFETY: not NULL; the caller vouches that it stays.
        let bytes: &'static [u8] = unsafe { std::slice::from_raw_parts(bytes.cast(), length) };
        Model::from_static(bytes).map(CygnetModel).map_err(|e| e.to_string())
    }))
}

/// `cygnet_model_close`.
///
/// # Safety
/// `model` is NULL or of this library, and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cygnet_model_close(model: *mut CygnetModel) {
    if !model.is_null() {
        // SAFETY: made by `give`, and the caller gives it back.
        let model = unsafe { Box::from_raw(model) };
        guarded(|| {
            drop(model);
            Ok(())
        });
    }
}

/// `cygnet_model_programs`.
///
/// # Safety
/// `model` is NULL or of this library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cygnet_model_programs(model: *const CygnetModel) -> usize {
    // SAFETY: the caller vouches for it.
    unsafe { model.as_ref() }.map_or(0, |model| model.0.programs().len())
}

/// `cygnet_session_new`.
///
/// # Safety
/// `model` is NULL or of this library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cygnet_session_new(
    model: *const CygnetModel,
    program: usize,
    threads: usize,
) -> *mut CygnetSession {
    give(guarded(|| {
        // SAFETY: the caller vouches for it.
        let model = unsafe { model.as_ref() }.ok_or_else(|| missing("model"))?;
        let threads = (threads > 0).then_some(threads);
        let options =
            SessionOptions { program: Select::Index(program), threads, ..SessionOptions::default() };
        let session = Session::new(&model.0, &options).map_err(|e| e.to_string())?;
        let inputs = session.inputs().map(port).collect::<Result<_, _>>()?;
        let outputs = session.outputs().map(port).collect::<Result<_, _>>()?;
        Ok(CygnetSession { session, inputs, outputs })
    }))
}

fn port((key, tensor): (&str, &Tensor)) -> Result<Port, String> {
    let name = CString::new(key)
        .map_err(|_| format!("the name {key:?} holds a zero byte; rename it in the model"))?;
    Ok(Port {
        name,
        key: key.to_owned(),
        dtype: tensor.dtype,
        dims: tensor.dims.clone(),
        bytes: tensor.elements() as usize * tensor.dtype.size(),
        quant: tensor.quant.map(|q| (q.scale, q.zero_point)),
    })
}

/// `cygnet_session_free`.
///
/// # Safety
/// `session` is NULL or of this library, and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cygnet_session_free(session: *mut CygnetSession) {
    if !session.is_null() {
        // SAFETY: made by `give`, and the caller gives it back.
        let session = unsafe { Box::from_raw(session) };
        guarded(|| {
            drop(session);
            Ok(())
        });
    }
}

/// `cygnet_session_memory`.
///
/// # Safety
/// `session` is NULL or of this library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cygnet_session_memory(session: *const CygnetSession) -> usize {
    // SAFETY: the caller vouches for it.
    let session = unsafe { session.as_ref() };
    session.map_or(0, |s| s.session.arena_bytes() + s.session.scratch_bytes())
}

/// `cygnet_session_inputs`.
///
/// # Safety
/// `session` is NULL or of this library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cygnet_session_inputs(session: *const CygnetSession) -> usize {
    // SAFETY: the caller vouches for it.
    unsafe { session.as_ref() }.map_or(0, |s| s.inputs.len())
}

/// `cygnet_session_outputs`.
///
/// # Safety
/// `session` is NULL or of this library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cygnet_session_outputs(session: *const CygnetSession) -> usize {
    // SAFETY: the caller vouches for it.
    unsafe { session.as_ref() }.map_or(0, |s| s.outputs.len())
}

/// `cygnet_session_input`.
///
/// # Safety
/// `session` is NULL or of this library; `tensor` is NULL or can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cygnet_session_input(
    session: *const CygnetSession,
    index: usize,
    tensor: *mut CygnetTensor,
) -> c_int {
    // SAFETY: the caller vouches for both.
    let (session, tensor) = unsafe { (session.as_ref(), tensor.as_mut()) };
    describe(session.map(|s| &s.inputs), "input", index, tensor)
}

/// `cygnet_session_output`.
///
/// # Safety
/// `session` is NULL or of this library; `tensor` is NULL or can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cygnet_session_output(
    session: *const CygnetSession,
    index: usize,
    tensor: *mut CygnetTensor,
) -> c_int {
    // SAFETY: the caller vouches for both.
    let (session, tensor) = unsafe { (session.as_ref(), tensor.as_mut()) };
    describe(session.map(|s| &s.outputs), "output", index, tensor)
}

fn describe(ports: Option<&Vec<Port>>, what: &str, index: usize, to: Option<&mut CygnetTensor>) -> c_int {
    let done = guarded(|| {
        let port = at(ports.ok_or_else(|| missing("session"))?, what, index)?;
        let to = to.ok_or_else(|| missing("tensor"))?;
        let mut dims = [0; 6];
        for (to, from) in dims.iter_mut().zip(&port.dims) {
            *to = *from;
        }
        let (scale, zero_point) = port.quant.unwrap_or_default();
        *to = CygnetTensor {
            name: port.name.as_ptr(),
            dtype: port.dtype as i32,
            rank: port.dims.len() as u32,
            dims,
            bytes: port.bytes,
            scale,
            zero_point,
        };
        Ok(())
    });
    code(done)
}

fn at<'a>(ports: &'a [Port], what: &str, index: usize) -> Result<&'a Port, String> {
    ports.get(index).ok_or_else(|| format!("there is no {what} {index}; the program has {}", ports.len()))
}

fn code(done: Option<()>) -> c_int {
    done.map_or(-1, |()| 0)
}

/// `cygnet_session_input_data`.
///
/// # Safety
/// `session` is NULL or of this library, and no other thread uses it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cygnet_session_input_data(session: *mut CygnetSession, index: usize) -> *mut c_void {
    let found = guarded(|| {
        // SAFETY: the caller vouches for it.
        let s = unsafe { session.as_mut() }.ok_or_else(|| missing("session"))?;
        let key = &at(&s.inputs, "input", index)?.key;
        s.session.input_bytes_mut(key).map(|bytes| bytes.as_mut_ptr().cast()).map_err(|e| e.to_string())
    });
    found.unwrap_or(ptr::null_mut())
}

/// `cygnet_session_set_input`.
///
/// # Safety
/// `session` is NULL or of this library, and no other thread uses it; `data` is NULL or begins `bytes` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cygnet_session_set_input(
    session: *mut CygnetSession,
    index: usize,
    data: *const c_void,
    bytes: usize,
) -> c_int {
    code(guarded(|| {
        // SAFETY: the caller vouches for it.
        let s = unsafe { session.as_mut() }.ok_or_else(|| missing("session"))?;
        let port = at(&s.inputs, "input", index)?;
        if data.is_null() {
            return Err(missing("memory"));
        }
        if bytes != port.bytes {
            return Err(format!("input '{}' has {} bytes, {bytes} were given", port.key, port.bytes));
        }
        // SAFETY: not NULL; the caller vouches for the rest.
        let data = unsafe { std::slice::from_raw_parts(data.cast::<u8>(), bytes) };
        s.session.input_bytes_mut(&port.key).map_err(|e| e.to_string())?.copy_from_slice(data);
        Ok(())
    }))
}

/// `cygnet_session_run`.
///
/// # Safety
/// `session` is NULL or of this library, and no other thread uses it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cygnet_session_run(session: *mut CygnetSession) -> c_int {
    code(guarded(|| {
        // SAFETY: the caller vouches for it.
        let s = unsafe { session.as_mut() }.ok_or_else(|| missing("session"))?;
        s.session.run().map_err(|e| e.to_string())
    }))
}

/// `cygnet_session_output_data`.
///
/// # Safety
/// `session` is NULL or of this library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cygnet_session_output_data(
    session: *const CygnetSession,
    index: usize,
) -> *const c_void {
    let found = guarded(|| {
        // SAFETY: the caller vouches for it.
        let s = unsafe { session.as_ref() }.ok_or_else(|| missing("session"))?;
        let key = &at(&s.outputs, "output", index)?.key;
        s.session.output(key).map(|tensor| tensor.bytes.as_ptr().cast()).map_err(|e| e.to_string())
    });
    found.unwrap_or(ptr::null())
}

/// `cygnet_session_reset`.
///
/// # Safety
/// `session` is NULL or of this library, and no other thread uses it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cygnet_session_reset(session: *mut CygnetSession) {
    guarded(|| {
        // SAFETY: the caller vouches for it.
        let s = unsafe { session.as_mut() }.ok_or_else(|| missing("session"))?;
        s.session.reset();
        Ok(())
    });
}
