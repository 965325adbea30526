//! Where files are, and what to say when they are not there.

use std::io::Write;
use std::path::{Path, PathBuf};

/// The root of the checkout.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this crate lies in the workspace")
}

/// A committed model or photo.
pub fn asset(name: &str) -> PathBuf {
    root().join("assets").join(name)
}

/// A file that these tests keep.
pub fn own(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The folder of larger models that `CYGNET_MODELS` names.
pub fn models() -> Option<PathBuf> {
    let folder = PathBuf::from(std::env::var_os("CYGNET_MODELS").filter(|v| !v.is_empty())?);
    assert!(folder.is_dir(), "CYGNET_MODELS names {}, which is no folder", folder.display());
    Some(folder)
}

/// A file relative to the folder of models, when both are there; says what is skipped when not.
pub fn model_file(test: &str, relative: &str) -> Option<PathBuf> {
    let Some(folder) = models() else {
        skipped(test, "CYGNET_MODELS names no folder of models; tests/fetch_models.py fetches them");
        return None;
    };
    let path = folder.join(relative);
    if !path.exists() {
        skipped(test, &format!("there is no {}", path.display()));
        return None;
    }
    Some(path)
}

/// The folder of data sets: `CYGNET_DATA`, or else `.cache/data`.
pub fn data() -> PathBuf {
    let given = std::env::var_os("CYGNET_DATA").filter(|v| !v.is_empty());
    given.map_or_else(|| root().join(".cache/data"), PathBuf::from)
}

/// Says on standard error that a test, or a part of one, did not run. Not through `eprintln!`, whose text is hidden for
/// tests that pass.
pub fn skipped(test: &str, why: &str) {
    // If even that fails, there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {why}");
}
