//! Zip archives, as far as numpy's files need them: entries that are stored or, with the feature `deflate`, deflated.
//!
//! After PKWARE's APPNOTE.TXT, version 6.3.10; the numbers of its sections stand beside what follows them.

/// One entry, still as it lies in the archive.
pub(crate) struct Entry<'a> {
    pub name: String,
    method: u16,
    crc: u32,
    size: u64,
    packed: &'a [u8],
}

const LOCAL: &[u8] = b"PK\x03\x04";
const CENTRAL: &[u8] = b"PK\x01\x02";
const END: &[u8] = b"PK\x05\x06";
const END_64: &[u8] = b"PK\x06\x06";
const LOCATOR_64: &[u8] = b"PK\x06\x07";

const STORED: u16 = 0;
const DEFLATED: u16 = 8;

fn damaged() -> String {
    "the archive is damaged".to_owned()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..)?.first_chunk().copied()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..)?.first_chunk().copied()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..)?.first_chunk().copied()?))
}

/// The `length` bytes from `start` on.
fn stretch(bytes: &[u8], start: u64, length: u64) -> Option<&[u8]> {
    let (start, length) = (usize::try_from(start).ok()?, usize::try_from(length).ok()?);
    bytes.get(start..start.checked_add(length)?)
}

/// The entries of an archive, in its directory's order.
pub(crate) fn entries(bytes: &[u8]) -> Result<Vec<Entry<'_>>, String> {
    let (count, mut directory) = directory(bytes).ok_or_else(damaged)?;
    let mut all = Vec::new();
    for _ in 0..count {
        let (found, rest) = entry(bytes, directory).ok_or_else(damaged)?;
        all.push(found?);
        directory = rest;
    }
    Ok(all)
}

/// How many entries there are, and the central directory: 4.3.14 to 4.3.16.
fn directory(bytes: &[u8]) -> Option<(u64, &[u8])> {
    // A comment of at most 65535 bytes may follow the end's record.
    let last = bytes.len().checked_sub(22)?;
    let end = (last.saturating_sub(65535)..=last).rev().find(|&at| bytes[at..].starts_with(END))?;
    let (count, size, start) = (u16_at(bytes, end + 10)?, u32_at(bytes, end + 12)?, u32_at(bytes, end + 16)?);
    if count != u16::MAX && size != u32::MAX && start != u32::MAX {
        return Some((count.into(), stretch(bytes, start.into(), size.into())?));
    }
    let locator = bytes.get(end.checked_sub(20)?..end)?;
    let record = usize::try_from(u64_at(locator.strip_prefix(LOCATOR_64)?, 4)?).ok()?;
    let record = bytes.get(record..)?.strip_prefix(END_64)?;
    Some((u64_at(record, 28)?, stretch(bytes, u64_at(record, 44)?, u64_at(record, 36)?)?))
}

/// The first entry of what is left of the directory, and the rest: 4.3.12. None, where it is damaged.
fn entry<'a>(bytes: &'a [u8], directory: &'a [u8]) -> Option<(Result<Entry<'a>, String>, &'a [u8])> {
    if !directory.starts_with(CENTRAL) {
        return None;
    }
    let (flags, method, crc) = (u16_at(directory, 8)?, u16_at(directory, 10)?, u32_at(directory, 16)?);
    let [name, extra, comment] = [28, 30, 32].map(|at| u16_at(directory, at).map(usize::from));
    let (name_end, extra, comment) = (46 + name?, extra?, comment?);
    let name = String::from_utf8_lossy(directory.get(46..name_end)?).into_owned();
    let mut wide = wide_fields(directory.get(name_end..name_end + extra)?);
    let mut field = |at| match u32_at(directory, at)? {
        u32::MAX => {
            let (value, rest) = wide.split_first_chunk()?;
            wide = rest;
            Some(u64::from_le_bytes(*value))
        }
        narrow => Some(narrow.into()),
    };
    // In this order: 4.5.3.
    let (size, packed, local) = (field(24)?, field(20)?, field(42)?);
    let header = bytes.get(usize::try_from(local).ok()?..)?;
    if !header.starts_with(LOCAL) {
        return None;
    }
    let start = 30 + u64::from(u16_at(header, 26)?) + u64::from(u16_at(header, 28)?);
    let packed = stretch(header, start, packed)?;
    let found = if flags & 1 == 0 {
        Ok(Entry { name, method, crc, size, packed })
    } else {
        Err(format!("'{name}' is encrypted"))
    };
    Some((found, directory.get(name_end + extra + comment..)?))
}

/// The part of an entry's extra fields that holds what does not fit into 32 bits: 4.5.3.
fn wide_fields(mut extra: &[u8]) -> &[u8] {
    while let (Some(kind), Some(length)) = (u16_at(extra, 0), u16_at(extra, 2)) {
        let Some(content) = extra.get(4..4 + usize::from(length)) else { break };
        if kind == 1 {
            return content;
        }
        extra = &extra[4 + usize::from(length)..];
    }
    &[]
}

impl Entry<'_> {
    /// What the entry holds, of the size and checksum that the directory says.
    pub fn content(&self) -> Result<Vec<u8>, String> {
        let content = match self.method {
            STORED => self.packed.to_vec(),
            DEFLATED => inflate(self.packed, self.size)?,
            other => return Err(format!("'{}' is packed by method {other}, not known here", self.name)),
        };
        if content.len() as u64 != self.size || crc32(&content) != self.crc {
            return Err(format!("'{}' is damaged", self.name));
        }
        Ok(content)
    }
}

#[cfg(feature = "deflate")]
fn inflate(packed: &[u8], size: u64) -> Result<Vec<u8>, String> {
    // Never more than the directory says, however much the data would give.
    let limit = usize::try_from(size).map_err(|_| damaged())?;
    miniz_oxide::inflate::decompress_to_vec_with_limit(packed, limit).map_err(|e| format!("damaged: {e}"))
}

#[cfg(not(feature = "deflate"))]
fn inflate(_: &[u8], _: u64) -> Result<Vec<u8>, String> {
    Err("this build reads no compressed archives (numpy.savez_compressed)".to_owned())
}

/// An archive of these entries, stored; the same for the same entries. None, where a name or content is too long for
/// the plain form: 64 KiB, 4 GiB.
pub(crate) fn stored<'a>(entries: impl Iterator<Item = (&'a str, Vec<u8>)>) -> Option<Vec<u8>> {
    let (mut out, mut directory, mut count) = (Vec::new(), Vec::new(), 0_u16);
    for (name, content) in entries {
        let (start, size) = (u32::try_from(out.len()).ok()?, u32::try_from(content.len()).ok()?);
        let length = u16::try_from(name.len()).ok()?;
        // What both headers share: version 2.0, a name in UTF-8 (4.4.4), stored, 1980-01-01.
        let mut shared = Vec::new();
        for field in [20, if name.is_ascii() { 0 } else { 1 << 11 }, STORED, 0, 0x21] {
            shared.extend_from_slice(&u16::to_le_bytes(field));
        }
        for field in [crc32(&content), size, size] {
            shared.extend_from_slice(&field.to_le_bytes());
        }
        shared.extend_from_slice(&length.to_le_bytes());
        shared.extend_from_slice(&[0; 2]);
        out.extend([LOCAL, &shared, name.as_bytes(), &content].concat());
        // Made by version 2.0; no comment, first disk, no attributes.
        directory
            .extend([CENTRAL, &[20, 0], &shared, &[0; 10], &start.to_le_bytes(), name.as_bytes()].concat());
        count = count.checked_add(1)?;
    }
    let (start, size) = (u32::try_from(out.len()).ok()?, u32::try_from(directory.len()).ok()?);
    out.extend_from_slice(&directory);
    let count = count.to_le_bytes();
    out.extend([END, &[0; 4], &count, &count, &size.to_le_bytes(), &start.to_le_bytes(), &[0; 2]].concat());
    Some(out)
}

/// The checksum of ISO 3309 that archives carry: polynomial 0xEDB88320, reflected.
fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut index = 0;
        while index < 256 {
            let (mut value, mut bit) = (index as u32, 0);
            while bit < 8 {
                value = (value >> 1) ^ (0xedb8_8320 * (value & 1));
                bit += 1;
            }
            table[index] = value;
            index += 1;
        }
        table
    };
    !bytes.iter().fold(!0, |crc, &byte| (crc >> 8) ^ TABLE[usize::from(crc as u8 ^ byte)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_published_one() {
        // The check value of CRC-32/ISO-HDLC in the catalogue of parametrised CRC algorithms.
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    /// Every byte changed and every length cut: an error or the same arrays, never a panic.
    #[test]
    fn no_bytes_panic() {
        let good = stored([("a.npy", vec![7; 40]), ("b", Vec::new())].into_iter()).expect("small");
        let read =
            |bytes: &[u8]| entries(bytes).map(|all| all.iter().map(Entry::content).collect::<Vec<_>>());
        for at in 0..good.len() {
            let _ = read(&good[..at]);
            for flip in [0x01, 0x80, 0xff] {
                let mut bad = good.clone();
                bad[at] ^= flip;
                let _ = read(&bad);
            }
        }
        assert_eq!(read(&good), Ok(vec![Ok(vec![7; 40]), Ok(Vec::new())]));
    }
}
