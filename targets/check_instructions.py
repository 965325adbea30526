#!/usr/bin/env python3
"""Finds instructions beyond ARMv8.0-A in an aarch64 program that no dispatch guards.

    targets/check_instructions.py PROGRAM [--objdump aarch64-linux-gnu-objdump]

Disassembles a program that still has its symbols. An instruction of an extension may stand only in functions whose
names say that they are called where the extension is: kernels carry it in their path (`...::dotprod::panels`), and
compiler's and C library's helpers have names of their own. Prints how many of each were seen, and fails on any other.
"""

import argparse
import collections
import re
import subprocess
import sys

# An extension: its instructions, and the functions that may have them. Names and operands are those of binutils.
HALF = r"\bv\d+\.[48]h\b|\bh\d+\b"
RULES = [
    # (name, mnemonic, operands, functions that are guarded)
    ("dotprod", r"[su]dot$", r"v\d+", r"dotprod|i8mm"),
    ("i8mm", r"(us|su)dot$|us?mmla$|smmla$", r"", r"i8mm"),
    ("bf16", r"bf", r"v\d+", None),
    ("fhm", r"fml[as]l2?$", r"", None),
    ("rdm", r"sqrdml[as]h$", r"", None),
    ("fcma", r"fcmla$|fcadd$", r"", None),
    ("jscvt", r"fjcvtzs$", r"", None),
    ("sve", r"", r"\bz\d+\.[bhsdq]\b|\bp\d+/[zm]", r"_sve$"),
    ("mops", r"(cpy|set)(f|g)?[pme](w|r|n|t)*$", r"\]!", r"_mops$"),
    ("mte", r"(stg|st2g|stzg|ldg|irg|gmi|subp|addg|subg)$", r"", r"mte|_mops$"),
    ("crc32", r"crc32c?[bhwx]$", r"", r"crc32|crc_"),
    ("crypto", r"aes|sha1|sha256|sha512|pmull2?$", r"v\d+\.(16b|4s|2d|1q)", r"crc32|crc_"),
    ("lse", r"(cas|swp|ld(add|clr|eor|set|[su](max|min)))p?(a|l|al)?[bh]?$", r"\[", r"^__aarch64_"),
    ("lse", r"st(add|clr|eor|set|[su](max|min))l?[bh]?$", r"\[", r"^__aarch64_"),
    ("rcpc", r"ldapu?r", r"", None),
    ("pauth", r"(ret|br|blr|ldr)a[ab]z?$", r"", None),
]
# Widening and narrowing of halves is in ARMv8.0; arithmetic on them is not.
CONVERSIONS = re.compile(r"fcvt(l|n|xn)?2?$")
# Mnemonics that take halves as integers of 16 bits are of the baseline; those that begin with f, or convert, are not.
HALF_ARITHMETIC = re.compile(r"f|[su]cvtf$")
FP16_FUNCTIONS = re.compile(r"fp16|depthwise::half_strip::")

FUNCTION = re.compile(r"^[0-9a-f]+ <(.*)>:$")
INSTRUCTION = re.compile(r"^\s+[0-9a-f]+:\s+(\S+)(?:\s+(.*))?$")


def extension(mnemonic, operands):
    """The extension of an instruction and the functions that may have it; None for the baseline's."""
    if HALF_ARITHMETIC.match(mnemonic) and re.search(HALF, operands) and not CONVERSIONS.match(mnemonic):
        if not mnemonic.startswith("fmov") or re.search(r"\bh\d+\b|#", operands):
            return "fp16", FP16_FUNCTIONS
    for name, mnemonics, places, functions in RULES:
        if re.match(mnemonics, mnemonic) and re.search(places, operands):
            return name, functions and re.compile(functions)
    return None


def check(lines):
    """Counts by extension, and the faults: (function, extension, instruction)."""
    seen, faults, function = collections.Counter(), [], "?"
    for line in lines:
        if match := FUNCTION.match(line):
            function = match.group(1)
            continue
        match = INSTRUCTION.match(line)
        if not match:
            continue
        mnemonic, operands = match.group(1).lower(), match.group(2) or ""
        found = extension(mnemonic, operands.split("//")[0])
        if not found:
            continue
        name, functions = found
        seen[name] += 1
        if not functions or not functions.search(function):
            faults.append((function, name, f"{mnemonic} {operands}"))
    return seen, faults


def self_test():
    """The rules on instructions whose extension is known from the architecture's manual."""
    known = {
        "sdot v0.4s, v1.16b, v2.4b[0]": "dotprod",
        "smmla v0.4s, v1.16b, v2.16b": "i8mm",
        "usdot v0.4s, v1.16b, v2.16b": "i8mm",
        "fmla v0.8h, v1.8h, v2.8h": "fp16",
        "fadd h0, h1, h2": "fp16",
        "scvtf v0.8h, v1.8h": "fp16",
        "fcvtl v0.4s, v1.4h": None,
        "fcvt s0, h1": None,
        "fcvtn v0.4h, v1.4s": None,
        "fmla v0.4s, v1.4s, v2.4s": None,
        "add v0.8h, v1.8h, v2.8h": None,
        "smlal v0.8h, v1.8b, v2.8b": None,
        "ldaddal w0, w1, [x2]": "lse",
        "ldaxr w0, [x1]": None,
        "ldapr w0, [x1]": "rcpc",
        "crc32cx w0, w1, x2": "crc32",
        "ld1b {z0.b}, p0/z, [x0]": "sve",
        "stp x29, x30, [sp, #-16]!": None,
        "fmov d0, x1": None,
        "ret": None,
    }
    for text, expected in known.items():
        mnemonic, _, operands = text.partition(" ")
        found = extension(mnemonic, operands)
        assert (found and found[0]) == expected, f"{text}: {found}"
    lines = ["0000000000000010 <a::neon::run>:", "  10:\tsdot\tv0.4s, v1.16b, v2.16b", "0000000000000020 <a::dotprod::run>:", "  20:\tsdot\tv0.4s, v1.16b, v2.16b"]
    seen, faults = check(lines)
    assert seen["dotprod"] == 2 and [f[0] for f in faults] == ["a::neon::run"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--objdump", default="aarch64-linux-gnu-objdump")
    options = parser.parse_args()
    self_test()
    command = [options.objdump, "-d", "-C", "--no-show-raw-insn", options.program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as objdump:
        seen, faults = check(objdump.stdout)
    if objdump.returncode:
        sys.exit(f"error: {' '.join(command)} failed")
    functions = subprocess.run([options.objdump, "-t", options.program], capture_output=True, text=True, check=True)
    if " F .text" not in functions.stdout:
        sys.exit(f"error: {options.program} has no symbols; give the program before it was stripped")
    print(f"{options.program}: " + ", ".join(f"{n} of {name}" for name, n in sorted(seen.items())) + "; each guarded"
          if not faults else f"{options.program}: {len(faults)} instructions that nothing guards")
    for function, name, instruction in faults[:40]:
        print(f"error: {name} in {function}: {instruction}", file=sys.stderr)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
