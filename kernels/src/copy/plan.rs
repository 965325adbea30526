//! From the block that a step names to loops over bytes, proved to stay inside both tensors.

use cygnet_format::op;

use crate::view::View;

/// Most dimensions of a block.
pub const RANK: usize = 6;

/// One loop: how often, and how many bytes it moves on in each tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loop {
    /// Extent, at least 2.
    pub n: usize,
    /// Bytes in `x`.
    pub src: isize,
    /// Bytes in `y`, above zero.
    pub dst: isize,
}

/// The loops of a copy, outermost (farthest apart in `y`) first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Loops with extents above 1, adjacent ones merged where they run on.
    pub loops: Vec<Loop>,
    /// Bytes moved at once: an element, or a whole innermost run of 2, 4 or 8 bytes.
    pub size: usize,
    /// Bytes from the start of `x` to the first element read.
    pub src: usize,
    /// Bytes from the start of `y` to the first element written.
    pub dst: usize,
}

/// Checks a copy from `x` to `y` and cuts it into loops.
///
/// # Errors
/// Says which element would lie outside, or why some element might be written twice.
pub fn plan(p: &op::Copy, x: &View, y: &View) -> Result<Plan, String> {
    if x.dtype != y.dtype {
        return Err(format!("copies {} into {}; the types must be equal", x.dtype.name(), y.dtype.name()));
    }
    if p.dims.contains(&0) {
        return Err(format!("block of extents {:?}; unused ones are 1", p.dims));
    }
    inside(x, &p.dims, p.src_offset, &p.src_strides).map_err(|e| format!("reads {e} of the input"))?;
    inside(y, &p.dims, p.dst_offset, &p.dst_strides).map_err(|e| format!("writes {e} of the output"))?;

    // Inside the tensors, whose extents in bytes fit isize, so do all products of strides from here on.
    let size = x.dtype.size();
    let mut loops: Vec<Loop> = (0..RANK)
        .filter(|&d| p.dims[d] > 1)
        .map(|d| Loop {
            n: p.dims[d] as usize,
            src: p.src_strides[d] as isize * size as isize,
            dst: p.dst_strides[d] as isize * size as isize,
        })
        .collect();
    loops.sort_by_key(|l| std::cmp::Reverse(l.dst));
    let mut span = 0;
    for l in loops.iter().rev() {
        if l.dst <= span {
            return Err(format!(
                "destination strides {:?} over {:?} may write an element twice; make each stride pass all that \
                 the smaller ones span",
                p.dst_strides, p.dims
            ));
        }
        span += (l.n as isize - 1) * l.dst;
    }

    let mut merged: Vec<Loop> = Vec::with_capacity(RANK);
    for inner in loops {
        match merged.last_mut() {
            Some(outer)
                if outer.src == inner.src * inner.n as isize && outer.dst == inner.dst * inner.n as isize =>
            {
                *outer = Loop { n: outer.n * inner.n, ..inner };
            }
            _ => merged.push(inner),
        }
    }
    let mut plan =
        Plan { loops: merged, size, src: p.src_offset as usize * size, dst: p.dst_offset as usize * size };
    plan.widen();
    Ok(plan)
}

impl Plan {
    /// Takes an innermost run of 2, 4 or 8 bytes for one element.
    fn widen(&mut self) {
        if let Some(&Loop { n, src, dst }) = self.loops.last()
            && (src, dst) == (self.size as isize, self.size as isize)
            && matches!(n * self.size, 2 | 4 | 8)
        {
            self.size *= n;
            self.loops.pop();
        }
    }
}

/// Whether every element of a block is an element of the tensor, none of them in the gap between two rows:
/// what lies there may belong to another tensor.
fn inside(t: &View, dims: &[u32; RANK], offset: u32, strides: &[i32; RANK]) -> Result<(), String> {
    let used: Vec<(i128, i128)> = (0..RANK)
        .filter(|&d| dims[d] > 1)
        .map(|d| (i128::from(dims[d] - 1), i128::from(strides[d])))
        .collect();
    let offset = i128::from(offset);
    let outside = |first: i128, last: i128, room: usize, what: &str| {
        Err(format!("{what} {first} to {last}, outside the {room} {what}"))
    };
    let elements = if t.is_dense() { t.len() } else { (t.rows() - 1) * t.pitch + t.cols() };
    let (first, last) = reach(offset, used.iter().copied());
    if first < 0 || last >= elements as i128 {
        return outside(first, last, elements, "elements");
    }
    if t.is_dense() {
        return Ok(());
    }
    // A stride is so many rows and so many columns, fewer than a row has in either direction: two readings.
    // The block is inside when under some choice of readings all its rows and all its columns are.
    let (pitch, cols, rows) = (t.pitch as i128, t.cols() as i128, t.rows() as i128);
    let fits = (0..1_u32 << used.len()).any(|choice| {
        let split = used.iter().enumerate().map(|(i, &(n, stride))| {
            let back = i128::from(choice >> i & 1);
            (n, stride.div_euclid(pitch) + back, stride.rem_euclid(pitch) - back * pitch)
        });
        let (top, bottom) = reach(offset / pitch, split.clone().map(|(n, row, _)| (n, row)));
        let (left, right) = reach(offset % pitch, split.map(|(n, _, col)| (n, col)));
        top >= 0 && bottom < rows && left >= 0 && right < cols
    });
    if fits { Ok(()) } else { Err(format!("elements between the rows of {cols}, {pitch} apart,")) }
}

/// Least and greatest sum of `offset` and, for each (last index, stride), a multiple of the stride. Cannot
/// overflow: indices and strides have 33 bits.
fn reach(offset: i128, steps: impl Iterator<Item = (i128, i128)>) -> (i128, i128) {
    steps.fold((offset, offset), |(lo, hi), (n, stride)| {
        let far = n * stride;
        (lo + far.min(0), hi + far.max(0))
    })
}
