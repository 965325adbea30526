//! ONNX's node tests: a model of one operator, its inputs, and what its outputs have to be.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use cygnet::format::program::DType;
use cygnet::{Model, Session, SessionOptions, TensorRef};
use cygnet_convert::graph::{Data, Tensor};
use cygnet_convert::onnx::read_tensor;
use cygnet_convert::onnx::schema::{ModelProto, TensorProto, ValueInfoProto};
use cygnet_convert::{Calibrator, ImportOptions, Options, Precision, Silent, Tools, convert};
use half::f16;
use prost::Message;

/// The suite's own tolerances: every element within `ATOL + RTOL * |wanted|`.
const RTOL: f64 = 1e-3;
const ATOL: f64 = 1e-7;

/// How a case came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All inputs were given to the running program, and its outputs are right.
    Run,
    /// Right as well, with these inputs fixed at conversion, since shapes or the program follow from them.
    Fixed(Vec<String>),
    /// Right, with every input fixed: the converter computed the answer.
    Folded,
    /// Not converted, or not right; and why.
    Out(String),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run => f.write_str("run\t"),
            Self::Fixed(names) => write!(f, "fixed\t{}", names.join(" ")),
            Self::Folded => f.write_str("folded\t"),
            Self::Out(why) => write!(f, "out\t{why}"),
        }
    }
}

/// A case as it lies in a folder.
pub struct Case {
    folder: PathBuf,
    inputs: Vec<(String, Tensor)>,
    outputs: Vec<(String, Tensor)>,
}

impl Case {
    /// Reads a case; the error says what about its data no program could take.
    pub fn read(folder: &Path) -> Result<Self, String> {
        let bytes = std::fs::read(folder.join("model.onnx")).map_err(|e| e.to_string())?;
        let graph =
            ModelProto::decode(bytes.as_slice()).map_err(|e| e.to_string())?.graph.unwrap_or_default();
        let part = |what: &str, ports: &[ValueInfoProto]| -> Result<Vec<(String, Tensor)>, String> {
            let mut found = Vec::new();
            for i in 0.. {
                let path = folder.join(format!("test_data_set_0/{what}_{i}.pb"));
                if !path.exists() {
                    break;
                }
                let bytes = std::fs::read(&path).map_err(|e| e.to_string())?;
                found.extend(values(&bytes, ports.get(i)).map_err(|e| format!("{what} {i}: {e}"))?);
            }
            Ok(found)
        };
        let (inputs, outputs) = (part("input", &graph.input)?, part("output", &graph.output)?);
        Ok(Self { folder: folder.to_owned(), inputs, outputs })
    }

    /// Converts and runs the case: with all inputs given to the program where that is possible, else with more and more
    /// of them fixed at conversion.
    pub fn outcome(&self) -> Outcome {
        let mut first_reason = None;
        for fixed in self.choices() {
            match catch_unwind(AssertUnwindSafe(|| self.attempt(&fixed))) {
                Ok(Ok(Ok(()))) if fixed.is_empty() => return Outcome::Run,
                Ok(Ok(Ok(()))) if fixed.len() == self.inputs.len() => return Outcome::Folded,
                Ok(Ok(Ok(()))) => return Outcome::Fixed(fixed.iter().map(|s| (*s).to_owned()).collect()),
                Ok(Ok(Err(difference))) => return Outcome::Out(difference),
                Ok(Err(refusal)) => {
                    first_reason.get_or_insert(refusal);
                }
                Err(_) => return Outcome::Out("panics".to_owned()),
            }
        }
        Outcome::Out(first_reason.unwrap_or_default())
    }

    /// Names of the inputs to fix, in the order in which that is tried.
    fn choices(&self) -> Vec<Vec<&str>> {
        let float = |t: &Tensor| t.elem().is_float();
        let choose = |wanted: &dyn Fn(usize, &Tensor) -> bool| -> Vec<&str> {
            let chosen = self.inputs.iter().enumerate().filter(|(i, (_, t))| wanted(*i, t));
            chosen.map(|(_, (name, _))| name.as_str()).collect()
        };
        let mut choices = vec![
            Vec::new(),
            choose(&|i, t| i > 0 && !float(t) && t.dims.len() <= 1),
            choose(&|_, t| !float(t) && t.dims.len() <= 1),
            choose(&|i, _| i > 0),
            choose(&|_, t| !float(t)),
            choose(&|_, _| true),
        ];
        let mut seen: Vec<Vec<&str>> = Vec::new();
        choices.retain(|c| {
            let new = !seen.contains(c);
            seen.push(c.clone());
            new
        });
        choices
    }

    /// Outer error: not converted. Inner error: not right.
    fn attempt(&self, fixed: &[&str]) -> Result<Result<(), String>, String> {
        // What is computed in float64 is compared within the suites' tolerances too.
        let mut import = ImportOptions { round_float64: true, ..ImportOptions::default() };
        for (name, tensor) in &self.inputs {
            if fixed.contains(&name.as_str()) {
                import.constants.insert(name.clone(), tensor.clone());
            } else {
                import.shapes.insert(name.clone(), tensor.dims.clone());
            }
        }
        let options = Options {
            source: self.folder.join("model.onnx"),
            import,
            buckets: Vec::new(),
            precision: Precision::F32,
            tools: Tools::default(),
            winograd: true,
            sparse: true,
            samples: None,
            int8_io: false,
            calibration: None,
            calibrator: Calibrator::default(),
            budget: cygnet_convert::Budget::default(),
            judge: &cygnet_convert::judge::Outputs,
            meta: cygnet::format::Meta::new(),
            goldens: 0,
            provenance: String::new(),
        };
        let converted = convert(options, &mut Silent).map_err(|e| e.to_string())?;
        let model = Model::from_bytes(&converted.file).map_err(|e| e.to_string())?;
        let one = SessionOptions { threads: Some(1), ..SessionOptions::default() };
        let mut session = Session::new(&model, &one).map_err(|e| e.to_string())?;
        let given: BTreeMap<&str, &Tensor> = self.inputs.iter().map(|(n, t)| (n.as_str(), t)).collect();
        let ports: Vec<(String, DType, Vec<u32>)> =
            session.inputs().map(|(n, t)| (n.to_owned(), t.dtype, t.dims.clone())).collect();
        for (name, dtype, dims) in ports {
            let bytes = encode(given[name.as_str()], dtype);
            session
                .set_input(&name, TensorRef::from_bytes(dtype, &bytes, &dims))
                .map_err(|e| e.to_string())?;
        }
        session.run().map_err(|e| e.to_string())?;
        Ok(self.compare(&session))
    }

    fn compare(&self, session: &Session) -> Result<(), String> {
        for (name, want) in &self.outputs {
            if want.is_empty() && !session.outputs().any(|(n, _)| n == name) {
                continue;
            }
            let got = session.output(name).map_err(|e| e.to_string())?;
            let dims: Vec<usize> = got.dims.iter().map(|&d| d as usize).collect();
            let mut numbers_wanted = numbers(want);
            if dims != want.dims {
                let behind = if matches!(got.dtype, DType::S32 | DType::S64) { -1.0 } else { 0.0 };
                numbers_wanted = padded(&numbers_wanted, &want.dims, &dims, behind).ok_or_else(|| {
                    format!("output '{name}' has dimensions {dims:?}, wanted are {:?}", want.dims)
                })?;
            }
            if !suits(want, got.dtype) {
                return Err(format!("output '{name}' is {}, wanted is {}", got.dtype.name(), want.elem()));
            }
            let got = decode(&got);
            for (i, (&g, &w)) in got.iter().zip(&numbers_wanted).enumerate() {
                let close = g == w || (g.is_nan() && w.is_nan()) || (g - w).abs() <= ATOL + RTOL * w.abs();
                if !close {
                    return Err(format!("output '{name}' differs at element {i}: {g} where {w} is wanted"));
                }
            }
        }
        Ok(())
    }
}

/// Rows whose number the data decides come in as many as there can be: those that are there first, then `behind`. `None`
/// where more than one dimension differs.
fn padded(values: &[f64], from: &[usize], to: &[usize], behind: f64) -> Option<Vec<f64>> {
    let mut differ = (0..from.len().min(to.len())).filter(|&d| from[d] != to[d]);
    let axis = differ.next().filter(|&d| from.len() == to.len() && from[d] < to[d])?;
    if differ.next().is_some() {
        return None;
    }
    let inner: usize = from[axis + 1..].iter().product();
    let outer: usize = from[..axis].iter().product();
    let mut all = Vec::new();
    for o in 0..outer {
        all.extend(&values[o * from[axis] * inner..(o + 1) * from[axis] * inner]);
        all.resize((o + 1) * to[axis] * inner, behind);
    }
    Some(all)
}

/// A sequence in a file of its own.
#[derive(Clone, PartialEq, Message)]
struct SequenceProto {
    #[prost(message, repeated, tag = "3")]
    tensor_values: Vec<TensorProto>,
}

/// An optional in a file of its own.
#[derive(Clone, PartialEq, Message)]
struct OptionalProto {
    #[prost(message, optional, tag = "3")]
    tensor_value: Option<TensorProto>,
    #[prost(message, optional, tag = "5")]
    sequence_value: Option<SequenceProto>,
}

/// The tensors in a file, as the port that it is for says: elements of sequences under the names that they have as
/// inputs and outputs of a program, optionals as what they hold.
fn values(bytes: &[u8], port: Option<&ValueInfoProto>) -> Result<Vec<(String, Tensor)>, String> {
    let ty = port.and_then(|p| p.r#type.as_ref());
    let name = port.and_then(|p| p.name.as_deref()).unwrap_or("");
    let one = |t: &TensorProto| read_tensor(&t.encode_to_vec()).map_err(|e| e.to_string());
    let all = |s: &SequenceProto| -> Result<Vec<_>, String> {
        let parts = s.tensor_values.iter().enumerate();
        parts.map(|(i, t)| Ok((format!("{name}[{i}]"), one(t)?.1))).collect()
    };
    if ty.is_some_and(|t| t.optional_type.is_some()) {
        let optional = OptionalProto::decode(bytes).map_err(|e| e.to_string())?;
        return match (&optional.tensor_value, &optional.sequence_value) {
            (Some(t), _) => Ok(vec![(name.to_owned(), one(t)?.1)]),
            (None, Some(s)) => all(s),
            (None, None) => Ok(Vec::new()),
        };
    }
    if ty.is_some_and(|t| t.sequence_type.is_some()) {
        return all(&SequenceProto::decode(bytes).map_err(|e| e.to_string())?);
    }
    Ok(vec![read_tensor(bytes).map_err(|e| e.to_string())?])
}

/// The elements as real numbers.
fn numbers(t: &Tensor) -> Vec<f64> {
    match &t.data {
        Data::F64(v) => v.clone(),
        Data::F32(_) | Data::F16(_) | Data::BF16(_) => t.to_f32().into_iter().map(f64::from).collect(),
        Data::U64(v) => v.iter().map(|&x| x as f64).collect(),
        _ => t.to_i64().expect("integers").into_iter().map(|x| x as f64).collect(),
    }
}

/// Whether a program's output of this type stands for the wanted tensor: the same type where programs have it.
fn suits(want: &Tensor, got: DType) -> bool {
    got == match &want.data {
        Data::F32(_) | Data::F64(_) | Data::BF16(_) => DType::F32,
        Data::F16(_) => DType::F16,
        Data::I8(_) => DType::S8,
        Data::U8(_) | Data::Bool(_) => DType::U8,
        Data::I16(_) => DType::S16,
        Data::I32(_) | Data::U16(_) => DType::S32,
        Data::I64(_) | Data::U32(_) | Data::U64(_) => DType::S64,
    }
}

/// The bytes of a tensor as an input of this type.
fn encode(t: &Tensor, dtype: DType) -> Vec<u8> {
    let numbers = numbers(t);
    let bytes = |f: &dyn Fn(f64) -> Vec<u8>| numbers.iter().flat_map(|&x| f(x)).collect();
    match dtype {
        DType::F32 => bytes(&|x| (x as f32).to_le_bytes().to_vec()),
        DType::F16 => bytes(&|x| f16::from_f64(x).to_le_bytes().to_vec()),
        DType::S8 => bytes(&|x| (x as i8).to_le_bytes().to_vec()),
        DType::U8 => bytes(&|x| vec![x as u8]),
        DType::S16 => bytes(&|x| (x as i16).to_le_bytes().to_vec()),
        DType::S32 => bytes(&|x| (x as i32).to_le_bytes().to_vec()),
        DType::S64 => bytes(&|x| (x as i64).to_le_bytes().to_vec()),
        DType::Packed => unreachable!("no input is packed"),
    }
}

/// The elements of an output as real numbers.
fn decode(t: &TensorRef<'_>) -> Vec<f64> {
    fn each<const N: usize>(bytes: &[u8], f: impl Fn([u8; N]) -> f64) -> Vec<f64> {
        bytes.as_chunks().0.iter().map(|&b| f(b)).collect()
    }
    match t.dtype {
        DType::F32 => each(t.bytes, |b| f32::from_le_bytes(b).into()),
        DType::F16 => each(t.bytes, |b| f16::from_le_bytes(b).into()),
        DType::S8 => each(t.bytes, |b| i8::from_le_bytes(b).into()),
        DType::U8 => each(t.bytes, |[b]| b.into()),
        DType::S16 => each(t.bytes, |b| i16::from_le_bytes(b).into()),
        DType::S32 => each(t.bytes, |b| i32::from_le_bytes(b).into()),
        DType::S64 => each(t.bytes, |b| i64::from_le_bytes(b) as f64),
        DType::Packed => unreachable!("no output is packed"),
    }
}

/// Runs every case in a folder; outcomes by name.
pub fn run(folder: &Path) -> BTreeMap<String, Outcome> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut folders: Vec<PathBuf> = entries.map(|e| e.expect("a folder that can be listed").path()).collect();
    folders.retain(|f| f.join("model.onnx").exists());
    folders.sort();
    // A case that panics says so in its outcome; thousands of lines about it would hide the others.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let outcomes = folders.iter().map(|f| {
        let name = f.file_name().expect("a name").to_string_lossy().into_owned();
        let outcome = match Case::read(f) {
            Ok(case) => case.outcome(),
            Err(why) => Outcome::Out(why),
        };
        (name, outcome)
    });
    let outcomes = outcomes.collect();
    std::panic::set_hook(hook);
    outcomes
}

/// The outcomes as the text of a list: a header, then `case, outcome, details` in lines.
pub fn listing(title: &str, outcomes: &BTreeMap<String, Outcome>) -> String {
    let count = |f: &dyn Fn(&Outcome) -> bool| outcomes.values().filter(|o| f(o)).count();
    let out = count(&|o| matches!(o, Outcome::Out(_)));
    let mut text = format!(
        "# {title}: {} of {} pass\n\
         # run {}: all inputs given to the running program\n\
         # fixed {}: the inputs named were fixed at conversion (--fix), since the program follows from them\n\
         # folded {}: every input was fixed, and the converter computed the answer\n\
         # out {out}: not converted, for the reason given\n",
        outcomes.len() - out,
        outcomes.len(),
        count(&|o| *o == Outcome::Run),
        count(&|o| matches!(o, Outcome::Fixed(_))),
        count(&|o| *o == Outcome::Folded),
    );
    for (name, outcome) in outcomes {
        let line = format!("{name}\t{outcome}").replace('\n', " ");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
