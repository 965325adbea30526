//! The two innermost loops of a copy.
//!
//! A plane has rows (the outer loop of the two) and columns. Every function here is told a plane whose source is
//! inside the input and whose destination is inside the output, each destination element once.

use super::plan::Loop;
use super::run::copy_run;

/// Does a plane: source, destination, rows, columns.
///
/// # Safety
/// Every element of the plane can be read at its source and written at its destination, no destination overlaps
/// another or a source, and the processor has what the implementation needs.
pub(super) type Plane = unsafe fn(*const u8, *mut u8, Loop, Loop);

/// Columns are contiguous in both tensors: `SIZE` bytes times their number in one run.
///
/// # Safety
/// As [`Plane`].
pub(super) unsafe fn runs<const SIZE: usize>(src: *const u8, dst: *mut u8, rows: Loop, cols: Loop) {
    let bytes = cols.n * SIZE;
    for r in 0..rows.n as isize {
        // SAFETY: the row's run lies inside the plane.
        unsafe { copy_run(src.offset(r * rows.src), dst.offset(r * rows.dst), bytes) };
    }
}

/// Any strides.
///
/// # Safety
/// As [`Plane`].
pub(super) unsafe fn strided<const SIZE: usize>(src: *const u8, dst: *mut u8, rows: Loop, cols: Loop) {
    for r in 0..rows.n as isize {
        for c in 0..cols.n as isize {
            // SAFETY: the element lies inside the plane; an array of bytes has no alignment.
            unsafe {
                let from = src.offset(r * rows.src + c * cols.src).cast::<[u8; SIZE]>();
                dst.offset(r * rows.dst + c * cols.dst).cast::<[u8; SIZE]>().write(from.read());
            }
        }
    }
}

/// Few rows, contiguous in the source: channels taken apart, as from NHWC images of three.
///
/// # Safety
/// As [`Plane`]; `rows.n == N` and `rows.src == SIZE`.
pub(super) unsafe fn apart<const SIZE: usize, const N: usize>(
    src: *const u8,
    dst: *mut u8,
    rows: Loop,
    cols: Loop,
) {
    debug_assert_eq!((rows.n, rows.src), (N, SIZE as isize));
    for c in 0..cols.n as isize {
        for r in 0..N as isize {
            // SAFETY: the element lies inside the plane; an array of bytes has no alignment.
            unsafe {
                let from = src.offset(r * SIZE as isize + c * cols.src).cast::<[u8; SIZE]>();
                dst.offset(r * rows.dst + c * cols.dst).cast::<[u8; SIZE]>().write(from.read());
            }
        }
    }
}

/// Few columns, rows contiguous in the source: channels put together, as to NHWC images of three.
///
/// # Safety
/// As [`Plane`]; `cols.n == N`, `rows.src == cols.dst == SIZE`.
#[inline(always)]
pub(super) unsafe fn together<const SIZE: usize, const N: usize>(
    src: *const u8,
    dst: *mut u8,
    rows: Loop,
    cols: Loop,
) {
    debug_assert_eq!((cols.n, rows.src, cols.dst), (N, SIZE as isize, SIZE as isize));
    for r in 0..rows.n as isize {
        for c in 0..N as isize {
            // SAFETY: the element lies inside the plane; an array of bytes has no alignment.
            unsafe {
                let from = src.offset(r * SIZE as isize + c * cols.src).cast::<[u8; SIZE]>();
                dst.offset(r * rows.dst + c * SIZE as isize).cast::<[u8; SIZE]>().write(from.read());
            }
        }
    }
}

/// Sixteen bytes whose elements can be interleaved with another's: what a transpose needs.
///
/// # Safety
/// Every function needs a processor with the instruction set of the implementation; loads and stores 16 bytes.
pub(super) trait Zip: Copy {
    unsafe fn load(p: *const u8) -> Self;
    unsafe fn store(self, p: *mut u8);
    /// The halves of `a0 b0 a1 b1 ...`, elements of `SIZE` bytes.
    unsafe fn zip<const SIZE: usize>(a: Self, b: Self) -> (Self, Self);
}

/// Transposes a plane: rows are contiguous in the source (`rows.src == SIZE`), columns in the destination. Squares of
/// 16 bytes a side; those at the far edges are moved back to end there, and so do some elements twice.
///
/// # Safety
/// As [`Plane`], with what `V` needs; `rows.src == cols.dst == SIZE`.
#[inline(always)]
pub(super) unsafe fn transpose<V: Zip, const SIZE: usize>(
    src: *const u8,
    dst: *mut u8,
    rows: Loop,
    cols: Loop,
) {
    let side = 16 / SIZE;
    if rows.n < side || cols.n < side {
        // SAFETY: the same contract.
        return unsafe { strided::<SIZE>(src, dst, rows, cols) };
    }
    let mut r = 0;
    while r < rows.n {
        let row = r.min(rows.n - side) as isize;
        let mut c = 0;
        while c < cols.n {
            let col = c.min(cols.n - side) as isize;
            // SAFETY: rows `row..row + side` and columns `col..col + side` are of the plane.
            unsafe {
                square::<V, SIZE>(
                    src.offset(row * rows.src + col * cols.src),
                    cols.src,
                    dst.offset(row * rows.dst + col * cols.dst),
                    rows.dst,
                );
            }
            c += side;
        }
        r += side;
    }
}

/// Transposes a square of 16 bytes a side: line `i` of the source starts at `i * step`.
///
/// Interleaving line i with line i + side / 2 for all i moves each element from index (line, place) of 2k bits to
/// that index rotated by one bit; k times makes (place, line) of it.
///
/// # Safety
/// 16 bytes can be read from each of the `16 / SIZE` lines, and written to those of the destination.
#[inline(always)]
unsafe fn square<V: Zip, const SIZE: usize>(src: *const u8, step: isize, dst: *mut u8, dst_step: isize) {
    let side = 16 / SIZE;
    // SAFETY: the function's contract; `i < side`.
    unsafe {
        let mut a = [V::load(src); 16];
        for i in 1..side {
            a[i] = V::load(src.offset(i as isize * step));
        }
        for _ in 0..side.trailing_zeros() {
            let b = a;
            for i in 0..side / 2 {
                (a[2 * i], a[2 * i + 1]) = V::zip::<SIZE>(b[i], b[i + side / 2]);
            }
        }
        for i in 0..side {
            a[i].store(dst.offset(i as isize * dst_step));
        }
    }
}
