#!/bin/bash
# The linker of build-device.sh --dynamic: the cross compiler, with stand-ins for glibc's libraries that offer what an
# older one has. CYGNET_GLIBC_STUBS names the folder that build-device.sh prepares.
set -euo pipefail
cc=aarch64-linux-gnu-gcc
object() { "$cc" -print-file-name="$1"; }
# libgcc_s may need what the stand-ins lack: it is the device's own that is loaded.
exec "$cc" -nostartfiles "$CYGNET_GLIBC_STUBS/start.o" "$(object crti.o)" "$(object crtbeginS.o)" \
    "-L$CYGNET_GLIBC_STUBS" "$@" -Wl,--allow-shlib-undefined -Wl,-z,max-page-size=65536 \
    "$(object crtendS.o)" "$(object crtn.o)"
