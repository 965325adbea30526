//! A recorded stream in place of a camera: its frames come one every thirtieth of a second.

use std::path::Path;
use std::time::{Duration, Instant};

use super::{Frame, Source};

const INTERVAL: Duration = Duration::from_nanos(1_000_000_000 / 30);

/// Frames of a file.
struct Recorded {
    frames: std::vec::IntoIter<Frame>,
    due: Instant,
}

/// A `.mjpeg` file, JPEG pictures one after the other, or a `.yuyv` file of frames of `size`.
pub fn open(path: &Path, size: (u32, u32)) -> Result<Box<dyn Source>, String> {
    let bytes = std::fs::read(path).map_err(|e| format!("{e}; check the name"))?;
    let frames = match path.extension().and_then(|e| e.to_str()) {
        Some("mjpeg" | "mjpg" | "jpg" | "jpeg") => pictures(&bytes)?,
        Some("yuyv" | "yuv") => raw(&bytes, size)?,
        _ => return Err("a recorded stream ends in .mjpeg or .yuyv; rename it".to_owned()),
    };
    Ok(Box::new(Recorded { frames: frames.into_iter(), due: Instant::now() }))
}

/// Cuts a stream of JPEG pictures: each begins with FF D8 FF and ends before the next one that follows an end FF D9.
fn pictures(bytes: &[u8]) -> Result<Vec<Frame>, String> {
    const BEGIN: [u8; 3] = [0xff, 0xd8, 0xff];
    const END: [u8; 2] = [0xff, 0xd9];
    if !bytes.starts_with(&BEGIN) {
        return Err("the stream does not begin with a JPEG picture; record it as Motion JPEG".to_owned());
    }
    let begins = |at: usize| bytes[at..].starts_with(&BEGIN) && bytes[..at].trim_ascii_end().ends_with(&END);
    let mut cuts: Vec<usize> = (3..bytes.len().saturating_sub(2)).filter(|&at| begins(at)).collect();
    cuts.insert(0, 0);
    cuts.push(bytes.len());
    Ok(cuts.windows(2).map(|pair| Frame::Jpeg(bytes[pair[0]..pair[1]].to_vec())).collect())
}

fn raw(bytes: &[u8], (width, height): (u32, u32)) -> Result<Vec<Frame>, String> {
    let stride = width as usize * 2;
    let each = stride * height as usize;
    if bytes.is_empty() || !bytes.len().is_multiple_of(each) {
        return Err(format!(
            "{} bytes are no number of frames of {width}x{height} ({each} bytes each); give --size",
            bytes.len()
        ));
    }
    Ok(bytes.chunks(each).map(|frame| Frame::Yuyv { width, height, stride, bytes: frame.to_vec() }).collect())
}

impl Source for Recorded {
    fn next(&mut self) -> Result<Option<Frame>, String> {
        std::thread::sleep(self.due.saturating_duration_since(Instant::now()));
        self.due = Instant::now() + INTERVAL;
        Ok(self.frames.next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_cut_between_pictures() {
        let first = [0xff, 0xd8, 0xff, 0xe0, 1, 2, 0xff, 0xd9];
        // A thumbnail inside a picture does not begin another one.
        let second = [0xff, 0xd8, 0xff, 0xe1, 0xff, 0xd8, 0xff, 0, 0xff, 0xd9];
        let frames = pictures(&[&first[..], &second].concat()).unwrap();
        assert_eq!(frames, [Frame::Jpeg(first.to_vec()), Frame::Jpeg(second.to_vec())]);
        assert!(pictures(b"GIF89a").is_err());
        assert_eq!(raw(&[0; 32], (4, 2)).unwrap().len(), 2);
        assert!(raw(&[0; 33], (4, 2)).is_err() && raw(&[], (4, 2)).is_err());
    }
}
