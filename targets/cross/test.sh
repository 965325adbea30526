#!/bin/bash
# Builds the tests for aarch64 once and runs them on several Arm CPUs under QEMU.
#
#   targets/cross/test.sh [--local | --public | --direct] [--cpus "CPU ..."] [PACKAGE ...] [-- TEST-ARGUMENTS]
#
#   --local    cross, in the image that targets/cross/setup.sh builds from Debian packages (no registry)
#   --public   cross, in the image that Cross.toml names (docker or podman, access to a container registry)
#   --direct   no container: Debian's compiler and QEMU
#   default    on Debian 12 --local if podman can start containers, else --direct; on other systems --public
#   --cpus     QEMU models; default: cortex-a53 cortex-a72 cortex-a76 max,sve=off
#   PACKAGE    default: cygnet-kernels cygnet-tests
#
# What follows -- goes to the test programs (a name filter, --include-ignored, ...). Documentation tests run on the
# host only. Ends with one row per CPU (also written to CYGNET_TEST_SUMMARY, if set, as tab-separated values); the exit
# code is not 0 if a test failed, crashed, or none ran.
set -euo pipefail
cd "$(dirname "$0")/../.."
. targets/common.sh

mode='' packages=() test_args=()
# What tells kernels apart: plain NEON in order and out of order, dotprod + fp16, and all of these + i8mm.
cpus=(cortex-a53 cortex-a72 cortex-a76 'max,sve=off')
while [ $# -gt 0 ]; do
    case $1 in
        --local | --public | --direct) mode=${1#--} ;;
        --cpus) [ $# -gt 1 ] || die "--cpus needs a list"; shift; read -ra cpus <<< "$1" ;;
        --) shift; test_args=("$@"); break ;;
        -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
        -*) die "unknown option $1; see --help" ;;
        *) packages+=("$1") ;;
    esac
    shift
done
[ ${#packages[@]} -gt 0 ] || packages=(cygnet-kernels cygnet-tests)
[ ${#cpus[@]} -gt 0 ] || die "--cpus needs at least one CPU"

if [ -z "$mode" ]; then
    if ! is_bookworm; then
        have docker || have podman || die "this is not Debian 12, and there is neither docker nor podman; see targets/README.md"
        mode=public
    elif targets/cross/setup.sh; then
        mode=local
    else
        say "cross cannot run here (the reason is above): testing with --direct, without a container"
        mode=direct
    fi
fi

if [ -n "${CYGNET_MODELS:-}" ]; then
    CYGNET_MODELS=$(realpath -e "$CYGNET_MODELS") || die "CYGNET_MODELS names no folder"
    export CYGNET_MODELS
fi

# A target folder per mode: the compilers differ, and build scripts made in a container need its C library.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}/cross-$mode
mkdir -p "$CARGO_TARGET_DIR/logs"
case $mode in
    local)
        targets/cross/setup.sh
        debian_cargo fetch --quiet --target $TARGET # the container has no network
        export CROSS_TARGET_AARCH64_UNKNOWN_LINUX_GNU_IMAGE=$LOCAL_IMAGE
        export CROSS_CUSTOM_TOOLCHAIN=1 CROSS_CONTAINER_ENGINE=podman CARGO_NET_OFFLINE=true
        export CROSS_CONTAINER_OPTS="$PODMAN_OPTIONS -e CARGO_NET_OFFLINE=true ${CROSS_CONTAINER_OPTS:-}"
        cargo_test() { with_cgroup2 cross +debian test "$@"; }
        ;;
    public)
        have cross || cargo install cross --version "$CROSS_VERSION" --locked
        cargo_test() { cross test "$@"; }
        ;;
    direct)
        targets/cross/setup.sh --direct
        cargo_test() { debian_cargo test "$@"; }
        ;;
esac

selection=(--target "$TARGET" --tests --no-fail-fast)
for package in "${packages[@]}"; do
    selection+=(-p "$package")
done

summary=${CYGNET_TEST_SUMMARY:-$CARGO_TARGET_DIR/summary.tsv}
: > "$summary"
say "building the tests of ${packages[*]} for $TARGET (--$mode)"
log=$CARGO_TARGET_DIR/logs/build.log
started=$SECONDS status=0
cargo_test "${selection[@]}" --no-run 2>&1 | tee "$log" || status=$?
if [ $status != 0 ]; then
    record_run "$summary" "aarch64 build" "$log" $status $((SECONDS - started)) || true
    die "the tests do not build for $TARGET"
fi

failures=0
for cpu in "${cpus[@]}"; do
    say "testing on $cpu"
    log=$CARGO_TARGET_DIR/logs/$cpu.log
    started=$SECONDS status=0
    QEMU_CPU=$cpu cargo_test "${selection[@]}" -- "${test_args[@]}" 2>&1 | tee "$log" || status=$?
    record_run "$summary" "$cpu (QEMU)" "$log" $status $((SECONDS - started)) || failures=$((failures + 1))
done

# A caller that asked for the rows prints them with its own.
[ -n "${CYGNET_TEST_SUMMARY:-}" ] || { echo && print_summary "$summary"; }
[ $failures = 0 ] || die "$failures of ${#cpus[@]} CPUs failed; their logs are in $CARGO_TARGET_DIR/logs"
