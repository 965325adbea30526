//! Runs a file on one thread and marks its second run, for profilers that count instructions.
//!
//! ```text
//! cargo build --release --target aarch64-unknown-linux-gnu -p cygnet --example profile_run
//! PROFILER profile_run MODEL.cygnet
//! ```
//!
//! The run that counts lies between `prctl(0x4e454f4e, 1)` and `prctl(0x4e454f4e, 2)`: system calls that the kernel
//! refuses and that a profiler sees. Inputs are the first golden case's, or zeros where the file carries none. What
//! is done with the counts stands in `docs/kernels.md`.
#![allow(unsafe_code)] // The one system call.

use cygnet::{Error, Model, Select, Session, SessionOptions, TensorRef};

/// `NEON` in ASCII: no option that `prctl` knows.
#[cfg(any(target_os = "linux", target_os = "android"))]
const MARK: libc::c_int = 0x4e45_4f4e;

#[cfg(any(target_os = "linux", target_os = "android"))]
fn mark(value: libc::c_ulong) {
    // SAFETY: an option that the kernel does not know reads and changes nothing.
    unsafe { libc::prctl(MARK, value, 0, 0, 0) };
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn mark(_: u64) {}

fn profile(path: &str) -> Result<(), Error> {
    let model = Model::open(path)?;
    let case = model.reader()?.golden()?.into_iter().next();
    let program = case.as_ref().map_or(Select::First, |case| Select::Index(case.program as usize));
    let options = SessionOptions { threads: Some(1), program, ..SessionOptions::default() };
    let mut session = Session::new(&model, &options)?;
    let names: Vec<String> = session.inputs().map(|(name, _)| name.to_owned()).collect();
    for run in 0..2 {
        for name in &names {
            match case.iter().flat_map(|case| &case.inputs).find(|array| array.name == *name) {
                Some(array) => {
                    let value = TensorRef::from_bytes(array.dtype, &array.bytes, &array.dims);
                    session.set_input(name, value)?;
                }
                None => session.input_bytes_mut(name)?.fill(0),
            }
        }
        if run == 1 {
            mark(1);
        }
        session.run()?;
    }
    mark(2);
    Ok(())
}

fn main() -> std::process::ExitCode {
    let Some(path) = std::env::args().nth(1) else {
        eprintln!("usage: profile_run MODEL.cygnet");
        return 2.into();
    };
    match profile(&path) {
        Ok(()) => 0.into(),
        Err(error) => {
            eprintln!("error: {error}");
            1.into()
        }
    }
}
