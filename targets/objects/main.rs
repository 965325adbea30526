//! Runs the model that is linked into this program on an input of zeros, and prints its outputs as
//! `capi/examples/classify.c` does.

use std::fmt::Write;

use cygnet::{Model, Session, SessionOptions};

unsafe extern "C" {
    static net: u8;
    static net_size: usize;
}

fn main() -> Result<(), cygnet::Error> {
    // SAFETY: the object file that `cygnet bundle` made defines both, and its bytes never change.
    let bytes = unsafe { std::slice::from_raw_parts(&raw const net, net_size) };
    let model = Model::from_static(bytes)?;
    let options = SessionOptions { threads: Some(1), ..SessionOptions::default() };
    let mut session = Session::new(&model, &options)?;
    let inputs: Vec<String> = session.inputs().map(|(name, _)| name.to_owned()).collect();
    for name in &inputs {
        session.input_bytes_mut(name)?.fill(0);
    }
    session.run()?;
    for (name, _) in session.outputs() {
        let mut line = name.to_owned();
        for (i, byte) in session.output(name)?.bytes.iter().enumerate() {
            // Writing to a String does not fail.
            let _ = write!(line, "{}{byte:02x}", if i % 4 == 0 { " " } else { "" });
        }
        println!("{line}");
    }
    Ok(())
}
