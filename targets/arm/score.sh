#!/bin/bash
# Scores the aarch64 kernels by models of the cores, without Arm hardware.
#
#   targets/arm/score.sh                             inner loops, against floors.tsv
#   targets/arm/score.sh run CORE MODEL.cygnet ...   whole inferences: modelled cycles, and where they go
#
#   CORE   cortex-a53 cortex-a55 cortex-a72 cortex-a76
#
# The first form prints a row per kernel and core: multiply-accumulates per cycle of its best loop, the share of what
# the core can issue, the floor; the exit code is not 0 if one is below its floor. The models are not part of this
# repository. They are found by two variables:
#
#   ARMSIM_KIT   the folder of their scripts: loops.py, neonsim.py, profile.sh, score.py
#   ARMSIM       what its setup.sh made: qemu-aarch64 and libneonprof.so (second form only)
set -euo pipefail
cd "$(dirname "$0")/../.."
. targets/common.sh

[ "${1:-}" != -h ] && [ "${1:-}" != --help ] || { sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit 0; }
[ -n "${ARMSIM_KIT:-}" ] || die "ARMSIM_KIT is not set: it must name the folder of the core models' scripts (see --help)"
needed=(loops.py neonsim.py)
[ "${1:-}" != run ] || needed=(score.py neonsim.py profile.sh)
for file in "${needed[@]}"; do
    [ -f "$ARMSIM_KIT/$file" ] || die "$ARMSIM_KIT has no $file: ARMSIM_KIT must name the folder of the core models' scripts"
done
for tool in llvm-objdump-19 llvm-mca-19 python3; do
    have "$tool" || die "$tool is missing; on Debian 12: apt-get install llvm-19 python3"
done

say "building"
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}/arm-score
RUSTFLAGS="-C target-feature=+crt-static" debian_cargo build --quiet --release --target $TARGET \
    -p cygnet --no-default-features --example profile_run
program=$CARGO_TARGET_DIR/$TARGET/release/examples/profile_run

if [ "${1:-}" = run ]; then
    [ $# -ge 3 ] || die "usage: score.sh run CORE MODEL.cygnet ..."
    [ -n "${ARMSIM:-}" ] || die "ARMSIM is not set: it must name the folder that the models' setup.sh made (see --help)"
    for file in qemu-aarch64 libneonprof.so; do
        [ -e "$ARMSIM/$file" ] || die "$ARMSIM has no $file: run the models' setup.sh, and set ARMSIM to its folder"
    done
    core=$2
    shift 2
    for model in "$@"; do
        counts=$CARGO_TARGET_DIR/$(basename "$model").$core.prof
        "$ARMSIM_KIT/profile.sh" "$core" "$counts" "$program" "$model"
        python3 "$ARMSIM_KIT/score.py" "$counts" --cpu "$core" --model sim --top 10
    done
    exit
fi

say "scoring"
loops=$CARGO_TARGET_DIR/loops.txt
python3 "$ARMSIM_KIT/loops.py" --all --func 'conv::|matmul::|sparse::' "$program" > "$loops"
# Columns of loops.py: name, then for A53, A55, A72, A76: MAC/cycle by llvm-mca, by neonsim, percent. llvm-mca knows A76
# (as neoverse-n1), neonsim the others.
awk -F '\t' -v loops="$loops" '
    BEGIN {
        split("A53 A55 A72 A76", cores, " ")
        while ((getline line < loops) > 0) {
            n = split(line, cell, "|")
            if (n < 5) continue
            for (i = 1; i <= 4; i++) {
                split(cell[i + 1], value, " ")
                names[++rows] = cell[1]; core[rows] = cores[i]
                rate[rows] = cores[i] == "A76" ? value[1] + 0 : value[2] + 0
            }
        }
        printf "%-18s %-5s %10s %9s %7s\n", "kernel", "core", "MAC/cycle", "of limit", "floor"
    }
    /^#/ { next }
    {
        best = 0
        for (r = 1; r <= rows; r++)
            if (core[r] == $3 && index(names[r], $2) && rate[r] > best) best = rate[r]
        low = best < $5
        bad += low
        printf "%-18s %-5s %10.1f %8.0f%% %7s%s\n", $1, $3, best, 100 * best / $4, $5, low ? "  BELOW" : ""
    }
    END { exit bad > 0 }
' targets/arm/floors.tsv || die "kernels are below their floors; the loops are in $loops"
