//! A classifier: scores to classes.

use cygnet_format::{Meta, Program};

use super::VisionError;
use super::detect::{all_ports, image_input};
use super::image::Image;
use super::preprocess::Preprocess;
use super::task::{Task, find_task};
use crate::session::Session;

/// A class with its probability.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Class {
    /// Which class, counted from 0.
    pub index: usize,
    /// Its probability, in [0, 1].
    pub score: f32,
}

/// The `count` best classes. Scores that are no probabilities (some are negative, or they do not sum to 1 within a
/// hundredth) are taken as logits and passed through a softmax. Of equal scores the first class comes first.
pub fn top(scores: &[f32], count: usize) -> Vec<Class> {
    let sum: f32 = scores.iter().sum();
    let probabilities = scores.iter().all(|&s| s >= 0.0) && (sum - 1.0).abs() < 0.01;
    let greatest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let total: f32 = scores.iter().map(|s| (s - greatest).exp()).sum();
    let probability = |s: f32| if probabilities { s } else { (s - greatest).exp() / total };
    let mut classes: Vec<Class> =
        scores.iter().enumerate().map(|(index, &s)| Class { index, score: probability(s) }).collect();
    classes.sort_by(|a, b| b.score.total_cmp(&a.score));
    classes.truncate(count);
    classes
}

/// How to feed a classifier and read its output.
#[derive(Clone, Debug)]
pub struct Classifier {
    input: String,
    output: String,
    preprocess: Preprocess,
}

impl Classifier {
    /// Understands a program with the help of its file's metadata.
    ///
    /// # Errors
    /// When the program takes no picture, or is no classifier.
    pub fn new(program: &Program, meta: &Meta) -> Result<Self, VisionError> {
        let [inputs, outputs] = all_ports(program);
        let (input, dims) = image_input(&inputs)?;
        let task = find_task(meta, &inputs, &outputs)?.map(|g| g.task);
        let (Some(Task::Classify), [(output, _), ..]) = (task, &outputs[..]) else {
            let outputs = outputs.iter().map(|(_, dims)| dims.to_vec()).collect();
            return Err(VisionError::NoHead { task: "classification", key: "task", outputs });
        };
        let preprocess = Preprocess::from_meta(meta, dims, Task::Classify)?;
        Ok(Self { input: input.to_owned(), output: (*output).to_owned(), preprocess })
    }

    /// The `count` likeliest classes of a picture.
    ///
    /// # Errors
    /// When the session is of another program or fails to run.
    pub fn classify(
        &self,
        session: &mut Session,
        picture: &Image,
        count: usize,
    ) -> Result<Vec<Class>, VisionError> {
        self.preprocess.set_input(session, &self.input, picture)?;
        session.run()?;
        Ok(top(&session.output(&self.output)?.to_f32(), count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logits_and_probabilities() {
        let best = top(&[0.0, 3.0_f32.ln(), 0.0], 2);
        assert_eq!((best[0].index, best[1].index, best.len()), (1, 0, 2));
        assert!((best[0].score - 0.6).abs() < 1e-6);
        assert_eq!(top(&[0.25, 0.75], 1), [Class { index: 1, score: 0.75 }]);
        assert_eq!(top(&[], 5), []);
    }
}
