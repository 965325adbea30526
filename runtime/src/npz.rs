//! Arrays in numpy's files: `.npy` with one, `.npz` (a zip archive) with several, each under its name.

use std::path::{Path, PathBuf};

use cygnet_format::golden::Array;
use cygnet_format::program::{DType, MAX_RANK};

use crate::archive;

/// Why a file of arrays cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum NpzError {
    #[error("cannot read {}: {source}; check the name and that you may read it", .path.display())]
    Open { path: PathBuf, source: std::io::Error },
    #[error("{}: {what}; write the file again with numpy.savez", .path.display())]
    Zip { path: PathBuf, what: String },
    #[error("{}: array '{name}': {what}", .path.display())]
    Array { path: PathBuf, name: String, what: String },
    #[error("the archive cannot be written; use shorter names and fewer than 4 GiB of arrays")]
    Write,
}

const MAGIC: &[u8] = b"\x93NUMPY";

/// Reads all arrays of a `.npz` file, or the one of a `.npy` file, which then is named as the file without its
/// ending. Which of both it is, its first bytes tell.
///
/// # Errors
/// When the file cannot be read, or an array's element type, order or shape is none that a model could take.
pub fn read(path: &Path) -> Result<Vec<Array>, NpzError> {
    let bytes = std::fs::read(path).map_err(|source| NpzError::Open { path: path.to_owned(), source })?;
    let array_error =
        |name: &str, what| NpzError::Array { path: path.to_owned(), name: name.to_owned(), what };
    if bytes.starts_with(MAGIC) {
        let name = path.file_stem().map_or(String::new(), |stem| stem.to_string_lossy().into_owned());
        return parse_npy(&name, &bytes).map(|array| vec![array]).map_err(|what| array_error(&name, what));
    }
    if !bytes.starts_with(b"PK") {
        let what =
            "this is neither a .npy nor a .npz file; write it with numpy.save or numpy.savez".to_owned();
        return Err(array_error("", what));
    }
    let zip_error = |what| NpzError::Zip { path: path.to_owned(), what };
    let entries = archive::entries(&bytes).map_err(zip_error)?;
    let mut arrays = Vec::with_capacity(entries.len());
    for entry in entries {
        let name = entry.name.strip_suffix(".npy").unwrap_or(&entry.name);
        let content = entry.content().map_err(zip_error)?;
        arrays.push(parse_npy(name, &content).map_err(|what| array_error(name, what))?);
    }
    Ok(arrays)
}

/// The bytes of a `.npz` file with these arrays, uncompressed; the same for the same arrays.
///
/// # Errors
/// When a name or an array is too long for a zip archive.
pub fn npz_bytes(arrays: &[Array]) -> Result<Vec<u8>, NpzError> {
    let names: Vec<String> = arrays.iter().map(|array| format!("{}.npy", array.name)).collect();
    let entries = names.iter().zip(arrays).map(|(name, array)| (name.as_str(), npy_bytes(array)));
    archive::stored(entries).ok_or(NpzError::Write)
}

/// The bytes of a `.npy` file with this array.
pub fn npy_bytes(array: &Array) -> Vec<u8> {
    let descr = match array.dtype {
        DType::F32 => "<f4",
        DType::F16 => "<f2",
        DType::S8 => "|i1",
        DType::U8 | DType::Packed => "|u1",
        DType::S16 => "<i2",
        DType::S32 => "<i4",
        DType::S64 => "<i8",
    };
    let dims: String = array.dims.iter().map(|d| format!("{d}, ")).collect();
    // A tuple of one is written with its comma, one of several may be.
    let shape = if array.dims.len() == 1 { dims.trim_end() } else { dims.trim_end_matches(", ") };
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape}), }}");
    let unpadded = MAGIC.len() + 4 + header.len() + 1;
    header.extend(std::iter::repeat_n(' ', unpadded.next_multiple_of(64) - unpadded));
    header.push('\n');
    let mut out = Vec::with_capacity(header.len() + 10 + array.bytes.len());
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&[1, 0]);
    // At most MAX_RANK dimensions: the header is short.
    out.extend_from_slice(&(header.len() as u16).to_le_bytes());
    out.extend_from_slice(header.as_bytes());
    out.extend_from_slice(&array.bytes);
    out
}

fn parse_npy(name: &str, bytes: &[u8]) -> Result<Array, String> {
    let damaged = || "the header is damaged; write the file again with numpy".to_owned();
    if !bytes.starts_with(MAGIC) {
        return Err("not in numpy's format; write it with numpy.save or numpy.savez".to_owned());
    }
    let (length, start) = match bytes.get(MAGIC.len()..12).ok_or_else(damaged)? {
        [1, _, a, b, ..] => (u32::from(u16::from_le_bytes([*a, *b])), 10),
        [2 | 3, _, a, b, c, d] => (u32::from_le_bytes([*a, *b, *c, *d]), 12),
        _ => return Err("a version of the format that is not known; write it with numpy.save".to_owned()),
    };
    let data_at = start + length as usize;
    let header = bytes.get(start..data_at).and_then(|h| std::str::from_utf8(h).ok()).ok_or_else(damaged)?;
    let data = &bytes[data_at..];

    let descr = value_of(header, "descr").and_then(|v| v.strip_prefix('\'')?.split('\'').next());
    let dtype = dtype_of(descr.ok_or_else(damaged)?)?;
    let dims = value_of(header, "shape")
        .and_then(|v| v.strip_prefix('(')?.split(')').next())
        .and_then(|list| {
            let parts = list.split(',').map(str::trim).filter(|part| !part.is_empty());
            parts.map(|part| part.parse().ok()).collect::<Option<Vec<u32>>>()
        })
        .ok_or_else(damaged)?;
    let columns = value_of(header, "fortran_order").ok_or_else(damaged)?.starts_with("True");
    if dims.len() > MAX_RANK || dims.contains(&0) {
        return Err(format!("shape {dims:?}: 0 to {MAX_RANK} dimensions of at least 1 are possible"));
    }
    let expected = dims.iter().try_fold(dtype.size(), |n, &d| n.checked_mul(d as usize));
    if expected != Some(data.len()) {
        return Err(format!("{} bytes do not hold shape {dims:?} of {}", data.len(), dtype.name()));
    }
    let bytes = if columns { from_columns(data, &dims, dtype.size()) } else { data.to_vec() };
    Ok(Array { name: name.to_owned(), dtype, dims, bytes })
}

/// The elements of `size` bytes in row-major order, which lie in column-major order: as numpy writes transposed arrays.
fn from_columns(data: &[u8], dims: &[u32], size: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(data.len());
    let mut at = [0; MAX_RANK];
    while bytes.len() < data.len() {
        let place = dims.iter().zip(at).rev().fold(0, |sum, (&d, i)| sum * d as usize + i);
        bytes.extend_from_slice(&data[place * size..][..size]);
        for (i, &d) in at.iter_mut().zip(dims).rev() {
            *i += 1;
            if *i < d as usize {
                break;
            }
            *i = 0;
        }
    }
    bytes
}

/// What stands behind a key of the header, a Python dictionary.
fn value_of<'a>(header: &'a str, key: &str) -> Option<&'a str> {
    let quoted = format!("'{key}'");
    let at = header.find(&quoted)? + quoted.len();
    Some(header[at..].trim_start().strip_prefix(':')?.trim_start())
}

fn dtype_of(descr: &str) -> Result<DType, String> {
    match descr {
        "<f4" => Ok(DType::F32),
        "<f2" => Ok(DType::F16),
        "|i1" => Ok(DType::S8),
        "|u1" | "|b1" => Ok(DType::U8),
        "<i2" => Ok(DType::S16),
        "<i4" => Ok(DType::S32),
        "<i8" => Ok(DType::S64),
        "<f8" => {
            Err("it holds float64, which no model takes; convert it with .astype(numpy.float32)".to_owned())
        }
        other if other.starts_with('>') => {
            Err(format!("it is big-endian ({other}); convert it with .astype of the same type without '>'"))
        }
        other => Err(format!(
            "element type {other} is not supported; convert it to float32, float16, int8, uint8, bool, int16, \
             int32 or int64"
        )),
    }
}
