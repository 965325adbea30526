#!/bin/bash
# Makes a model an object file for each architecture, links it into a C program and into a Rust one, runs both under QEMU,
# and compares what they print with what this machine computes.
#
#   targets/check-objects.sh [ARCH ...]        aarch64, armv7, riscv64, x86_64; default: all
#
# For Debian 12: its compilers are used for all architectures. The C program is capi/examples/classify.c.
set -euo pipefail
shopt -s inherit_errexit
cd "$(dirname "$0")/.."
. targets/common.sh

arches=(aarch64 armv7 riscv64 x86_64)
case ${1:-} in
    -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
    '') ;;
    *) arches=("$@") ;;
esac
is_bookworm || die "this check needs Debian 12"
install_debian_rust
folder=${CARGO_TARGET_DIR:-$PWD/target}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

say "building the converter"
# As check-device.sh builds it, so that it is built once.
cargo build --quiet -p cygnet-targets -p cygnet-cli --bin check-elf --bin cygnet
cygnet=$folder/debug/cygnet
"$cygnet" convert assets/fashion_mnist_cnn.onnx --precision f32 -o "$work/net.cygnet" 2> /dev/null > /dev/null

# The Rust program is a package of its own, with the versions of this repository's dependencies.
mkdir "$work/src"
cp targets/objects/main.rs "$work/src/"
cp Cargo.lock "$work/"
cat > "$work/Cargo.toml" << EOF
[package]
name = "linked"
version = "0.0.0"
edition = "2024"
[dependencies]
cygnet = { path = "$PWD/runtime", default-features = false }
[workspace]
EOF

# What is looked at is that it links and what it prints, not how fast it is.
export CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16
export CARGO_PROFILE_RELEASE_DEBUG=0 CARGO_TARGET_DIR=$folder/objects RUSTC_BOOTSTRAP=1

expected=
# same WHAT OUTPUT: fails where it is not what the first program printed.
same() {
    [ -n "$2" ] || die "$1 printed nothing"
    [ -n "$expected" ] || expected=$2
    [ "$2" = "$expected" ] || die "$1 printed other bits: $2, not $expected"
    say "$1: the bits are the same"
}

# What the file's first program computes here of zeros is what all have to print: x86-64 goes first.
ordered=(x86_64)
for arch in "${arches[@]}"; do [ "$arch" = x86_64 ] || ordered+=("$arch"); done
for arch in "${ordered[@]}"; do
    standard=(-Zbuild-std=std,panic_unwind)
    case $arch in
        aarch64) target=aarch64-unknown-linux-gnu tools=aarch64-linux-gnu qemu=(qemu-aarch64-static -cpu cortex-a53) standard=() ;;
        armv7) target=armv7-unknown-linux-gnueabihf tools=arm-linux-gnueabihf qemu=(qemu-arm-static -cpu cortex-a7) ;;
        riscv64) target=riscv64gc-unknown-linux-gnu tools=riscv64-linux-gnu qemu=(qemu-riscv64-static -cpu rv64) ;;
        x86_64) target=x86_64-unknown-linux-gnu tools=x86_64-linux-gnu qemu=() standard=() ;;
        *) die "unknown architecture $arch; give aarch64, armv7, riscv64 or x86_64" ;;
    esac
    case $arch in
        armv7) install_packages rust-web-src gcc-arm-linux-gnueabihf libc6-dev-armhf-cross ;;
        riscv64) install_packages rust-web-src gcc-riscv64-linux-gnu libc6-dev-riscv64-cross ;;
    esac
    "$cygnet" bundle "$work/net.cygnet" --object "$arch" -o "$work/net.o" > /dev/null
    export RUSTFLAGS="-C target-feature=+crt-static -C linker=$tools-gcc"
    debian_cargo rustc --quiet --release -p cygnet-capi --target "$target" --crate-type staticlib "${standard[@]}"
    "$tools-gcc" -static -Wl,--no-warnings -Wall -Wextra -Werror -std=c99 -I capi/include -I "$work" -o "$work/app" capi/examples/classify.c \
        "$work/net.o" "$CARGO_TARGET_DIR/$target/release/libcygnet_capi.a" -lgcc_eh -lpthread -ldl -lm -lc
    same "$arch, C" "$("${qemu[@]}" "$work/app")"
    debian_cargo rustc --quiet --release --manifest-path "$work/Cargo.toml" --target "$target" "${standard[@]}" \
        -- -C link-arg="$work/net.o"
    same "$arch, Rust" "$("${qemu[@]}" "$CARGO_TARGET_DIR/$target/release/linked")"
done
