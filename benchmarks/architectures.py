"""`make bench-architectures`: cycles of whole networks of many architectures on the ZCU104 engine, at RTL.

Each model is compiled on random samples and one sample of it is simulated behind the board's memory, with every stored word
compared with the interpreter. Each runs in a process of its own. Figures are kept in build/architectures/figures.json as they
come, so that a later run with names measures these models only and the table still holds all.

    python -m benchmarks.architectures [--docs] [--from FILE] [NAME ...]

`--docs` also renews the table of docs/measured/architectures.md. `--from` takes figures from a file of the same form instead of
measuring: {name or title: {"cycles": int, "predicted": int, "exact": bool, "input": str}}, or {name: {"refused": reason}}.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import pages
from benchmarks.architecture_models import ARCHITECTURES, Architecture, model_path
from benchmarks.cpu_models import CannotMake

ROOT = Path(__file__).parents[1]
OUTPUT = ROOT / "build" / "architectures"
FIGURES = OUTPUT / "figures.json"
CLOCK_MHZ = 300
"""The target clock of the board, at which a time is stated."""
Figures = dict[str, dict[str, Any]]


def measure(name: str) -> dict[str, Any]:
    """Compile one model and simulate a sample of it: its figures, or why it is refused. CannotMake without the model."""
    from edgewright.frontend.build import compile
    from edgewright.frontend.fpga.bundle import FpgaBundle
    from edgewright.passes.diagnostics import CompileError

    path = model_path(ARCHITECTURES[name])
    try:
        compiled = compile(path, target="zcu104", calibration="random", method="minmax", output=OUTPUT / name)
    except CompileError as error:
        first = error.diagnostics[0]
        return {"refused": f"{first.message}: {first.because}"}
    assert isinstance(compiled, FpgaBundle)
    report = compiled.simulate(samples=1)
    assert report.cycles is not None
    return {
        "cycles": report.cycles.simulated,
        "predicted": report.cycles.predicted,
        "exact": report.bit_exact,
        "input": ARCHITECTURES[name].reads,
    }


def known(name: str) -> Architecture | None:
    """The model that figures belong to, by its name or its title."""
    return next((model for model in ARCHITECTURES.values() if name in (model.name, model.title)), None)


def row(name: str, figures: Mapping[str, Any]) -> list[str]:
    """One line of the table."""
    model = known(name)
    title, kind = (name, "") if model is None else (model.title, model.kind)
    if "refused" in figures:
        return [title, kind, "", f"refused: {figures['refused']}", "", "", ""]
    cycles, predicted = int(figures["cycles"]), int(figures["predicted"])
    return [
        title,
        kind,
        str(figures.get("input", "")),
        f"{cycles:,}",
        f"{predicted:,} ({100 * (predicted / cycles - 1):+.2f} %)",
        "yes" if figures["exact"] is True else "NO",
        f"{cycles / CLOCK_MHZ / 1000:.3f} ms",
    ]


def table(figures: Mapping[str, Mapping[str, Any]]) -> str:
    """The table as the documentation shows it: the models of this benchmark in their order, then others."""
    head = ["model", "what it has", "reads", "cycles at RTL", "predicted", "bit-exact", f"at {CLOCK_MHZ} MHz, a target"]
    order = list(ARCHITECTURES.values())
    names = sorted(figures, key=lambda name: order.index(model) if (model := known(name)) is not None else len(order))
    lines = ["| " + " | ".join(head) + " |", "|---|---|---|" + "---:|" * 2 + "---|---:|"]
    return "\n".join([*lines, *("| " + " | ".join(row(name, figures[name])) + " |" for name in names)])


def measured(names: list[str]) -> tuple[Figures, bool]:
    """Measure in fresh processes and keep what comes; all figures there are, and whether something failed or differs."""
    figures: Figures = json.loads(FIGURES.read_text(encoding="utf-8")) if FIGURES.is_file() else {}
    failed = False
    for name in names:
        print(f"{name} …", file=sys.stderr, flush=True)
        command = [sys.executable, "-m", "benchmarks.architectures", "--one", name]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            failed = True
            continue
        figures[name] = json.loads(done.stdout.splitlines()[-1])
        failed |= figures[name].get("exact") is not True
        FIGURES.parent.mkdir(parents=True, exist_ok=True)
        FIGURES.write_text(json.dumps(figures, indent=1), encoding="utf-8")
    return figures, failed


def main(arguments: list[str] | None = None) -> int:
    """Measure, print the table and with `--docs` store it; 1 when something failed, is refused or is not bit-exact."""
    parser = argparse.ArgumentParser(description="simulate whole networks of many architectures at RTL")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(ARCHITECTURES)}; all by default")
    parser.add_argument("--docs", action="store_true", help="renew the table of docs/measured/architectures.md")
    parser.add_argument("--from", dest="source", metavar="FILE", help="take the figures from a file, measure nothing")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.names if name not in ARCHITECTURES]:
        parser.error(f"no model {', '.join(unknown)}; there are {', '.join(ARCHITECTURES)}")
    if options.one:
        try:
            print(json.dumps(measure(options.one)))
        except CannotMake as error:
            print(error, file=sys.stderr)
            return 1
        return 0
    if options.source:
        figures, failed = json.loads(Path(options.source).read_text(encoding="utf-8")), False
    else:
        figures, failed = measured(options.names or list(ARCHITECTURES))
    print(table(figures))
    if options.docs and figures:
        print(f"wrote {pages.put('architectures', table(figures))}", file=sys.stderr)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
