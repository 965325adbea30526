#!/bin/bash
# Builds the program for devices: `cygnet` without the converter, statically linked, for any 64-bit Arm Linux.
#
#   targets/build-device.sh            # Debian's toolchain where it can be had, else a rustup target, else cross
#
# Prints where it lies and its size, and checks that it needs no shared library and starts (under QEMU, if there).
set -euo pipefail
cd "$(dirname "$0")/.."
. targets/common.sh

build=(build --profile device --no-default-features -p cygnet-cli --target "$TARGET")
# No effect on build scripts: with --target, these flags reach the target's code only.
export RUSTFLAGS="-C target-feature=+crt-static ${RUSTFLAGS:-}"
target_folder=${CARGO_TARGET_DIR:-$PWD/target}

if is_bookworm; then
    install_debian_rust
    target_folder+=/device
    CARGO_TARGET_DIR=$target_folder debian_cargo "${build[@]}"
elif have rustup && rustup target list --installed | grep -qx $TARGET && have aarch64-linux-gnu-gcc; then
    target_folder+=/device
    CARGO_TARGET_DIR=$target_folder CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
        cargo "${build[@]}"
elif have cross; then
    target_folder+=/device-cross
    CARGO_TARGET_DIR=$target_folder cross "${build[@]}"
else
    die "no compiler for $TARGET: use Debian 12, or 'rustup target add $TARGET' with gcc-aarch64-linux-gnu, or cross"
fi

binary=$target_folder/$TARGET/device/cygnet
[ -f "$binary" ] || die "cargo built no $binary"
# A static program names no interpreter and no needed library.
if have readelf && LC_ALL=C readelf --wide --program-headers --dynamic "$binary" | grep -E 'INTERP|\(NEEDED\)'; then
    die "$binary is not static"
fi
if have qemu-aarch64-static; then
    QEMU_CPU=cortex-a53 qemu-aarch64-static "$binary" --version
fi
bytes=$(stat -c %s "$binary")
say "$binary: $bytes bytes ($(awk -v b="$bytes" 'BEGIN { printf "%.2f", b / 1048576 }') MiB)"
