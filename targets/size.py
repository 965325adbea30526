#!/usr/bin/env python3
"""Writes docs/size.md: sizes of the programs for devices, and what is large in them.

    targets/size.py SIZES TARGET-FOLDER > docs/size.md

Called by targets/check-device.sh --all. SIZES has a line a program: what, bytes, limit, architecture, by tabs.
"""

import collections
import re
import subprocess
import sys

CRATES = [
    ("kernels", r"cygnet_kernels"),
    ("command line, reports", r"\bcygnet::(bench|doctor|device|inspect|run|verify|arrays|common|process|camera|detect|classify|picture|Command|main)|clap|anstyle|anstream|strsim"),
    ("file format", r"cygnet_format"),
    ("runtime", r"\bcygnet::"),
    ("photos", r"image::|zune|png::|fdeflate|moxcms|pxfm|linuxvideo"),
    ("compression (npz, png)", r"zip::|zopfli|miniz|flate2|crc32fast|simd_adler|zlib"),
    ("JSON", r"serde|zmij|itoa|ryu"),
    ("Rust's standard library", r"\b(std|core|alloc|hashbrown|memchr|rustc_demangle|gimli|addr2line|object)::|<(str|u8|char|\[)"),
]


def parts(path):
    """Bytes of code and constants by where they are from."""
    tool = ["aarch64-linux-gnu-nm", "-S", "--defined-only", "--demangle=rust", path]
    sums = collections.Counter()
    for line in subprocess.run(tool, capture_output=True, text=True, check=True).stdout.splitlines():
        match = re.match(r"[0-9a-f]+ ([0-9a-f]+) ([a-zA-Z]) (.*)", line)
        if not match or match.group(2) in "bB":
            continue
        name = match.group(3)
        part = next((part for part, pattern in CRATES if re.search(pattern, name)), None)
        sums[part or ("C library, start-up" if "::" not in name else "other crates")] += int(match.group(1), 16)
    return sums


def main():
    sizes, folder = sys.argv[1:]
    print("# Sizes\n\nWritten by `targets/check-device.sh --all`; it fails where a limit is passed. Bytes of the stripped")
    print("programs that `targets/build-device.sh` makes.\n\n| program | bytes | MiB | limit, MiB |\n| --- | ---: | ---: | ---: |")
    for line in open(sizes, encoding="utf-8"):
        what, size, limit, _ = line.rstrip("\n").split("\t")
        limit = f"{int(limit) / 2**20:.2f}" if limit else ""
        print(f"| {what} | {int(size):,} | {int(size) / 2**20:.2f} | {limit} |")
    print("\nWhat the aarch64 program with photos is made of, by its symbols (tables and padding come on top):\n")
    print("| part | KiB |\n| --- | ---: |")
    for part, size in parts(f"{folder}/aarch64-unknown-linux-musl/device/cygnet.symbols").most_common():
        print(f"| {part} | {size / 1024:.0f} |")


if __name__ == "__main__":
    main()
