//! Pictures in, boxes and labels out: what lies between a photo and a vision model.
//!
//! Pure computation on [`Image`], 8-bit RGB; decoding of picture files is left to the application.
//! [`Preprocess`] brings a picture to a model's input, [`detect`] turns the outputs of detectors into
//! [`Detection`]s in the picture's pixels, [`classify`] scores into labels, [`draw`] shows the result. What a model needs is read from
//! its metadata, or guessed from the shapes of its inputs and outputs by [`guess_task`].

pub mod boxes;
pub mod classify;
pub mod detect;
pub mod draw;
mod font;
pub mod image;
pub mod preprocess;
pub mod ssd;
pub mod task;
pub mod yolo;

pub use boxes::{Detection, Rect, nms, weighted_nms};
pub use classify::{Class, top};
pub use detect::{DetectOptions, Detector, complete_meta};
pub use image::Image;
pub use preprocess::{Color, Fit, Layout, Preprocess, Transform};
pub use task::{Guess, Head, Task, guess_task};

/// Why a model cannot be used for a vision task.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum VisionError {
    #[error(transparent)]
    Runtime(#[from] crate::Error),
    #[error(transparent)]
    Meta(#[from] cygnet_format::MetaError),
    #[error(
        "metadata '{key}' is \"{value}\" where {want} is expected; correct it and convert the model again"
    )]
    Value { key: &'static str, value: String, want: &'static str },
    #[error(
        "the model takes no picture: input shapes are {inputs:?}; one of [1, C, H, W] or [1, H, W, C] with 1 or 3 channels is needed; use `run` with arrays"
    )]
    NoImageInput { inputs: Vec<Vec<u32>> },
    #[error(
        "the model's outputs {outputs:?} are not those of a {task} model that is known; use `run`, or set the metadata '{key}' when converting"
    )]
    NoHead { task: &'static str, key: &'static str, outputs: Vec<Vec<u32>> },
    #[error("a picture of {width} x {height} pixels needs {need} bytes; {got} were given")]
    ImageSize { width: u32, height: u32, need: u64, got: usize },
    #[error("a model input of type {0} cannot take a picture; convert the model with a float32 input")]
    InputType(&'static str),
}
