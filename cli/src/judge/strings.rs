//! Strings that recognizers of text or speech give: probabilities of classes frame by frame, read by CTC (blank 0).

use cygnet::format::Array;
use cygnet_convert::Judge;
use cygnet_convert::judge::{Outputs, Pool, is_distribution, values};

use crate::eval::metrics::{ctc_path, edits};

/// Error of each symbol of a string that is another, lost or extra: of a string that the float model is sure of, one is
/// never accepted, however many samples are right.
const SYMBOL: f64 = 3.0;

/// Symbols of a string that noise may be expected to change, where the float model is sure of it. Strings differ less
/// often: errors of neighbouring frames go together.
const EXPECTED: f64 = 0.1;

/// Probability by which the float model has to prefer a class in a frame for that to decide anything.
const SURE: f32 = 0.1;

/// Probabilities below are as good as none.
const LEAST: f32 = 1e-9;

/// Outputs of which nothing is known; where they are probabilities frame by frame, the strings have to stay the same.
pub struct Frames;

impl Judge for Frames {
    fn measure(&self) -> String {
        format!("{}; strings of classes by CTC the same", Outputs.measure())
    }

    fn pool(&self) -> Pool {
        Outputs.pool()
    }

    fn error(&self, float: &[Array], low: &[Array]) -> Result<f64, String> {
        let texts = float.iter().zip(low).filter(|(a, _)| is_text(a)).map(|(a, b)| {
            let classes = a.dims[2] as usize;
            text_error(&frames(&values(a), &values(b), classes))
        });
        Ok(texts.fold(Outputs.error(float, low)?, f64::max))
    }
}

fn text_error(frames: &[Frame]) -> f64 {
    (changed(frames) as f64 * SYMBOL).max(expected(frames) / EXPECTED) / (1.0 + doubt(frames))
}

/// Whether an array holds probabilities of classes, of several frames of one sample.
fn is_text(a: &Array) -> bool {
    a.dims.len() == 3 && a.dims[0] == 1 && a.dims[1] > 1 && is_distribution(a)
}

/// What two models say of one frame.
struct Frame {
    /// The float model's class, and its second.
    best: [usize; 2],
    /// Probability of the float model's class.
    probability: f64,
    /// Logarithm of the ratio of the two probabilities.
    margin: f64,
    /// The same ratio by the other model, over the float model's.
    shift: f64,
    /// Whether the float model prefers its class enough for that to count.
    sure: bool,
    /// The other model's class, or the float model's where either will do.
    other: usize,
}

fn frames(float: &[f32], low: &[f32], classes: usize) -> Vec<Frame> {
    let greatest = |p: &[f32], but: usize| {
        let others = (0..classes).filter(|&i| i != but);
        others.reduce(|best, i| if p[i] > p[best] { i } else { best }).unwrap_or(0)
    };
    let frame = |(a, b): (&[f32], &[f32])| {
        let (first, other) = (greatest(a, classes), greatest(b, classes));
        let second = greatest(a, first);
        let ratio = |p: &[f32]| f64::from(p[first].max(LEAST) / p[second].max(LEAST)).ln();
        let (margin, own) = (ratio(a), ratio(b));
        Frame {
            best: [first, second],
            probability: f64::from(a[first]),
            margin,
            shift: own - margin,
            sure: a[first] - a[second] >= SURE,
            other: if a[other] >= a[first] - SURE { first } else { other },
        }
    };
    float.chunks_exact(classes).zip(low.chunks_exact(classes)).map(frame).collect()
}

/// Symbols that have to be changed to make one string of the other.
fn changed(frames: &[Frame]) -> usize {
    let own = ctc_path(frames.iter().map(|f| f.best[0]), 0);
    edits(&own, &ctc_path(frames.iter().map(|f| f.other), 0))
}

/// Symbols that are expected to change by errors of the size of those seen: errors of the margin between the first two
/// classes are much the same whether it is small or large, so they are taken to be normally distributed with the frames'
/// mean square.
fn expected(frames: &[Frame]) -> f64 {
    let square = frames.iter().map(|f| f.shift * f.shift).sum::<f64>() / frames.len() as f64;
    if square == 0.0 {
        return 0.0;
    }
    let noise = square.sqrt();
    symbols(frames, |f| if f.sure { beyond(f.margin / noise) } else { 0.0 })
}

/// Symbols that by the float model's own probabilities are wrong.
fn doubt(frames: &[Frame]) -> f64 {
    symbols(frames, |f| 1.0 - f.probability)
}

/// Symbols that change when each frame turns to its second class with a probability of its own. Frames turn one at a time:
/// it is only with their neighbours that they are read.
fn symbols(frames: &[Frame], turns: impl Fn(&Frame) -> f64) -> f64 {
    let class = |i: usize| frames.get(i).map(|f| f.best[0]);
    let one = |(i, f): (usize, &Frame)| {
        let near = |own: usize| {
            let before = i.checked_sub(1).and_then(class);
            ctc_path(before.into_iter().chain([own]).chain(class(i + 1)), 0)
        };
        edits(&near(f.best[0]), &near(f.best[1])) as f64 * turns(f)
    };
    frames.iter().enumerate().map(one).sum()
}

/// Probability that a normally distributed number of variance 1 is beyond `x`, which is not negative. Abramowitz and
/// Stegun, *Handbook of Mathematical Functions*, 26.2.17: off by less than 7.5e-8.
fn beyond(x: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * x);
    let powers = [0.319_381_530, -0.356_563_782, 1.781_477_937, -1.821_255_978, 1.330_274_429];
    let sum = powers.iter().rev().fold(0.0, |sum, p| (sum + p) * t);
    sum * (-x * x / 2.0).exp() / std::f64::consts::TAU.sqrt()
}

#[cfg(test)]
mod tests {
    use cygnet::DType;

    use super::*;

    fn text(v: &[[f32; 3]]) -> Vec<Array> {
        let bytes = v.iter().flatten().flat_map(|x| x.to_le_bytes()).collect();
        vec![Array { name: "t".into(), dtype: DType::F32, dims: vec![1, v.len() as u32, 3], bytes }]
    }

    /// Of classes blank, a and b, "ab" in four frames.
    #[test]
    fn strings_by_their_symbols() {
        let (blank, a, b) = ([0.9, 0.05, 0.05], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]);
        let float = text(&[a, a, blank, b]);
        let error = |low: &[[f32; 3]]| Frames.error(&float, &text(low)).unwrap();
        assert_eq!(error(&[a, a, blank, b]), 0.0);
        // "a", and "aab": one symbol each.
        assert!(error(&[a, a, blank, blank]) >= SYMBOL);
        assert!(error(&[a, blank, a, b]) >= SYMBOL);
        // A symbol of a string that the float model doubts counts less: by 1 + 0.4.
        let frames = frames(&[a, [0.0, 0.4, 0.6]].concat(), &[a, a].concat(), 3);
        assert!((changed(&frames), doubt(&frames)) == (1, 1.0 - f64::from(0.6_f32)));
        assert!(text_error(&frames) >= SYMBOL / 1.4);
        // A frame that the float model is not sure of decides nothing.
        let float = text(&[a, [0.48, 0.52, 0.0], [0.52, 0.48, 0.0], b]);
        let low = text(&[a, [0.5, 0.5, 0.0], [0.49, 0.51, 0.0], b]);
        assert!(Frames.error(&float, &low).unwrap() < 1.0);
    }

    #[test]
    fn what_noise_is_expected_to_change() {
        // Margins of ln 3 and ln 8, each off by ln 2, which is the deviation. The first frame's other class is the blank,
        // which loses the symbol; the second's is the neighbour's, which loses it too.
        let float = [[0.25_f32, 0.75, 0.0], [0.0, 0.1, 0.8]].concat();
        let low = [[0.4_f32, 0.6, 0.0], [0.0, 0.05, 0.8]].concat();
        let want = 0.056_5 + 0.001_35;
        let got = expected(&frames(&float, &low, 3));
        assert!((got - want).abs() < 1e-4, "{got}");
        assert_eq!(changed(&frames(&float, &low, 3)), 0);
        assert!((doubt(&frames(&float, &low, 3)) - 0.45).abs() < 1e-6);
        // The same string at another pace: of the frames "a a" either may be blank.
        let float = [[0.1_f32, 0.9, 0.0], [0.3, 0.7, 0.0]].concat();
        let low = [[0.1_f32, 0.9, 0.0], [0.4, 0.6, 0.0]].concat();
        assert_eq!(expected(&frames(&float, &low, 3)), 0.0);
    }

    #[test]
    fn tails_of_the_normal_distribution() {
        // Tables: 0.5, 0.158655, 0.00134990.
        for (x, want) in [(0.0, 0.5), (1.0, 0.158_655_25), (3.0, 0.001_349_90)] {
            assert!((beyond(x) - want).abs() < 1e-7);
        }
    }
}
