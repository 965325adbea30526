//! What a model is for: by its metadata, or by the shapes of its inputs and outputs.

use cygnet_format::Meta;
use cygnet_format::meta::key;

use super::VisionError;
use super::preprocess::image_dims;

/// Kind of a detector's outputs, a [`Head`]'s name; metadata beside those of the file format.
pub const KEY_HEAD: &str = "detect.head";

/// What a vision model is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// One class for the picture.
    Classify,
    /// Boxes with classes.
    Detect,
    /// Boxes of faces or hands with key points.
    Face,
    /// A class for each pixel.
    Segment,
}

/// How a detector's outputs are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// [`super::yolo::decode_v8`].
    YoloV8,
    /// [`super::yolo::decode_v5`].
    YoloV5,
    /// [`super::yolo::decode_end_to_end`].
    EndToEnd,
    /// [`super::ssd::decode_ssd`].
    Ssd,
    /// [`super::ssd::decode_blaze`].
    BlazeFace,
}

impl Task {
    const NAMES: [(Self, &'static str); 4] = [
        (Self::Classify, "classify"),
        (Self::Detect, "detect"),
        (Self::Face, "face"),
        (Self::Segment, "segment"),
    ];

    /// The name in metadata and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Classify => "classify",
            Self::Detect => "detect",
            Self::Face => "face",
            Self::Segment => "segment",
        }
    }

    /// The task of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(_, n)| *n == name).map(|&(task, _)| task)
    }
}

impl Head {
    const NAMES: [(Self, &'static str); 6] = [
        (Self::YoloV8, "yolov8"),
        (Self::YoloV5, "yolov5"),
        (Self::YoloV5, "yolov3"),
        (Self::EndToEnd, "end2end"),
        (Self::Ssd, "ssd"),
        (Self::BlazeFace, "blazeface"),
    ];

    /// The name in metadata: `yolov8`, `yolov5`, `end2end`, `ssd` or `blazeface`.
    pub fn name(self) -> &'static str {
        match self {
            Self::YoloV8 => "yolov8",
            Self::YoloV5 => "yolov5",
            Self::EndToEnd => "end2end",
            Self::Ssd => "ssd",
            Self::BlazeFace => "blazeface",
        }
    }

    /// The head of a name; `yolov3` is another one of `yolov5`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(_, n)| *n == name).map(|&(head, _)| head)
    }
}

/// A task, and for detectors the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Guess {
    pub task: Task,
    pub head: Option<Head>,
}

/// Guesses a model's task from the names and dimensions of its inputs and outputs, for models whose metadata say
/// nothing; `None` when it is no vision model, or none of a kind that is known.
///
/// - one output `[1, N]` (or with more ones): classify;
/// - `[1, N, 4 + k]` with `[1, N, 1]`: BlazeFace; `[1, N, 4]` with `[1, N, C]`: SSD;
/// - one output `[1, C, N]` with C < N: YOLOv8, one `[1, N, C]`: YOLOv5, where N boxes are those of a pyramid over the
///   input; `[1, N, 6]` with N of at most 1000: end to end;
/// - one output of image shape, at least an eighth of the input's extent: segment.
pub fn guess_task(inputs: &[(&str, &[u32])], outputs: &[(&str, &[u32])]) -> Option<Guess> {
    let (_, [height, width], _) = inputs.iter().find_map(|(_, dims)| image_dims(dims))?;
    let detect = |head| Some(Guess { task: Task::Detect, head: Some(head) });
    let plain = |task| Some(Guess { task, head: None });
    let shapes: Vec<&[u32]> = outputs.iter().map(|(_, dims)| *dims).collect();
    match shapes[..] {
        [&[1, n, 6]] if n <= 1000 => detect(Head::EndToEnd),
        [&[1, c, n]] if (5..n).contains(&c) && is_pyramid(n, height, width) => detect(Head::YoloV8),
        [&[1, n, c]] if (6..n).contains(&c) && is_pyramid(n, height, width) => detect(Head::YoloV5),
        [&[1, n, r], &[1, m, 1]] | [&[1, m, 1], &[1, n, r]] if n == m && r >= 4 => {
            Some(Guess { task: Task::Face, head: Some(Head::BlazeFace) })
        }
        [&[1, n, 4], &[1, m, c]] | [&[1, m, c], &[1, n, 4]] if n == m && c > 1 => detect(Head::Ssd),
        [dims] if dims.iter().filter(|&&d| d > 1).count() == 1 && dims.first() == Some(&1) => {
            plain(Task::Classify)
        }
        [&[1, a, b, c]] => {
            let large = |h: u32, w: u32| h.saturating_mul(8) >= height && w.saturating_mul(8) >= width;
            (large(a, b) || large(b, c)).then_some(Guess { task: Task::Segment, head: None })
        }
        _ => None,
    }
}

/// Whether `n` boxes are up to three at each cell of some levels that follow one another, from a quarter of the extent of
/// a picture to a 128th. Recognizers of text give `[1, N, C]` too, and are none.
fn is_pyramid(n: u32, height: u32, width: u32) -> bool {
    let cells = |level: u32| u64::from(height.div_ceil(1 << level)) * u64::from(width.div_ceil(1 << level));
    (2..=7).any(|first| {
        (first..=7).any(|last| {
            let all: u64 = (first..=last).map(cells).sum();
            (1..=3).any(|each| each * all == u64::from(n))
        })
    })
}

/// The task and head that metadata name, or else the guess.
///
/// # Errors
/// When the metadata name a task or head that is not known.
pub fn find_task(
    meta: &Meta,
    inputs: &[(&str, &[u32])],
    outputs: &[(&str, &[u32])],
) -> Result<Option<Guess>, VisionError> {
    let guess = guess_task(inputs, outputs);
    let named = |key: &'static str, want: &'static str| {
        move |value: &str| VisionError::Value { key, value: value.to_owned(), want }
    };
    let head = match meta.text(KEY_HEAD) {
        Some(name) => {
            let unknown = named(KEY_HEAD, "one of yolov8, yolov5, yolov3, end2end, ssd, blazeface");
            Some(Head::from_name(name).ok_or_else(|| unknown(name))?)
        }
        None => guess.and_then(|g| g.head),
    };
    let task = match meta.text(key::TASK) {
        // Tasks of other kinds (embed, speech, ...) are no error; they are no vision tasks.
        Some(name) => Task::from_name(name),
        None => guess.map(|g| g.task),
    };
    Ok(task.map(|task| Guess { task, head }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guess(input: &[u32], outputs: &[&[u32]]) -> Option<(Task, Option<Head>)> {
        let outputs: Vec<(&str, &[u32])> = outputs.iter().map(|dims| ("y", *dims)).collect();
        guess_task(&[("x", input)], &outputs).map(|g| (g.task, g.head))
    }

    #[test]
    fn shapes_of_well_known_models() {
        use Head::*;
        use Task::*;
        let nchw = |s| [1, 3, s, s];
        assert_eq!(guess(&nchw(224), &[&[1, 1000]]), Some((Classify, None)));
        assert_eq!(guess(&[1, 28, 28, 1], &[&[1, 10]]), Some((Classify, None)));
        assert_eq!(guess(&nchw(640), &[&[1, 84, 8400]]), Some((Detect, Some(YoloV8))));
        assert_eq!(guess(&nchw(416), &[&[1, 2535, 85]]), Some((Detect, Some(YoloV5))));
        assert_eq!(guess(&nchw(640), &[&[1, 300, 6]]), Some((Detect, Some(EndToEnd))));
        assert_eq!(guess(&[1, 128, 128, 3], &[&[1, 896, 16], &[1, 896, 1]]), Some((Face, Some(BlazeFace))));
        assert_eq!(guess(&[1, 300, 300, 3], &[&[1, 1917, 4], &[1, 1917, 24]]), Some((Detect, Some(Ssd))));
        assert_eq!(guess(&[1, 256, 256, 3], &[&[1, 256, 256, 1]]), Some((Segment, None)));
        assert_eq!(guess(&[1, 3, 384, 640], &[&[1, 5, 5040]]), Some((Detect, Some(YoloV8))));
        assert_eq!(guess(&[1, 128], &[&[1, 384]]), None);
        // A recognizer of text: 40 places of 6625 signs.
        assert_eq!(guess(&[1, 3, 48, 320], &[&[1, 40, 6625]]), None);
        assert_eq!(guess(&nchw(48), &[&[1, 12, 12, 3], &[2, 2]]), None);
    }

    #[test]
    fn metadata_win() {
        let (inputs, outputs) = ([("x", &[1, 3, 64, 64][..])], [("y", &[1, 6, 84][..])]);
        let meta: Meta = [(KEY_HEAD, "yolov3")].into_iter().collect();
        let found = find_task(&meta, &inputs, &outputs).unwrap().unwrap();
        assert_eq!(found, Guess { task: Task::Detect, head: Some(Head::YoloV5) });
        let other: Meta = [("task", "embed")].into_iter().collect();
        assert_eq!(find_task(&other, &inputs, &outputs).unwrap(), None);
        let wrong: Meta = [(KEY_HEAD, "yolo")].into_iter().collect();
        assert!(find_task(&wrong, &inputs, &outputs).is_err());
    }

    #[test]
    fn names_go_both_ways() {
        for (task, name) in Task::NAMES {
            assert_eq!((Task::from_name(name), task.name()), (Some(task), name));
        }
        for head in [Head::YoloV8, Head::YoloV5, Head::EndToEnd, Head::Ssd, Head::BlazeFace] {
            assert_eq!(Head::from_name(head.name()), Some(head));
        }
    }
}
