//! Files appear whole or not at all.

mod common;

use common::tiny;
use cygnet_format::{Program, SaveError, Writer, write_atomic};
use std::fs;
use std::path::{Path, PathBuf};

fn folder(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&path); // what an earlier run left
    fs::create_dir_all(&path).unwrap();
    path
}

fn names(folder: &Path) -> Vec<String> {
    fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_file_is_replaced_and_nothing_else_is_left() {
    let folder = folder("save-replace");
    let path = folder.join("m.cygnet");
    fs::write(&path, "old").unwrap();
    let content = tiny();
    let bytes = content.writer().save(&path).unwrap();
    let file = fs::read(&path).unwrap();
    assert_eq!(bytes, file.len() as u64);
    assert!(file == content.writer().finish().unwrap());
    assert_eq!(names(&folder), ["m.cygnet"]);
    write_atomic(&path, &[b"a", b"", b"bc"]).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"abc");
}

#[test]
fn a_leftover_of_an_earlier_process_is_in_nobodys_way() {
    let folder = folder("save-leftover");
    let leftover = format!(".m.cygnet.{}-0.tmp", std::process::id());
    fs::write(folder.join(&leftover), "").unwrap();
    write_atomic(&folder.join("m.cygnet"), &[b"new"]).unwrap();
    let mut found = names(&folder);
    found.sort();
    assert_eq!(found, [leftover.as_str(), "m.cygnet"]);
}

#[test]
fn what_fails_leaves_nothing_behind() {
    let folder = folder("save-fail");
    let error = write_atomic(&folder.join("missing/m.cygnet"), &[b"x"]).unwrap_err();
    assert!(error.to_string().ends_with("create the folder first"), "{error}");
    // A folder stands where the file should go: all is written, then the renaming fails.
    fs::create_dir(folder.join("taken")).unwrap();
    fs::write(folder.join("taken/inside"), "").unwrap();
    let error = write_atomic(&folder.join("taken"), &[b"x"]).unwrap_err();
    assert!(matches!(&error, SaveError::Io { doing: "renaming the temporary file", .. }), "{error}");
    let error = write_atomic(Path::new("/"), &[b"x"]).unwrap_err();
    assert!(error.to_string().ends_with("give the name of a file"), "{error}");
    // Content that no reader would take never reaches the disk.
    let program = Program { arena_lower_bound: 1, ..Program::default() };
    let error = Writer::new().program(&program).save(&folder.join("bad.cygnet")).unwrap_err();
    assert!(matches!(error, SaveError::Format(_)), "{error}");
    assert_eq!(names(&folder), ["taken"]);
}
