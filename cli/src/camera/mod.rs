//! Frames of a camera: the newest one, those that came meanwhile dropped.

mod frame;
mod latest;
mod recorded;
#[cfg(target_os = "linux")]
mod v4l2;

use std::io::Write;
use std::path::{Path, PathBuf};

use cygnet::vision::Image;
use serde_json::Value;

pub use frame::Frame;
pub use latest::Latest;

use crate::common::CliError;

/// Where frames come from. A source is read by a thread of its own.
pub trait Source: Send {
    /// Waits for the next frame; `None` at the end of a recorded stream.
    ///
    /// # Errors
    /// Says what is wrong and what to do.
    fn next(&mut self) -> Result<Option<Frame>, String>;
}

/// The options of commands that take frames.
#[derive(clap::Args)]
pub struct CameraArgs {
    /// Take frames of a V4L2 camera, as /dev/video0; or of a recorded stream: a .mjpeg file, pictures one after the other,
    /// or a .yuyv file with --size
    #[arg(long, value_name = "DEVICE")]
    pub camera: Option<PathBuf>,

    /// Size of the frames; cameras take the nearest that they have
    #[arg(long, value_name = "WIDTHxHEIGHT", default_value = "640x480", value_parser = parse_size)]
    pub size: (u32, u32),

    /// Stop after so many frames [default: when the stream ends]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub frames: Option<u64>,
}

fn parse_size(text: &str) -> Result<(u32, u32), String> {
    let wrong = || "give a size from 1x1 to 16384x16384, as 640x480".to_owned();
    let (width, height) = text.split_once('x').ok_or_else(wrong)?;
    let side = |text: &str| text.parse().ok().filter(|side| (1..=16_384).contains(side)).ok_or_else(wrong);
    Ok((side(width)?, side(height)?))
}

/// Opens a camera, or the recorded stream that stands for one.
pub fn open(path: &Path, size: (u32, u32)) -> Result<Latest, CliError> {
    let failed = |what: String| CliError::Failed(format!("{}: {what}", path.display()));
    if path.is_file() {
        return Ok(Latest::start(recorded::open(path, size).map_err(failed)?));
    }
    #[cfg(target_os = "linux")]
    return Ok(Latest::start(Box::new(v4l2::Camera::open(path, size).map_err(failed)?)));
    #[cfg(not(target_os = "linux"))]
    Err(failed("cameras need Linux; give a recorded stream".to_owned()))
}

/// What is known of a frame besides its pixels.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// Frames that were dropped before it.
    pub dropped: u64,
}

impl About {
    /// Adds it to a frame's result.
    pub fn json(self, mut result: Value) -> Value {
        result["dropped"] = self.dropped.into();
        result
    }
}

/// What a frame's result stands under.
pub fn name(number: u64) -> PathBuf {
    PathBuf::from(format!("frame-{number:06}"))
}

/// Calls `work` with each frame that can be had in time, and what it is written to. A damaged frame is passed over, for
/// as long as others come; results appear at once.
pub fn each_frame(
    device: &Path,
    args: &CameraArgs,
    out: &mut dyn Write,
    mut work: impl FnMut(&mut Image, About, &mut dyn Write) -> Result<(), CliError>,
) -> Result<(), CliError> {
    /// Damaged frames in a row after which a camera counts as broken.
    const PATIENCE: u32 = 30;
    let frames = open(device, args.size)?;
    let failed = |what: String| CliError::Failed(format!("{}: {what}", device.display()));
    let (mut done, mut damaged) = (0, 0);
    while args.frames.is_none_or(|most| done < most) {
        let Some((frame, dropped)) = frames.next().map_err(failed)? else { return Ok(()) };
        match frame.picture() {
            Ok(mut picture) => {
                damaged = 0;
                work(&mut picture, About { dropped }, out)?;
                out.flush()?;
                done += 1;
            }
            Err(what) => {
                damaged += 1;
                if damaged >= PATIENCE {
                    return Err(failed(format!(
                        "{PATIENCE} frames in a row are damaged: {what}; check cable and size"
                    )));
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(parse_size("640x480"), Ok((640, 480)));
        for wrong in ["640", "0x480", "640x", "99999x1", "axb"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }
}
