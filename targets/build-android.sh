#!/bin/bash
# Builds the C library for applications on Android: libcygnet_capi.a and cygnet.h, 64-bit Arm.
#
#   targets/build-android.sh [--output FOLDER]     default: target/android
#
# With rustup's target aarch64-linux-android, else on Debian 12 with its own toolchain and the standard library built along.
# The NDK is not needed: it links the library into an application. Where there is an aarch64 linker, the library is linked
# whole against stand-ins that have the symbols of targets/android/symbols.txt and no others, for pages of 16 KiB.
set -euo pipefail
cd "$(dirname "$0")/.."
. targets/common.sh

output=target/android
while [ $# -gt 0 ]; do
    case $1 in
        --output) [ $# -gt 1 ] || die "--output needs a folder"; shift; output=$1 ;;
        -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
        *) die "unknown option $1; see --help" ;;
    esac
    shift
done
target=aarch64-linux-android
# Of the library's kinds the static one alone: the shared one would have to be linked here.
build=(rustc --release -p cygnet-capi --target "$target" --crate-type staticlib)
folder=${CARGO_TARGET_DIR:-$PWD/target}/android-build
if have rustup && rustup target list --installed | grep -qx "$target"; then
    CARGO_TARGET_DIR=$folder cargo "${build[@]}"
elif is_bookworm; then
    install_debian_rust
    install_packages rust-web-src
    CARGO_TARGET_DIR=$folder RUSTC_BOOTSTRAP=1 debian_cargo "${build[@]}" -Zbuild-std=std,panic_unwind
else
    die "no standard library for $target: 'rustup target add $target'"
fi

archive=$folder/$target/release/libcygnet_capi.a
[ -f "$archive" ] || die "cargo built no $archive"
if have aarch64-linux-gnu-gcc; then
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    sed '/^#/d; s/.*/void &(void) {}/' targets/android/symbols.txt > "$work/system.c"
    link=(aarch64-linux-gnu-gcc -shared -fPIC -nostdlib -Wl,-z,max-page-size=16384)
    "${link[@]}" -w -fno-builtin "$work/system.c" -o "$work/libsystem.so"
    "${link[@]}" -Wl,--no-undefined -Wl,--whole-archive "$archive" -Wl,--no-whole-archive "$work/libsystem.so" \
        -o "$work/libcygnet.so" || die "the library asks for what targets/android/symbols.txt does not have"
    if LC_ALL=C readelf --wide --program-headers "$work/libcygnet.so" | awk '$1 == "LOAD" && $NF != "0x4000"' | grep .; then
        die "these segments are not aligned to 16 KiB"
    fi
    say "links against what Android has, in segments of 16 KiB"
fi
mkdir -p "$output"
aarch64-linux-gnu-strip --strip-debug -o "$output/libcygnet_capi.a" "$archive" 2> /dev/null || cp "$archive" "$output/"
cp capi/include/cygnet.h "$output/"
say "$output: libcygnet_capi.a ($(stat -c %s "$output/libcygnet_capi.a") bytes), cygnet.h"
