"""Random ONNX models against onnxruntime: `python -m tests.fuzz.random_graphs --count 2000 --seed 0`."""

from __future__ import annotations

import argparse
import sys
import time

from tests.fuzz.checks import Findings, check_seed


def main() -> int:
    """Prints what is wrong as it is found, and the counts; 1 where anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200, help="models")
    parser.add_argument("--seed", type=int, default=0, help="of the first model; the others follow")
    parser.add_argument("--compiled", type=int, default=0, metavar="N", help="compile every Nth model for this CPU (0: none)")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after so long")
    options = parser.parse_args()
    findings, begin = Findings(), time.monotonic()
    for seed in range(options.seed, options.seed + options.count):
        before = len(findings.wrong)
        check_seed(seed, findings, bool(options.compiled) and seed % options.compiled == 0)
        for line in findings.wrong[before:]:
            print(line, flush=True)
        if time.monotonic() - begin > options.seconds:
            break
    print("reached:", ", ".join(f"{name} {count}" for name, count in findings.reached.items()))
    print("refused:", ", ".join(f"{name} {count}" for name, count in findings.refused.most_common()))
    return 1 if findings.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
