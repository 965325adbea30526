//! Copies of short runs of bytes, without the cost of a call to memcpy.

/// Copies `n` bytes.
///
/// # Safety
/// `n` bytes can be read from `src` and written to `dst`; the two do not overlap.
#[inline(always)]
pub(crate) unsafe fn copy_run(src: *const u8, dst: *mut u8, n: usize) {
    // SAFETY: every part read and written below lies inside the `n` bytes: the last one of each size ends at the
    // `n`th, overlapping the one before it.
    unsafe {
        if n > 256 {
            std::ptr::copy_nonoverlapping(src, dst, n);
        } else if n >= 16 {
            let mut i = 0;
            while i + 16 < n {
                part::<16>(src, dst, i);
                i += 16;
            }
            part::<16>(src, dst, n - 16);
        } else if n >= 8 {
            let last = src.add(n - 8).cast::<u64>().read_unaligned();
            part::<8>(src, dst, 0);
            dst.add(n - 8).cast::<u64>().write_unaligned(last);
        } else if n >= 4 {
            part::<4>(src, dst, 0);
            part::<4>(src, dst, n - 4);
        } else {
            for i in 0..n {
                *dst.add(i) = *src.add(i);
            }
        }
    }
}

/// Copies the `N` bytes at `i`.
///
/// # Safety
/// They can be read from `src` and written to `dst`, which do not overlap.
#[inline(always)]
unsafe fn part<const N: usize>(src: *const u8, dst: *mut u8, i: usize) {
    // SAFETY: the function's contract; an array of bytes has no alignment.
    unsafe { dst.add(i).cast::<[u8; N]>().write(src.add(i).cast::<[u8; N]>().read()) }
}
