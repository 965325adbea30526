//! A program with a model appended to it, in a section that the program finds in its own file.
//!
//! Nothing of the program is moved: what is loaded, and from where, stays as the linker made it. Appended are the model,
//! at a multiple of the largest page, and a new table of sections.

use std::mem::size_of;

use cygnet::bundle::{ALIGN, SECTION};
use object::elf;
use object::read::elf::{FileHeader, SectionHeader};
use object::{LittleEndian as LE, U32, U64, endian};

/// The bytes of `program` with `model` in it.
pub fn append(program: &[u8], model: &[u8]) -> Result<Vec<u8>, String> {
    let kind = object::FileKind::parse(program);
    match kind {
        Ok(object::FileKind::Elf64) => append_to(program, model),
        Ok(other) => Err(format!("it is a file of kind {other:?}; give a program for 64-bit Linux")),
        Err(_) => Err("it is no program; give one built by targets/build-device.sh".to_owned()),
    }
}

type Header = elf::FileHeader64<LE>;
type Section = elf::SectionHeader64<LE>;

fn append_to(program: &[u8], model: &[u8]) -> Result<Vec<u8>, String> {
    let malformed = |e: object::Error| format!("it is a damaged program: {e}; build it again");
    let header = Header::parse(program).map_err(malformed)?;
    // This also refuses big-endian files.
    let endian = header.endian().map_err(malformed)?;
    let is_program = matches!(header.e_type(endian), elf::ET_EXEC | elf::ET_DYN);
    if !is_program {
        return Err("it is an object file, not a program; give a linked one".to_owned());
    }
    let sections = header.section_headers(endian, program).map_err(malformed)?;
    let names_at = usize::from(header.e_shstrndx.get(endian));
    let Some(names) = sections.get(names_at) else {
        return Err(
            "its table of sections is gone; give the program as it was built, or stripped by `strip`"
                .to_owned(),
        );
    };
    let strings = header.section_strings(endian, program, sections).map_err(malformed)?;
    let is_model =
        |section: &Section| section.name(endian, strings).is_ok_and(|name| name == SECTION.as_bytes());
    if sections.iter().any(is_model) {
        return Err("it has a model already; give the program without one".to_owned());
    }

    let mut out = program.to_vec();
    pad(&mut out, ALIGN as usize);
    let model_at = out.len() as u64;
    out.extend_from_slice(model);
    pad(&mut out, 8);
    let mut texts = names.data(endian, program).map_err(malformed)?.to_vec();
    let name = texts.len() as u32;
    texts.extend_from_slice(SECTION.as_bytes());
    texts.push(0);
    let texts_at = out.len() as u64;
    out.extend_from_slice(&texts);
    pad(&mut out, 8);
    let table_at = out.len() as u64;
    let word = |value| U64::new(endian, value);
    for (index, section) in sections.iter().enumerate() {
        let mut section = *section;
        if index == names_at {
            section.sh_offset = word(texts_at);
            section.sh_size = word(texts.len() as u64);
        }
        out.extend_from_slice(object::bytes_of(&section));
    }
    let added = Section {
        sh_name: U32::new(endian, name),
        sh_type: U32::new(endian, elf::SHT_PROGBITS),
        sh_flags: word(0),
        sh_addr: word(0),
        sh_offset: word(model_at),
        sh_size: word(model.len() as u64),
        sh_link: U32::new(endian, 0),
        sh_info: U32::new(endian, 0),
        sh_addralign: word(ALIGN),
        sh_entsize: word(0),
    };
    out.extend_from_slice(object::bytes_of(&added));
    let mut header = *header;
    header.e_shoff = word(table_at);
    let count =
        u16::try_from(sections.len() + 1).map_err(|_| "it has too many sections; strip it".to_owned())?;
    header.e_shnum = endian::U16::new(endian, count);
    out[..size_of::<Header>()].copy_from_slice(object::bytes_of(&header));
    Ok(out)
}

fn pad(out: &mut Vec<u8>, to: usize) {
    out.resize(out.len().next_multiple_of(to), 0);
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use object::{Object, ObjectSection, ObjectSegment};

    use super::*;

    #[test]
    fn what_is_loaded_stays_and_the_model_is_found() {
        let program = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let model = vec![7; 100_000];
        let bundled = append(&program, &model).unwrap();
        let range = cygnet::bundle::section(&mut Cursor::new(&bundled)).unwrap().unwrap();
        assert!(range.start.is_multiple_of(ALIGN));
        assert_eq!(&bundled[range.start as usize..range.end as usize], &model[..]);
        let (before, after) =
            (object::File::parse(&*program).unwrap(), object::File::parse(&*bundled).unwrap());
        let segments = |file: &object::File<'_>| -> Vec<_> {
            file.segments().map(|s| (s.address(), s.size(), s.data().unwrap()[64..].to_vec())).collect()
        };
        assert_eq!(segments(&before), segments(&after));
        for section in before.sections() {
            let name = section.name().unwrap();
            if name != ".shstrtab" {
                assert_eq!(after.section_by_name(name).unwrap().data(), section.data(), "{name}");
            }
        }
        assert!(append(&bundled, &model).unwrap_err().contains("a model already"));
    }

    #[test]
    fn other_files_are_refused() {
        assert!(append(b"#!/bin/sh\n", &[]).unwrap_err().contains("no program"));
        let object =
            super::super::relocatable::object(super::super::relocatable::Arch::Aarch64, "a", b"m").unwrap();
        assert!(append(&object, &[]).unwrap_err().contains("an object file"));
    }
}
