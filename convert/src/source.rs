//! What importers share: telling foreign files apart, and binding the open dimensions of inputs.

use std::collections::BTreeMap;

use crate::error::{ImportError, UnboundInput};
use crate::fold;
use crate::graph::{ElemType, Tensor};
use crate::infer;

/// What a file is that is certainly no model, by its first bytes.
pub(crate) fn foreign(bytes: &[u8]) -> Option<&'static str> {
    let known = [
        (b"\x89PNG".as_slice(), "a PNG image"),
        (b"\xff\xd8\xff", "a JPEG image"),
        (b"PK\x03\x04", "a zip archive (PyTorch checkpoints and .npz files are such)"),
        (b"\x93NUMPY", "a NumPy array"),
        (b"\x1f\x8b", "a gzip archive"),
        (b"\x89HDF", "an HDF5 file"),
        (b"<", "an XML or HTML document"),
        (b"version https://git-lfs", "a Git LFS pointer: the model itself was not fetched"),
    ];
    known.iter().find(|(magic, _)| bytes.starts_with(magic)).map(|&(_, what)| what)
}

/// A dimension of an input as the model declares it.
pub(crate) struct Dim<'a> {
    /// `None` for an open one.
    pub size: Option<usize>,
    /// Name of an open one; possibly empty.
    pub name: &'a str,
}

impl Dim<'_> {
    fn text(&self) -> String {
        match self.size {
            Some(v) => v.to_string(),
            None if self.name.is_empty() => "?".to_owned(),
            None => self.name.to_owned(),
        }
    }
}

fn shown(declared: &[Dim<'_>]) -> String {
    format!("[{}]", declared.iter().map(Dim::text).collect::<Vec<_>>().join(", "))
}

/// Static dimensions of an input. An open one takes its size from `given`; the first (the batch) is 1 by default.
pub(crate) fn bind(
    input: &str,
    declared: &[Dim<'_>],
    given: Option<&Vec<usize>>,
) -> Result<Vec<usize>, ImportError> {
    let shown = shown(declared);
    if let Some(given) = given {
        let fits = given.len() == declared.len()
            && given.iter().zip(declared).all(|(&g, d)| d.size.is_none_or(|d| d == g));
        if !fits || infer::elements(given).is_none() {
            return Err(ImportError::ShapeOption {
                input: input.to_owned(),
                given: by_x(given),
                reason: format!("the model declares {shown}; give sizes only to its open dimensions"),
            });
        }
        return Ok(given.clone());
    }
    let default = |i: usize| declared[i].size.or((i == 0 && declared.len() > 1).then_some(1));
    let dims: Vec<Option<usize>> = (0..declared.len()).map(default).collect();
    if let Some(index) = dims.iter().position(Option::is_none) {
        let part = |d: &Option<usize>| d.map_or("N".to_owned(), |d| d.to_string());
        return Err(ImportError::UnboundDims {
            inputs: vec![UnboundInput {
                input: input.to_owned(),
                index,
                dim: declared[index].text(),
                shape: shown,
                example: dims.iter().map(part).collect::<Vec<_>>().join("x"),
            }],
        });
    }
    let dims: Vec<usize> = dims.into_iter().flatten().collect();
    if infer::elements(&dims).is_none() {
        return Err(ImportError::Malformed {
            reason: format!(
                "input '{input}' of shape {shown} has more than {} elements",
                infer::MAX_ELEMENTS
            ),
        });
    }
    Ok(dims)
}

/// Keeps errors about open dimensions until all inputs are looked at, so that one message names them all.
#[derive(Default)]
pub(crate) struct Unbound(Vec<UnboundInput>);

impl Unbound {
    /// Takes an error about open dimensions; `None` stands for the input then. Others are passed on.
    pub(crate) fn keep<T>(&mut self, result: Result<T, ImportError>) -> Result<Option<T>, ImportError> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(ImportError::UnboundDims { inputs }) => {
                self.0.extend(inputs);
                Ok(None)
            }
            Err(other) => Err(other),
        }
    }

    /// The error about all of them, if there are any.
    pub(crate) fn told(self) -> Result<(), ImportError> {
        if self.0.is_empty() { Ok(()) } else { Err(ImportError::UnboundDims { inputs: self.0 }) }
    }
}

/// The value that the user fixes an input to, in the type that the model declares. One number stands for any input of
/// one element.
pub(crate) fn fix(
    input: &str,
    elem: ElemType,
    declared: &[Dim<'_>],
    given: &Tensor,
) -> Result<Tensor, ImportError> {
    let fail = |reason: String| ImportError::FixOption { input: input.to_owned(), reason };
    let fits = |dims: &[usize]| {
        dims.len() == declared.len() && dims.iter().zip(declared).all(|(&g, d)| d.size.is_none_or(|d| d == g))
    };
    let single = declared.iter().all(|d| d.size.is_none_or(|d| d == 1));
    let dims = if fits(&given.dims) {
        given.dims.clone()
    } else if given.len() == 1 && single {
        vec![1; declared.len()]
    } else {
        return Err(fail(format!(
            "the value has dimensions {:?}, the model declares {}",
            given.dims,
            shown(declared)
        )));
    };
    let cast = fold::cast(given, elem);
    let exact = |t: &Tensor| fold::cast(t, ElemType::F64);
    if exact(&cast) != exact(given) && !elem.is_float() {
        return Err(fail(format!("the value is no {elem}, which the model declares")));
    }
    Ok(Tensor::new(dims, cast.data))
}

/// Refuses a value given for an input that the model does not have.
pub(crate) fn check_fixed(constants: &BTreeMap<String, Tensor>, inputs: &[&str]) -> Result<(), ImportError> {
    match constants.keys().find(|name| !inputs.contains(&name.as_str())) {
        None => Ok(()),
        Some(name) => Err(ImportError::FixOption {
            input: name.clone(),
            reason: format!("the model has no such input; its inputs are '{}'", inputs.join("', '")),
        }),
    }
}

/// Refuses a shape given for an input that the model does not have.
pub(crate) fn check_names(shapes: &BTreeMap<String, Vec<usize>>, inputs: &[&str]) -> Result<(), ImportError> {
    match shapes.iter().find(|(name, _)| !inputs.contains(&name.as_str())) {
        None => Ok(()),
        Some((name, dims)) => Err(ImportError::ShapeOption {
            input: name.clone(),
            given: by_x(dims),
            reason: format!("the model has no such input; its inputs are '{}'", inputs.join("', '")),
        }),
    }
}

fn by_x(dims: &[usize]) -> String {
    dims.iter().map(usize::to_string).collect::<Vec<_>>().join("x")
}
