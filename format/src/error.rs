//! Why a file was refused.

use crate::check::ProgramError;
use crate::layout::{Kind, VERSION};

const AGAIN: &str = "copy or download the file again, or convert the model again";

/// Why a file was refused. Every message says where, what was expected, and what to do.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum FormatError {
    /// Some other file.
    #[error("not a .cygnet file: it begins with \"{}\"; give a file that `cygnet convert` wrote", .0.escape_ascii())]
    Magic(
        /// The first bytes, eight at most.
        Vec<u8>,
    ),
    /// A transfer changed the bytes.
    #[error(
        "the .cygnet file was damaged by a transfer as text (line ends or the high bit changed); transfer it as binary"
    )]
    Mangled,
    /// Another major version.
    #[error("the file has format version {major}.{minor}, this runtime reads {}.x; {}", VERSION.0,
        if *major > VERSION.0 { "use a newer runtime" } else { "convert the model again" })]
    Version {
        /// The file's.
        major: u16,
        /// The file's.
        minor: u16,
    },
    /// Cut short, or something appended.
    #[error("the file has {actual} bytes, its header declares {declared}; {AGAIN}")]
    Length {
        /// What the header says; the header's own size when the file is shorter than one.
        declared: u64,
        /// What there is.
        actual: u64,
    },
    /// A rule of header, section table or padding is broken.
    #[error("header or section table, byte {offset}: {what}; {AGAIN}")]
    Frame {
        /// Offset in the file.
        offset: u64,
        /// What is wrong and what was expected.
        what: String,
    },
    /// Bytes differ from those written.
    #[error("{part}, byte {offset}: CRC32C is {computed:08x}, {stored:08x} was written; {AGAIN}")]
    Checksum {
        /// Which part of the file.
        part: String,
        /// Its offset in the file.
        offset: u64,
        /// The checksum in the file.
        stored: u32,
        /// The checksum of the bytes found.
        computed: u32,
    },
    /// Something this runtime may not skip.
    #[error(
        "section {index} '{kind}' (flags {flags:#x}) is critical and unknown to this runtime; use a newer runtime"
    )]
    UnknownSection {
        /// Position in the table.
        index: usize,
        /// Its kind.
        kind: Kind,
        /// Its flags.
        flags: u32,
    },
    /// A rule inside a section is broken.
    #[error("section {index} '{kind}', byte {offset} of the file: {what}; {AGAIN}")]
    Content {
        /// Position in the table.
        index: usize,
        /// Its kind.
        kind: Kind,
        /// Offset in the file.
        offset: u64,
        /// What is wrong and what was expected.
        what: String,
    },
    /// A program that cannot be proved safe to run.
    #[error(
        "section {index} '{}', byte {offset} of the file: {error}; convert the model again",
        Kind::PROGRAM
    )]
    Program {
        /// Position in the table.
        index: usize,
        /// Offset in the file of the record.
        offset: u64,
        /// What is wrong.
        error: ProgramError,
    },
    /// No such program.
    #[error("there is no program {index}; the file holds {count}")]
    NoProgram {
        /// The one asked for.
        index: usize,
        /// How many there are.
        count: usize,
    },
    /// The writer was given something that no reader would take.
    #[error("cannot write {what}")]
    Unwritable {
        /// What, and why not.
        what: String,
    },
}
