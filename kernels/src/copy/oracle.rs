//! Copy, element by element.

use cygnet_format::op;

/// Copies the block from `x` to `y`, both given from their first element on, in elements of `size` bytes.
///
/// # Panics
/// When the block leaves a tensor.
pub fn copy(p: &op::Copy, size: usize, x: &[u8], y: &mut [u8]) {
    let count: u64 = p.dims.iter().map(|&d| u64::from(d)).product();
    for i in 0..count {
        let (mut rest, mut from, mut to) = (i, i64::from(p.src_offset), i64::from(p.dst_offset));
        for d in 0..6 {
            let at = (rest % u64::from(p.dims[d])) as i64;
            rest /= u64::from(p.dims[d]);
            from += at * i64::from(p.src_strides[d]);
            to += at * i64::from(p.dst_strides[d]);
        }
        let (from, to) = (from as usize * size, to as usize * size);
        y[to..to + size].copy_from_slice(&x[from..from + size]);
    }
}
