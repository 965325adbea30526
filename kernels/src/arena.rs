//! The one block of memory that a session computes in.

use std::alloc::{Layout, alloc, alloc_zeroed, dealloc};
use std::ptr::NonNull;

use cygnet_format::program::{ARENA_ALIGN, READ_SLACK};

/// The pages that memory is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pages {
    /// The system's usual ones.
    #[default]
    Usual,
    /// Huge ones where the system has them to give: fewer entries in the processor's table of pages, which large weights
    /// overrun. Memory below [`HUGE`] stays in usual ones. Linux gives them unless
    /// `/sys/kernel/mm/transparent_hugepage/enabled` says `never`.
    Huge,
}

/// Bytes of a huge page, where pages have 4 KiB. With larger ones huge pages are larger: such memory has few or none.
pub const HUGE: usize = 2 << 20;

/// Zeroed memory aligned to [`ARENA_ALIGN`], of a length fixed when it is made.
pub struct Arena {
    base: NonNull<u8>,
    len: usize,
    layout: Layout,
}

// SAFETY: the arena owns its memory, and hands out references under the usual borrowing rules only.
unsafe impl Send for Arena {}
// SAFETY: as above; `&Arena` gives no access to the bytes but through raw pointers.
unsafe impl Sync for Arena {}

impl Arena {
    /// `len` zeroed bytes, and [`READ_SLACK`] more that kernels may read; `None` when there is no such memory.
    pub fn new(len: usize) -> Option<Self> {
        let layout = Layout::from_size_align(len.checked_add(READ_SLACK)?, ARENA_ALIGN).ok()?;
        // SAFETY: the layout's size is at least READ_SLACK, not zero.
        let base = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        Some(Self { base, len, layout })
    }

    /// As [`Arena::new`], of these pages. No more is taken than of usual ones.
    pub fn of_pages(len: usize, pages: Pages) -> Option<Self> {
        if pages == Pages::Usual || len < HUGE {
            return Self::new(len);
        }
        let layout = Layout::from_size_align(len.checked_add(READ_SLACK)?, HUGE).ok()?;
        // SAFETY: the layout's size is at least READ_SLACK, not zero.
        let base = NonNull::new(unsafe { alloc(layout) })?;
        // Before the first touch, which takes the pages.
        advise_huge(base, layout.size());
        // SAFETY: `base` is the start of that many bytes of our own.
        unsafe { base.as_ptr().write_bytes(0, layout.size()) };
        Some(Self { base, len, layout })
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the length is zero.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The first byte.
    pub fn as_ptr(&self) -> *mut u8 {
        self.base.as_ptr()
    }

    /// All bytes.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: `len` initialized bytes belong to the arena, and `&self` keeps them from being changed:
        // kernels write only while the executor holds the arena exclusively.
        unsafe { std::slice::from_raw_parts(self.as_ptr(), self.len) }
    }

    /// All bytes, to change.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, and `&mut self` is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.as_ptr(), self.len) }
    }
}

/// Asks for huge pages; a system that gives none is slower, not wrong. `base` is the start of a huge page.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn advise_huge(base: NonNull<u8>, size: usize) {
    use rustix::mm::{Advice, madvise};
    // The last page is whole only where the memory is: what follows it may be another's, and is left alone.
    let whole = size - size % HUGE;
    // SAFETY: the memory is ours, and the advice changes nothing of what it holds.
    let _ = unsafe { madvise(base.as_ptr().cast(), whole, Advice::LinuxHugepage) };
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn advise_huge(_: NonNull<u8>, _: usize) {}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout.
        unsafe { dealloc(self.as_ptr(), self.layout) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_zeroed_and_aligned_whatever_its_pages() {
        for (len, align) in [(0, ARENA_ALIGN), (HUGE - 1, ARENA_ALIGN), (HUGE, HUGE), (3 * HUGE + 5, HUGE)] {
            let mut arena = Arena::of_pages(len, Pages::Huge).expect("memory");
            assert_eq!((arena.len(), arena.as_ptr() as usize % align), (len, 0));
            assert!(arena.bytes().iter().all(|&byte| byte == 0));
            arena.bytes_mut().fill(1);
        }
    }
}
