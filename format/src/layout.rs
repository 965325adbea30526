//! The frame of a file: header, section table, kinds of sections.

use crate::bytes::{Cursor, Fault, Put};
use std::fmt;

/// First bytes of a file. The first is no ASCII, so a channel of seven bits changes it; CR-LF and the last LF
/// betray a transfer as text; `^Z` stops a listing on DOS.
pub const MAGIC: [u8; 8] = *b"\x89CYG\r\n\x1a\n";

/// The newest version that is known. Another major version cannot be read; a later minor one can, unless the file
/// uses what it added. A file is written in the least version that has what is in it.
pub const VERSION: (u16, u16) = (1, 1);

/// Bytes of the header this version writes. Later minor versions may append fields.
pub const HEADER_BYTES: usize = 40;

/// Largest header accepted.
pub const MAX_HEADER_BYTES: usize = 4096;

/// Bytes of an entry of the section table this version writes. Later minor versions may append fields.
pub const ENTRY_BYTES: usize = 32;

/// Offset in the header of the CRC32C of header and table, in which these four bytes count as zeros.
pub const HEADER_CRC_AT: usize = 32;

/// Greatest alignment of a section.
pub const MAX_ALIGN: u32 = 1 << 20;

/// Alignment of every section but the weights.
pub const SECTION_ALIGN: u32 = 8;

/// Alignment of tensors in the weights section, in bytes.
pub const WEIGHTS_TENSOR_ALIGN: u64 = 64;

/// Bit of a section's flags: a reader that does not know the section must refuse the file.
pub const CRITICAL: u32 = 1;

/// What a section holds: four ASCII characters.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kind(pub [u8; 4]);

impl Kind {
    /// A program. One or more, all over the same weights.
    pub const PROGRAM: Self = Self(*b"PROG");
    /// Bytes of the constant tensors.
    pub const WEIGHTS: Self = Self(*b"WGHT");
    /// How each step was quantized, and why.
    pub const QUANT: Self = Self(*b"QUAN");
    /// Inputs with the outputs expected.
    pub const GOLDEN: Self = Self(*b"GOLD");
    /// What users of the model need to know: labels, preprocessing, licence.
    pub const META: Self = Self(*b"META");
    /// What the file was made from, and how.
    pub const PROVENANCE: Self = Self(*b"PROV");
    /// A signature over the section table. Reserved: this version neither writes nor checks one.
    pub const SIGNATURE: Self = Self(*b"SIGN");

    /// Every kind this version knows.
    pub const ALL: [Self; 7] = [
        Self::PROGRAM,
        Self::WEIGHTS,
        Self::QUANT,
        Self::GOLDEN,
        Self::META,
        Self::PROVENANCE,
        Self::SIGNATURE,
    ];

    /// Whether this version knows it.
    pub fn is_known(self) -> bool {
        Self::ALL.contains(&self)
    }

    /// Whether a program cannot run without it.
    pub fn is_critical(self) -> bool {
        matches!(self, Self::PROGRAM | Self::WEIGHTS)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kind({self})")
    }
}

/// An entry of the section table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Section {
    /// What it holds.
    pub kind: Kind,
    /// Bit 0 is [`CRITICAL`]; a section with any other bit set counts as one of unknown kind.
    pub flags: u32,
    /// Offset in the file of its first byte; a multiple of `alignment`.
    pub offset: u64,
    /// Bytes, without padding.
    pub length: u64,
    /// A power of two, at most [`MAX_ALIGN`].
    pub alignment: u32,
    /// CRC32C of its bytes.
    pub crc: u32,
}

impl Section {
    /// Whether a reader that does not know the section must refuse the file.
    pub fn is_critical(&self) -> bool {
        self.flags & CRITICAL != 0
    }

    /// Whether this version can read it: it knows the kind and every flag.
    pub fn is_known(&self) -> bool {
        self.kind.is_known() && self.flags & !CRITICAL == 0
    }

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.kind.0);
        out.put_u32(self.flags);
        out.put_u64(self.offset);
        out.put_u64(self.length);
        out.put_u32(self.alignment);
        out.put_u32(self.crc);
    }

    pub(crate) fn get(c: &mut Cursor<'_>) -> Result<Self, Fault> {
        Ok(Self {
            kind: Kind(c.u32()?.to_le_bytes()),
            flags: c.u32()?,
            offset: c.u64()?,
            length: c.u64()?,
            alignment: c.u32()?,
            crc: c.u32()?,
        })
    }
}

/// The header's fields that follow the magic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub version: (u16, u16),
    pub header_bytes: u32,
    pub file_bytes: u64,
    pub sections: u32,
    pub entry_bytes: u32,
    pub crc: u32,
    pub pack_id: u32,
}

impl Header {
    /// The whole header, magic included.
    pub fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&MAGIC);
        out.put_u16(self.version.0);
        out.put_u16(self.version.1);
        out.put_u32(self.header_bytes);
        out.put_u64(self.file_bytes);
        out.put_u32(self.sections);
        out.put_u32(self.entry_bytes);
        out.put_u32(self.crc);
        out.put_u32(self.pack_id);
    }

    /// Reads on from behind the magic.
    pub fn get(c: &mut Cursor<'_>) -> Result<Self, Fault> {
        Ok(Self {
            version: (c.u16()?, c.u16()?),
            header_bytes: c.u32()?,
            file_bytes: c.u64()?,
            sections: c.u32()?,
            entry_bytes: c.u32()?,
            crc: c.u32()?,
            pack_id: c.u32()?,
        })
    }
}

/// CRC32C of header and table, given as one piece; the stored one counts as zeros.
pub(crate) fn header_crc(head: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&head[..HEADER_CRC_AT]);
    let crc = crc32c::crc32c_append(crc, &[0; 4]);
    crc32c::crc32c_append(crc, &head[HEADER_CRC_AT + 4..])
}
