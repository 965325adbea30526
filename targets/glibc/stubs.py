#!/usr/bin/env python3
"""Writes stand-ins for glibc's libraries that offer what an older glibc has, to link programs with that run on both.

    targets/glibc/stubs.py FOLDER-OF-GLIBC NEWEST COMPILER INTO     (as /usr/aarch64-linux-gnu/lib 2.28 aarch64-linux-gnu-gcc x)

A program takes from the library that it is linked with each symbol's default version, which may be one that older
systems lack, though the library has the older ones too. The stand-ins have every symbol by the newest version that is
not newer than NEWEST, and no code. Up to glibc 2.33 threads, dlopen and timers lay in libraries of their own: their
symbols stand in these again, so that the program asks for them; newer systems have them as empty shells.
"""

import collections
import pathlib
import re
import subprocess
import sys

LIBRARIES = {"c": "libc.so.6", "m": "libm.so.6"}
# What lay elsewhere: by the names of glibc 2.28's Versions files.
OUTSIDE = [
    ("pthread", "libpthread.so.0", r"pthread_|__pthread_|sem_(?!op|get|ctl|timedop)|__sem|flockfile"),
    ("dl", "libdl.so.2", r"dl(open|close|sym|vsym|addr|addr1|error|info|mopen)$"),
    ("rt", "librt.so.1", r"(aio_|lio_|mq_|shm_|timer_)"),
    ("util", "libutil.so.1", r"(openpty|forkpty|login|logout|logwtmp|login_tty)$"),
]


def number(version):
    return tuple(int(part) for part in version.split("."))


def symbols(compiler, library):
    """Yields name, type, version, size and whether it is the default one."""
    readelf = compiler.replace("gcc", "readelf")
    text = subprocess.run([readelf, "--dyn-syms", "-W", library], capture_output=True, text=True, check=True).stdout
    for line in text.splitlines():
        fields = line.split()
        if len(fields) < 8 or fields[6] == "UND":
            continue
        match = re.fullmatch(r"([\w.]+)(@@?)GLIBC_([\d.]+)", fields[7])
        if match:
            yield match.group(1), fields[3], match.group(3), int(fields[2], 0), match.group(2) == "@@"


def main():
    folder, newest, compiler, into = sys.argv[1:]
    newest = number(newest)
    into = pathlib.Path(into)
    into.mkdir(parents=True, exist_ok=True)
    stubs = collections.defaultdict(dict)
    for short, soname in LIBRARIES.items():
        versions = collections.defaultdict(list)
        for name, kind, version, size, default in symbols(compiler, f"{folder}/{soname}"):
            versions[name].append((number(version), version, kind, size, default))
        for name, found in versions.items():
            # A symbol without a default version is one that must no longer be linked with; but for what older systems
            # have in place of stat and its kin.
            if not any(default for *_, default in found) and not re.fullmatch(r"__[fl]?xstat(at)?64", name):
                continue
            old = [entry for entry in found if entry[0] <= newest]
            if not old:
                continue
            _, version, kind, size, _ = max(old)
            moved = len(found) > 1 and max(found)[0] > (2, 28)
            place = next((o for o in OUTSIDE if short == "c" and moved and re.match(o[2], name)), (short, soname))
            stubs[place[:2]][name] = (version, kind, size)
    for (short, soname), content in stubs.items():
        source, script = [], collections.defaultdict(list)
        for index, (name, (version, kind, size)) in enumerate(sorted(content.items())):
            place = {"TLS": '.section .tbss,"awT",@nobits', "OBJECT": ".data"}.get(kind, ".text")
            type_ = {"TLS": "tls_object", "OBJECT": "object"}.get(kind, "function")
            source += [place, f".globl stub_{index}", f".type stub_{index}, %{type_}", f".size stub_{index}, {size}"]
            source += [f"stub_{index}:", f".skip {max(size, 4) if kind in ('TLS', 'OBJECT') else 4}"]
            source += [f".symver stub_{index}, {name}@@GLIBC_{version}"]
            script[version].append(name)
        source += ['.section .note.GNU-stack,"",%progbits']
        (into / f"{short}.s").write_text("\n".join(source) + "\n")
        nodes, before = [], ""
        for version in sorted(script, key=number):
            names = "".join(f" {name};" for name in script[version])
            nodes.append(f"GLIBC_{version} {{ global:{names}{' local: *;' if not before else ''} }}{before};")
            before = f" GLIBC_{version}"
        (into / f"{short}.map").write_text("\n".join(nodes) + "\n")
        library = into / f"lib{short}.so"
        subprocess.run([compiler, "-shared", "-nostdlib", "-o", library, f"-Wl,-soname,{soname}",
                        f"-Wl,--version-script={into}/{short}.map", into / f"{short}.s"], check=True)


if __name__ == "__main__":
    main()
