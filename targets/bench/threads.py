#!/usr/bin/env python3
"""Measures what a second thread gains: models with one thread and with two, in turn.

    targets/bench/threads.py [--cygnet PROGRAM] [--rounds N] [--runs N] MODEL.cygnet ...

Each round runs every model in fresh processes, bound to core 1, then to cores 0 and 1. Prints a table of the least times,
the least medians of a round, and the ratios of both. Cores of a virtual machine may be near each other at one time and far
apart at another: many short rounds meet both. Numbers of a busy machine are worth nothing.
"""
import argparse
import json
import subprocess
import sys
from pathlib import Path


def bench(program, model, cores, runs):
    """Least and median milliseconds of a run."""
    command = [program, "bench", model, "--threads", str(len(cores)), "--cores", ",".join(cores)]
    command += ["--runs", str(runs), "--warmup", "20", "--json"]
    latency = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)["latency_ms"]
    return latency["min"], latency["p50"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="MODEL.cygnet")
    parser.add_argument("--cygnet", default="target/release/cygnet", help="the program (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--runs", type=int, default=150, help="timed runs of a process (default: %(default)s)")
    options = parser.parse_args()
    times = {model: ([], []) for model in options.models}
    for number in range(options.rounds):
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
        for model, (one, two) in times.items():
            one.append(bench(options.cygnet, model, ["1"], options.runs))
            two.append(bench(options.cygnet, model, ["0", "1"], options.runs))
    print("| model | one thread: least (median) | two threads | gain, least | gain, medians |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for model, (one, two) in times.items():
        (least_1, median_1), (least_2, median_2) = (tuple(map(min, zip(*rounds))) for rounds in (one, two))
        print(
            f"| {Path(model).stem} | {least_1:.2f} ({median_1:.2f}) | {least_2:.2f} ({median_2:.2f}) "
            f"| {least_1 / least_2:.2f} | {median_1 / median_2:.2f} |"
        )


if __name__ == "__main__":
    main()
