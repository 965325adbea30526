//! Models inside programs: the section of an ELF file that `cygnet bundle` puts one in.
//!
//! Only what leads to the section is read: the file header, the section headers, their names. Every figure is compared
//! with the file's length before it is used.

use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;

/// Name of the section.
pub const SECTION: &str = ".cygnet";

/// Alignment of the section in the file: the largest page of any machine, so that the weights in it begin pages.
pub const ALIGN: u64 = 65536;

/// Most sections, and most bytes of their names, of a file that is looked at.
const MOST_SECTIONS: u64 = 65_535;
const MOST_NAMES: u64 = 1 << 20;

/// Whether the file at `path` is an ELF file with a model in it. A file that cannot be read has none.
pub fn is_bundle(path: &Path) -> bool {
    std::fs::File::open(path).is_ok_and(|mut file| matches!(section(&mut file), Ok(Some(_))))
}

/// Where in an ELF file its model lies; `None` for files of another kind, or without a model.
///
/// # Errors
/// When reading fails.
pub fn section(file: &mut (impl Read + Seek)) -> io::Result<Option<Range<u64>>> {
    let length = file.seek(SeekFrom::End(0))?;
    let mut head = [0; 64];
    if length < head.len() as u64 || !read_at(file, 0, length, &mut head)? {
        return Ok(None);
    }
    // Little endian, of 32 or 64 bits.
    let wide = match head[..6] {
        [0x7f, b'E', b'L', b'F', 1, 1] => false,
        [0x7f, b'E', b'L', b'F', 2, 1] => true,
        _ => return Ok(None),
    };
    let (table, sizes) = if wide { (word(&head, 0x28, 8), 0x3a) } else { (word(&head, 0x20, 4), 0x2e) };
    let (entry, count, names) = (word(&head, sizes, 2), word(&head, sizes + 2, 2), word(&head, sizes + 4, 2));
    if entry < if wide { 64 } else { 40 } || entry > 4096 || count > MOST_SECTIONS || names >= count {
        return Ok(None);
    }
    let mut headers = vec![0; (entry * count) as usize];
    if !read_at(file, table, length, &mut headers)? {
        return Ok(None);
    }
    let place = |index: u64| {
        let header = &headers[(index * entry) as usize..];
        if wide { word(header, 24, 8)..word(header, 32, 8) } else { word(header, 16, 4)..word(header, 20, 4) }
    };
    let Range { start: names_at, end: names_len } = place(names);
    if names_len > MOST_NAMES {
        return Ok(None);
    }
    let mut texts = vec![0; names_len as usize];
    if !read_at(file, names_at, length, &mut texts)? {
        return Ok(None);
    }
    let is_model = |index: &u64| {
        let at = word(&headers[(index * entry) as usize..], 0, 4) as usize;
        let name = texts.get(at..).unwrap_or_default();
        name.strip_prefix(SECTION.as_bytes()).is_some_and(|rest| rest.first() == Some(&0))
    };
    let Some(index) = (0..count).find(is_model) else { return Ok(None) };
    let Range { start, end: bytes } = place(index);
    Ok(start.checked_add(bytes).filter(|end| *end <= length).map(|end| start..end))
}

/// Reads all of `to` from `at`; whether the file has so much.
fn read_at(file: &mut (impl Read + Seek), at: u64, length: u64, to: &mut [u8]) -> io::Result<bool> {
    if at.checked_add(to.len() as u64).is_none_or(|end| end > length) {
        return Ok(false);
    }
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(to)?;
    Ok(true)
}

/// A little-endian number of so many bytes; the caller knows that they are there.
fn word(bytes: &[u8], at: usize, size: usize) -> u64 {
    bytes[at..at + size].iter().rev().fold(0, |sum, &b| sum << 8 | u64::from(b))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    /// An ELF file of 64 bits with the sections null, names and `name`, which holds `content`.
    fn elf(name: &str, content: &[u8]) -> Vec<u8> {
        let mut names = b"\0.shstrtab\0".to_vec();
        names.extend(name.as_bytes());
        names.push(0);
        let mut out = vec![0; 64];
        out[..6].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1]);
        let names_at = out.len() as u64;
        out.extend(&names);
        let content_at = out.len() as u64;
        out.extend(content);
        let table = out.len() as u64;
        for (name, at, size) in
            [(0, 0, 0), (1, names_at, names.len() as u64), (11, content_at, content.len() as u64)]
        {
            let mut header = [0; 64];
            header[..4].copy_from_slice(&(name as u32).to_le_bytes());
            header[24..32].copy_from_slice(&at.to_le_bytes());
            header[32..40].copy_from_slice(&size.to_le_bytes());
            out.extend(header);
        }
        out[0x28..0x30].copy_from_slice(&table.to_le_bytes());
        for (at, value) in [(0x3a, 64_u16), (0x3c, 3), (0x3e, 1)] {
            out[at..at + 2].copy_from_slice(&value.to_le_bytes());
        }
        out
    }

    fn found(bytes: &[u8]) -> Option<Vec<u8>> {
        let range = section(&mut Cursor::new(bytes)).unwrap()?;
        Some(bytes[range.start as usize..range.end as usize].to_vec())
    }

    #[test]
    fn the_section_is_found_by_its_whole_name() {
        assert_eq!(found(&elf(".cygnet", b"model")).as_deref(), Some(&b"model"[..]));
        assert_eq!(found(&elf(".cygnets", b"model")), None);
        assert_eq!(found(&elf(".data", b"model")), None);
        assert_eq!(found(b"\x89CYG\r\n"), None);
        assert_eq!(found(&std::fs::read(std::env::current_exe().unwrap()).unwrap()), None);
    }

    /// Every byte of the file changed, and every length cut: never a place outside the file.
    #[test]
    fn no_bytes_lead_outside() {
        let whole = elf(".cygnet", b"model");
        for at in 0..whole.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut changed = whole.clone();
                changed[at] = value;
                found(&changed);
            }
            found(&whole[..at]);
        }
    }
}
