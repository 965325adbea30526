#!/bin/bash
# The linker of build-device.sh on Debian: the cross compiler of glibc made to link a static, position-independent
# program with musl. CYGNET_MUSL_UNWIND names the folder with the unwinder that build-device.sh prepares. Segments are
# for pages of up to 16 KiB, the largest that devices have: larger ones would leave a hole of up to their size in the file.
set -euo pipefail
musl=/usr/lib/aarch64-linux-musl
arguments=()
for argument in "$@"; do
    case $argument in
        # rustc asks for a program at a fixed address on this target.
        -static | -no-pie | -nodefaultlibs) ;;
        *) arguments+=("$argument") ;;
    esac
done
exec aarch64-linux-gnu-gcc -static-pie -nostartfiles -nostdlib "$musl/rcrt1.o" "$musl/crti.o" "-L$musl" \
    "-L$CYGNET_MUSL_UNWIND" "${arguments[@]}" -Wl,--start-group -lc -lgcc -lgcc_eh -Wl,--end-group \
    "-Wl,-z,max-page-size=16384" "$musl/crtn.o"
