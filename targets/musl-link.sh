#!/bin/bash
# The linker of build-device.sh on Debian: the cross compiler of glibc made to link a static, position-independent
# program with musl. CYGNET_MUSL_UNWIND names the folder with the unwinder that build-device.sh prepares, CYGNET_PAGE the
# size of the largest pages that it has to be loaded into.
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
    "-Wl,-z,max-page-size=${CYGNET_PAGE:-65536}" "$musl/crtn.o"
