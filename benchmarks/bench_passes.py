"""`make bench-passes`: every figure of the passes that learn, and what each technique gives.

    python -m benchmarks.bench_passes [--only experts,fusion,hashing,splitting] [--retrain] [--data FILE.npz]
                                            [--readme]

Trained models are in `examples`; without `--retrain` they are evaluated as they are, and each figure says which
log it comes from. `--retrain` makes them again, in hours. The whole of Fashion-MNIST is read from Debian's package
`dataset-fashion-mnist`.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

from benchmarks.figures import Section, markdown, summary

ROOT = Path(__file__).parents[1]
OUTPUT = ROOT / "build" / "bench_passes"
TABLES = Path(__file__).with_name("passes.md")
HEAD = "# Figures of the passes\n\nEverything that `make bench-passes` prints; made by `--readme`, never by hand.\n\n"
TECHNIQUES = ("experts", "fusion", "hashing", "splitting")
BEGIN, END = "<!-- bench-passes -->", "<!-- /bench-passes -->"


def measure(techniques: list[str], retrain: bool) -> list[Section]:
    """The sections of each technique, in order; `benchmarks.passes_NAME.sections(retrain, folder)` measures them."""
    sections: list[Section] = []
    for name in techniques:
        print(f"== {name}", file=sys.stderr, flush=True)
        module = importlib.import_module(f"benchmarks.passes_{name}")
        folder = OUTPUT / name
        folder.mkdir(parents=True, exist_ok=True)
        found: list[Section] = module.sections(retrain, folder)
        print(markdown(found), file=sys.stderr, flush=True)
        sections += found
    return sections


def main() -> None:
    """Parse the options, measure, print."""
    parser = argparse.ArgumentParser(description="figures of experts, fusion, hashing and splitting")
    parser.add_argument("--only", default=",".join(TECHNIQUES), help="comma-separated: " + ", ".join(TECHNIQUES))
    parser.add_argument("--retrain", action="store_true", help="train everything again instead of evaluating what is kept")
    parser.add_argument("--readme", action="store_true", help="write all tables to passes.md and what was asked to README.md")
    options = parser.parse_args()
    wanted = options.only.split(",")
    if unknown := sorted(set(wanted) - set(TECHNIQUES)):
        parser.error(f"no technique is called {', '.join(unknown)}; there are {', '.join(TECHNIQUES)}")
    if options.readme and wanted != list(TECHNIQUES):
        parser.error("--readme takes all techniques")
    found = measure(wanted, options.retrain)
    text = markdown(found)
    (OUTPUT / "figures.md").write_text(text)
    print(text)
    if options.readme:
        TABLES.write_text(HEAD + text)
        head, _, rest = (ROOT / "README.md").read_text().partition(BEGIN)
        _, _, tail = rest.partition(END)
        (ROOT / "README.md").write_text(f"{head}{BEGIN}\n{summary(found)}{END}{tail}")
    missed = sum(line.count("| no |") for line in text.splitlines())
    print(f"{missed} figure(s) short of what was asked" if missed else "every figure reached", file=sys.stderr)


if __name__ == "__main__":
    main()
