//! Files that appear whole or not at all.

use crate::error::FormatError;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Why a file could not be written.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// The content.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The file system. What stood at the path before still stands there.
    #[error("cannot write {}: {doing}: {source}; {}", .path.display(), advice(.source.kind()))]
    Io {
        /// The file to be written.
        path: PathBuf,
        /// What failed.
        doing: &'static str,
        /// The system's reason.
        source: io::Error,
    },
}

fn advice(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "free space there or choose another folder"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "choose a folder you may write to"
        }
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => "create the folder first",
        io::ErrorKind::IsADirectory => "give the name of a file",
        _ => "choose another place",
    }
}

/// Writes `parts`, one behind the other, as the file `path`: under a temporary name in the same folder, brought to
/// the disk, then renamed. Readers see the old file or the whole new one. On failure the temporary file is
/// removed and what stood at `path` is untouched.
pub fn write_atomic(path: &Path, parts: &[&[u8]]) -> Result<(), SaveError> {
    let error = |doing| move |source| SaveError::Io { path: path.to_owned(), doing, source };
    let Some(name) = path.file_name() else {
        return Err(error("no file name")(io::ErrorKind::IsADirectory.into()));
    };
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let (temporary, mut file) =
        create_temporary(folder, name).map_err(error("creating a temporary file beside it"))?;
    let written = parts
        .iter()
        .try_for_each(|part| file.write_all(part))
        .map_err(error("writing"))
        .and_then(|()| file.sync_all().map_err(error("bringing it to the disk")));
    drop(file);
    let done =
        written.and_then(|()| fs::rename(&temporary, path).map_err(error("renaming the temporary file")));
    if done.is_err() {
        // The reason above is the one to report; a leftover that cannot be removed changes nothing about it.
        let _ = fs::remove_file(&temporary);
        return done;
    }
    sync_folder(folder).map_err(error("bringing its folder to the disk"))
}

/// Creates a file that did not exist, `.NAME.PROCESS-N.tmp`.
fn create_temporary(folder: &Path, name: &std::ffi::OsStr) -> io::Result<(PathBuf, File)> {
    const TRIES: u32 = 100;
    let mut taken = io::ErrorKind::AlreadyExists.into();
    for n in 0..TRIES {
        let mut hidden = OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}-{n}.tmp", std::process::id()));
        let path = folder.join(hidden);
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => return Ok((path, file)),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => taken = e,
            Err(e) => return Err(e),
        }
    }
    Err(taken)
}

/// Brings the new name to the disk. Only Unix lets a folder be opened for that.
#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder)?.sync_all() {
        // Some file systems (network, FUSE) do not sync folders.
        Err(e) if matches!(e.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
        done => done,
    }
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}
