#!/bin/bash
# Times Cygnet beside other runtimes on this machine: all of them in turn, on the same inputs, 1 and 2 threads.
#
#   targets/bench/peers.sh [MODEL ...]     default: every model of the kit that has calibration samples
#
# The kit that runs the others is not part of this repository. It is found by two variables:
#
#   PEERS_KIT   the folder of its scripts: bench_peers.py
#   PEERS       what its setup.sh made: models/NAME.onnx, inputs to time (NAME.eval.npy or .npz) and to calibrate with
#               (NAME.calib.npy or .npz), the others' files, venv/. targets/bench/graphs.py makes two of the models
#
# PEERS_OPTIONS, if set, goes to bench_peers.py: --rounds 8, --peers ort,litert, ...
#
# Timed is the program for devices, without the converter. Models are converted to f32 and int8 first, int8 from the
# samples that the others were calibrated with, text models in dynamic range int8. Results go to
# $PEERS/results.json and results.md; targets/bench/report.py makes docs/performance.md of them. Best times are the least
# processor time of an inference with one thread, the least wall time with more. Numbers of a busy machine are worth
# nothing: see that nothing else runs.
set -euo pipefail
cd "$(dirname "$0")/../.."
. targets/common.sh

case ${1:-} in -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;; esac
for name in PEERS_KIT PEERS; do
    [ -n "${!name:-}" ] || die "$name is not set; see --help"
done
[ -f "$PEERS_KIT/bench_peers.py" ] || die "$PEERS_KIT has no bench_peers.py: PEERS_KIT must name the kit's folder"
[ -d "$PEERS/models" ] || die "$PEERS has no folder 'models': run the kit's setup.sh, and set PEERS to its folder"

say "building"
cargo build --quiet --release -p cygnet-cli
cargo build --quiet --no-default-features --features device --profile device -p cygnet-cli
cygnet=$(realpath "${CARGO_TARGET_DIR:-target}/release/cygnet")
device=$(realpath "${CARGO_TARGET_DIR:-target}/device/cygnet")

# The samples that a model is calibrated with.
samples() { find "$PEERS/models" -name "$1.calib.np[yz]"; }

models=("$@")
if [ ${#models[@]} = 0 ]; then
    for path in "$PEERS"/models/*.onnx; do
        name=$(basename "$path" .onnx)
        [ -z "$(samples "$name")" ] || models+=("$name")
    done
fi
[ ${#models[@]} -gt 0 ] || die "$PEERS/models has no NAME.onnx with a NAME.calib.npy or .npz"

for name in "${models[@]}"; do
    calibrate=$(samples "$name")
    [ -n "$calibrate" ] || die "$PEERS/models has no $name.calib.npy or .npz"
    say "converting $name"
    # Transformers of text are quantized while they run.
    case $name in minilm* | bert*) int8=dynamic ;; *) int8=int8 ;; esac
    "$cygnet" convert --quiet "$PEERS/models/$name.onnx" -o "$PEERS/models/$name.f32.cygnet" --precision f32 > /dev/null
    "$cygnet" convert --quiet "$PEERS/models/$name.onnx" -o "$PEERS/models/$name.int8.cygnet" \
        --precision $int8 --calibrate "$calibrate" > /dev/null
done

say "timing"
listed=$(IFS=,; printf '%s' "${models[*]}")
python=$PEERS/venv/ort/bin/python
[ -x "$python" ] || python=python3
cd "$PEERS"
# shellcheck disable=SC2086 # Several options.
"$python" "$PEERS_KIT/bench_peers.py" ${PEERS_OPTIONS:-} --models "$listed" --prec fp32,int8 --threads 1,2 \
    --peer 'ort_u8s8 int8={m}.ort_u8s8.onnx cmd='"$python $PEERS_KIT/runners/ort.py" \
    --peer "cygnet fp32={m}.f32.cygnet int8={m}.int8.cygnet cmd=$device bench-runner"
say "tables: $PEERS/results.md"
