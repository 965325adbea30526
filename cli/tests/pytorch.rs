//! The Python package's own tests, against real torch, with this command.
//!
//! They run where a Python with torch and what its exporter needs is at hand: `CYGNET_PYTHON`, else `python3`.

use std::io::Write;
use std::path::Path;
use std::process::Command;

#[test]
fn modules_come_out_as_torch_computes_them() {
    let python =
        std::env::var("CYGNET_PYTHON").ok().filter(|p| !p.is_empty()).unwrap_or("python3".to_owned());
    let has = Command::new(&python).args(["-c", "import torch, onnx, onnxscript, numpy"]).output();
    if !has.is_ok_and(|o| o.status.success()) {
        // Not through `eprintln!`, whose text is hidden for tests that pass.
        let why = format!("{python} has no torch and onnxscript; name one that has in CYGNET_PYTHON");
        let _ = writeln!(std::io::stderr(), "SKIPPED modules_come_out_as_torch_computes_them: {why}");
        return;
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../python");
    let out = Command::new(&python)
        .args(["-W", "ignore", "-m", "unittest", "discover", "-s", "tests"])
        .current_dir(&folder)
        .env("PYTHONPATH", &folder)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("CYGNET", env!("CARGO_BIN_EXE_cygnet"))
        .output()
        .unwrap_or_else(|e| panic!("{python}: {e}"));
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && said.contains("\nRan "), "{said}");
}
