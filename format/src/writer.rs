//! Builds files.

use crate::bytes::Put;
use crate::error::FormatError;
use crate::golden::{self, GoldenCase};
use crate::layout::{
    CRITICAL, ENTRY_BYTES, HEADER_BYTES, HEADER_CRC_AT, Header, Kind, SECTION_ALIGN, Section, VERSION,
    header_crc,
};
use crate::meta::Meta;
use crate::program::Program;
use crate::quant::QuantReport;
use crate::records;
use crate::save::{SaveError, write_atomic};
use std::borrow::Cow;
use std::path::Path;

/// Alignment of the weights section in the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u32)]
pub enum WeightsAlign {
    /// 16 KiB: whole pages on machines with pages of 4 and 16 KiB.
    #[default]
    Page16K = 16 << 10,
    /// 64 KiB: whole pages on machines with pages of 64 KiB too.
    Page64K = 64 << 10,
}

/// Gathers what goes into a file. The same content gives the same bytes.
///
/// Sections are written in a fixed order, the weights last; an empty one is left out.
#[derive(Clone, Debug, Default)]
pub struct Writer<'a> {
    programs: Vec<&'a Program>,
    weights: &'a [u8],
    align: WeightsAlign,
    pack_id: u32,
    quant: Option<&'a QuantReport>,
    golden: &'a [GoldenCase],
    meta: Option<&'a Meta>,
    provenance: Option<&'a Meta>,
}

/// A section's kind and bytes.
type Payload<'a> = (Kind, Cow<'a, [u8]>);

/// A file, complete but for the weights that follow.
struct Encoded<'a> {
    head: Vec<u8>,
    weights: &'a [u8],
}

impl<'a> Writer<'a> {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a program; programs keep the order in which they are added.
    pub fn program(&mut self, program: &'a Program) -> &mut Self {
        self.programs.push(program);
        self
    }

    /// Sets the weights, with the [`crate::program::READ_SLACK`] bytes behind the last tensor.
    pub fn weights(&mut self, weights: &'a [u8], align: WeightsAlign) -> &mut Self {
        self.weights = weights;
        self.align = align;
        self
    }

    /// Sets the kernels' layout of packed weights, as their crate numbers it; 0 when nothing is packed.
    pub fn pack_id(&mut self, pack_id: u32) -> &mut Self {
        self.pack_id = pack_id;
        self
    }

    /// Sets the report of the quantizer.
    pub fn quant(&mut self, quant: &'a QuantReport) -> &mut Self {
        self.quant = Some(quant);
        self
    }

    /// Sets the inputs with the outputs expected.
    pub fn golden(&mut self, golden: &'a [GoldenCase]) -> &mut Self {
        self.golden = golden;
        self
    }

    /// Sets what users of the model need to know.
    pub fn meta(&mut self, meta: &'a Meta) -> &mut Self {
        self.meta = Some(meta);
        self
    }

    /// Sets what the file was made from, and how.
    pub fn provenance(&mut self, provenance: &'a Meta) -> &mut Self {
        self.provenance = Some(provenance);
        self
    }

    /// The file's bytes. Refuses what a reader would refuse.
    pub fn finish(&self) -> Result<Vec<u8>, FormatError> {
        let Encoded { mut head, weights } = self.encode()?;
        head.extend_from_slice(weights);
        Ok(head)
    }

    /// Writes the file to `path` without a second copy of the weights; see [`write_atomic`]. Returns its
    /// length in bytes.
    pub fn save(&self, path: &Path) -> Result<u64, SaveError> {
        let Encoded { head, weights } = self.encode()?;
        write_atomic(path, &[&head, weights])?;
        Ok((head.len() + weights.len()) as u64)
    }

    fn encode(&self) -> Result<Encoded<'a>, FormatError> {
        let unwritable = |what| FormatError::Unwritable { what };
        let payloads = self.payloads().map_err(unwritable)?;
        let mut end = (HEADER_BYTES + payloads.len() * ENTRY_BYTES) as u64;
        let mut table = Vec::with_capacity(payloads.len());
        for (kind, bytes) in &payloads {
            let alignment = if *kind == Kind::WEIGHTS { self.align as u32 } else { SECTION_ALIGN };
            let section = Section {
                kind: *kind,
                flags: if kind.is_critical() { CRITICAL } else { 0 },
                offset: end.next_multiple_of(u64::from(alignment)),
                length: bytes.len() as u64,
                alignment,
                crc: crc32c::crc32c(bytes),
            };
            end = section.offset + section.length;
            table.push(section);
        }
        // No more than there is need for: what older versions could express is written as they wrote it.
        let minor = self.programs.iter().map(|p| p.minor_version()).max().unwrap_or(0);
        let mut head = Vec::new();
        Header {
            version: (VERSION.0, minor),
            header_bytes: HEADER_BYTES as u32,
            file_bytes: end,
            sections: table.len() as u32,
            entry_bytes: ENTRY_BYTES as u32,
            crc: 0,
            pack_id: self.pack_id,
        }
        .put(&mut head);
        table.iter().for_each(|section| section.put(&mut head));
        let crc = header_crc(&head);
        head[HEADER_CRC_AT..HEADER_CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
        for (section, (kind, bytes)) in table.iter().zip(&payloads) {
            head.align(section.alignment as usize);
            if *kind != Kind::WEIGHTS {
                head.extend_from_slice(bytes);
            }
        }
        Ok(Encoded { head, weights: self.weights })
    }

    /// The sections in the order of the file: the weights, if any, last.
    fn payloads(&self) -> Result<Vec<Payload<'a>>, String> {
        if self.programs.is_empty() {
            return Err("a file without a program".into());
        }
        let mut payloads = Vec::new();
        for (i, program) in self.programs.iter().enumerate() {
            program
                .check(self.weights.len() as u64)
                .map_err(|error| format!("program {i} '{}': {error}", program.name))?;
            if self.programs[..i].iter().any(|earlier| earlier.name == program.name) {
                return Err(format!("two programs of the name '{}'", program.name));
            }
            let bytes =
                records::encode(program).map_err(|e| format!("program {i} '{}': {e}", program.name))?;
            payloads.push((Kind::PROGRAM, bytes.into()));
        }
        if let Some(quant) = self.quant.filter(|q| **q != QuantReport::default()) {
            payloads.push((Kind::QUANT, quant.encode()?.into()));
        }
        if let Some(meta) = self.meta.filter(|meta| !meta.is_empty()) {
            payloads.push((Kind::META, meta.encode()?.into()));
        }
        if let Some(provenance) = self.provenance.filter(|meta| !meta.is_empty()) {
            payloads.push((Kind::PROVENANCE, provenance.encode()?.into()));
        }
        if let Some(case) = self.golden.iter().find(|case| case.program as usize >= self.programs.len()) {
            return Err(format!("a golden case of program {} of {}", case.program, self.programs.len()));
        }
        if !self.golden.is_empty() {
            payloads.push((Kind::GOLDEN, golden::encode(self.golden)?.into()));
        }
        if !self.weights.is_empty() {
            payloads.push((Kind::WEIGHTS, self.weights.into()));
        }
        Ok(payloads)
    }
}
