//! The checked reader.

use crate::bytes::{Cursor, Fault};
use crate::error::FormatError;
use crate::golden::{self, GoldenCase};
use crate::layout::{
    ENTRY_BYTES, HEADER_BYTES, Header, Kind, MAGIC, MAX_ALIGN, MAX_HEADER_BYTES, Section, VERSION,
    WEIGHTS_TENSOR_ALIGN, header_crc,
};
use crate::meta::Meta;
use crate::program::Program;
use crate::quant::QuantReport;
use crate::records;

/// A file whose frame has been proved: header, section table, places of the sections.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    version: (u16, u16),
    pack_id: u32,
    sections: Vec<Section>,
}

impl<'a> Reader<'a> {
    /// Proves the frame of a file: header, version, exact length, checksum of header and table, every section
    /// in its place, padding of zeros alone, nothing critical that is unknown. Reads no section; takes time
    /// and memory by the number of sections.
    pub fn open(bytes: &'a [u8]) -> Result<Self, FormatError> {
        check_magic(bytes)?;
        let short = FormatError::Length { declared: HEADER_BYTES as u64, actual: bytes.len() as u64 };
        let mut c = Cursor::new(bytes, MAGIC.len());
        let header = Header::get(&mut c).map_err(|_| short)?;
        let (major, minor) = header.version;
        if major != VERSION.0 {
            return Err(FormatError::Version { major, minor });
        }
        if header.file_bytes != bytes.len() as u64 {
            return Err(FormatError::Length { declared: header.file_bytes, actual: bytes.len() as u64 });
        }
        let sizes = [(header.header_bytes, HEADER_BYTES, 12), (header.entry_bytes, ENTRY_BYTES, 28)];
        for (size, least, offset) in sizes {
            if (size as usize) < least || size as usize > MAX_HEADER_BYTES || !size.is_multiple_of(8) {
                let what = format!("size {size} is not a multiple of 8 from {least} to {MAX_HEADER_BYTES}");
                return Err(FormatError::Frame { offset, what });
            }
        }
        let table_bytes = u64::from(header.sections) * u64::from(header.entry_bytes);
        let head_bytes = u64::from(header.header_bytes) + table_bytes;
        if head_bytes > bytes.len() as u64 {
            let what = format!("a table of {} sections goes past the file's end", header.sections);
            return Err(FormatError::Frame { offset: 24, what });
        }
        let head_bytes = head_bytes as usize;
        let computed = header_crc(&bytes[..head_bytes]);
        if computed != header.crc {
            let part = "header and section table".to_owned();
            return Err(FormatError::Checksum { part, offset: 0, stored: header.crc, computed });
        }
        let frame = |fault: Fault| FormatError::Frame { offset: fault.at as u64, what: fault.what };
        c.unused(header.header_bytes as usize).map_err(frame)?;
        let mut sections = Vec::with_capacity(header.sections as usize);
        let mut end = head_bytes;
        for index in 0..header.sections as usize {
            let at = c.at();
            let section = Section::get(&mut c).map_err(frame)?;
            c.unused(at + header.entry_bytes as usize).map_err(frame)?;
            end = check_place(bytes, &section, end).map_err(|what| FormatError::Frame {
                offset: at as u64,
                what: format!("section {index} '{}': {what}", section.kind),
            })?;
            if section.is_critical() && !section.is_known() {
                return Err(FormatError::UnknownSection { index, kind: section.kind, flags: section.flags });
            }
            sections.push(section);
        }
        if end != bytes.len() {
            let what = format!("{} bytes follow the last section", bytes.len() - end);
            return Err(FormatError::Frame { offset: end as u64, what });
        }
        check_kinds(&sections)
            .map_err(|what| FormatError::Frame { offset: header.header_bytes.into(), what })?;
        Ok(Self { bytes, version: header.version, pack_id: header.pack_id, sections })
    }

    /// Compares the checksum of every section, those of unknown kind included: touches the whole file.
    pub fn check_payload(&self) -> Result<(), FormatError> {
        for (index, section) in self.sections.iter().enumerate() {
            let computed = crc32c::crc32c(self.payload(section));
            if computed != section.crc {
                let part = format!("section {index} '{}'", section.kind);
                return Err(FormatError::Checksum {
                    part,
                    offset: section.offset,
                    stored: section.crc,
                    computed,
                });
            }
        }
        Ok(())
    }

    /// Major and minor version of the file.
    pub fn version(&self) -> (u16, u16) {
        self.version
    }

    /// The kernels' layout of packed weights, as their crate numbers it; 0 when nothing is packed.
    pub fn pack_id(&self) -> u32 {
        self.pack_id
    }

    /// The section table.
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// The bytes of a section of this file, by its position in the table.
    pub fn section_bytes(&self, index: usize) -> Option<&'a [u8]> {
        self.sections.get(index).map(|section| self.payload(section))
    }

    /// How many programs there are: one at least.
    pub fn programs(&self) -> usize {
        self.of_kind(Kind::PROGRAM).count()
    }

    /// A program, proved: see [`Program::check`]. Takes time by the length of its section (its tensors are
    /// sorted once), memory of a small multiple of that length.
    pub fn program(&self, i: usize) -> Result<Program, FormatError> {
        let count = self.programs();
        let (index, section) =
            self.of_kind(Kind::PROGRAM).nth(i).ok_or(FormatError::NoProgram { index: i, count })?;
        let decoded =
            records::decode(self.payload(section)).map_err(|fault| content(index, section, fault))?;
        match decoded.program.check(self.weights().len() as u64) {
            Ok(()) => Ok(decoded.program),
            Err(error) => {
                let offset = section.offset + decoded.at(error.item) as u64;
                Err(FormatError::Program { index, offset, error })
            }
        }
    }

    /// The weights; empty when there are none. Their first byte is aligned in the file, hence in a mapping of
    /// it, to the section's alignment.
    pub fn weights(&self) -> &'a [u8] {
        self.of_kind(Kind::WEIGHTS).next().map_or(&[], |(_, section)| self.payload(section))
    }

    /// Offset of the weights in the file; its length when there are none.
    pub fn weights_offset(&self) -> u64 {
        self.of_kind(Kind::WEIGHTS).next().map_or(self.bytes.len() as u64, |(_, section)| section.offset)
    }

    /// What users of the model need to know; empty when the file says nothing.
    pub fn meta(&self) -> Result<Meta, FormatError> {
        self.decoded(Kind::META, Meta::decode)
    }

    /// What the file was made from, and how; empty when the file says nothing.
    pub fn provenance(&self) -> Result<Meta, FormatError> {
        self.decoded(Kind::PROVENANCE, Meta::decode)
    }

    /// How the model was quantized; empty when the file says nothing.
    pub fn quant(&self) -> Result<QuantReport, FormatError> {
        self.decoded(Kind::QUANT, QuantReport::decode)
    }

    /// Inputs with the outputs expected; none when the file holds none.
    pub fn golden(&self) -> Result<Vec<GoldenCase>, FormatError> {
        self.decoded(Kind::GOLDEN, |bytes| golden::decode(bytes, self.programs()))
    }

    fn decoded<T: Default>(
        &self,
        kind: Kind,
        decode: impl Fn(&[u8]) -> Result<T, Fault>,
    ) -> Result<T, FormatError> {
        let Some((index, section)) = self.of_kind(kind).next() else { return Ok(T::default()) };
        decode(self.payload(section)).map_err(|fault| content(index, section, fault))
    }

    /// Sections of a kind, without those that have flags this version does not know.
    fn of_kind(&self, kind: Kind) -> impl Iterator<Item = (usize, &Section)> {
        self.sections.iter().enumerate().filter(move |(_, s)| s.kind == kind && s.is_known())
    }

    fn payload(&self, section: &Section) -> &'a [u8] {
        // `open` has proved that both ends lie in the file.
        &self.bytes[section.offset as usize..(section.offset + section.length) as usize]
    }
}

fn content(index: usize, section: &Section, fault: Fault) -> FormatError {
    FormatError::Content {
        index,
        kind: section.kind,
        offset: section.offset + fault.at as u64,
        what: fault.what,
    }
}

fn check_magic(bytes: &[u8]) -> Result<(), FormatError> {
    let start = &bytes[..bytes.len().min(MAGIC.len())];
    if start == MAGIC {
        return Ok(());
    }
    if !start.is_empty() && MAGIC.starts_with(start) {
        return Err(FormatError::Length { declared: HEADER_BYTES as u64, actual: bytes.len() as u64 });
    }
    match start {
        [0x89 | 0x09, b'C', b'Y', b'G', ..] => Err(FormatError::Mangled),
        _ => Err(FormatError::Magic(start.to_vec())),
    }
}

/// Proves that a section begins at the first aligned byte behind `end`, with zeros between, and lies in the
/// file. Returns its own end.
fn check_place(bytes: &[u8], section: &Section, end: usize) -> Result<usize, String> {
    let &Section { offset, length, alignment, .. } = section;
    if !alignment.is_power_of_two() || alignment > MAX_ALIGN {
        return Err(format!("alignment {alignment} is no power of two up to {MAX_ALIGN}"));
    }
    let expected = (end as u64).next_multiple_of(u64::from(alignment));
    if offset != expected {
        return Err(format!("begins at byte {offset} where {expected} comes next"));
    }
    let own_end =
        offset.checked_add(length).filter(|&own_end| own_end <= bytes.len() as u64).ok_or_else(|| {
            format!("bytes {offset}..{offset}+{length} go past the file's end at {}", bytes.len())
        })?;
    match bytes[end..offset as usize].iter().position(|&b| b != 0) {
        Some(i) => Err(format!("byte {} of the padding before it is not zero", end + i)),
        None => Ok(own_end as usize),
    }
}

fn check_kinds(sections: &[Section]) -> Result<(), String> {
    for kind in Kind::ALL {
        let of_kind = || sections.iter().filter(move |s| s.kind == kind && s.is_known());
        let count = of_kind().count();
        if kind == Kind::PROGRAM && count == 0 {
            return Err(format!("there is no section '{kind}'"));
        }
        if kind != Kind::PROGRAM && count > 1 {
            return Err(format!("there are {count} sections '{kind}', one at most is possible"));
        }
        if kind.is_critical() && of_kind().any(|s| !s.is_critical()) {
            return Err(format!("a section '{kind}' is not marked critical"));
        }
        if kind == Kind::WEIGHTS && of_kind().any(|s| u64::from(s.alignment) < WEIGHTS_TENSOR_ALIGN) {
            return Err(format!("section '{kind}' is not aligned to {WEIGHTS_TENSOR_ALIGN}"));
        }
    }
    Ok(())
}
