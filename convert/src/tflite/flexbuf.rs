//! Reading FlexBuffers, as custom operators keep their options: the numbers of a map, nothing else.
//!
//! Written after the description of the format ("FlexBuffers" in the documentation of FlatBuffers, "Binary encoding").
//! A value is a type byte (type times 4 plus the logarithm of the width of what it points to) and bytes in the width of
//! what holds it. The root's width is the last byte, its type the one before. A map is a vector of values, before which
//! stand, in its width, the distance back to the vector of keys, the width of that, and the number of entries; behind it
//! stand the types, a byte each.

use std::collections::BTreeMap;

/// What is wrong with the bytes, for a message to the user.
type Result<T> = std::result::Result<T, String>;

const INT: u8 = 1;
const UINT: u8 = 2;
const FLOAT: u8 = 3;
const INDIRECT_INT: u8 = 6;
const INDIRECT_UINT: u8 = 7;
const INDIRECT_FLOAT: u8 = 8;
const MAP: u8 = 9;
const VECTOR: u8 = 10;
const VECTOR_INT: u8 = 11;
const VECTOR_UINT: u8 = 12;
const VECTOR_FLOAT: u8 = 13;
const BOOL: u8 = 26;

/// More entries than any operator has options.
const MAX_ENTRIES: usize = 1024;

/// The numbers and booleans of the map that the bytes hold, by their keys; entries of other types are left out.
pub fn numbers(bytes: &[u8]) -> Result<BTreeMap<String, f64>> {
    entries(bytes, |b, kind, at, width| b.number(kind, at, width))
}

/// The vectors of numbers of the map that the bytes hold, by their keys; entries of other types are left out.
pub fn lists(bytes: &[u8]) -> Result<BTreeMap<String, Vec<f64>>> {
    entries(bytes, |b, kind, at, width| b.list(kind, at, width))
}

/// What `read` finds of each entry: its type, where it lies, in which width.
fn entries<T>(
    bytes: &[u8],
    read: impl Fn(&Bytes<'_>, u8, usize, usize) -> Result<Option<T>>,
) -> Result<BTreeMap<String, T>> {
    let &[.., kind, width] = bytes else {
        return Err(format!("its options take {} bytes, a FlexBuffer at least 3", bytes.len()));
    };
    if kind >> 2 != MAP {
        return Err(format!("its options are a FlexBuffer of type {}, a map (9) is needed", kind >> 2));
    }
    let b = Bytes(bytes);
    let root = (bytes.len() - 2).checked_sub(usize::from(width)).ok_or("its options end early")?;
    let at = b.back(root, usize::from(width))?;
    let width = 1 << (kind & 3);
    let before = |n: usize| at.checked_sub(n * width).ok_or("a map of its options begins too early");
    let count = b.uint(before(1)?, width)? as usize;
    let key_width = b.uint(before(2)?, width)? as usize;
    let keys = b.back(before(3)?, width)?;
    if count > MAX_ENTRIES {
        return Err(format!("its options have {count} entries, at most {MAX_ENTRIES} are read"));
    }
    let mut found = BTreeMap::new();
    for i in 0..count {
        let key = b.text(b.back(keys + i * key_width, key_width)?)?;
        let kind = *bytes.get(at + count * width + i).ok_or("a type of its options is missing")?;
        if let Some(value) = read(&b, kind, at + i * width, width)? {
            found.insert(key, value);
        }
    }
    Ok(found)
}

struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn slice(&self, at: usize, width: usize) -> Result<&[u8]> {
        let range = at.checked_add(width).and_then(|end| self.0.get(at..end));
        range.ok_or_else(|| format!("its options end before the {width} bytes at {at}"))
    }

    /// An unsigned number of 1, 2, 4 or 8 bytes.
    fn uint(&self, at: usize, width: usize) -> Result<u64> {
        if !matches!(width, 1 | 2 | 4 | 8) {
            return Err(format!("its options have a number of {width} bytes"));
        }
        let mut wide = [0; 8];
        wide[..width].copy_from_slice(self.slice(at, width)?);
        Ok(u64::from_le_bytes(wide))
    }

    fn int(&self, at: usize, width: usize) -> Result<i64> {
        let unused = 64 - 8 * width.clamp(1, 8) as u32;
        Ok(self.uint(at, width)?.cast_signed() << unused >> unused)
    }

    fn float(&self, at: usize, width: usize) -> Result<f64> {
        let bits = self.uint(at, width)?;
        match width {
            4 => Ok(f64::from(f32::from_bits(bits as u32))),
            8 => Ok(f64::from_bits(bits)),
            _ => Err(format!("its options have a float of {width} bytes")),
        }
    }

    /// The place that lies as far back as the number here says.
    fn back(&self, at: usize, width: usize) -> Result<usize> {
        let distance = self.uint(at, width)?;
        usize::try_from(distance)
            .ok()
            .and_then(|d| at.checked_sub(d))
            .ok_or_else(|| format!("an offset of its options, {distance} back from {at}, leaves them"))
    }

    fn text(&self, at: usize) -> Result<String> {
        let rest = self.0.get(at..).unwrap_or_default();
        let end = rest.iter().position(|&b| b == 0).ok_or("a key of its options has no end")?;
        Ok(String::from_utf8_lossy(&rest[..end]).into_owned())
    }

    /// A vector: before it stands, in its width, the number of its entries; behind one of entries of different types
    /// stand these.
    fn list(&self, kind: u8, at: usize, width: usize) -> Result<Option<Vec<f64>>> {
        let own = 1 << (kind & 3);
        let each = match kind >> 2 {
            VECTOR_INT => Some(INT),
            VECTOR_UINT => Some(UINT),
            VECTOR_FLOAT => Some(FLOAT),
            VECTOR => None,
            _ => return Ok(None),
        };
        let at = self.back(at, width)?;
        let before = at.checked_sub(own).ok_or("a vector of its options begins too early")?;
        let count = self.uint(before, own)? as usize;
        if count > MAX_ENTRIES {
            return Err(format!("its options have a vector of {count}, at most {MAX_ENTRIES} are read"));
        }
        let mut values = Vec::with_capacity(count);
        for i in 0..count {
            let kind = match each {
                Some(kind) => kind << 2 | (kind_width(own)),
                None => *self.0.get(at + count * own + i).ok_or("a type of its options is missing")?,
            };
            let Some(value) = self.number(kind, at + i * own, own)? else { return Ok(None) };
            values.push(value);
        }
        Ok(Some(values))
    }

    fn number(&self, kind: u8, at: usize, width: usize) -> Result<Option<f64>> {
        let own = 1 << (kind & 3);
        Ok(Some(match kind >> 2 {
            INT => self.int(at, width)? as f64,
            UINT | BOOL => self.uint(at, width)? as f64,
            FLOAT => self.float(at, width)?,
            INDIRECT_INT => self.int(self.back(at, width)?, own)? as f64,
            INDIRECT_UINT => self.uint(self.back(at, width)?, own)? as f64,
            INDIRECT_FLOAT => self.float(self.back(at, width)?, own)?,
            _ => return Ok(None),
        }))
    }
}

/// The logarithm of a width.
fn kind_width(bytes: usize) -> u8 {
    bytes.trailing_zeros() as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `{"a": 7, "b": -2, "c": true, "d": 0.5, "e": "x"}`, laid out by hand with values of 4 bytes.
    const MAP: &[u8] = &[
        b'a',
        0,
        b'b',
        0,
        b'c',
        0,
        b'd',
        0,
        b'e',
        0, // keys at 0, 2, 4, 6, 8
        1,
        b'x',
        0, // a string: its length, then at 11 itself
        5, // keys: their number
        14,
        13,
        12,
        11,
        10, // at 14, each the distance back to a key
        0,  // padding
        6,
        0,
        0,
        0, // at 20: the keys lie 6 back
        1,
        0,
        0,
        0, // they take a byte each
        5,
        0,
        0,
        0, // entries
        7,
        0,
        0,
        0, // at 32: the values
        0xfe,
        0xff,
        0xff,
        0xff, //
        1,
        0,
        0,
        0, //
        0,
        0,
        0,
        0x3f, //
        37,
        0,
        0,
        0, // at 48: the string lies 37 back
        1 << 2 | 2,
        1 << 2 | 2,
        26 << 2 | 2,
        3 << 2 | 2,
        5 << 2, // at 52: types
        25,
        9 << 2 | 2,
        1, // at 57: the map lies 25 back; its type, the root's width
    ];

    #[test]
    fn a_map_written_by_hand() {
        let found = numbers(MAP).unwrap();
        let found: Vec<(&str, f64)> = found.iter().map(|(k, &v)| (k.as_str(), v)).collect();
        assert_eq!(found, [("a", 7.0), ("b", -2.0), ("c", 1.0), ("d", 0.5)]);
    }

    /// `{"v": [3, -1], "w": 4}` in values of one byte, laid out by hand.
    #[test]
    fn a_vector_written_by_hand() {
        let map = [
            b'v',
            0,
            b'w',
            0, // keys at 0 and 2
            2,
            3,
            0xff, // a vector: its number of entries, then at 5 itself
            2,
            8,
            7, // keys: their number, then at 8 each the distance back to a key
            2,
            1,
            2, // the keys lie 2 back from 10 and take a byte each; 2 entries
            8,
            4, // at 13: the vector lies 8 back; 4
            VECTOR_INT << 2,
            INT << 2, // types
            4,
            super::MAP << 2,
            1, // at 17: the map lies 4 back
        ];
        assert_eq!(lists(&map).unwrap(), BTreeMap::from([("v".to_owned(), vec![3.0, -1.0])]));
        assert_eq!(numbers(&map).unwrap(), BTreeMap::from([("w".to_owned(), 4.0)]));
    }

    #[test]
    fn damage_is_an_error_or_another_value() {
        for end in 0..MAP.len() {
            let _ = numbers(&MAP[..end]);
        }
        for i in 0..MAP.len() {
            for value in 0..=255 {
                let mut b = MAP.to_vec();
                b[i] = value;
                let _ = numbers(&b);
            }
        }
        assert!(numbers(b"").unwrap_err().contains("0 bytes"));
    }
}
