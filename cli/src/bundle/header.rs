//! The C header that goes with an object file.

use std::fmt::Write;
use std::path::Path;

use cygnet::Model;

use crate::common::shape;

/// Whether `name` can be a name of C that no standard reserves.
pub fn is_name(name: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| letter(c) || c.is_ascii_digit())
}

/// A name for the model of a file.
pub fn name_of(path: &Path) -> String {
    let stem = path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
    let name: String = stem.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if is_name(&name) { name } else { format!("model_{name}") }
}

/// Declarations of the symbols, and what is in the model: each program with its inputs and outputs.
pub fn header(symbol: &str, model: &Model) -> String {
    let upper = symbol.to_ascii_uppercase();
    let mut out = String::new();
    // Writing to a String does not fail.
    let mut line = |text: &str| {
        let _ = writeln!(out, "{text}");
    };
    line(&format!("/* {symbol}: a Cygnet model, aligned to 16 KiB. Written by cygnet bundle. */"));
    line(&format!("#ifndef {upper}_H\n#define {upper}_H\n\n#include <stddef.h>\n"));
    line("#ifdef __cplusplus\nextern \"C\" {\n#endif\n");
    line(&format!("extern const unsigned char {symbol}[];\nextern const unsigned char {symbol}_end[];"));
    line(&format!("extern const size_t {symbol}_size;\n"));
    line("#ifdef __cplusplus\n}\n#endif\n");
    for (index, program) in model.programs().iter().enumerate() {
        line(&format!("/* Program {index}: {}", comment(&program.name)));
        for (what, ports) in [("input ", &program.inputs), ("output", &program.outputs)] {
            for port in ports {
                let tensor = &program.tensors[port.tensor as usize];
                line(&format!(
                    " *   {what} {}: {} {}",
                    comment(&port.name),
                    tensor.dtype.name(),
                    shape(&tensor.dims)
                ));
            }
        }
        line(&format!(" *   memory {} bytes, and scratch for each thread */", program.arena_bytes));
    }
    line("\n#endif");
    out
}

/// Text that ends no comment and begins no line.
fn comment(text: &str) -> String {
    text.replace("*/", "* /").replace(|c: char| c.is_control(), " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_names_of_c() {
        assert_eq!(name_of(Path::new("a/mobilenet-v2.int8.cygnet")), "mobilenet_v2_int8");
        assert_eq!(name_of(Path::new("8bit.cygnet")), "model_8bit");
        assert!(is_name("net_2") && !is_name("2net") && !is_name("_net") && !is_name("a-b") && !is_name(""));
        assert_eq!(comment("a*/b\nc"), "a* /b c");
    }
}
