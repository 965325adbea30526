//! A model file, checked, ready to make sessions of.

use std::path::Path;
use std::sync::Arc;

use cygnet_format::program::Program;
use cygnet_format::{FormatError, Meta, Reader};
use cygnet_kernels::Pages;
use cygnet_kernels::conv::pack::PACK_ID;
use cygnet_kernels::exec::Weights;

use crate::error::Error;
use crate::map::{Bytes, ModelBytes};

/// How a model is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenOptions {
    /// Whether the checksum of every section is compared, which reads the whole file once. Header, section table and
    /// the bounds of every program are always proved.
    pub check_payload: bool,
    /// Whether the file is read into memory of the process instead of being mapped: for files that others may
    /// change in place while the model is open.
    pub copy: bool,
    /// The pages of memory that the file is read into. Linux maps files by usual ones: with huge ones the file is copied,
    /// and no longer shared with other processes.
    pub pages: Pages,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self { check_payload: true, copy: false, pages: Pages::Usual }
    }
}

/// A checked model file. Clones share it, and so do all sessions made of it: the weights are there once.
#[derive(Clone)]
pub struct Model {
    inner: Arc<Inner>,
}

struct Inner {
    bytes: Arc<ModelBytes>,
    programs: Vec<Arc<Program>>,
    meta: Meta,
}

impl Model {
    /// Maps and checks the file at `path`, checksums included. A program that `cygnet bundle` put a model in is a file of
    /// that model.
    ///
    /// The file must not be changed in place while the model, or a session of it, lives; replacing it by renaming
    /// another over it is fine. See [`OpenOptions::copy`].
    ///
    /// # Errors
    /// When the file cannot be read, is no `.cygnet` file, is damaged, was packed for other kernels, or holds a
    /// program that cannot be proved to stay inside its memory.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::open_with(path, OpenOptions::default())
    }

    /// As [`Model::open`], with options.
    ///
    /// # Errors
    /// As [`Model::open`].
    pub fn open_with(path: impl AsRef<Path>, options: OpenOptions) -> Result<Self, Error> {
        let path = path.as_ref();
        let _span = tracing::info_span!("load", path = %path.display()).entered();
        let unreadable = |source| Error::Open { path: path.to_owned(), source };
        let bytes = if options.copy {
            let read = std::fs::read(path).map_err(unreadable)?;
            Bytes::copy_to(&read, options.pages).ok_or(Error::NoMemory(read.len()))?
        } else {
            let map = Bytes::map(path).map_err(unreadable)?;
            match options.pages {
                Pages::Usual => map,
                Pages::Huge => {
                    Bytes::copy_to(map.bytes(), options.pages).ok_or(Error::NoMemory(map.bytes().len()))?
                }
            }
        };
        Self::check(bytes, options).map_err(|error| match error {
            Error::Format(source) => Error::File { path: path.to_owned(), source },
            other => other,
        })
    }

    /// A model from a file's bytes, which are copied once into aligned memory.
    ///
    /// # Errors
    /// As [`Model::open`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        Self::from_bytes_with(bytes, OpenOptions::default())
    }

    /// As [`Model::from_bytes`], with options.
    ///
    /// # Errors
    /// As [`Model::open`].
    pub fn from_bytes_with(bytes: &[u8], options: OpenOptions) -> Result<Self, Error> {
        let _span = tracing::info_span!("load", bytes = bytes.len()).entered();
        Self::check(Bytes::copy(bytes).ok_or(Error::NoMemory(bytes.len()))?, options)
    }

    /// A model from bytes that stay for as long as the process: those linked into a program. They are used where they
    /// lie if that is a multiple of 64, as `cygnet bundle --object` puts them, and copied once if not.
    ///
    /// # Errors
    /// As [`Model::open`].
    pub fn from_static(bytes: &'static [u8]) -> Result<Self, Error> {
        let _span = tracing::info_span!("load", bytes = bytes.len()).entered();
        Self::check(Bytes::stay(bytes).ok_or(Error::NoMemory(bytes.len()))?, OpenOptions::default())
    }

    fn check(bytes: Bytes, options: OpenOptions) -> Result<Self, Error> {
        let reader = Reader::open(bytes.bytes())?;
        if options.check_payload {
            reader.check_payload()?;
        }
        if ![0, PACK_ID].contains(&reader.pack_id()) {
            return Err(Error::Layout { file: reader.pack_id(), own: PACK_ID });
        }
        let programs = (0..reader.programs())
            .map(|i| reader.program(i).map(Arc::new))
            .collect::<Result<_, FormatError>>()?;
        let meta = reader.meta()?;
        let start = reader.weights_offset() as usize;
        let weights = start..start + reader.weights().len();
        let length = bytes.bytes().len();
        let bytes = Arc::new(ModelBytes::new(bytes, weights).ok_or(Error::NoMemory(length))?);
        Ok(Self { inner: Arc::new(Inner { bytes, programs, meta }) })
    }

    /// The programs, proved when the model was opened; one at least.
    pub fn programs(&self) -> &[Arc<Program>] {
        &self.inner.programs
    }

    /// What the file says about its use: task, labels, preprocessing.
    pub fn meta(&self) -> &Meta {
        &self.inner.meta
    }

    /// The whole file.
    pub fn bytes(&self) -> &[u8] {
        self.inner.bytes.file().bytes()
    }

    /// Whether the file's bytes are used where they lie (mapped, or part of the program), not copied.
    pub fn is_mapped(&self) -> bool {
        self.inner.bytes.file().is_mapped()
    }

    /// A reader of the sections that sessions do not need: goldens, quantizer's report, provenance.
    ///
    /// # Errors
    /// Only when the file was changed while it was mapped.
    pub fn reader(&self) -> Result<Reader<'_>, Error> {
        Ok(Reader::open(self.bytes())?)
    }

    pub(crate) fn weights(&self) -> Arc<dyn Weights> {
        Arc::clone(&self.inner.bytes) as Arc<dyn Weights>
    }
}
