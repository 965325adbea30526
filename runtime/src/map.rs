//! The bytes of a model file, mapped or owned: the one module of this crate with unsafe code.
//!
//! A mapped file is shared with every other process that maps it, and takes no memory until it is read. Its bytes
//! are checked once and then trusted, so the file must not be changed in place while a model is open. Nothing a
//! process can do on Linux keeps others from writing to a file, so this is what is done: `write_atomic` and
//! every well-behaved updater put a new file in the old one's place by renaming, which leaves the mapped one as it
//! was; what is decoded (sections, programs, metadata) is copied out of the map before it is used; and
//! [`OpenOptions::copy`](crate::OpenOptions) reads the file into memory of its own, for files that
//! cannot be trusted to stay. Truncating a mapped file ends the process with SIGBUS.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;

use cygnet_format::program::{ARENA_ALIGN, READ_SLACK};
use cygnet_kernels::exec::Weights;
use cygnet_kernels::{Arena, Pages};
use memmap2::Mmap;

use crate::bundle;

enum Memory {
    /// The map, and where in it the model lies.
    Mapped(Mmap, Range<usize>),
    Owned(Arena),
    Static(&'static [u8]),
}

impl Memory {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Mapped(map, range) => &map[range.clone()],
            Self::Owned(arena) => arena.bytes(),
            Self::Static(bytes) => bytes,
        }
    }
}

/// The whole file. Its first byte is aligned to 64 bytes at least.
pub(crate) struct Bytes {
    memory: Memory,
}

impl Bytes {
    /// Maps a file read-only. Of a program with a model in it, the bytes are the model.
    pub fn map(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let kind = file.metadata()?;
        if !kind.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
        }
        if kind.len() == 0 {
            // An empty file cannot be mapped; the reader refuses it by its length.
            return Self::copy(&[]).ok_or_else(|| io::ErrorKind::OutOfMemory.into());
        }
        // SAFETY: the map is read-only and private. That nobody changes the file in place is the contract of
        // opening by map, stated at the module and at `Model::open`.
        let map = unsafe { Mmap::map(&file)? };
        let inside = bundle::section(&mut file)?.map(|range| range.start as usize..range.end as usize);
        let range = inside.filter(|range| range.end <= map.len()).unwrap_or(0..map.len());
        if !(map.as_ptr() as usize + range.start).is_multiple_of(ARENA_ALIGN) {
            return Self::copy(&map[range]).ok_or_else(|| io::ErrorKind::OutOfMemory.into());
        }
        Ok(Self { memory: Memory::Mapped(map, range) })
    }

    /// Bytes that stay: used where they are if aligned, else copied; `None` when there is no memory for that.
    pub fn stay(bytes: &'static [u8]) -> Option<Self> {
        if (bytes.as_ptr() as usize).is_multiple_of(ARENA_ALIGN) {
            return Some(Self { memory: Memory::Static(bytes) });
        }
        Self::copy(bytes)
    }

    /// Copies bytes into aligned memory; `None` when there is no such memory.
    pub fn copy(bytes: &[u8]) -> Option<Self> {
        Self::copy_to(bytes, Pages::Usual)
    }

    /// As [`Self::copy`], into these pages.
    pub fn copy_to(bytes: &[u8], pages: Pages) -> Option<Self> {
        let mut arena = Arena::of_pages(bytes.len(), pages)?;
        arena.bytes_mut().copy_from_slice(bytes);
        Some(Self { memory: Memory::Owned(arena) })
    }

    /// The file's bytes.
    pub fn bytes(&self) -> &[u8] {
        self.memory.bytes()
    }

    /// Whether they are used where they lie, not copied.
    pub fn is_mapped(&self) -> bool {
        matches!(self.memory, Memory::Mapped(..) | Memory::Static(_))
    }
}

/// The file with the place of its weights.
pub(crate) struct ModelBytes {
    file: Bytes,
    weights: Range<usize>,
    /// Stands in for the weights of a file that has none.
    none: Option<Arena>,
}

impl ModelBytes {
    /// `weights` is the weights section's place in the file, empty when it has none; `None` when it lies outside
    /// the file or there is no memory.
    pub fn new(file: Bytes, weights: Range<usize>) -> Option<Self> {
        file.bytes().get(weights.clone())?;
        let none = if weights.is_empty() { Some(Arena::new(READ_SLACK)?) } else { None };
        Some(Self { file, weights, none })
    }

    pub fn file(&self) -> &Bytes {
        &self.file
    }
}

// SAFETY: the map and the arenas own their memory, and static bytes are borrowed for ever, whose address does not depend on where the value is; nothing
// hands out mutable access; which of them is returned is fixed when the value is made.
unsafe impl Weights for ModelBytes {
    fn bytes(&self) -> &[u8] {
        match &self.none {
            Some(arena) => arena.bytes(),
            None => &self.file.bytes()[self.weights.clone()],
        }
    }
}
