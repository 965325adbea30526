//! Boxes that overlap none of higher score:
//! [`Op::NonMaxSuppression`](cygnet_format::op::Op::NonMaxSuppression).
//!
//! The candidates of a class are a heap in scratch, the best on top; they are taken off one by one, and each is held
//! against those that its class has kept. Rows of the output follow one another, so all is one tile.

use cygnet_format::op;
use cygnet_format::program::DType;

use crate::kernel::{Context, Kernel, MAX_SCRATCH, PrepareError};
use crate::view::{Mem, View};

/// Most boxes of an image: as many indices fit into scratch.
const MAX_BOXES: usize = MAX_SCRATCH / size_of::<u32>();

pub(crate) fn prepare(p: &op::NonMaxSuppression, cx: &Context<'_>) -> Result<Box<dyn Kernel>, PrepareError> {
    let (boxes, scores, y) = (cx.typed(0, DType::F32)?, cx.typed(1, DType::F32)?, cx.output());
    let (most, overlap, least) = (cx.optional(2), cx.optional(3), cx.optional(4));
    for (i, v, dtype) in [(2, &most, DType::S32), (3, &overlap, DType::F32), (4, &least, DType::F32)] {
        let scalar = v.as_ref().is_none_or(|v| v.len() == 1 && v.dtype == dtype);
        cx.ensure(scalar, || format!("input {i} must be one {}", dtype.name()))?;
    }
    let fits = boxes.rank == 3
        && scores.rank == 3
        && boxes.dims[2] == 4
        && boxes.dims[0] == scores.dims[0]
        && boxes.dims[1] == scores.dims[2];
    cx.ensure(fits, || {
        format!(
            "boxes are {:?} and scores {:?}; [B, N, 4] and [B, C, N] are needed",
            boxes.dims(),
            scores.dims()
        )
    })?;
    cx.ensure(boxes.dims[1] <= MAX_BOXES, || {
        format!("an image has {} boxes, at most {MAX_BOXES} are possible", boxes.dims[1])
    })?;
    cx.ensure(y.dtype == DType::S32 && y.rank == 2 && y.dims[1] == 3, || {
        format!("writes {} {:?} where s32 [M, 3] is needed", y.dtype.name(), y.dims())
    })?;
    Ok(Box::new(Suppression { boxes, scores, y, most, overlap, least, center: p.center }))
}

struct Suppression {
    boxes: View,
    scores: View,
    y: View,
    most: Option<View>,
    overlap: Option<View>,
    least: Option<View>,
    center: bool,
}

/// A box by its corners.
#[derive(Clone, Copy)]
struct Rect {
    low: [f32; 2],
    high: [f32; 2],
}

impl Rect {
    fn new(b: [f32; 4], center: bool) -> Self {
        if center {
            let (half_w, half_h) = (b[2] * 0.5, b[3] * 0.5);
            Self { low: [b[1] - half_h, b[0] - half_w], high: [b[1] + half_h, b[0] + half_w] }
        } else {
            let order = |p: f32, q: f32| if p < q { (p, q) } else { (q, p) };
            let ((top, bottom), (left, right)) = (order(b[0], b[2]), order(b[1], b[3]));
            Self { low: [top, left], high: [bottom, right] }
        }
    }

    fn area(&self) -> f32 {
        (self.high[0] - self.low[0]) * (self.high[1] - self.low[1])
    }

    /// Whether what both cover is more than this share of what either covers.
    fn overlaps(&self, other: &Self, share: f32) -> bool {
        let side = |d: usize| {
            let low = if self.low[d] > other.low[d] { self.low[d] } else { other.low[d] };
            let high = if self.high[d] < other.high[d] { self.high[d] } else { other.high[d] };
            high - low
        };
        let (height, width) = (side(0), side(1));
        if !(height > 0.0 && width > 0.0) {
            return false;
        }
        let both = height * width;
        both / (self.area() + other.area() - both) > share
    }
}

// SAFETY: boxes and scores are read at positions of their dimensions, the heap holds indices of boxes, and rows are
// written while there are any.
unsafe impl Kernel for Suppression {
    fn name(&self) -> &'static str {
        "non_max_suppression"
    }
    fn tiles(&self) -> usize {
        1
    }
    fn scratch(&self) -> usize {
        self.boxes.dims[1] * size_of::<u32>()
    }
    unsafe fn run_tile(&self, mem: &Mem, _: usize) {
        let (images, classes, count) = (self.scores.dims[0], self.scores.dims[1], self.boxes.dims[1]);
        // SAFETY: `mem` is the memory of these views and has the scratch that was asked for.
        unsafe {
            let most = self.most.map(|v| v.ptr::<i32>(mem).read());
            let most = most.map_or(0, |n| usize::try_from(n).unwrap_or(0));
            let overlap = self.overlap.map_or(0.0, |v| v.ptr::<f32>(mem).read());
            let least = self.least.map(|v| v.ptr::<f32>(mem).read());
            let heap = std::slice::from_raw_parts_mut(mem.scratch.cast::<u32>(), count);
            let y = self.y.ptr_mut::<i32>(mem);
            let rows = self.y.dims[0];
            let mut row = 0;
            for image in 0..images {
                let rect = |i: u32| {
                    let b = self.boxes.ptr::<f32>(mem).add((image * count + i as usize) * self.boxes.pitch);
                    Rect::new([*b, *b.add(1), *b.add(2), *b.add(3)], self.center)
                };
                for class in 0..classes {
                    let scores =
                        self.scores.ptr::<f32>(mem).add((image * classes + class) * self.scores.pitch);
                    let scores = std::slice::from_raw_parts(scores, count);
                    let mut candidates = Candidates::new(heap, scores, least);
                    let first = row;
                    while row - first < most
                        && row < rows
                        && let Some(i) = candidates.next()
                    {
                        let own = rect(i);
                        let free = (first..row).all(|r| {
                            let kept = *y.add(r * self.y.pitch + 2) as u32;
                            !own.overlaps(&rect(kept), overlap)
                        });
                        if free {
                            let to = y.add(row * self.y.pitch);
                            (*to, *to.add(1), *to.add(2)) = (image as i32, class as i32, i as i32);
                            row += 1;
                        }
                    }
                }
            }
            for row in row..rows {
                let to = y.add(row * self.y.pitch);
                (*to, *to.add(1), *to.add(2)) = (-1, -1, -1);
            }
        }
    }
}

/// The boxes of a class by falling score, of equal ones the first first.
struct Candidates<'a> {
    heap: &'a mut [u32],
    left: usize,
    scores: &'a [f32],
}

impl<'a> Candidates<'a> {
    /// Those whose score surpasses `least`; NaN surpasses nothing.
    fn new(heap: &'a mut [u32], scores: &'a [f32], least: Option<f32>) -> Self {
        let mut left = 0;
        for (i, &s) in scores.iter().enumerate() {
            if least.map_or(!s.is_nan(), |l| s > l) {
                heap[left] = i as u32;
                left += 1;
            }
        }
        let mut out = Self { heap, left, scores };
        for i in (0..left / 2).rev() {
            out.sift(i);
        }
        out
    }

    fn before(&self, a: u32, b: u32) -> bool {
        let (x, y) = (self.scores[a as usize], self.scores[b as usize]);
        x > y || (x == y && a < b)
    }

    fn sift(&mut self, mut i: usize) {
        loop {
            let mut best = i;
            for child in [2 * i + 1, 2 * i + 2] {
                if child < self.left && self.before(self.heap[child], self.heap[best]) {
                    best = child;
                }
            }
            if best == i {
                return;
            }
            self.heap.swap(i, best);
            i = best;
        }
    }

    fn next(&mut self) -> Option<u32> {
        if self.left == 0 {
            return None;
        }
        let top = self.heap[0];
        self.left -= 1;
        self.heap[0] = self.heap[self.left];
        self.sift(0);
        Some(top)
    }
}

pub mod oracle {
    //! The definition for one class of one image.

    /// Indices of the boxes (corners y, x, y, x, the lower first) that are kept, by falling score.
    pub fn keep(
        boxes: &[[f32; 4]],
        scores: &[f32],
        most: usize,
        overlap: f32,
        least: Option<f32>,
    ) -> Vec<usize> {
        let mut order: Vec<usize> =
            (0..boxes.len()).filter(|&i| least.map_or(!scores[i].is_nan(), |l| scores[i] > l)).collect();
        order.sort_by(|&a, &b| scores[b].total_cmp(&(scores[a] + 0.0)).then(a.cmp(&b)));
        let area = |b: &[f32; 4]| (b[2] - b[0]) * (b[3] - b[1]);
        let iou = |a: &[f32; 4], b: &[f32; 4]| {
            let (h, w) = (a[2].min(b[2]) - a[0].max(b[0]), a[3].min(b[3]) - a[1].max(b[1]));
            if h > 0.0 && w > 0.0 { h * w / (area(a) + area(b) - h * w) } else { 0.0 }
        };
        let mut kept: Vec<usize> = Vec::new();
        for i in order {
            if kept.len() < most && kept.iter().all(|&k| iou(&boxes[i], &boxes[k]) <= overlap) {
                kept.push(i);
            }
        }
        kept
    }
}
