//! Checks programs for devices: `check-elf [--limit BYTES] PROGRAM...`. Prints what each is, and fails on what must not
//! be. `targets/check-device.sh` calls it.

use std::process::ExitCode;

use cygnet_targets::elf::{GLIBC, facts};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (mut limit, mut faults, mut programs) = (u64::MAX, 0, 0);
    while let Some(argument) = arguments.next() {
        if argument == "--limit" {
            let Some(bytes) = arguments.next().and_then(|text| text.parse().ok()) else {
                eprintln!("error: --limit needs a number of bytes");
                return ExitCode::from(2);
            };
            limit = bytes;
            continue;
        }
        programs += 1;
        match check(&argument, limit) {
            Ok(found) => faults += found,
            Err(error) => {
                eprintln!("error: {argument}: {error}");
                faults += 1;
            }
        }
    }
    if programs == 0 {
        eprintln!("error: give the programs to check");
        return ExitCode::from(2);
    }
    ExitCode::from(u8::from(faults > 0))
}

/// Prints what a program is; gives the number of faults.
fn check(path: &str, limit: u64) -> Result<usize, String> {
    let bytes = std::fs::read(path).map_err(|e| e.to_string())?;
    let facts = facts(&bytes)?;
    let mut faults = facts.faults(GLIBC);
    if bytes.len() as u64 > limit {
        faults.push(format!(
            "it has {} bytes, {limit} are allowed; docs/size.md tells what is large",
            bytes.len()
        ));
    }
    let glibc = facts.glibc.map_or("none".to_owned(), |version| format!("{}.{}", version.0, version.1));
    let kind = if facts.dynamic { "dynamic" } else { "static" };
    println!(
        "{path}: {} bytes, {kind}, segments aligned to {}, glibc {glibc}",
        bytes.len(),
        facts.load_align
    );
    for fault in &faults {
        eprintln!("error: {path}: {fault}");
    }
    Ok(faults.len())
}
