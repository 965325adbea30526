//! What must hold of a program for devices, read from its ELF file.

use object::elf;
use object::read::elf::{Dyn, FileHeader, ProgramHeader};
use object::{Endianness, FileKind};

/// Pages of 16 KiB: Raspberry Pi 5's kernel and Android 15 have them, and load nothing that is aligned to less.
const PAGE: u64 = 16384;

/// The newest version of glibc that may be needed: that of Debian 10, Ubuntu 18.10 and JetPack 5's base.
pub const GLIBC: Version = Version(2, 28);

/// A version of glibc.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32);

/// What a program is.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// Whether it needs a loader: it is linked dynamically.
    pub dynamic: bool,
    /// Whether it can be loaded anywhere.
    pub position_independent: bool,
    /// Least alignment of what is loaded.
    pub load_align: u64,
    /// Whether places in memory agree with those in the file, for pages of 16 KiB.
    pub congruent: bool,
    /// Whether its stack can be executed; it can where nothing says otherwise.
    pub executable_stack: bool,
    /// Whether any memory can be both written and executed.
    pub writable_code: bool,
    /// Whether tables of addresses are made read-only once they are filled.
    pub relro: bool,
    /// The newest version of glibc that is needed.
    pub glibc: Option<Version>,
}

/// Reads a program.
///
/// # Errors
/// When it is no ELF file of 64 or 32 bits, or a damaged one.
pub fn facts(bytes: &[u8]) -> Result<Facts, String> {
    match FileKind::parse(bytes) {
        Ok(FileKind::Elf64) => read::<elf::FileHeader64<Endianness>>(bytes),
        Ok(FileKind::Elf32) => read::<elf::FileHeader32<Endianness>>(bytes),
        Ok(other) => Err(format!("it is a file of kind {other:?}, not ELF")),
        Err(e) => Err(e.to_string()),
    }
}

fn read<H: FileHeader<Endian = Endianness>>(bytes: &[u8]) -> Result<Facts, String> {
    let text = |e: object::Error| e.to_string();
    let header = H::parse(bytes).map_err(text)?;
    let endian = header.endian().map_err(text)?;
    let segments = header.program_headers(endian, bytes).map_err(text)?;
    let mut facts = Facts {
        dynamic: false,
        position_independent: header.e_type(endian) == elf::ET_DYN,
        load_align: u64::MAX,
        congruent: true,
        executable_stack: true,
        writable_code: false,
        relro: false,
        glibc: None,
    };
    for segment in segments {
        let flags = segment.p_flags(endian);
        let executable = flags & elf::PF_X != 0;
        match segment.p_type(endian) {
            elf::PT_LOAD => {
                facts.load_align = facts.load_align.min(segment.p_align(endian).into());
                let (place, offset): (u64, u64) =
                    (segment.p_vaddr(endian).into(), segment.p_offset(endian).into());
                facts.congruent &= place % PAGE == offset % PAGE;
                facts.writable_code |= executable && flags & elf::PF_W != 0;
            }
            elf::PT_GNU_STACK => facts.executable_stack = executable,
            elf::PT_GNU_RELRO => facts.relro = true,
            elf::PT_INTERP => facts.dynamic = true,
            _ => {}
        }
        if let Ok(Some(entries)) = segment.dynamic(endian, bytes) {
            facts.dynamic |= entries.iter().any(|entry| entry.tag32(endian) == Some(elf::DT_NEEDED));
        }
    }
    facts.glibc = glibc::<H>(header, endian, bytes)?;
    Ok(facts)
}

/// The greatest `GLIBC_x.y` among the versions that are needed.
fn glibc<H: FileHeader<Endian = Endianness>>(
    header: &H,
    endian: Endianness,
    bytes: &[u8],
) -> Result<Option<Version>, String> {
    let text = |e: object::Error| e.to_string();
    let sections = header.sections(endian, bytes).map_err(text)?;
    let Some((mut needs, link)) = sections.gnu_verneed(endian, bytes).map_err(text)? else { return Ok(None) };
    let strings = sections.strings(endian, bytes, link).map_err(text)?;
    let mut newest = None;
    while let Some((_, mut versions)) = needs.next().map_err(text)? {
        while let Some(version) = versions.next().map_err(text)? {
            let name = version.name(endian, strings).map_err(text)?;
            newest = newest.max(std::str::from_utf8(name).ok().and_then(parse));
        }
    }
    Ok(newest)
}

/// `GLIBC_2.17` or `GLIBC_2.2.5`.
fn parse(name: &str) -> Option<Version> {
    let mut numbers = name.strip_prefix("GLIBC_")?.split('.').map(str::parse);
    Some(Version(numbers.next()?.ok()?, numbers.next()?.ok()?))
}

impl Facts {
    /// What of it must not be, each with what to do.
    pub fn faults(&self, newest: Version) -> Vec<String> {
        let mut all = Vec::new();
        let mut require = |holds: bool, fault: String| {
            if !holds {
                all.push(fault);
            }
        };
        let align = self.load_align;
        require(
            align >= PAGE && self.congruent,
            format!(
                "segments are aligned to {align} bytes: machines with pages of 16 KiB cannot load them; link with -z max-page-size=16384 or more"
            ),
        );
        require(
            !self.executable_stack,
            "its stack can be executed; find the object without .note.GNU-stack".into(),
        );
        require(
            !self.writable_code,
            "memory can be both written and executed; link with -z separate-code".into(),
        );
        require(self.relro, "addresses stay writable (no RELRO); link with -z relro -z now".into());
        require(
            self.position_independent,
            "it is loaded at a fixed address (no PIE); link with -static-pie or -pie".into(),
        );
        let glibc = self.glibc.filter(|version| *version > newest);
        require(
            glibc.is_none(),
            format!(
                "it needs glibc {:?}, and devices have {newest:?}: build against an older one, or statically",
                self.glibc
            ),
        );
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Facts = Facts {
        dynamic: true,
        position_independent: true,
        load_align: 65536,
        congruent: true,
        executable_stack: false,
        writable_code: false,
        relro: true,
        glibc: Some(Version(2, 17)),
    };

    #[test]
    fn each_fault_is_found() {
        assert!(GOOD.faults(GLIBC).is_empty());
        let cases = [
            (Facts { position_independent: false, ..GOOD }, "PIE"),
            (Facts { load_align: 4096, ..GOOD }, "16 KiB"),
            (Facts { congruent: false, ..GOOD }, "16 KiB"),
            (Facts { executable_stack: true, ..GOOD }, "stack"),
            (Facts { writable_code: true, ..GOOD }, "written and executed"),
            (Facts { relro: false, ..GOOD }, "RELRO"),
            (Facts { glibc: Some(Version(2, 34)), ..GOOD }, "glibc"),
        ];
        for (facts, word) in cases {
            let faults = facts.faults(GLIBC);
            assert_eq!(faults.len(), 1, "{faults:?}");
            assert!(faults[0].contains(word), "{faults:?}");
        }
    }

    #[test]
    fn versions_compare_as_numbers() {
        assert!(parse("GLIBC_2.9") < parse("GLIBC_2.28"));
        assert_eq!(parse("GLIBC_2.2.5"), Some(Version(2, 2)));
        assert_eq!((parse("GCC_3.0"), parse("GLIBC_PRIVATE")), (None, None));
    }

    /// This test itself, as the system's compiler links it: position independent and dynamic.
    #[test]
    #[cfg(target_os = "linux")]
    fn a_linked_program_is_read() {
        let bytes = std::fs::read(std::env::current_exe().expect("a path")).expect("a file");
        let facts = facts(&bytes).expect("an ELF file");
        assert!(facts.position_independent && !facts.executable_stack && facts.relro, "{facts:?}");
        if cfg!(target_env = "gnu") {
            assert!(facts.dynamic && facts.glibc >= Some(Version(2, 17)), "{facts:?}");
        }
        assert!(super::facts(b"no program").is_err());
        assert!(super::facts(&bytes[..100]).is_err());
    }
}
