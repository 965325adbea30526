//! Damaged and forged files: refused, and never a panic.

mod common;

use common::{Frame, Part, parts, read_all, seal, tiny, tiny_program};
use cygnet_format::*;

const TINY: &[u8] = include_bytes!("fixtures/v1_0_tiny.cygnet");
const STREAMING: &[u8] = include_bytes!("fixtures/v1_1_streaming.cygnet");

/// Values that a byte is changed to: every bit flipped, and the ends of its range.
fn changed(byte: u8) -> impl Iterator<Item = u8> {
    let flips = (0..8).map(move |bit| byte ^ (1 << bit));
    flips.chain([0, 1, 0x7f, 0x80, 0xff, byte.wrapping_add(1)]).filter(move |&b| b != byte)
}

#[test]
fn every_truncation_is_refused() {
    for length in 0..TINY.len() {
        let error = Reader::open(&TINY[..length]).expect_err("cut short");
        match error {
            FormatError::Length { actual, .. } => assert_eq!(actual, length as u64),
            other => assert!(length == 0 && matches!(other, FormatError::Magic(_)), "{length}: {other}"),
        }
    }
    let longer = [TINY, &[0]].concat();
    assert!(matches!(Reader::open(&longer), Err(FormatError::Length { .. })));
}

#[test]
fn every_changed_byte_is_found() {
    for good in [TINY, STREAMING] {
        let mut file = good.to_vec();
        for at in 0..file.len() {
            for value in changed(good[at]) {
                file[at] = value;
                let found = match Reader::open(&file) {
                    Err(_) => true,
                    Ok(reader) => {
                        let _ = read_all(&file); // must not panic
                        reader.check_payload().is_err()
                    }
                };
                assert!(found, "byte {at} changed to {value:#x}");
            }
            file[at] = good[at];
        }
    }
}

/// Someone who forges checksums too: nothing panics, and what is accepted has one encoding only.
#[test]
fn every_forged_byte_is_refused_or_means_what_it_says() {
    let sections = Reader::open(TINY).unwrap().sections().to_vec();
    let mut accepted = 0;
    for at in (0..264).chain(sections.iter().flat_map(|s| s.offset as usize..(s.offset + s.length) as usize))
    {
        for value in changed(TINY[at]) {
            let mut file = TINY.to_vec();
            file[at] = value;
            seal(&mut file);
            let Ok(programs) = read_all(&file) else { continue };
            accepted += 1;
            let reader = Reader::open(&file).unwrap();
            if reader.check_payload().is_err() || at < 264 {
                continue;
            }
            let (quant, golden) = (reader.quant().unwrap(), reader.golden().unwrap());
            let (meta, provenance) = (reader.meta().unwrap(), reader.provenance().unwrap());
            let mut writer = Writer::new();
            for program in &programs {
                writer.program(program);
            }
            writer.weights(reader.weights(), WeightsAlign::Page16K).pack_id(reader.pack_id());
            writer.quant(&quant).golden(&golden).meta(&meta).provenance(&provenance);
            if programs[0].name != programs[1].name {
                assert!(parts(&writer.finish().unwrap()) == parts(&file), "byte {at} changed to {value:#x}");
            }
        }
    }
    assert!(accepted > 1000, "{accepted} files were accepted: names and weights may change");
}

/// The same for the bytes of states: nothing panics, and what is accepted has one encoding only.
#[test]
fn every_forged_byte_of_states_is_refused_or_means_what_it_says() {
    let program = Reader::open(STREAMING).unwrap().sections()[0];
    for at in program.offset as usize..(program.offset + program.length) as usize {
        for value in changed(STREAMING[at]) {
            let mut file = STREAMING.to_vec();
            file[at] = value;
            seal(&mut file);
            let Ok(programs) = read_all(&file) else { continue };
            let mut list = parts(&file);
            let mut again = Writer::new();
            let weights = list.pop().unwrap().3;
            let again =
                again.program(&programs[0]).weights(&weights, WeightsAlign::Page16K).finish().unwrap();
            assert!(parts(&again)[0] == list[0], "byte {at} changed to {value:#x}");
        }
    }
}

/// States need both words of the header or none.
#[test]
fn the_size_of_state_records() {
    let with = |good: &[u8], states: u32, bytes: u32| {
        let mut list = parts(good);
        list[0].3[64..68].copy_from_slice(&states.to_le_bytes());
        list[0].3[68..72].copy_from_slice(&bytes.to_le_bytes());
        read_all(&Frame::default().file(&list)).unwrap_err().to_string()
    };
    assert!(with(TINY, 0, 24).contains("record size 24 of 0 states is not a multiple of 8 from 0 to 0"));
    assert!(with(STREAMING, 2, 16).contains("of 2 states is not a multiple of 8 from 24 to 4096"));
    assert!(with(STREAMING, 2, 28).contains("of 2 states is not a multiple of 8 from 24 to 4096"));
    assert!(with(STREAMING, 2, 32).contains("the section's parts take"));
    assert!(with(STREAMING, u32::MAX, 4096).contains("the section's parts take"));
}

/// Every 32-bit word of header, table and programs is set to sizes that no memory holds.
#[test]
fn huge_sizes_are_refused_before_anything_is_allocated() {
    let programs_end = Reader::open(TINY).unwrap().sections()[1];
    let programs_end = (programs_end.offset + programs_end.length) as usize;
    for at in (8..programs_end - 8).step_by(4) {
        for (bytes, value) in
            [(4, u64::MAX), (8, u64::MAX), (8, u64::MAX / 2), (4, 0x7fff_ffff), (4, 0x8000_0000)]
        {
            let mut file = TINY.to_vec();
            file[at..at + bytes].copy_from_slice(&value.to_le_bytes()[..bytes]);
            seal(&mut file);
            let _ = read_all(&file);
        }
    }
    // Counts of the sections that are only lists.
    for kind in [Kind::META, Kind::PROVENANCE, Kind::QUANT, Kind::GOLDEN] {
        let mut list = parts(TINY);
        let section = list.iter_mut().find(|p| p.0 == kind.0).unwrap();
        for at in (0..section.3.len() - 4).step_by(4) {
            let mut list = parts(TINY);
            let section = list.iter_mut().find(|p| p.0 == kind.0).unwrap();
            section.3[at..at + 4].fill(0xff);
            let _ = read_all(&Frame::default().file(&list));
        }
        let section = list.iter_mut().find(|p| p.0 == kind.0).unwrap();
        section.3[..4].fill(0xff);
        assert!(
            matches!(read_all(&Frame::default().file(&list)), Err(FormatError::Content { kind: k, .. }) if k == kind)
        );
    }
}

#[test]
fn the_specification_gives_the_fixture() {
    assert!(Frame::default().file(&parts(TINY)) == TINY);
}

#[test]
fn other_files_and_text_transfers_are_told_apart() {
    assert_eq!(Reader::open(b"").unwrap_err(), FormatError::Magic(vec![]));
    assert_eq!(Reader::open(b"PK\x03\x04").unwrap_err(), FormatError::Magic(b"PK\x03\x04".to_vec()));
    let unix: Vec<u8> = TINY.iter().copied().filter(|&b| b != b'\r').collect();
    assert_eq!(Reader::open(&unix).unwrap_err(), FormatError::Mangled);
    let seven: Vec<u8> = TINY.iter().map(|b| b & 0x7f).collect();
    assert_eq!(Reader::open(&seven).unwrap_err(), FormatError::Mangled);
}

#[test]
fn versions() {
    let list = parts(TINY);
    let newer = Frame { version: (1, 9), ..Frame::default() }.file(&list);
    assert_eq!(Reader::open(&newer).unwrap().version(), (1, 9));
    for version in [(2, 0), (0, 9)] {
        let error = Reader::open(&Frame { version, ..Frame::default() }.file(&list)).unwrap_err();
        assert_eq!(error, FormatError::Version { major: version.0, minor: version.1 });
    }
    assert!(
        FormatError::Version { major: 2, minor: 0 }
            .to_string()
            .contains("2.0, this runtime reads 1.x; use a newer")
    );
}

/// Fields that a later minor version appends are skipped while they are zero.
#[test]
fn larger_headers_and_entries() {
    let list = parts(TINY);
    let grown = |header: u8, entry: u8| {
        let frame = Frame { header_tail: vec![header; 8], entry_tail: vec![entry; 16], ..Frame::default() };
        read_all(&frame.file(&list))
    };
    assert_eq!(grown(0, 0).unwrap(), tiny().programs);
    assert!(grown(1, 0).unwrap_err().to_string().contains("byte 40: a byte that should be zero is not"));
    assert!(matches!(grown(0, 1), Err(FormatError::Frame { offset: 80, .. })));
    let odd = Frame { header_tail: vec![0; 4], ..Frame::default() };
    assert!(Reader::open(&odd.file(&list)).unwrap_err().to_string().contains("multiple of 8"));
}

#[test]
fn unknown_sections() {
    let with = |part: Part| {
        let mut list = parts(TINY);
        list.insert(1, part);
        read_all(&Frame::default().file(&list))
    };
    assert_eq!(with((*b"NEW!", 0, 8, vec![1; 9])).unwrap(), tiny().programs);
    assert_eq!(with((*b"SIGN", 0, 8, vec![1; 9])).unwrap(), tiny().programs);
    let error = with((*b"NEW!", 1, 8, vec![1; 9])).unwrap_err();
    assert!(error.to_string().starts_with("section 1 'NEW!' (flags 0x1) is critical and unknown"), "{error}");
    // A flag that is unknown makes the section unknown, whatever its kind.
    assert_eq!(with((*b"META", 2, 8, vec![1; 9])).unwrap(), tiny().programs);
    assert!(matches!(
        with((*b"PROG", 3, 8, vec![1; 9])),
        Err(FormatError::UnknownSection { index: 1, flags: 3, .. })
    ));
}

#[test]
fn sections_in_the_wrong_number_or_form() {
    let refused = |change: fn(&mut Vec<Part>)| {
        let mut list = parts(TINY);
        change(&mut list);
        Reader::open(&Frame::default().file(&list)).unwrap_err().to_string()
    };
    assert!(refused(|list| list.retain(|p| &p.0 != b"PROG")).contains("there is no section 'PROG'"));
    assert!(refused(|list| list.push(list[6].clone())).contains("there are 2 sections 'WGHT'"));
    assert!(refused(|list| list.push(list[3].clone())).contains("there are 2 sections 'META'"));
    assert!(refused(|list| list[0].1 = 0).contains("'PROG' is not marked critical"));
    assert!(refused(|list| list[6].2 = 32).contains("'WGHT' is not aligned to 64"));
    assert!(refused(|list| list[6].2 = 1 << 21).contains("no power of two up to 1048576"));
    let tail = Frame { tail: vec![0; 8], ..Frame::default() };
    assert!(
        Reader::open(&tail.file(&parts(TINY)))
            .unwrap_err()
            .to_string()
            .contains("8 bytes follow the last section")
    );
}

#[test]
fn sections_out_of_place() {
    let moved = |at: usize, value: u64| {
        let mut file = TINY.to_vec();
        file[at..at + 8].copy_from_slice(&value.to_le_bytes());
        seal(&mut file);
        Reader::open(&file).unwrap_err().to_string()
    };
    let second = 40 + 32;
    assert!(moved(second + 8, 264).contains("section 1 'PROG': begins at byte 264 where"), "overlap");
    assert!(moved(second + 8, 1 << 40).contains("begins at byte 1099511627776"), "gap");
    assert!(moved(40 + 6 * 32 + 16, u64::MAX).contains("go past the file's end"));
    let mut file = TINY.to_vec();
    file[16000] = 1;
    assert!(Reader::open(&file).unwrap_err().to_string().contains("byte 16000 of the padding"));
}

/// Errors name section, byte and reason.
#[test]
fn errors_say_where() {
    let mut file = TINY.to_vec();
    file[336 + 8] = 99; // the first tensor's element type
    seal(&mut file);
    let error = Reader::open(&file).unwrap().program(0).unwrap_err().to_string();
    assert!(
        error.starts_with("section 0 'PROG', byte 344 of the file: tensor 0: element type 99 is unknown"),
        "{error}"
    );

    let mut file = TINY.to_vec();
    file[336 + 56 + 12] = 2; // the second tensor's pitch
    seal(&mut file);
    let error = Reader::open(&file).unwrap().program(0).unwrap_err().to_string();
    let want =
        "section 0 'PROG', byte 392 of the file: tensor 1 'left': pitch 2 is less than the last dimension 3";
    assert!(error.starts_with(want), "{error}");

    let mut file = TINY.to_vec();
    file[16384 + 5] ^= 1;
    let error = Reader::open(&file).unwrap().check_payload().unwrap_err().to_string();
    assert!(error.starts_with("section 6 'WGHT', byte 16384: CRC32C is"), "{error}");
}

/// A parameter that a later version appends is skipped while it is zero; one that this version appended may be left out.
#[test]
fn appended_parameters() {
    let conv = tiny_program().steps[0].op;
    let mut words = conv.words();
    assert_eq!((words.len(), conv.minor_version()), (16, 0));
    assert_eq!(op::Op::decode(1, &words), Ok(conv));
    assert_eq!(
        op::Op::decode(1, &words[..15]),
        Err(op::DecodeError::Short { op: "conv", want: 16, got: 15 })
    );
    words.push(0);
    assert_eq!(op::Op::decode(1, &words), Ok(conv));
    words[16] = 1;
    let winograd = op::Op::decode(1, &words).unwrap();
    assert_eq!((&winograd.words(), winograd.minor_version()), (&words, 1));
    words[16] = 2;
    assert_eq!(op::Op::decode(1, &words), Err(op::DecodeError::Value { op: "conv" }));
    let op = &tiny_program().steps[1].op;
    let mut words = op.words();
    words.push(0);
    assert_eq!(op::Op::decode(op.code(), &words).as_ref(), Ok(op));
    words.push(1);
    assert_eq!(op::Op::decode(op.code(), &words), Err(op::DecodeError::Appended { op: "binary" }));
    assert_eq!(op::Op::decode(999, &words), Err(op::DecodeError::Code(999)));
    assert_eq!(
        op::Op::decode(op.code(), &words[..7]),
        Err(op::DecodeError::Short { op: "binary", want: 8, got: 7 })
    );
}
