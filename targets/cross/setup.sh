#!/bin/bash
# Makes this machine ready to build and test for aarch64. May be run any number of times; quick when all is there.
#
#   targets/cross/setup.sh            # cross in a local image (Debian bookworm; root or sudo)
#   targets/cross/setup.sh --direct   # Debian's compiler and QEMU only, no containers
#
# What it adds: Debian packages (compiler with arm64 std, QEMU, podman, mmdebstrap), `cross` in cargo's bin folder,
# two rustup links called "debian...", and the image localhost/cygnet-cross-aarch64:bookworm (1.2 GB).
set -euo pipefail
cd "$(dirname "$0")"
. ../common.sh

install_debian_rust
[ "${1:-}" = --direct ] && exit 0

for tool in cargo rustup; do
    have $tool || die "$tool is missing: install Rust from https://rustup.rs, or use targets/cross/test.sh --direct"
done
install_packages podman crun netavark uidmap mmdebstrap util-linux

podman_works || die "podman cannot start containers on this machine (its message is above);" \
    "targets/cross/test.sh --direct does without containers"

# Not `cross --version`: run by a toolchain of rustup's, cross has rustup replace that toolchain by a newer one.
if ! cargo install --list | grep -q "^cross v$CROSS_VERSION:"; then
    say "installing cross $CROSS_VERSION"
    cargo install cross --version "$CROSS_VERSION" --locked --quiet
fi

linked=$(rustup toolchain list)
for name in "${DEBIAN_TOOLCHAINS[@]}"; do
    grep -q "^$name\( \|$\)" <<< "$linked" || rustup toolchain link "$name" /usr
done

./build-image.sh
say "ready: targets/cross/test.sh"
