#!/bin/bash
# Builds the container image that `cross` runs in, from Debian packages alone: no container registry is asked.
#
#   targets/cross/build-image.sh            # skipped when an image for the installed rustc is already there
#   targets/cross/build-image.sh --force    # built anew
#
# The image holds the very rustc of the host (Debian's rustc-web): cross mounts the host's toolchain into the
# container, where it loads the image's libraries. The image is labelled with that version and is rebuilt when
# the host's package moves on. Another mirror: DEBIAN_MIRROR=http://mirror.example targets/cross/build-image.sh
set -euo pipefail
cd "$(dirname "$0")"
. ../common.sh

build() {
    local mirror=${DEBIAN_MIRROR:-http://deb.debian.org}
    cat > "$work/sources.list" <<LIST
deb $mirror/debian bookworm main
deb $mirror/debian bookworm-updates main
deb $mirror/debian-security bookworm-security main
LIST
    # Documentation, the 30 other QEMUs and the arm64 build of the compiler itself stay out: no test needs them.
    mmdebstrap --quiet --variant=minbase --architectures=amd64,arm64 \
        --include="ca-certificates,rustc-web=$host_rustc,cargo-web,libstd-rust-web-dev:arm64,gcc,libc6-dev,gcc-aarch64-linux-gnu,libc6-dev-arm64-cross,qemu-user-static" \
        --dpkgopt='path-exclude=/usr/share/doc/*' \
        --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' \
        --dpkgopt='path-exclude=/usr/bin/qemu-*-static' \
        --dpkgopt='path-include=/usr/bin/qemu-aarch64-static' \
        --dpkgopt='path-exclude=/usr/lib/aarch64-linux-gnu/libLLVM*' \
        --dpkgopt='path-exclude=/usr/lib/aarch64-linux-gnu/librustc_driver*' \
        --dpkgopt='path-exclude=/usr/lib/aarch64-linux-gnu/libicu*' \
        --dpkgopt='path-exclude=/usr/lib/aarch64-linux-gnu/libz3*' \
        bookworm "$work/image.tar" "$work/sources.list" ||
        die "mmdebstrap failed (see above). If it did not find rustc-web $host_rustc, the host's package is outdated:" \
            "apt-get update; apt-get install --only-upgrade rustc-web cargo-web libstd-rust-web-dev:arm64"
    # An outdated image would stay behind without its name, and keep its gigabyte.
    podman image exists "$LOCAL_IMAGE" && podman image rm --force "$LOCAL_IMAGE" > /dev/null
    podman import --quiet \
        --change "LABEL $LABEL=$host_rustc" \
        --change "ENV CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc" \
        --change "ENV CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER=qemu-aarch64-static" \
        "$work/image.tar" "$LOCAL_IMAGE"
}

for tool in podman mmdebstrap; do
    command -v $tool > /dev/null || die "$tool is missing: run targets/cross/setup.sh"
done
[ -x /usr/bin/rustc ] || die "Debian's rustc is missing: run targets/cross/setup.sh"

LABEL=org.cygnet.rustc
host_rustc=$(dpkg-query --show --showformat='${Version}' rustc-web)
found=$(podman image inspect --format "{{ index .Labels \"$LABEL\" }}" "$LOCAL_IMAGE" 2> /dev/null || true)
if [ "${1:-}" != --force ] && [ "$found" = "$host_rustc" ]; then
    say "image $LOCAL_IMAGE is there (rustc-web $found)"
    exit 0
fi
say "building $LOCAL_IMAGE with rustc-web $host_rustc (about 3 minutes)"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
build
say "built $LOCAL_IMAGE"
