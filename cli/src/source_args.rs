//! What `convert` and `calibrate` are told about a source model and its samples.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cygnet::format::Meta;
use cygnet::format::meta::key;
use cygnet::npz;
use cygnet::vision::preprocess::{KEY_CROP, KEY_PAD};
use cygnet::vision::task::KEY_HEAD;
use cygnet::vision::{Preprocess, Task, complete_meta};
use cygnet_convert::graph::{Data, Graph, Tensor, ValueId};
use cygnet_convert::{ConvertError, ImportOptions};

use crate::common::CliError;
use crate::samples::FileSamples;

/// Options that decide what the network is and what samples look like.
#[derive(clap::Args)]
pub struct SourceArgs {
    /// Shape of an input that the model leaves open; may be given more than once
    #[arg(long, value_name = "NAME=1x3x640x640", value_parser = parse_shape)]
    shape: Vec<(String, Shape)>,

    /// Value of an input that is always the same, which the model is converted for; may be given more than once
    #[arg(long, value_name = "NAME=NUMBER,...|FILE.npy", value_parser = parse_fix)]
    fix: Vec<(String, Fixed)>,

    /// An input and an output that are one state: the session keeps it from run to run; may be given more than once
    #[arg(long, value_name = "IN=OUT", value_parser = parse_state)]
    state: Vec<(String, String)>,

    /// Compute in float32 what the model computes in float64, which is refused otherwise
    #[arg(long)]
    round_float64: bool,

    /// Mean subtracted from each channel, after scaling
    #[arg(long, value_name = "R,G,B")]
    mean: Option<String>,

    /// Standard deviation that divides each channel
    #[arg(long, value_name = "R,G,B")]
    std: Option<String>,

    /// Factor on a pixel's byte [default: 1/255]
    #[arg(long, value_name = "X")]
    scale: Option<f32>,

    /// Order of the image input's dimensions, for the record [default: by its shape]
    #[arg(long, value_parser = ["nchw", "nhwc"])]
    layout: Option<String>,

    /// Keep photos' proportions and pad them
    #[arg(long)]
    letterbox: bool,

    /// Side of the central part of a photo that is used, as a fraction
    #[arg(long, value_name = "X", conflicts_with = "letterbox")]
    crop: Option<f32>,

    /// Byte that pads photos
    #[arg(long, value_name = "N")]
    pad: Option<u8>,

    /// What the model is for [default: by the shapes of its inputs and outputs]
    #[arg(long, value_parser = ["classify", "detect", "face", "segment"])]
    task: Option<String>,

    /// How a detector's outputs are laid out [default: by their shapes]
    #[arg(long, value_parser = ["yolov8", "yolov5", "yolov3", "end2end", "ssd", "blazeface"])]
    head: Option<String>,
}

/// Dimensions of an input.
#[derive(Clone, Debug)]
pub struct Shape(pub Vec<usize>);

impl Shape {
    /// As options give it: `1x3x640x640`.
    pub fn by_x(&self) -> String {
        self.0.iter().map(usize::to_string).collect::<Vec<_>>().join("x")
    }
}

pub fn parse_shape(text: &str) -> Result<(String, Shape), String> {
    let wrong = || "give NAME=1x3x640x640".to_owned();
    let (name, dims) = text.rsplit_once('=').ok_or_else(wrong)?;
    let dims = dims.split('x').map(|d| d.parse().ok().filter(|&d| d > 0)).collect::<Option<Vec<usize>>>();
    Ok((name.to_owned(), Shape(dims.ok_or_else(wrong)?)))
}

/// The value of an input, and how it was given.
#[derive(Clone, Debug)]
struct Fixed {
    given: String,
    tensor: Tensor,
}

fn parse_fix(text: &str) -> Result<(String, Fixed), String> {
    let wrong = || "give NAME=16000, NAME=1,0.5 or NAME=FILE.npy".to_owned();
    let (name, given) = text.rsplit_once('=').ok_or_else(wrong)?;
    let tensor = if given.ends_with(".npy") {
        let arrays = npz::read(Path::new(given)).map_err(|e| e.to_string())?;
        let array = arrays.first().ok_or_else(wrong)?;
        Tensor::from_array(array).ok_or_else(|| format!("'{given}' holds {} elements", array.dtype.name()))?
    } else {
        let numbers = given.split(',').map(|n| n.trim().parse().ok()).collect::<Option<Vec<f64>>>();
        let numbers = numbers.ok_or_else(wrong)?;
        let dims = if numbers.len() == 1 { vec![] } else { vec![numbers.len()] };
        Tensor::new(dims, Data::F64(numbers))
    };
    Ok((name.to_owned(), Fixed { given: given.to_owned(), tensor }))
}

fn parse_state(text: &str) -> Result<(String, String), String> {
    let (input, output) =
        text.split_once('=').ok_or("give the name of an input and that of an output, as h0=hn")?;
    Ok((input.to_owned(), output.to_owned()))
}

/// A source model as far as samples need to know it.
pub struct Described {
    /// Names and dimensions of the inputs.
    pub inputs: Vec<(String, Vec<u32>)>,
    /// Names and dimensions of the outputs.
    pub outputs: Vec<(String, Vec<u32>)>,
    /// What the file says of itself.
    pub meta: Meta,
}

impl SourceArgs {
    pub fn import(&self) -> ImportOptions {
        ImportOptions {
            shapes: self
                .shape
                .iter()
                .map(|(name, s)| (name.clone(), s.0.clone()))
                .collect::<BTreeMap<_, _>>(),
            constants: self.fix.iter().map(|(name, f)| (name.clone(), f.tensor.clone())).collect(),
            states: self.state.clone(),
            round_float64: self.round_float64,
            ..ImportOptions::default()
        }
    }

    /// Reads the model's inputs, and completes `meta` by their shapes and those of its outputs.
    pub fn describe(
        &self,
        source: &Path,
        import: &ImportOptions,
        meta: &Meta,
    ) -> Result<Described, CliError> {
        let graph = cygnet_convert::import(source, import).map_err(ConvertError::from)?;
        let (inputs, outputs) = (ports(&graph, &graph.inputs), ports(&graph, &graph.outputs));
        let meta = complete_meta(meta, &borrowed(&inputs), &borrowed(&outputs))?;
        Ok(Described { inputs, outputs, meta })
    }

    /// What the options say about the model's use.
    pub fn metadata(&self) -> Meta {
        let mut meta = Meta::new();
        let number = |v: &f32| v.to_string();
        let texts = [
            (key::TASK, self.task.clone()),
            (KEY_HEAD, self.head.clone()),
            (key::MEAN, self.mean.clone()),
            (key::STD, self.std.clone()),
            (key::SCALE, self.scale.as_ref().map(number)),
            (key::LAYOUT, self.layout.clone()),
            (key::LETTERBOX, self.letterbox.then(|| "true".to_owned())),
            (KEY_CROP, self.crop.as_ref().map(number)),
            (KEY_PAD, self.pad.map(|v| v.to_string())),
        ];
        for (key, value) in texts {
            if let Some(value) = value {
                meta.set(key, value);
            }
        }
        meta
    }

    /// The options that decide what the network is.
    pub fn record(&self) -> String {
        let shapes = self.shape.iter().map(|(name, s)| format!(" --shape {name}={}", s.by_x()));
        let fixed = self.fix.iter().map(|(name, f)| format!(" --fix {name}={}", f.given));
        let states = self.state.iter().map(|(input, output)| format!(" --state {input}={output}"));
        let doubles = self.round_float64.then(|| " --round-float64".to_owned());
        shapes.chain(fixed).chain(states).chain(doubles).collect()
    }
}

impl Described {
    /// Samples in these files and folders.
    pub fn samples(&self, files: &[PathBuf], sample_rate: Option<u32>) -> Result<FileSamples, CliError> {
        let task = self.meta.text(key::TASK).and_then(Task::from_name).unwrap_or(Task::Segment);
        let photos = photo_input(&borrowed(&self.inputs), &self.meta, task)?;
        FileSamples::new(files, photos, self.inputs.clone(), sample_rate)
    }
}

/// Metadata, and over them what the command line says.
pub fn overlaid(meta: &Meta, over: &Meta) -> Meta {
    meta.iter().chain(over.iter()).collect()
}

/// Names and dimensions of values, as far as they are known.
pub fn ports(graph: &Graph, ids: &[ValueId]) -> Vec<(String, Vec<u32>)> {
    let dims = |id: &ValueId| graph.value(*id).dims.iter().flatten().map(|&d| d as u32).collect();
    ids.iter().map(|id| (graph.value(*id).name.clone(), dims(id))).collect()
}

pub fn borrowed(ports: &[(String, Vec<u32>)]) -> Vec<(&str, &[u32])> {
    ports.iter().map(|(name, dims)| (name.as_str(), &dims[..])).collect()
}

/// How photos become the values of the model's only input, when that is an image.
pub fn photo_input(
    inputs: &[(&str, &[u32])],
    meta: &Meta,
    task: Task,
) -> Result<Option<(String, Preprocess, Vec<u32>)>, CliError> {
    let [(name, dims)] = inputs[..] else { return Ok(None) };
    match Preprocess::from_meta(meta, dims, task) {
        Ok(preprocess) => Ok(Some((name.to_owned(), preprocess, dims.to_vec()))),
        Err(cygnet::vision::VisionError::NoImageInput { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
