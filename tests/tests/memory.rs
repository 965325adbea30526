//! Memory is what the file says, and weights are there once however many use them.

use cygnet::{Model, Session, SessionOptions};
use cygnet_tests::place;

#[test]
fn the_arena_is_what_the_file_promises() {
    for name in ["blaze_f32", "blaze_int8", "seg_selfie_int8", "fashion_int8"] {
        let model = Model::open(place::own("fixtures").join(name).with_extension("cygnet")).unwrap();
        let session = Session::new(&model, &SessionOptions::default()).unwrap();
        let promised = model.programs()[0].arena_bytes;
        assert_eq!(session.arena_bytes() as u64, promised, "{name}");
        assert!(promised >= model.programs()[0].arena_lower_bound, "{name}");
    }
}

/// Of a mapped model no page is this process's own, before and after a run: a second process that maps the same file adds
/// none.
#[test]
#[cfg(target_os = "linux")]
fn mapped_weights_are_shared() {
    use cygnet_tests::bits;
    let path = place::own("fixtures/blaze_f32.cygnet");
    let model = Model::open(&path).unwrap();
    let mut session = Session::new(&model, &SessionOptions::default()).unwrap();
    let inputs = bits::noises(&session, 3);
    bits::hashes(&mut session, &inputs).unwrap();
    let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let mut lines = maps.lines().skip_while(|line| !line.ends_with("blaze_f32.cygnet"));
    // QEMU's user mode shows maps without the details below them.
    let Some(header) = lines.next() else {
        place::skipped("mapped_weights_are_shared", "this system lists no file behind the map");
        return;
    };
    assert!(header.contains("r--"), "{header}");
    let dirty = lines.find_map(|line| line.strip_prefix("Private_Dirty:")).map(str::trim);
    assert_eq!(dirty, Some("0 kB"));
}
