//! Files that numpy wrote, and files that numpy reads.
//!
//! The fixtures were written by numpy 2 with: `a = arange(6, dtype=float32).reshape(2, 3) / 2`,
//! `ids = array([[1, -2, 2**40]])` (int64), `mask = array([True, False])`, `half = array(0.5, float16)`;
//! `mixed.npz` by `savez` and `packed.npz` by `savez_compressed`, with the names `in:a`, `ids`, `mask`, `half`.
#![cfg(feature = "deflate")]

use std::io::{Cursor, Read, Write};
use std::path::{Path, PathBuf};

use cygnet::DType;
use cygnet::format::Array;
use cygnet::npz::{npy_bytes, npz_bytes, read};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn arrays() -> Vec<Array> {
    let array = |name: &str, dtype, dims: &[u32], bytes: Vec<u8>| Array {
        name: name.to_owned(),
        dtype,
        dims: dims.to_vec(),
        bytes,
    };
    let a = (0..6).flat_map(|i| (i as f32 / 2.0).to_le_bytes()).collect();
    let ids = [1, -2, 1_i64 << 40].iter().flat_map(|v| v.to_le_bytes()).collect();
    vec![
        array("in:a", DType::F32, &[2, 3], a),
        array("ids", DType::S64, &[1, 3], ids),
        array("mask", DType::U8, &[2], vec![1, 0]),
        array("half", DType::F16, &[], vec![0x00, 0x38]),
    ]
}

#[test]
fn files_of_numpy_are_read() {
    assert_eq!(read(&data("mixed.npz")).unwrap(), arrays());
    assert_eq!(read(&data("packed.npz")).unwrap(), arrays());
    let one = read(&data("one.npy")).unwrap();
    assert_eq!((one[0].name.as_str(), &one[0].bytes), ("one", &arrays()[0].bytes));
}

/// `asfortranarray(a)`, and `arange(24, dtype=int16).reshape(4, 3, 2).T`, which numpy writes as they lie in memory.
#[test]
fn transposed_arrays_are_read() {
    let turned = read(&data("fortran.npy")).unwrap();
    assert_eq!((&turned[0].dims[..], &turned[0].bytes), (&[2, 3][..], &arrays()[0].bytes));
    let turned = read(&data("fortran3.npy")).unwrap();
    let at = |i: i16, j: i16, k: i16| (k * 6 + j * 2 + i).to_le_bytes();
    let places = (0..2).flat_map(|i| (0..3).flat_map(move |j| (0..4).map(move |k| (i, j, k))));
    let want: Vec<u8> = places.flat_map(|(i, j, k)| at(i, j, k)).collect();
    assert_eq!((&turned[0].dims[..], &turned[0].bytes), (&[2, 3, 4][..], &want));
}

#[test]
fn what_is_written_is_what_numpy_writes() {
    assert_eq!(npy_bytes(&arrays()[0]), std::fs::read(data("one.npy")).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("again.npz");
    std::fs::write(&path, npz_bytes(&arrays()).unwrap()).unwrap();
    assert_eq!(read(&path).unwrap(), arrays());
    assert_eq!(npz_bytes(&arrays()).unwrap(), npz_bytes(&arrays()).unwrap());
}

#[test]
fn arrays_that_no_model_takes_say_what_to_do() {
    for (name, advice) in
        [("double.npy", "astype(numpy.float32)"), ("big.npy", "big-endian"), ("empty.npy", "at least 1")]
    {
        let error = read(&data(name)).unwrap_err().to_string();
        assert!(error.contains(advice) && error.contains(name), "{error}");
    }
    assert!(read(&data("none.npy")).unwrap_err().to_string().contains("check the name"));
}

#[test]
fn cut_and_changed_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.npy");
    let whole = std::fs::read(data("one.npy")).unwrap();
    for end in [0, 3, 8, 11, 60, whole.len() - 1] {
        std::fs::write(&path, &whole[..end]).unwrap();
        assert!(read(&path).is_err(), "{end} bytes");
    }
    let zipped = std::fs::read(data("packed.npz")).unwrap();
    std::fs::write(&path, &zipped[..zipped.len() / 2]).unwrap();
    assert!(read(&path).is_err());
}

/// Archives of another implementation, of every kind that it writes, and ours read by it.
#[test]
fn archives_are_those_of_others() {
    use zip::write::SimpleFileOptions;
    use zip::{CompressionMethod, ZipArchive, ZipWriter};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.npz");
    for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
        for (large, comment) in [(false, ""), (true, "a comment, which moves the end of the directory")] {
            let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
            writer.set_comment(comment);
            let options = SimpleFileOptions::default().compression_method(method).large_file(large);
            for array in arrays() {
                writer.start_file(format!("{}.npy", array.name), options).unwrap();
                writer.write_all(&npy_bytes(&array)).unwrap();
            }
            std::fs::write(&path, writer.finish().unwrap().into_inner()).unwrap();
            assert_eq!(read(&path).unwrap(), arrays(), "{method} {large}");
        }
    }
    let mut named = arrays();
    named[0].name = "größe".to_owned();
    let mut archive = ZipArchive::new(Cursor::new(npz_bytes(&named).unwrap())).unwrap();
    assert_eq!(archive.len(), named.len());
    for (index, array) in named.iter().enumerate() {
        let mut entry = archive.by_index(index).unwrap();
        assert_eq!(entry.name(), format!("{}.npy", array.name));
        let mut content = Vec::new();
        // Compares the checksum too.
        entry.read_to_end(&mut content).unwrap();
        assert_eq!(content, npy_bytes(array));
    }
}

#[test]
fn a_changed_array_is_found_by_its_checksum() {
    let mut bytes = npz_bytes(&arrays()).unwrap();
    // Local header 30 bytes, name `in:a.npy` 8, numpy's header 128: the first number.
    bytes[30 + 8 + 128] ^= 1;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.npz");
    std::fs::write(&path, bytes).unwrap();
    let error = read(&path).unwrap_err().to_string();
    assert!(error.contains("'in:a.npy' is damaged") && error.contains("numpy.savez"), "{error}");
}
