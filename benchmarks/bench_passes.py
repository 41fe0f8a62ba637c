"""`make bench-passes`: every figure of the passes that learn, and what each technique gives.

    python -m benchmarks.bench_passes [--only experts,fusion,hashing,splitting] [--retrain] [--data FILE.npz]
                                            [--docs]

Trained models are in `examples`; without `--retrain` they are evaluated as they are, and each figure says which
log it comes from. `--retrain` makes them again, in hours. The whole of Fashion-MNIST is read from Debian's package
`dataset-fashion-mnist`.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

from benchmarks import pages
from benchmarks.figures import Section, markdown, summary

ROOT = Path(__file__).parents[1]
OUTPUT = ROOT / "build" / "bench_passes"
TABLES = pages.MEASURED / "passes-all.md"
HEAD = "# Figures of the passes\n\nAll tables of `make bench-passes`, written by `benchmarks.bench_passes --docs`.\n\n"
TECHNIQUES = ("experts", "fusion", "hashing", "splitting")


def measure(techniques: list[str], retrain: bool) -> list[Section]:
    """The sections of each technique, in order; `benchmarks.passes_NAME.sections(retrain, folder)` measures them."""
    sections: list[Section] = []
    for name in techniques:
        print(f"== {name}", file=sys.stderr, flush=True)
        module = importlib.import_module(f"benchmarks.passes_{name}")
        folder = OUTPUT / name
        folder.mkdir(parents=True, exist_ok=True)
        measured: list[Section] = module.sections(retrain, folder)
        print(markdown(measured), file=sys.stderr, flush=True)
        sections += measured
    return sections


def main() -> None:
    """Parse the options, measure, print."""
    parser = argparse.ArgumentParser(description="figures of experts, fusion, hashing and splitting")
    parser.add_argument("--only", default=",".join(TECHNIQUES), help="comma-separated: " + ", ".join(TECHNIQUES))
    parser.add_argument("--retrain", action="store_true", help="train everything again instead of evaluating what is kept")
    parser.add_argument("--docs", action="store_true", help="renew the tables in docs/measured")
    options = parser.parse_args()
    wanted = options.only.split(",")
    if unknown := sorted(set(wanted) - set(TECHNIQUES)):
        parser.error(f"no technique is called {', '.join(unknown)}; there are {', '.join(TECHNIQUES)}")
    if options.docs and wanted != list(TECHNIQUES):
        parser.error("--docs takes all techniques")
    measured = measure(wanted, options.retrain)
    text = markdown(measured)
    (OUTPUT / "figures.md").write_text(text)
    print(text)
    if options.docs:
        TABLES.write_text(HEAD + text)
        pages.put("bench-passes", summary(measured))
    missed = sum(line.count("| no |") for line in text.splitlines())
    print(f"{missed} figure(s) short of what was asked" if missed else "every figure reached", file=sys.stderr)


if __name__ == "__main__":
    main()
