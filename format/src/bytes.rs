//! Little-endian values in and out of byte strings.

/// What is wrong inside a section, and where: `at` counts from the section's start.
#[derive(Debug)]
pub(crate) struct Fault {
    pub at: usize,
    pub what: String,
}

impl Fault {
    pub fn new(at: usize, what: impl Into<String>) -> Self {
        Self { at, what: what.into() }
    }
}

/// Reads values one after another; refuses to go past the end.
#[derive(Clone)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    pub fn at(&self) -> usize {
        self.at
    }

    pub fn take(&mut self, n: usize) -> Result<&'a [u8], Fault> {
        let end = self.at.checked_add(n).filter(|&end| end <= self.bytes.len()).ok_or_else(|| {
            let left = self.bytes.len().saturating_sub(self.at);
            Fault::new(self.at, format!("needs {n} bytes where {left} are left"))
        })?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub fn u8(&mut self) -> Result<u8, Fault> {
        self.array().map(u8::from_le_bytes)
    }

    pub fn u16(&mut self) -> Result<u16, Fault> {
        self.array().map(u16::from_le_bytes)
    }

    pub fn u32(&mut self) -> Result<u32, Fault> {
        self.array().map(u32::from_le_bytes)
    }

    pub fn u64(&mut self) -> Result<u64, Fault> {
        self.array().map(u64::from_le_bytes)
    }

    pub fn i32(&mut self) -> Result<i32, Fault> {
        self.array().map(i32::from_le_bytes)
    }

    pub fn f32(&mut self) -> Result<f32, Fault> {
        self.array().map(f32::from_le_bytes)
    }

    /// `n` bytes of UTF-8.
    pub fn text(&mut self, n: u32) -> Result<&'a str, Fault> {
        let at = self.at;
        std::str::from_utf8(self.take(n as usize)?)
            .map_err(|e| Fault::new(at + e.valid_up_to(), "a string that is not UTF-8"))
    }

    /// Bytes up to `end` that this version gives no meaning: they have to be zero, since in a later version
    /// something else may ask for what this one cannot do.
    pub fn unused(&mut self, end: usize) -> Result<(), Fault> {
        let at = self.at;
        let rest = self.take(end.saturating_sub(at))?;
        match rest.iter().position(|&b| b != 0) {
            Some(i) => {
                Err(Fault::new(at + i, "a byte that should be zero is not; the file needs a newer runtime"))
            }
            None => Ok(()),
        }
    }
}

/// Appends values.
pub(crate) trait Put {
    fn put_u16(&mut self, v: u16);
    fn put_u32(&mut self, v: u32);
    fn put_u64(&mut self, v: u64);
    fn put_f32(&mut self, v: f32);
    /// Zeros up to the next multiple of `alignment`.
    fn align(&mut self, alignment: usize);
}

impl Put for Vec<u8> {
    fn put_u16(&mut self, v: u16) {
        self.extend_from_slice(&v.to_le_bytes());
    }

    fn put_u32(&mut self, v: u32) {
        self.extend_from_slice(&v.to_le_bytes());
    }

    fn put_u64(&mut self, v: u64) {
        self.extend_from_slice(&v.to_le_bytes());
    }

    fn put_f32(&mut self, v: f32) {
        self.put_u32(v.to_bits());
    }

    fn align(&mut self, alignment: usize) {
        self.resize(self.len().next_multiple_of(alignment), 0);
    }
}

/// A count or length as the file stores it, or what is too large for it.
pub(crate) fn stored(n: usize, what: &str) -> Result<u32, String> {
    u32::try_from(n).map_err(|_| format!("{n} {what}: the file can hold {} at most", u32::MAX))
}
