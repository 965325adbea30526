//! A camera of Video4Linux2, through the crate `linuxvideo`.

use std::io;
use std::path::Path;

use linuxvideo::format::{PixFormat, PixelFormat};
use linuxvideo::stream::ReadStream;
use linuxvideo::{BufType, Device};

use super::{Frame, Source};

/// The formats that are understood, the one that costs least first: YUYV needs no decoder, and fills the bus at large
/// sizes, where Motion JPEG is all that cameras have.
const FORMATS: [PixelFormat; 3] = [PixelFormat::YUYV, PixelFormat::MJPG, PixelFormat::JPEG];

/// An open camera that streams.
pub struct Camera {
    stream: ReadStream,
    format: PixelFormat,
    width: u32,
    height: u32,
    stride: usize,
}

impl Camera {
    pub fn open(path: &Path, (width, height): (u32, u32)) -> Result<Self, String> {
        let text = |e: io::Error| {
            let what = match e.kind() {
                io::ErrorKind::NotFound => "see which cameras there are by `ls /dev/video*`",
                io::ErrorKind::PermissionDenied => "add the user to the group 'video'",
                _ => "see that it is a camera, and that no other program uses it",
            };
            format!("{e}; {what}")
        };
        let device = Device::open(path).map_err(text)?;
        let offered: Vec<PixelFormat> = device
            .formats(BufType::VIDEO_CAPTURE)
            .map(|format| format.map(|f| f.pixel_format()))
            .collect::<io::Result<_>>()
            .map_err(text)?;
        let Some(format) = FORMATS.into_iter().find(|format| offered.contains(format)) else {
            return Err(format!("it gives {offered:?}; a camera with YUYV or Motion JPEG is needed"));
        };
        let capture = device.video_capture(PixFormat::new(width, height, format)).map_err(text)?;
        let found = capture.format();
        let (width, height) = (found.width(), found.height());
        let stride = (found.bytes_per_line() as usize).max(width as usize * 2);
        if found.pixel_format() != format {
            return Err(format!(
                "it gives {:?} in place of {format:?}; choose another --size",
                found.pixel_format()
            ));
        }
        Ok(Self { stream: capture.into_stream().map_err(text)?, format, width, height, stride })
    }
}

impl Source for Camera {
    fn next(&mut self) -> Result<Option<Frame>, String> {
        loop {
            let taken = self.stream.dequeue(|view| Ok((!view.is_error()).then(|| view.to_vec())));
            let bytes = match taken {
                Ok(Some(bytes)) if !bytes.is_empty() => bytes,
                // Damaged on the way: the next one will do.
                Ok(_) => continue,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => {
                    return Err(format!("the camera gives no more frames: {e}; see that it is plugged in"));
                }
            };
            let Self { width, height, stride, .. } = *self;
            return Ok(Some(match self.format {
                PixelFormat::YUYV => Frame::Yuyv { width, height, stride, bytes },
                _ => Frame::Jpeg(bytes),
            }));
        }
    }
}
