# What the scripts of this repository share. To be sourced by bash.
# shellcheck shell=bash disable=SC2034

TARGET=aarch64-unknown-linux-gnu
LOCAL_IMAGE=localhost/cygnet-cross-aarch64:bookworm
CROSS_VERSION=0.2.5
# Debian's own compiler, linked into rustup under two names: cross 0.2.5 looks for the long one.
DEBIAN_TOOLCHAINS=(debian debian-x86_64-unknown-linux-gnu)

say() { echo "== $*"; }
die() {
    echo "error: $*" >&2
    exit 1
}
have() { command -v "$1" > /dev/null 2>&1; }

# Runs a command as root: directly, or through sudo.
as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

is_bookworm() { grep -qs '^VERSION_CODENAME=bookworm' /etc/os-release && [ "$(dpkg --print-architecture)" = amd64 ]; }

# install_packages PACKAGE...: apt-get install of those that are missing; silent and quick when none is.
install_packages() {
    local package missing=()
    for package in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2> /dev/null)" = installed ] || missing+=("$package")
    done
    [ ${#missing[@]} = 0 ] && return
    [ "$(id -u)" = 0 ] || have sudo ||
        die "Debian packages are missing, and there is neither root nor sudo to install them. Ask for these commands" \
            "to be run as root: dpkg --add-architecture arm64; apt-get update;" \
            "apt-get install --no-install-recommends ${missing[*]}"
    say "installing ${missing[*]}"
    if [[ " ${missing[*]} " == *:arm64* ]]; then
        as_root dpkg --add-architecture arm64
    fi
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" ||
        die "apt-get could not install ${missing[*]}; the sources must hold bookworm and bookworm-security"
}

# Debian's compiler with the arm64 standard library, a cross linker, and QEMU: enough to build and test without cross.
install_debian_rust() {
    is_bookworm || die "the Debian toolchain needs Debian 12 (bookworm) on amd64; see targets/README.md for other systems"
    install_packages rustc-web cargo-web libstd-rust-web-dev:arm64 gcc libc6-dev \
        gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static
}

# cargo of Debian, with the settings that let it build and run aarch64 programs here.
debian_cargo() {
    env -u RUSTUP_TOOLCHAIN RUSTC=/usr/bin/rustc RUSTDOC=/usr/bin/rustdoc \
        CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
        CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER=qemu-aarch64-static \
        /usr/bin/cargo "$@"
}

# Options without which podman cannot start a container as root inside a virtual machine or another container.
PODMAN_OPTIONS="--network=none --cgroups=disabled --ulimit=nofile=10000:10000 --ulimit=nproc=10000:10000"

# with_cgroup2 COMMAND...: runs it. Podman refuses the hybrid cgroup layout, so where that is mounted, root runs the
# command in a mount namespace of its own with a plain cgroup v2 tree; the machine keeps its layout.
with_cgroup2() {
    if [ "$(id -u)" != 0 ] || [ "$(stat -fc %T /sys/fs/cgroup 2> /dev/null)" = cgroup2fs ]; then
        "$@"
    else
        unshare -m sh -c 'umount -R /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup; exec "$@"' sh "$@"
    fi
}

# Whether podman can start a container here: tried with one static program as the whole file system.
podman_works() {
    have podman || return 1
    local root status=0
    root=$(mktemp -d)
    cp /usr/bin/qemu-aarch64-static "$root/probe"
    # shellcheck disable=SC2086
    with_cgroup2 podman run --rm $PODMAN_OPTIONS --rootfs "$root" /probe --version > "$root/log" 2>&1 || status=1
    [ $status = 0 ] || sed 's/^/   podman: /' "$root/log" >&2
    rm -rf "$root"
    return $status
}

# count_tests LOG: sums the "test result:" lines of cargo test; prints "PASSED FAILED IGNORED".
count_tests() {
    awk '/^test result:/ {
             for (i = 2; i <= NF; i++) {
                 if ($i ~ /^passed;?$/)  passed  += $(i - 1)
                 if ($i ~ /^failed;?$/)  failed  += $(i - 1)
                 if ($i ~ /^ignored;?$/) ignored += $(i - 1)
             }
         }
         END { print passed + 0, failed + 0, ignored + 0 }' "$1"
}

# record_run SUMMARY CPU LOG STATUS SECONDS: adds one row to the summary file. A run that stopped early (a crash, a
# compile error), or ran no test at all, counts as one failure more, so that it can never look green.
record_run() {
    local passed failed ignored verdict=ok
    read -r passed failed ignored < <(count_tests "$3")
    if [ "$failed" != 0 ]; then
        verdict=FAILED
    elif [ "$4" != 0 ]; then
        verdict="STOPPED (exit code $4)" failed=1
    elif [ "$passed" = 0 ]; then
        verdict="NO TESTS RAN" failed=1
    fi
    printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$2" "$passed" "$failed" "$ignored" "$5" "$verdict" >> "$1"
    [ "$verdict" = ok ]
}

# print_summary SUMMARY...: the rows as a table.
print_summary() {
    printf '%-28s %8s %8s %8s %8s  %s\n' CPU passed failed ignored seconds result
    awk -F '\t' '{ printf "%-28s %8d %8d %8d %8d  %s\n", $1, $2, $3, $4, $5, $6 }' "$@"
}
