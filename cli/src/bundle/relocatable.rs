//! A model as an ELF file to link.

use object::write::{Object, StandardSection, Symbol, SymbolSection};
use object::{
    Architecture, BinaryFormat, Endianness, FileFlags, SectionKind, SymbolFlags, SymbolKind, SymbolScope, elf,
};

/// Alignment of the model: a page of 16 KiB, as its weights have in the file.
const ALIGN: u64 = 16384;

/// An instruction set, by its Debian-like short name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Arch {
    /// 64-bit Arm
    Aarch64,
    /// 32-bit Arm with hardware floating point
    Armv7,
    /// 64-bit x86
    #[value(name = "x86_64")]
    X86_64,
    /// 64-bit RISC-V with double floating point (lp64d)
    Riscv64,
}

impl Arch {
    pub fn name(self) -> &'static str {
        match self {
            Self::Aarch64 => "aarch64",
            Self::Armv7 => "armv7",
            Self::X86_64 => "x86_64",
            Self::Riscv64 => "riscv64",
        }
    }

    fn architecture(self) -> Architecture {
        match self {
            Self::Aarch64 => Architecture::Aarch64,
            Self::Armv7 => Architecture::Arm,
            Self::X86_64 => Architecture::X86_64,
            Self::Riscv64 => Architecture::Riscv64,
        }
    }

    /// What linkers compare among the files they link: the calling convention.
    fn flags(self) -> u32 {
        match self {
            Self::Armv7 => elf::EF_ARM_EABI_VER5 | elf::EF_ARM_ABI_FLOAT_HARD,
            Self::Riscv64 => elf::EF_RISCV_RVC | elf::EF_RISCV_FLOAT_ABI_DOUBLE,
            Self::Aarch64 | Self::X86_64 => 0,
        }
    }
}

/// An object file: `symbol` the model, `symbol_end` its end, `symbol_size` its length as a `size_t`; all read-only.
pub fn object(arch: Arch, symbol: &str, model: &[u8]) -> object::write::Result<Vec<u8>> {
    let mut object = Object::new(BinaryFormat::Elf, arch.architecture(), Endianness::Little);
    object.flags = FileFlags::Elf { os_abi: elf::ELFOSABI_NONE, abi_version: 0, e_flags: arch.flags() };
    let section = object.add_section(Vec::new(), b".rodata.cygnet".to_vec(), SectionKind::ReadOnlyData);
    object.append_section_data(section, model, ALIGN);
    let add = |object: &mut Object<'_>, name: String, section, value, size| {
        object.add_symbol(Symbol {
            name: name.into_bytes(),
            value,
            size,
            kind: SymbolKind::Data,
            scope: SymbolScope::Linkage,
            weak: false,
            section: SymbolSection::Section(section),
            flags: SymbolFlags::None,
        });
    };
    let length = model.len() as u64;
    add(&mut object, symbol.to_owned(), section, 0, length);
    add(&mut object, format!("{symbol}_end"), section, length, 0);
    let constants = object.section_id(StandardSection::ReadOnlyData);
    let word =
        if arch == Arch::Armv7 { length.to_le_bytes()[..4].to_vec() } else { length.to_le_bytes().to_vec() };
    let at = object.append_section_data(constants, &word, word.len() as u64);
    add(&mut object, format!("{symbol}_size"), constants, at, word.len() as u64);
    // Says that nothing in it wants to execute on the stack; linkers assume the worst without it.
    object.add_section(Vec::new(), b".note.GNU-stack".to_vec(), SectionKind::Other);
    object.write()
}

#[cfg(test)]
mod tests {
    use object::{Object as _, ObjectSection, ObjectSymbol};

    use super::*;

    #[test]
    fn every_architecture_has_the_model_and_its_symbols() {
        let model: Vec<u8> = (0..100_u8).collect();
        for arch in [Arch::Aarch64, Arch::Armv7, Arch::X86_64, Arch::Riscv64] {
            let bytes = object(arch, "net", &model).unwrap();
            assert_eq!(bytes, object(arch, "net", &model).unwrap(), "the same bytes again");
            let file = object::File::parse(&*bytes).unwrap();
            assert_eq!(file.architecture(), arch.architecture());
            let section = file.section_by_name(".rodata.cygnet").unwrap();
            assert_eq!((section.data().unwrap(), section.align()), (&model[..], ALIGN));
            assert_eq!(section.kind(), SectionKind::ReadOnlyData);
            let symbol = |name: &str| file.symbols().find(|s| s.name() == Ok(name)).unwrap();
            assert_eq!((symbol("net").address(), symbol("net").size()), (0, 100));
            assert_eq!(symbol("net_end").address(), 100);
            assert!(symbol("net").is_global() && symbol("net_size").is_global());
            let expect = if arch == Arch::Armv7 { 4 } else { 8 };
            assert_eq!(symbol("net_size").size(), expect);
            assert!(file.section_by_name(".note.GNU-stack").is_some());
        }
    }
}
