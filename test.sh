#!/bin/bash
# Tests everything on this machine and on four Arm CPUs under QEMU, installing what that needs on the way.
#
#   ./test.sh                 # the whole: host, then aarch64 through cross (or without containers where none can run)
#   ./test.sh --host          # this machine only
#   ./test.sh --arm [...]     # aarch64 only; further arguments go to targets/cross/test.sh
#
# Ends with a table of how many tests ran on which CPU. The exit code is not 0 if any failed.
# The set-up for aarch64 knows Debian 12 (as root or with sudo); targets/README.md tells of other systems.
set -euo pipefail
cd "$(dirname "$0")"
. targets/common.sh

part=all
case ${1:-} in
    --host | --arm) part=${1#--}; shift ;;
    -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
    '') ;;
    *) die "unknown option $1; see --help" ;;
esac
have cargo || die "cargo is missing: install Rust (1.95 or later) from https://rustup.rs"

target_folder=${CARGO_TARGET_DIR:-$PWD/target}
summary=$target_folder/test-summary.tsv
mkdir -p "$target_folder"
: > "$summary"
failed=0

if [ "$part" != arm ]; then
    say "testing on this machine"
    host_cpu="$(uname -m) (this machine)"
    # The images for the accuracy test; it says so loudly when it has to do without.
    python3 tests/fetch_models.py fashion-mnist || say "no Fashion-MNIST images: the accuracy test will be skipped"
    # ONNX's own operator tests, where their packages can be had.
    export CYGNET_CONFORMANCE=${CYGNET_CONFORMANCE:-$PWD/.cache/conformance}
    for suite in onnx exports debian; do
        python3 tests/conformance/make_suites.py --into "$CYGNET_CONFORMANCE" $suite ||
            say "no $suite operator tests: they will be skipped"
    done
    log=$target_folder/test-host.log
    started=$SECONDS status=0
    cargo test --workspace --no-fail-fast 2>&1 | tee "$log" || status=$?
    record_run "$summary" "$host_cpu" "$log" $status $((SECONDS - started)) || failed=1
fi

if [ "$part" != host ]; then
    arm_summary=$target_folder/test-summary-arm.tsv
    rm -f "$arm_summary"
    started=$SECONDS status=0
    # Arm runs the committed models only: the larger ones would take an emulator hours.
    env -u CYGNET_MODELS CYGNET_TEST_SUMMARY="$arm_summary" targets/cross/test.sh "$@" || status=$?
    if [ -s "$arm_summary" ]; then
        cat "$arm_summary" >> "$summary"
        [ $status = 0 ] || failed=1
    else
        record_run "$summary" "aarch64 set-up" /dev/null $status $((SECONDS - started)) || failed=1
    fi
fi

printf '\n'
print_summary "$summary"
[ $failed = 0 ] || die "there are failures; see above"
