//! A detector: a program's input and outputs understood, pictures in, detections out.

use cygnet_format::meta::key;
use cygnet_format::{Meta, Program};

use super::boxes::{Detection, nms, weighted_nms};
use super::image::Image;
use super::preprocess::{KEY_PAD, Preprocess};
use super::ssd::{self, Anchor};
use super::task::{Head, KEY_HEAD, Task, find_task};
use super::{VisionError, yolo};
use crate::session::Session;

/// What counts as found.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct DetectOptions {
    /// Least score; by default 0.25, for faces 0.5.
    pub conf: Option<f32>,
    /// Overlap above which boxes of a class are one thing; by default 0.45, for faces 0.3.
    pub iou: Option<f32>,
    /// Most detections; by default 300.
    pub most: Option<usize>,
}

/// How to feed a program and read its outputs.
#[derive(Clone, Debug)]
pub struct Detector {
    input: String,
    preprocess: Preprocess,
    head: Reading,
}

/// The outputs by name, with what decoding them needs.
#[derive(Clone, Debug)]
enum Reading {
    YoloV8 { output: String, width: usize, anchor_major: bool },
    YoloV5 { output: String, width: usize },
    EndToEnd { output: String },
    Ssd { boxes: String, classes: String, count: usize, anchors: Vec<Anchor> },
    Blaze { regressors: String, width: usize, scores: String, anchors: Vec<Anchor> },
}

/// Ports of a program: name and dimensions.
fn ports<'a>(program: &'a Program, ports: &'a [cygnet_format::Port]) -> Vec<(&'a str, &'a [u32])> {
    ports.iter().map(|p| (p.name.as_str(), &program.tensors[p.tensor as usize].dims[..])).collect()
}

/// The ports of a program's inputs and of its outputs, as [`super::guess_task`] takes them.
pub(crate) fn all_ports(program: &Program) -> [Vec<(&str, &[u32])>; 2] {
    [ports(program, &program.inputs), ports(program, &program.outputs)]
}

/// The program's first input that can take a picture.
pub(crate) fn image_input<'a>(inputs: &[(&'a str, &'a [u32])]) -> Result<(&'a str, &'a [u32]), VisionError> {
    let found = inputs.iter().find(|(_, dims)| super::preprocess::image_dims(dims).is_some());
    let shapes = || inputs.iter().map(|(_, dims)| dims.to_vec()).collect();
    found.copied().ok_or_else(|| VisionError::NoImageInput { inputs: shapes() })
}

impl Detector {
    /// Understands a program with the help of its file's metadata.
    ///
    /// Where the metadata give no preprocessing, SSD and face detectors get pixels in [-1, 1], others in [0, 1].
    ///
    /// # Errors
    /// When the program takes no picture or its outputs are those of no detector that is known.
    pub fn new(program: &Program, meta: &Meta) -> Result<Self, VisionError> {
        let [inputs, outputs] = all_ports(program);
        Self::of_ports(&inputs, &outputs, meta)
    }

    /// As [`Self::new`], of the names and dimensions of a program's inputs and outputs.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn of_ports(
        inputs: &[(&str, &[u32])],
        outputs: &[(&str, &[u32])],
        meta: &Meta,
    ) -> Result<Self, VisionError> {
        let (input, dims) = image_input(inputs)?;
        let no_head = || VisionError::NoHead {
            task: "detection",
            key: KEY_HEAD,
            outputs: outputs.iter().map(|(_, dims)| dims.to_vec()).collect(),
        };
        let guess = find_task(meta, inputs, outputs)?;
        let head = guess.and_then(|g| g.head).ok_or_else(no_head)?;
        let task = if head == Head::BlazeFace { Task::Face } else { Task::Detect };
        let face = outputs.iter().any(|(_, dims)| dims.ends_with(&[16]));
        let meta = with_defaults(meta, head, face);
        let preprocess = Preprocess::from_meta(&meta, dims, task)?;
        let labels = meta.lines(key::LABELS).len();
        let head = read(head, outputs, preprocess.size, labels).ok_or_else(no_head)?;
        Ok(Self { input: input.to_owned(), preprocess, head })
    }

    /// How pictures become inputs.
    pub fn preprocess(&self) -> &Preprocess {
        &self.preprocess
    }

    /// Finds things in a picture: sets the input, runs the session, decodes, chooses among overlapping boxes.
    ///
    /// # Errors
    /// When the session is of another program or fails to run.
    pub fn detect(
        &self,
        session: &mut Session,
        picture: &Image,
        options: &DetectOptions,
    ) -> Result<Vec<Detection>, VisionError> {
        let transform = self.preprocess.set_input(session, &self.input, picture)?;
        session.run()?;
        let mut found = self.decode(session, options)?;
        for d in &mut found {
            d.rect = transform.rect(d.rect);
            for point in &mut d.keypoints {
                *point = transform.point(*point);
            }
        }
        found.retain(|d| d.rect.is_proper());
        Ok(found)
    }

    /// Decodes the outputs of a session's last run; boxes are in the input's pixels.
    ///
    /// # Errors
    /// When the session is of another program or has not run.
    pub fn decode(&self, session: &Session, options: &DetectOptions) -> Result<Vec<Detection>, VisionError> {
        self.decode_values(&|name| Ok(session.output(name)?.to_f32()), options)
    }

    /// Decodes outputs by name, as [`Self::decode`] does those of a session.
    ///
    /// # Errors
    /// When an output is not to be had.
    pub fn decode_values(
        &self,
        values: &dyn Fn(&str) -> Result<Vec<f32>, VisionError>,
        options: &DetectOptions,
    ) -> Result<Vec<Detection>, VisionError> {
        let size = self.preprocess.size.map(|side| side as f32);
        let face = matches!(self.head, Reading::Blaze { .. });
        let conf = options.conf.unwrap_or(if face { 0.5 } else { 0.25 });
        let iou = options.iou.unwrap_or(if face { 0.3 } else { 0.45 });
        let most = options.most.unwrap_or(300);
        let found = match &self.head {
            Reading::YoloV8 { output, width, anchor_major } => {
                yolo::decode_v8(&values(output)?, *width, *anchor_major, size, conf)
            }
            Reading::YoloV5 { output, width } => yolo::decode_v5(&values(output)?, *width, size, conf),
            Reading::EndToEnd { output } => {
                // The model has chosen among overlapping boxes itself.
                return Ok(nms(yolo::decode_end_to_end(&values(output)?, size, conf), 1.0, most));
            }
            Reading::Ssd { boxes, classes, count, anchors } => {
                ssd::decode_ssd(&values(boxes)?, &values(classes)?, *count, anchors, size, conf)
            }
            Reading::Blaze { regressors, width, scores, anchors } => {
                let found =
                    ssd::decode_blaze(&values(regressors)?, *width, &values(scores)?, anchors, size[1], conf);
                return Ok(weighted_nms(found, iou, most));
            }
        };
        Ok(nms(found, iou, most))
    }
}

/// The metadata with what follows from the shapes of inputs and outputs, where they are silent: task, head, and the
/// preprocessing that the head's models expect. A converter that writes this calibrates on what detectors will feed.
///
/// # Errors
/// When the metadata name a task or head that is unknown.
pub fn complete_meta(
    meta: &Meta,
    inputs: &[(&str, &[u32])],
    outputs: &[(&str, &[u32])],
) -> Result<Meta, VisionError> {
    let Some(guess) = find_task(meta, inputs, outputs)? else { return Ok(meta.clone()) };
    let mut meta = meta.clone();
    meta.set(key::TASK, guess.task.name());
    let Some(head) = guess.head else { return Ok(meta) };
    meta.set(KEY_HEAD, head.name());
    Ok(with_defaults(&meta, head, outputs.iter().any(|(_, dims)| dims.ends_with(&[16]))))
}

/// The metadata, with what a head's models expect where they are silent.
fn with_defaults(meta: &Meta, head: Head, face: bool) -> Meta {
    let mut meta = meta.clone();
    let silent = [key::SCALE, key::MEAN, key::STD].iter().all(|k| meta.text(k).is_none());
    if silent && (head == Head::Ssd || head == Head::BlazeFace && face) {
        meta.set_numbers(key::SCALE, &[1.0 / 127.5]).set_numbers(key::MEAN, &[1.0]);
    }
    if head == Head::Ssd && meta.text(key::LETTERBOX).is_none() {
        meta.set(key::LETTERBOX, "false");
    }
    if head == Head::BlazeFace && meta.text(KEY_PAD).is_none() {
        meta.set(KEY_PAD, "0");
    }
    meta
}

fn read(head: Head, outputs: &[(&str, &[u32])], size: [u32; 2], labels: usize) -> Option<Reading> {
    let three =
        || outputs.iter().filter_map(|&(name, dims)| <[u32; 3]>::try_from(dims).ok().map(|d| (name, d)));
    let with_last = |last: u32| three().find(|(_, d)| d[2] == last).map(|(name, d)| (name.to_owned(), d));
    match head {
        Head::YoloV8 => {
            let (name, [_, a, b]) = three().next()?;
            // The labels tell which dimension is that of the classes; else the shorter one is.
            let (a_fits, b_fits) = (a as usize == 4 + labels, b as usize == 4 + labels);
            let anchor_major = if a_fits == b_fits { b < a } else { b_fits };
            let width = if anchor_major { b } else { a } as usize;
            (width >= 5).then(|| Reading::YoloV8 { output: name.to_owned(), width, anchor_major })
        }
        Head::YoloV5 => {
            let (name, [.., width]) = three().next()?;
            (width >= 6).then(|| Reading::YoloV5 { output: name.to_owned(), width: width as usize })
        }
        Head::EndToEnd => Some(Reading::EndToEnd { output: with_last(6)?.0 }),
        Head::Ssd => {
            let (boxes, [_, n, _]) = with_last(4)?;
            let (classes, [.., count]) = three().find(|(name, d)| *name != boxes && d[1] == n)?;
            let anchors = ssd::ssd_anchors(size[0]);
            let fits = anchors.len() == n as usize && size[0] == size[1];
            let classes = classes.to_owned();
            fits.then_some(Reading::Ssd { boxes, classes, count: count as usize, anchors })
        }
        Head::BlazeFace => {
            let (scores, [_, n, _]) = with_last(1)?;
            let (regressors, [.., width]) = three().find(|(_, d)| d[1] == n && d[2] >= 4)?;
            let anchors = ssd::blaze_anchors(size[1], n as usize).filter(|_| size[0] == size[1])?;
            Some(Reading::Blaze { regressors: regressors.to_owned(), width: width as usize, scores, anchors })
        }
    }
}
