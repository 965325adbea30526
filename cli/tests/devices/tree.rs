//! Recorded machines: `NAME.tree` is what a machine's `/sys` and `/proc` hold, with its source on top. A line
//! `== PATH` begins a file.

use std::path::Path;

/// A folder with the machine's files.
pub fn unpack(name: &str) -> tempfile::TempDir {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/devices/{name}.tree"));
    let text = std::fs::read_to_string(path).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for block in text.split("\n== ").skip(1) {
        let (path, content) = block.split_once('\n').unwrap();
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    folder
}
