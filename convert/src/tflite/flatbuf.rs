//! Reading FlatBuffers: tables, vectors and strings, every offset checked.
//!
//! Only what a reader of one schema needs. The accessors of the official crate are `unsafe` and rest on a verifier
//! that runs before; here each access checks its own bounds, and damage is an error that names the byte.
//!
//! Layout: FlatBuffers, "FlatBuffer Internals". All numbers are little-endian; offsets are relative to where they
//! are stored; a table starts with the (signed, backward) distance to its vtable: u16 size of the vtable, u16 size
//! of the table, then one u16 place per field, 0 for a field that has its default.

/// What is wrong with the bytes, for a message to the user.
pub type Result<T> = std::result::Result<T, String>;

fn bytes<const N: usize>(buf: &[u8], at: usize) -> Result<[u8; N]> {
    let range = at.checked_add(N).and_then(|end| buf.get(at..end));
    let slice =
        range.ok_or_else(|| format!("it ends before the {N} bytes that should stand at byte {at}"))?;
    Ok(slice.try_into().expect("N bytes"))
}

/// The place that the offset stored at `at` points to.
fn follow(buf: &[u8], at: usize) -> Result<usize> {
    let offset = u32::from_le_bytes(bytes(buf, at)?) as usize;
    at.checked_add(offset)
        .filter(|&to| offset != 0 && to < buf.len())
        .ok_or_else(|| format!("the offset at byte {at} points outside of its {} bytes", buf.len()))
}

/// A number as FlatBuffers store it.
pub trait Scalar: Sized {
    /// Bytes of one.
    const SIZE: usize;
    /// The number at byte `at`.
    fn read(buf: &[u8], at: usize) -> Result<Self>;
}

macro_rules! scalar {
    ($($t:ty),*) => {$(
        impl Scalar for $t {
            const SIZE: usize = size_of::<$t>();
            fn read(buf: &[u8], at: usize) -> Result<Self> {
                Ok(Self::from_le_bytes(bytes(buf, at)?))
            }
        }
    )*};
}

scalar!(i8, u8, u16, i32, u32, i64, u64, f32);

impl Scalar for bool {
    const SIZE: usize = 1;
    fn read(buf: &[u8], at: usize) -> Result<Self> {
        Ok(u8::read(buf, at)? != 0)
    }
}

/// A table; fields are asked for by their id, the number of their vtable entry.
#[derive(Clone, Copy, Debug)]
pub struct Table<'a> {
    buf: &'a [u8],
    at: usize,
}

impl<'a> Table<'a> {
    /// The root table of a buffer.
    pub fn root(buf: &'a [u8]) -> Result<Self> {
        Ok(Self { buf, at: follow(buf, 0)? })
    }

    /// The whole buffer that the table lies in.
    pub fn buffer(&self) -> &'a [u8] {
        self.buf
    }

    fn field(&self, id: usize) -> Result<Option<usize>> {
        let back = i32::from_le_bytes(bytes(self.buf, self.at)?);
        let vtable = usize::try_from(self.at as i64 - i64::from(back))
            .map_err(|_| format!("the vtable of the table at byte {} lies before its start", self.at))?;
        let size = usize::from(u16::from_le_bytes(bytes(self.buf, vtable)?));
        let entry = 4 + 2 * id;
        if entry + 2 > size {
            return Ok(None);
        }
        let place = usize::from(u16::from_le_bytes(bytes(self.buf, vtable + entry)?));
        Ok((place != 0).then_some(self.at + place))
    }

    /// A number, or `default` when it is left out.
    pub fn get<T: Scalar>(&self, id: usize, default: T) -> Result<T> {
        match self.field(id)? {
            Some(at) => T::read(self.buf, at),
            None => Ok(default),
        }
    }

    /// A table.
    pub fn table(&self, id: usize) -> Result<Option<Self>> {
        match self.field(id)? {
            Some(at) => Ok(Some(Self { buf: self.buf, at: follow(self.buf, at)? })),
            None => Ok(None),
        }
    }

    /// A vector whose elements take `size` bytes: number of elements and place of the first.
    fn vector(&self, id: usize, size: usize) -> Result<Option<(usize, usize)>> {
        let Some(at) = self.field(id)? else { return Ok(None) };
        let at = follow(self.buf, at)?;
        let len = u32::from_le_bytes(bytes(self.buf, at)?) as usize;
        let first = at + 4;
        match len.checked_mul(size).and_then(|n| first.checked_add(n)) {
            Some(end) if end <= self.buf.len() => Ok(Some((len, first))),
            _ => Err(format!("the vector at byte {at} of {len} elements runs past its end")),
        }
    }

    /// A vector of bytes; empty when it is left out.
    pub fn bytes(&self, id: usize) -> Result<&'a [u8]> {
        Ok(self.vector(id, 1)?.map_or(&[], |(len, first)| &self.buf[first..first + len]))
    }

    /// A string; what is no UTF-8 in it is replaced.
    pub fn string(&self, id: usize) -> Result<String> {
        Ok(String::from_utf8_lossy(self.bytes(id)?).into_owned())
    }

    /// A vector of numbers; empty when it is left out.
    pub fn numbers<T: Scalar>(&self, id: usize) -> Result<Vec<T>> {
        let Some((len, first)) = self.vector(id, T::SIZE)? else { return Ok(Vec::new()) };
        (0..len).map(|i| T::read(self.buf, first + i * T::SIZE)).collect()
    }

    /// A vector of tables; empty when it is left out.
    pub fn tables(&self, id: usize) -> Result<Vec<Self>> {
        let Some((len, first)) = self.vector(id, 4)? else { return Ok(Vec::new()) };
        (0..len).map(|i| Ok(Self { buf: self.buf, at: follow(self.buf, first + 4 * i)? })).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A root offset, a vtable of three fields and a table with an i32 (7), nothing, and a string ("hi").
    const SMALL: &[u8] = &[
        16, 0, 0, 0, // root
        10, 0, 12, 0, 4, 0, 0, 0, 8, 0, // vtable at 4
        0, 0, // padding
        12, 0, 0, 0, // the table at 16: its vtable is 12 before
        7, 0, 0, 0, // field 0
        4, 0, 0, 0, // field 2: 4 further
        2, 0, 0, 0, b'h', b'i', // a string
    ];

    #[test]
    fn fields_of_a_table_written_by_hand() {
        let t = Table::root(SMALL).unwrap();
        assert_eq!(t.get(0, 0i32), Ok(7));
        assert_eq!(t.get(1, 5i32), Ok(5), "left out");
        assert_eq!(t.get(9, 6i32), Ok(6), "newer than the file");
        assert_eq!(t.string(2).unwrap(), "hi");
    }

    #[test]
    fn damage_is_an_error_or_another_value() {
        let touch = |b: &[u8]| {
            let Ok(t) = Table::root(b) else { return false };
            let table = t.table(2).map(|t| t.is_none_or(|t| t.get(0, 0i32).is_ok()));
            t.get(0, 0i32).is_ok()
                & t.string(2).is_ok()
                & t.numbers::<i64>(2).is_ok()
                & t.tables(2).is_ok()
                & table.is_ok()
        };
        for end in 0..SMALL.len() {
            assert!(!touch(&SMALL[..end]), "{end} bytes");
        }
        for i in 0..SMALL.len() {
            for value in 0..=255 {
                let mut b = SMALL.to_vec();
                b[i] = value;
                touch(&b);
            }
        }
    }
}
