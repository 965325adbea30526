#!/bin/bash
# Builds the programs for devices and checks them: sizes, ELF, instructions, and the demo's face detector on every Arm CPU
# of QEMU, which has to find in the demo's photo what this machine finds there.
#
#   targets/check-device.sh            # aarch64 with everything: what continuous integration runs
#   targets/check-device.sh --all      # also without photos, dynamic, armv7, riscv64, x86-64, Android; writes docs/size.md
#
# The model runs from an empty folder with nothing but one file: the program with the model in it, made on this machine.
set -euo pipefail
shopt -s inherit_errexit
cd "$(dirname "$0")/.."
. targets/common.sh

# At most so many bytes with everything in it, and without photos.
limit_all=$((2 * 1048576))
limit_small=$((18 * 1048576 / 10))
limit_minimal=$((12 * 1048576 / 10))
all=false
case ${1:-} in
    --all) all=true ;;
    -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
    '') ;;
    *) die "unknown option $1; see --help" ;;
esac
have qemu-aarch64-static || install_packages qemu-user-static
folder=${CARGO_TARGET_DIR:-$PWD/target}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

say "building the checks and the converter"
cargo build --quiet -p cygnet-targets -p cygnet-cli --bin check-elf --bin cygnet
"$folder/debug/cygnet" demo -o "$work/demo" > /dev/null 2>&1
net=$work/demo/int8.cygnet photo=$work/demo/astronaut.jpg
"$folder/debug/cygnet" detect "$net" "$photo" --json > "$work/face.json"
[ "$(grep -o '"score"' "$work/face.json" | wc -l)" = 1 ] || die "the demo finds no face, or more than one"

# program ARCH FEATURES: builds it and prints its path.
program() {
    local arguments=(--target "$1")
    case $2 in
        '') ;;
        minimal | dynamic) arguments+=("--$2") ;;
        *) arguments+=(--features "$2") ;;
    esac
    targets/build-device.sh "${arguments[@]}" 2>&1 | tee "$work/build.log" >&2
    sed -n 's/^== \(.*\): [0-9]* bytes.*/\1/p' "$work/build.log" | tail -1
}

# run_on QEMU CPU PROGRAM WHAT: the program with the model in it, alone in an empty folder. WHAT is `minimal`, `device`, or
# `photos`, which finds the face too.
run_on() {
    local empty=$work/empty
    mkdir "$empty"
    "$folder/debug/cygnet" bundle "$net" --executable "$3" -o "$work/app" > /dev/null
    (
        cd "$empty"
        "$1" -cpu "$2" "$work/app" verify
        "$1" -cpu "$2" "$work/app" bench --runs 2 --warmup 1 --threads 2 > /dev/null
        "$1" -cpu "$2" "$work/app" inspect > /dev/null
        [ "$4" = minimal ] || "$1" -cpu "$2" "$work/app" doctor --no-measure > /dev/null
        if [ "$4" = photos ]; then
            "$1" -cpu "$2" "$work/app" detect "$photo" --json | diff - "$work/face.json"
            echo "the face that this machine finds"
        fi
    ) | sed "s/^/   $2: /"
    rm -r "$empty"
}

: > "$work/sizes"
# checked ARCH FEATURES LIMIT WHAT: builds, checks, and notes the size.
checked() {
    path=$(program "$1" "$2")
    "$folder/debug/check-elf" --limit "$3" "$path"
    printf '%s\t%s\t%s\t%s\n' "$4" "$(stat -c %s "$path")" "$3" "$1" >> "$work/sizes"
}

checked aarch64 minimal $limit_minimal 'aarch64, `--minimal`: run, bench, inspect, verify'
targets/check_instructions.py "$path.symbols"
for cpu in cortex-a53 cortex-a76; do
    run_on qemu-aarch64-static "$cpu" "$path" minimal
done
if $all; then
    checked aarch64 '' $limit_small 'aarch64: run, bench, inspect, verify, doctor'
fi
checked aarch64 photos $limit_all 'aarch64: with detect and classify, photos and cameras'
targets/check_instructions.py "$path.symbols"
for cpu in cortex-a53 cortex-a72 cortex-a76 max,sve=off; do
    run_on qemu-aarch64-static "$cpu" "$path" photos
done
if $all; then
    path=$(program aarch64 dynamic)
    "$folder/debug/check-elf" "$path"
    targets/check_instructions.py "$path.symbols"
    printf '%s\t%s\t\taarch64\n' 'aarch64, `--dynamic`: run, bench, inspect, verify, doctor' "$(stat -c %s "$path")" >> "$work/sizes"
    # With the C library of this machine's arm64 packages.
    run_on qemu-aarch64-static cortex-a72 "$path" device
    path=$(program armv7 '')
    printf '%s\t%s\t\tarmv7\n' 'armv7: run, bench, inspect, verify, doctor' "$(stat -c %s "$path")" >> "$work/sizes"
    # Executables of 32 bits take no model into themselves: the file lies beside.
    cp "$net" "$work/net.cygnet"
    qemu-arm-static -cpu cortex-a7 "$path" verify "$work/net.cygnet" | sed 's/^/   cortex-a7: /'
    path=$(program riscv64 '')
    printf '%s\t%s\t\triscv64\n' 'riscv64: run, bench, inspect, verify, doctor' "$(stat -c %s "$path")" >> "$work/sizes"
    run_on qemu-riscv64-static rv64 "$path" device
    say "x86-64"
    cargo build --quiet --no-default-features --features device --profile device -p cygnet-cli
    printf '%s\t%s\t\tx86_64\n' 'x86-64, dynamic: run, bench, inspect, verify, doctor' \
        "$(stat -c %s "$folder/device/cygnet")" >> "$work/sizes"
    "$folder/device/cygnet" verify "$net" | sed 's/^/   x86-64: /'
    say "Android"
    targets/build-android.sh
    targets/size.py "$work/sizes" "$folder/device" > "$work/size.md"
    mv "$work/size.md" docs/size.md
fi
say "the programs for devices are as they should be"
