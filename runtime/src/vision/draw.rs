//! Showing what was found: frames, labels and key points over a picture.

use super::boxes::{Detection, Rect};
use super::font::{ADVANCE, HEIGHT, glyph};
use super::image::Image;

/// Colors by class, in turn: apart from each other for most people, light enough for dark text or dark enough for light.
const PALETTE: [[u8; 3]; 10] = [
    [230, 57, 70],
    [29, 129, 224],
    [42, 170, 94],
    [244, 162, 36],
    [142, 85, 214],
    [0, 178, 178],
    [226, 80, 166],
    [128, 152, 32],
    [92, 108, 130],
    [188, 98, 46],
];

/// Draws detections over a picture, the best ones last, on top. `labels` are the names of the classes; a class
/// without one is shown by its number.
pub fn draw_detections(image: &mut Image, found: &[Detection], labels: &[&str]) {
    let scale = (image.width().min(image.height()) / 360).max(1);
    for d in found.iter().rev() {
        let color = PALETTE[d.class % PALETTE.len()];
        frame(image, &d.rect, color, scale + 1);
        for &[x, y] in &d.keypoints {
            let r = 1.5 * scale as f32;
            fill(image, &Rect { x0: x - r, y0: y - r, x1: x + r, y1: y + r }, [255; 3]);
            let r = scale as f32;
            fill(image, &Rect { x0: x - r, y0: y - r, x1: x + r, y1: y + r }, color);
        }
        let percent = (d.score * 100.0).round();
        let text = match labels.get(d.class) {
            Some(label) => format!("{label} {percent}%"),
            None if labels.is_empty() && d.class == 0 => format!("{percent}%"),
            None => format!("#{} {percent}%", d.class),
        };
        tag(image, &d.rect, &text, color, scale);
    }
}

/// A filled label at the rectangle's top left corner: above it where there is room, else inside.
fn tag(image: &mut Image, at: &Rect, text: &str, color: [u8; 3], scale: u32) {
    let pad = 2 * scale;
    let width = text.chars().count() as u32 * ADVANCE * scale + 2 * pad - scale;
    let height = HEIGHT * scale + 2 * pad;
    let right = image.width().saturating_sub(width);
    let x = (at.x0.max(0.0) as u32).min(right);
    let top = at.y0.max(0.0) as u32;
    let y = top.checked_sub(height).unwrap_or(top);
    let rect = Rect { x0: x as f32, y0: y as f32, x1: (x + width) as f32, y1: (y + height) as f32 };
    fill(image, &rect, color);
    write(image, x + pad, y + pad, text, ink(color), scale);
}

/// White on dark colors, black on light ones, by the luma of the color.
fn ink([r, g, b]: [u8; 3]) -> [u8; 3] {
    let luma = 299 * u32::from(r) + 587 * u32::from(g) + 114 * u32::from(b);
    if luma > 150_000 { [0; 3] } else { [255; 3] }
}

/// Writes text, its top left corner at `(x, y)`, each dot of a letter a square of `scale` pixels.
pub fn write(image: &mut Image, x: u32, y: u32, text: &str, color: [u8; 3], scale: u32) {
    for (i, c) in text.chars().enumerate() {
        let left = x.saturating_add(i as u32 * ADVANCE * scale);
        if left >= image.width() {
            return;
        }
        for (column, bits) in glyph(c).into_iter().enumerate() {
            for row in (0..HEIGHT).filter(|row| bits >> row & 1 != 0) {
                for dy in 0..scale {
                    for dx in 0..scale {
                        image.put(left + column as u32 * scale + dx, y + row * scale + dy, color);
                    }
                }
            }
        }
    }
}

/// The outline of a rectangle, `thick` pixels inwards.
pub fn frame(image: &mut Image, r: &Rect, color: [u8; 3], thick: u32) {
    let t = thick as f32;
    fill(image, &Rect { y1: (r.y0 + t).min(r.y1), ..*r }, color);
    fill(image, &Rect { y0: (r.y1 - t).max(r.y0), ..*r }, color);
    fill(image, &Rect { x1: (r.x0 + t).min(r.x1), ..*r }, color);
    fill(image, &Rect { x0: (r.x1 - t).max(r.x0), ..*r }, color);
}

/// A filled rectangle, its edges rounded to whole pixels; what lies outside the picture is left out.
pub fn fill(image: &mut Image, r: &Rect, color: [u8; 3]) {
    let r = r.clipped(image.width() as f32, image.height() as f32);
    // Of finite numbers within the picture; NaN becomes 0.
    let [x0, y0, x1, y1] = [r.x0, r.y0, r.x1, r.y1].map(|v| v.round() as u32);
    for y in y0..y1 {
        for x in x0..x1 {
            image.put(x, y, color);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_is_hollow_and_clipped() {
        let mut image = Image::filled(10, 8, [0; 3]).unwrap();
        frame(&mut image, &Rect { x0: 2.0, y0: 1.0, x1: 20.0, y1: 6.0 }, [9; 3], 1);
        let lit: Vec<_> = (0..8).map(|y| (0..10).filter(|&x| image.pixel(x, y) == [9; 3]).count()).collect();
        assert_eq!(lit, [0, 8, 1, 1, 1, 8, 0, 0]);
    }

    #[test]
    fn letters_are_drawn_as_designed() {
        let mut image = Image::filled(12, 7, [0; 3]).unwrap();
        write(&mut image, 0, 0, "LT", [255; 3], 1);
        let rows: Vec<String> = (0..7)
            .map(|y| (0..12).map(|x| if image.pixel(x, y) == [0; 3] { '.' } else { '#' }).collect())
            .collect();
        assert_eq!(
            rows,
            [
                "#.....#####.",
                "#.......#...",
                "#.......#...",
                "#.......#...",
                "#.......#...",
                "#.......#...",
                "#####...#...",
            ]
        );
    }

    #[test]
    fn detections_at_the_border_stay_inside() {
        let mut image = Image::filled(40, 30, [0; 3]).unwrap();
        let rect = Rect { x0: 35.0, y0: 0.0, x1: 40.0, y1: 30.0 };
        let d = Detection { rect, score: 0.5, class: 11, keypoints: vec![[39.9, 29.9], [f32::NAN, -5.0]] };
        draw_detections(&mut image, &[d], &["a"]);
        assert_eq!(image.pixel(39, 20), PALETTE[1]);
    }
}
