#!/bin/bash
# Builds the program for devices: `cygnet` without the converter, statically linked.
#
#   targets/build-device.sh [--target aarch64 | armv7 | riscv64] [--features LIST | --minimal] [--dynamic]
#
#   --target     default: aarch64, any 64-bit Arm Linux. armv7 (hardware floating point) and riscv64 (rv64gc) have the
#                portable kernels
#   --features   `photos`: detect and classify, from photos and cameras
#   --minimal    run, bench, inspect and verify alone, in the least space: without doctor and compressed arrays, and what
#                would be a panic (there should be none) ends the program without a message
#   --dynamic    aarch64 with the device's own C library, glibc from 2.28 on, for what has to load libraries there
#                (libcamerify). On Debian 12 only
#
# On Debian 12 with its own toolchain and the standard library built for size; elsewhere with a rustup target, else cross.
# Prints where the program lies and its size, and checks that it needs no shared library and starts (under QEMU, if
# there). Beside it lies cygnet.symbols, the same with its symbols.
set -euo pipefail
cd "$(dirname "$0")/.."
. targets/common.sh

arch=aarch64 features=device minimal=false dynamic=false
while [ $# -gt 0 ]; do
    case $1 in
        --target) [ $# -gt 1 ] || die "--target needs a name"; shift; arch=$1 ;;
        --features) [ $# -gt 1 ] || die "--features needs a list"; shift; features=$1 ;;
        --dynamic) dynamic=true ;;
        --minimal) minimal=true features= ;;
        -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
        *) die "unknown option $1; see --help" ;;
    esac
    shift
done
case $arch in
    aarch64) target=aarch64-unknown-linux-musl tools=aarch64-linux-gnu qemu=qemu-aarch64-static cpu=cortex-a53 ;;
    armv7) target=armv7-unknown-linux-gnueabihf tools=arm-linux-gnueabihf qemu=qemu-arm-static cpu=cortex-a7 ;;
    riscv64) target=riscv64gc-unknown-linux-gnu tools=riscv64-linux-gnu qemu=qemu-riscv64-static cpu=rv64 ;;
    *) die "unknown target $arch; give aarch64, armv7 or riscv64" ;;
esac

if $dynamic; then
    [ "$arch" = aarch64 ] && is_bookworm || die "--dynamic is for aarch64, and needs Debian 12"
    target=aarch64-unknown-linux-gnu
fi
profile=device
if $minimal; then profile=minimal; fi
build=(build --profile "$profile" --no-default-features --features "$features" -p cygnet-cli --target "$target")
# Symbols are taken out below, once they have served.
export CARGO_PROFILE_DEVICE_STRIP=none CARGO_PROFILE_MINIMAL_STRIP=none
target_folder=${CARGO_TARGET_DIR:-$PWD/target}/$profile
strip=strip

if is_bookworm; then
    install_debian_rust
    case $arch in
        aarch64) install_packages rust-web-src musl-dev:arm64 libc6-dev-arm64-cross python3 ;;
        armv7) install_packages rust-web-src gcc-arm-linux-gnueabihf libc6-dev-armhf-cross ;;
        riscv64) install_packages rust-web-src gcc-riscv64-linux-gnu libc6-dev-riscv64-cross ;;
    esac
    strip=$tools-strip
    # No tables to unwind by, and no places in the source in messages of panics, of which there should be none.
    flags="-C force-unwind-tables=no -Z location-detail=none"
    if $minimal; then
        flags+=" -Z unstable-options -C panic=immediate-abort"
    fi
    if $dynamic; then
        CYGNET_GLIBC_STUBS=$target_folder/glibc-stubs
        export CYGNET_GLIBC_STUBS
        targets/glibc/stubs.py /usr/aarch64-linux-gnu/lib 2.28 "$tools-gcc" "$CYGNET_GLIBC_STUBS"
        "$tools-gcc" -Os -fPIC -ffreestanding -fno-asynchronous-unwind-tables -c targets/glibc/start.c \
            -o "$CYGNET_GLIBC_STUBS/start.o"
        flags+=" -C linker-flavor=gcc -C linker=$PWD/targets/glibc/link.sh"
    elif [ "$arch" = aarch64 ]; then
        # libgcc's unwinder, which the standard library links for this target under the name of another one, and what
        # it wants of glibc: a finder of tables that says "not found", upon which it looks itself. And the name of a
        # thread without printf, which musl's writes a path with: the standard library names the calling thread only.
        CYGNET_MUSL_UNWIND=$target_folder/musl-unwind
        export CYGNET_MUSL_UNWIND
        mkdir -p "$CYGNET_MUSL_UNWIND"
        cat > "$CYGNET_MUSL_UNWIND/parts.c" << 'EOF'
int prctl(int option, ...);
int _dl_find_object(void *address, void *result) { (void)address; (void)result; return -1; }
int pthread_setname_np(unsigned long thread, const char *name) { (void)thread; return prctl(15 /* PR_SET_NAME */, name); }
EOF
        aarch64-linux-gnu-gcc -Os -fPIC -ffunction-sections -fno-asynchronous-unwind-tables \
            -c "$CYGNET_MUSL_UNWIND/parts.c" -o "$CYGNET_MUSL_UNWIND/parts.o"
        cp "$(aarch64-linux-gnu-gcc -print-file-name=libgcc_eh.a)" "$CYGNET_MUSL_UNWIND/libgcc_eh.a"
        aarch64-linux-gnu-ar q "$CYGNET_MUSL_UNWIND/libgcc_eh.a" "$CYGNET_MUSL_UNWIND/parts.o"
        cp "$CYGNET_MUSL_UNWIND/libgcc_eh.a" "$CYGNET_MUSL_UNWIND/libunwind.a"
        flags+=" -C link-self-contained=no -C relocation-model=pic -C linker-flavor=gcc -C linker=$PWD/targets/musl-link.sh"
    else
        flags+=" -C target-feature=+crt-static -C linker=$tools-gcc"
    fi
    # The standard library is built with the program: for size, and without tables to unwind by. RUSTC_BOOTSTRAP lets a
    # released compiler do that; nothing in this repository needs an unreleased one.
    CARGO_TARGET_DIR=$target_folder RUSTC_BOOTSTRAP=1 RUSTFLAGS="$flags ${RUSTFLAGS:-}" debian_cargo "${build[@]}" \
        -Zbuild-std=std,panic_abort -Zbuild-std-features=optimize_for_size
elif have rustup && rustup target list --installed | grep -qx "$target"; then
    have "$tools-strip" && strip=$tools-strip
    CARGO_TARGET_DIR=$target_folder RUSTFLAGS="-C target-feature=+crt-static ${RUSTFLAGS:-}" cargo "${build[@]}"
elif have cross; then
    target_folder+=-cross
    CARGO_TARGET_DIR=$target_folder RUSTFLAGS="-C target-feature=+crt-static ${RUSTFLAGS:-}" cross "${build[@]}"
else
    die "no compiler for $target: use Debian 12, or 'rustup target add $target' with a linker for it, or cross"
fi

binary=$target_folder/$target/$profile/cygnet
[ -f "$binary" ] || die "cargo built no $binary"
rm -f "$binary.symbols"
mv "$binary" "$binary.symbols"
"$strip" -o "$binary" "$binary.symbols" || die "$strip does not know this target; install binutils for it"
# A static program names no interpreter and no needed library.
if ! $dynamic && have readelf && LC_ALL=C readelf --wide --program-headers --dynamic "$binary" | grep -E 'INTERP|\(NEEDED\)'; then
    die "$binary is not static"
fi
if have "$qemu"; then
    # With the arm64 C library that lies beside QEMU's host; without one a dynamic program cannot start here.
    if ! $dynamic || [ -e /lib/ld-linux-aarch64.so.1 ]; then "$qemu" -cpu "$cpu" "$binary" --version; fi
fi
bytes=$(stat -c %s "$binary")
say "$binary: $bytes bytes ($(awk -v b="$bytes" 'BEGIN { printf "%.2f", b / 1048576 }') MiB)"
