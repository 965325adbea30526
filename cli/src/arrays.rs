//! Inputs from files, and outputs to them.

use std::path::Path;

use cygnet::format::Array;
use cygnet::{DType, Session, TensorRef, npz};
use serde_json::{Map, Value, json};

use crate::common::{CliError, shape};

/// What sets one input.
pub enum Input {
    /// An array.
    Array(Array),
    /// A picture, brought to the input's size as the model's metadata say.
    #[cfg(feature = "photos")]
    Picture {
        /// The input's name.
        name: String,
        /// The picture.
        image: cygnet::vision::Image,
    },
}

/// Reads what `--input` names: FILE.npz, NAME=FILE.npy, FILE.npy or a photo, for a session's inputs.
pub fn read_inputs(given: &[String], session: &Session) -> Result<Vec<Input>, CliError> {
    let mut inputs = Vec::new();
    for text in given {
        match split(text) {
            (name, path) if is_numpy(path) => {
                inputs.extend(numpy(name, path, session)?.into_iter().map(Input::Array));
            }
            (name, path) => inputs.push(photo(name, path, session)?),
        }
    }
    let named = |input: &Input| match input {
        Input::Array(array) => array.name.clone(),
        #[cfg(feature = "photos")]
        Input::Picture { name, .. } => name.clone(),
    };
    let names: Vec<String> = inputs.iter().map(named).collect();
    let missing: Vec<String> = session
        .inputs()
        .filter(|(name, _)| !names.iter().any(|n| n == name))
        .map(|(name, t)| format!("'{name}' ({} {})", t.dtype.name(), shape(&t.dims)))
        .collect();
    if missing.is_empty() {
        return Ok(inputs);
    }
    let missing = missing.join(", ");
    Err(CliError::Failed(format!(
        "no value for input {missing}; give it as --input NAME=FILE.npy or in a .npz"
    )))
}

/// The dimensions of the arrays among the inputs, by name; pictures take any.
pub fn shapes(inputs: &[Input]) -> Vec<(String, Vec<u32>)> {
    let shape = |input: &Input| match input {
        Input::Array(a) => Some((a.name.clone(), a.dims.clone())),
        #[cfg(feature = "photos")]
        Input::Picture { .. } => None,
    };
    inputs.iter().filter_map(shape).collect()
}

/// Sets all inputs.
pub fn set_inputs(session: &mut Session, inputs: &[Input]) -> Result<(), CliError> {
    for input in inputs {
        match input {
            Input::Array(a) => {
                session.set_input(&a.name, TensorRef::from_bytes(a.dtype, &a.bytes, &a.dims))?;
            }
            #[cfg(feature = "photos")]
            Input::Picture { name, image } => {
                crate::picture::preprocess(session, name)?.set_input(session, name, image)?;
            }
        }
    }
    Ok(())
}

/// NAME=PATH; a path alone when there is no `=`, or it is part of an existing file's name.
fn split(text: &str) -> (Option<&str>, &Path) {
    match text.split_once('=') {
        Some((name, path)) if !Path::new(text).exists() => (Some(name), Path::new(path)),
        _ => (None, Path::new(text)),
    }
}

fn is_numpy(path: &Path) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case("npz") || e.eq_ignore_ascii_case("npy"))
}

/// The arrays of a numpy file that are inputs. Names may begin with `in:`; those with `out:` are references, no
/// inputs. One array alone goes to a model's only input, whatever its name.
fn numpy(name: Option<&str>, path: &Path, session: &Session) -> Result<Vec<Array>, CliError> {
    let mut arrays = npz::read(path)?;
    arrays.retain(|a| !a.name.starts_with("out:"));
    for array in &mut arrays {
        if let Some(rest) = array.name.strip_prefix("in:") {
            array.name = rest.to_owned();
        }
    }
    let known: Vec<&str> = session.inputs().map(|(name, _)| name).collect();
    if let [array] = &mut arrays[..] {
        if let Some(name) = name {
            array.name = name.strip_prefix("in:").unwrap_or(name).to_owned();
        } else if let [only] = known[..] {
            array.name = only.to_owned();
        }
    } else if let Some(name) = name {
        let what = format!("{} holds {} arrays", path.display(), arrays.len());
        return Err(CliError::Usage(format!(
            "{what}, input '{name}' takes one; give the file without a name"
        )));
    }
    if let Some(odd) = arrays.iter().find(|a| !known.contains(&a.name.as_str())) {
        let (file, names) = (path.display(), known.join("', '"));
        return Err(CliError::Failed(format!(
            "{file} holds an array '{}', the model's inputs are '{names}'; rename or remove it",
            odd.name
        )));
    }
    Ok(arrays)
}

#[cfg(feature = "photos")]
fn photo(name: Option<&str>, path: &Path, session: &Session) -> Result<Input, CliError> {
    let name = match name {
        Some(name) => name.to_owned(),
        None => crate::picture::only_image_input(session)?,
    };
    Ok(Input::Picture { name, image: crate::picture::load(path)? })
}

#[cfg(not(feature = "photos"))]
fn photo(_: Option<&str>, path: &Path, _: &Session) -> Result<Input, CliError> {
    let what = format!("{} is no .npz or .npy file, and this build reads no photos", path.display());
    Err(CliError::Usage(format!("{what}; prepare the input with numpy, or use the full build")))
}

/// All outputs of the last run.
pub fn outputs(session: &Session) -> Result<Vec<Array>, CliError> {
    let names = session.outputs().map(|(name, _)| name.to_owned());
    names
        .map(|name| {
            let t = session.output(&name)?;
            Ok(Array { dtype: t.dtype, dims: t.dims.to_vec(), bytes: t.bytes.to_vec(), name })
        })
        .collect()
}

/// Outputs as one JSON object: for each its type, shape and values, row by row. Numbers that JSON cannot
/// express are strings: "NaN", "inf", "-inf".
pub fn outputs_json(arrays: &[Array]) -> Value {
    let mut object = Map::new();
    for a in arrays {
        let number = |v: f32| if v.is_finite() { json!(v) } else { json!(v.to_string()) };
        let data: Vec<Value> = match a.dtype {
            DType::F32 | DType::F16 => view(a).to_f32().into_iter().map(number).collect(),
            DType::S64 => a.bytes.as_chunks().0.iter().map(|&b| json!(i64::from_le_bytes(b))).collect(),
            DType::S32 => a.bytes.as_chunks().0.iter().map(|&b| json!(i32::from_le_bytes(b))).collect(),
            _ => view(a).to_f32().into_iter().map(|v| json!(v as i64)).collect(),
        };
        object.insert(a.name.clone(), json!({ "dtype": a.dtype.name(), "shape": a.dims, "data": data }));
    }
    Value::Object(object)
}

/// An array as the runtime sees it.
pub fn view(a: &Array) -> TensorRef<'_> {
    TensorRef::from_bytes(a.dtype, &a.bytes, &a.dims)
}
