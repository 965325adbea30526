//! Running for a long time: bits stay, and nothing that the process holds of the system grows.
//!
//! Three seconds by default; `CYGNET_SOAK=30m cargo test --release -p cygnet-tests --test soak -- --nocapture` for longer.
#![cfg(target_os = "linux")]

use std::time::{Duration, Instant};

use cygnet::{Model, Pages, Pool, PoolOptions, Session, SessionOptions};
use cygnet_tests::{bits, place};

const MODELS: [&str; 3] = ["blaze_int8", "fashion_f32", "fashion_weight-int4"];

/// Growth of memory that is no leak: the allocator's own, of blocks of changing sizes.
const SLACK_KIB: u64 = 2048;

/// What a process holds of the system.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Held {
    kib: u64,
    threads: u64,
    files: u64,
}

fn held() -> Held {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let number = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap()
    };
    let files = std::fs::read_dir("/proc/self/fd").unwrap().count() as u64;
    Held { kib: number("VmRSS:"), threads: number("Threads:"), files }
}

/// What the process holds once the threads that it joined are gone: the kernel wakes the one that joins before it takes
/// a thread off its list, and on a busy machine the list is read in between.
fn settled(threads: u64) -> Held {
    let begin = Instant::now();
    loop {
        let now = held();
        if now.threads <= threads || begin.elapsed() > Duration::from_secs(10) {
            return now;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn duration() -> Duration {
    let Ok(text) = std::env::var("CYGNET_SOAK") else { return Duration::from_secs(3) };
    let (number, unit) = text.split_at(text.len() - 1);
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => panic!("CYGNET_SOAK={text}: give it as 90s, 30m or 2h"),
    };
    Duration::from_secs(number.parse::<u64>().unwrap() * unit)
}

/// One turn: a model opened, pools of several sizes made, sessions that share them, runs, and all of it dropped.
fn turn(name: &str, index: usize, expected: &mut Option<Vec<(String, String)>>) {
    let path = place::own("fixtures").join(name).with_extension("cygnet");
    let model = Model::open(path).unwrap_or_else(|e| panic!("{e}"));
    let pool = Pool::new(&PoolOptions { threads: Some(1 + index % 4), cores: None }).unwrap();
    let options = SessionOptions {
        pool: Some(pool.into()),
        pages: if index.is_multiple_of(2) { Pages::Usual } else { Pages::Huge },
        ..SessionOptions::default()
    };
    let mut sessions = [0, 1].map(|_| Session::new(&model, &options).unwrap_or_else(|e| panic!("{e}")));
    for _ in 0..3 {
        for session in &mut sessions {
            let inputs = bits::noises(session, 7);
            let now = bits::hashes(session, &inputs).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(expected.get_or_insert_with(|| now.clone()), &now, "{name}, turn {index}: other bits");
        }
    }
}

// The only test of this binary: no other one has threads and files.
#[test]
fn nothing_grows() {
    let duration = duration();
    let begin = Instant::now();
    let before = held();
    let mut expected = [const { None }; MODELS.len()];
    let (mut turns, mut looks): (usize, Vec<(f64, Held)>) = (0, Vec::new());
    // The first tenth is not looked at: the allocator takes what it will need.
    let mut next = duration / 10;
    while begin.elapsed() < duration || looks.len() < 3 {
        for (name, expected) in MODELS.iter().zip(&mut expected) {
            turn(name, turns, expected);
        }
        turns += 1;
        if begin.elapsed() >= next {
            next += (duration / 20).min(Duration::from_secs(60));
            looks.push((begin.elapsed().as_secs_f64(), settled(before.threads)));
            let (at, now) = looks[looks.len() - 1];
            eprintln!(
                "{at:>7.0} s, {turns} turns: {} KiB, {} threads, {} files",
                now.kib, now.threads, now.files
            );
        }
    }
    // QEMU 7.2 keeps memory of every thread that ever ran: the tests on emulated cores are too short to tell.
    let memory_counts = cfg!(target_arch = "x86_64") || std::env::var("CYGNET_SOAK").is_ok();
    if !memory_counts {
        eprintln!("SKIPPED nothing_grows: memory, which an emulator holds too; CYGNET_SOAK=30m looks at it");
    }
    for (at, now) in &looks {
        assert_eq!((now.threads, now.files), (before.threads, before.files), "after {at:.0} s");
    }
    // What is held goes up and down with what the allocator gives back; what leaks is there at all times.
    let least = |looks: &[(f64, Held)]| looks.iter().map(|(_, now)| now.kib).min().unwrap();
    let (early, late) = looks.split_at(looks.len() / 2);
    let (early, late) = (least(early), least(late));
    assert!(!memory_counts || late <= early + SLACK_KIB, "at least {early} KiB at first, {late} in the end");
}
