//! The one block of memory that a session computes in.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;

use cygnet_format::program::{ARENA_ALIGN, READ_SLACK};

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

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout.
        unsafe { dealloc(self.as_ptr(), self.layout) }
    }
}
