//! Machines kept as files: `NAME.tree` is what a machine's `/sys` and `/proc` hold, with its source on top. A line
//! `== PATH` begins a file that was recorded, a line `=? PATH` one that was put together.

use std::path::Path;

/// A folder with the machine's files.
pub fn unpack(name: &str) -> tempfile::TempDir {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/devices/{name}.tree"));
    let text = std::fs::read_to_string(path).unwrap().replace("\n=? ", "\n== ");
    let folder = tempfile::tempdir().unwrap();
    for block in text.split("\n== ").skip(1) {
        let (path, content) = block.split_once('\n').unwrap_or((block, ""));
        put(&folder, path, content);
    }
    folder
}

/// Writes one file of a machine: what a test changes of it.
pub fn put(folder: &tempfile::TempDir, path: &str, content: &str) {
    let path = folder.path().join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}
