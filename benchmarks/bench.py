"""`make bench`: what compiling and simulating the example models costs, and how fast the engine is.

Each model is compiled and simulated in a process of its own, so that peak memory is its own. The DeiT columns are
networks of their shapes with random weights, made by code; a whole 224 x 224 inference is simulated once.

    python -m benchmarks.bench [--docs] [digits] [fashion] [deit_tiny] [deit_small]

`--docs` also renews the table of docs/measured/fpga.md.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import pages

if TYPE_CHECKING:
    from edgewright.frontend.fpga.bundle import FpgaBundle

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
OUTPUT = ROOT / "build" / "bench"
SIMULATED = {"digits": 4, "fashion": 4, "deit_tiny": 1, "deit_small": 1}
DEIT = {"deit_tiny": (192, 3), "deit_small": (384, 6)}
"""Channels and heads of the networks that are made by code."""
MEMORIES = {
    "board": "the board's memory",
    "read=60,write=40": "the same, latency 60 and 40",
    "read=100,write=60,outstanding=8": "the same, 8 in flight a port",
    "ideal": "an ideal memory",
}
"""Simulated memories by option of `simulate`; the first is its default, and what the report is about."""


def deit(path: Path) -> None:
    """A network of the shape of DeiT-Tiny or DeiT-Small, as the file's name says, from fixed seeds."""
    from edgewright.frontend.onnx_writing.writer import write_float

    from tests.models import tiny_vit

    width, heads = DEIT[path.stem]
    graph = tiny_vit(20, image=224, patch=16, channels=3, width=width, heads=heads, blocks=12, hidden=4 * width, classes=1000)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(write_float(graph).SerializeToString(deterministic=True))


def measure(name: str) -> dict[str, Any]:
    """Compile and simulate one model; its report, with the wall-clock time of both."""
    from edgewright.frontend.build import compile
    from edgewright.frontend.fpga.bundle import FpgaBundle
    from edgewright.passes.results import to_data

    model, calibration = EXAMPLES / "models" / f"vit_{name}.dynamo18.onnx", str(EXAMPLES / "data" / f"{name}.npz")
    if name in DEIT:
        model, calibration = OUTPUT / f"{name}.onnx", "random"
        deit(model)
    start = time.perf_counter()
    compiled = compile(model, target="zcu104", calibration=calibration, output=OUTPUT / name)
    seconds = time.perf_counter() - start
    assert isinstance(compiled, FpgaBundle)
    compiled.simulate(samples=SIMULATED[name])
    others = {memory: cycles_with(compiled, memory) for memory in list(MEMORIES)[1:]}
    return {**to_data(compiled.report), "compile_seconds": seconds, "cycles_with": others}


def cycles_with(compiled: FpgaBundle, memory: str) -> int:
    """Cycles of one image with another memory; AssertionError when a bit differs."""
    from edgewright.frontend.fpga.bundle import rtl_sources
    from edgewright.hw.board_memory import parse_memory
    from edgewright.sim.network import simulate
    from edgewright.targets.device import load

    rtl = rtl_sources(compiled)
    inputs = {name: array[:1] for name, array in compiled.samples().items()}
    timing = parse_memory(memory, load(compiled.manifest.target))
    run = simulate(compiled.plan, rtl, inputs, memory=timing)
    assert run.exact, f"not bit-exact with {memory}"
    return run.cycles[0]


def rows(data: dict[str, Any]) -> dict[str, str]:
    """The figures of one column of the table."""
    cycles, run = data["cycles"], data["simulation"]
    error = 100 * (cycles["predicted"] / cycles["simulated"] - 1)
    return {
        "compile": f"{data['compile_seconds']:.1f} s",
        **{f"  {stage['name']}": f"{stage['seconds']:.1f} s" for stage in data["stages"]},
        "peak memory, compile": f"{data['peak_memory_mib']:,.0f} MiB",
        "simulator build": f"{run['build_seconds']:.1f} s" if run["build_seconds"] else "from the cache",
        "simulation speed": f"{run['kcycles_per_s']:,.1f} kcycles/s",
        "images, bit-exact": f"{data['images']}, {'yes' if data['bit_exact'] else 'NO'}",
        "cycles predicted": f"{cycles['predicted']:,} ({error:+.2f} %)",
        f"cycles simulated, {MEMORIES['board']}": f"{cycles['simulated']:,}",
        **{f"cycles simulated, {MEMORIES[memory]}": f"{other:,}" for memory, other in data["cycles_with"].items()},
        "at the target clock": f"{data['latency_ms']:.3f} ms, {data['clock_mhz']:g} MHz",
        "DSPs (Yosys estimate)": f"{data['resources']['dsp']['used']:,}",
        "products as run; of the model as given": f"{data['macs'] / 1e9:.3f} G; {data['macs_given'] / 1e9:.3f} G",
        "products/DSP/cycle": f"{data['products_per_dsp_per_cycle']:.2f}",
    }


def markdown(columns: dict[str, dict[str, str]], labels: list[str]) -> str:
    """The table as the documentation shows it."""
    lines = ["| | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)]
    lines += [f"| {label.strip()} | " + " | ".join(c.get(label, "") for c in columns.values()) + " |" for label in labels]
    return "\n".join(lines)


def main(names: list[str]) -> int:
    """Measure in fresh processes and print a table; 1 when something failed or is not bit-exact."""
    if names[:1] == ["--one"]:
        print(json.dumps(measure(names[1])))
        return 0
    into_docs = names[:1] == ["--docs"]
    names = names[into_docs:]
    columns: dict[str, dict[str, str]] = {}
    failed = False
    for name in names or list(SIMULATED):
        print(f"{name} …", file=sys.stderr, flush=True)
        command = [sys.executable, "-m", "benchmarks.bench", "--one", name]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            failed = True
            continue
        data = json.loads(done.stdout.splitlines()[-1])
        failed |= data["bit_exact"] is not True
        columns[name] = rows(data)
    labels = list(dict.fromkeys(label for column in columns.values() for label in column))
    print("".join([" " * 28, *(f"{name:>26}" for name in columns)]))
    for label in labels:
        print("".join([f"{label:28}", *(f"{column.get(label, ''):>26}" for column in columns.values())]))
    if into_docs and not failed:
        print(f"wrote {pages.put('bench', markdown(columns, labels))}", file=sys.stderr)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
