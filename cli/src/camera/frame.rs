//! A frame as cameras give it, and as a picture.

use std::borrow::Cow;

use cygnet::vision::Image;

use crate::picture;

/// The bytes of one frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A JPEG picture; its Huffman tables may be left out, as Motion JPEG's are.
    Jpeg(Vec<u8>),
    /// Two pixels in four bytes: luma, blue difference, luma, red difference. `stride` bytes a row.
    Yuyv { width: u32, height: u32, stride: usize, bytes: Vec<u8> },
}

impl Frame {
    /// Red, green and blue.
    ///
    /// # Errors
    /// When the bytes are no picture.
    pub fn picture(&self) -> Result<Image, String> {
        match self {
            Self::Jpeg(bytes) => {
                picture::decode(&with_tables(bytes)).map_err(|e| format!("a frame is no JPEG picture: {e}"))
            }
            Self::Yuyv { width, height, stride, bytes } => {
                let row = *width as usize * 2;
                let need = stride * (*height as usize).saturating_sub(1) + row;
                if *width % 2 == 1 || *stride < row || bytes.len() < need {
                    return Err(format!(
                        "a frame of {width}x{height} needs {need} bytes and has {}",
                        bytes.len()
                    ));
                }
                let rows = bytes.chunks(*stride).take(*height as usize).map(|line| &line[..row]);
                let pixels: Vec<u8> = rows
                    .flat_map(|line| line.as_chunks().0.iter().flat_map(|&four| two_pixels(four)))
                    .collect();
                Image::new(*width, *height, pixels).map_err(|e| e.to_string())
            }
        }
    }
}

/// A JPEG picture whose Huffman tables are left out, with the segment that Motion JPEG in AVI files has and by which the
/// decoder knows to take the usual tables; others as they are.
fn with_tables(bytes: &[u8]) -> Cow<'_, [u8]> {
    const TABLES: u8 = 0xc4;
    const SCAN: u8 = 0xda;
    let mut at = 2;
    while let Some(&[0xff, marker, high, low]) = bytes.get(at..at + 4) {
        match marker {
            TABLES => return Cow::Borrowed(bytes),
            SCAN => {
                let segment = b"\xff\xe0\x00\x10AVI1\0\0\0\0\0\0\0\0\0\0";
                return Cow::Owned([&bytes[..2], segment, &bytes[2..]].concat());
            }
            _ => at += 2 + usize::from(u16::from_be_bytes([high, low])),
        }
    }
    Cow::Borrowed(bytes)
}

/// ITU-R BT.601 with luma from 16 to 235 and differences from 16 to 240, which V4L2 cameras give where they do not say
/// otherwise; factors in 1/65536.
fn two_pixels([first, blue, second, red]: [u8; 4]) -> [u8; 6] {
    let (blue, red) = (i32::from(blue) - 128, i32::from(red) - 128);
    let pixel = |luma: u8| {
        // 255 / 219, 1.402 * 255 / 224, and so on.
        let luma = 76_309 * (i32::from(luma) - 16) + 32_768;
        let byte = |sum: i32| (sum >> 16).clamp(0, 255) as u8;
        [byte(luma + 104_597 * red), byte(luma - 25_675 * blue - 53_279 * red), byte(luma + 132_201 * blue)]
    };
    let ([a, b, c], [d, e, f]) = (pixel(first), pixel(second));
    [a, b, c, d, e, f]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The colours of the test bars at full amplitude, whose values the recommendation gives.
    #[test]
    fn colours_are_those_of_the_recommendation() {
        let bars = [
            ([235, 128, 128], [255, 255, 255]),
            ([16, 128, 128], [0, 0, 0]),
            ([81, 90, 240], [255, 0, 0]),
            ([145, 54, 34], [0, 255, 0]),
            ([41, 240, 110], [0, 0, 255]),
            ([210, 16, 146], [255, 255, 0]),
        ];
        for ([luma, blue, red], rgb) in bars {
            let found = two_pixels([luma, blue, luma, red]);
            for (found, want) in found.iter().zip(rgb.iter().chain(&rgb)) {
                assert!(found.abs_diff(*want) <= 2, "{found} for {rgb:?}");
            }
        }
    }

    /// The encoder writes the usual tables, so a picture without them is the same picture.
    #[test]
    fn motion_jpeg_leaves_its_tables_out() {
        let picture =
            image::RgbImage::from_fn(24, 16, |x, y| image::Rgb([(x * 9) as u8, (y * 13) as u8, 77]));
        let mut whole = std::io::Cursor::new(Vec::new());
        picture.write_to(&mut whole, image::ImageFormat::Jpeg).unwrap();
        let whole = whole.into_inner();
        let (mut bare, mut at) = (whole[..2].to_vec(), 2);
        while whole[at + 1] != 0xda {
            let end = at + 2 + usize::from(u16::from_be_bytes([whole[at + 2], whole[at + 3]]));
            if whole[at + 1] != 0xc4 {
                bare.extend_from_slice(&whole[at..end]);
            }
            at = end;
        }
        bare.extend_from_slice(&whole[at..]);
        assert!(bare.len() + 400 < whole.len(), "no tables were taken out");
        assert_eq!(Frame::Jpeg(bare).picture(), Frame::Jpeg(whole).picture());
    }

    #[test]
    fn rows_may_have_a_stride_and_short_frames_are_refused() {
        let white = [235, 128, 235, 128];
        let bytes = [&white[..], &[9; 4], &[16, 128, 16, 128], &[9; 4]].concat();
        let frame = |bytes, stride| Frame::Yuyv { width: 2, height: 2, stride, bytes };
        let image = frame(bytes.clone(), 8).picture().unwrap();
        assert_eq!(image.pixels(), [255, 255, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0]);
        assert!(frame(bytes[..11].to_vec(), 8).picture().unwrap_err().contains("12 bytes"));
        assert!(frame(bytes, 2).picture().is_err());
        assert!(Frame::Jpeg(vec![0xff, 0xd8]).picture().is_err());
    }
}
