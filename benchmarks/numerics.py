"""What the numerics of CPUs alone (RMSNorm for LayerNorm) gain over those that all targets share, in int8.

    python -m benchmarks.numerics [--models deit_tiny,minilm] [--rounds 30] [--docs]

Both artifacts of a model are alive in one process and run in turns, one thread, batch 1; the ratio is taken within each
round, so that what else the machine does meets both. Signal to noise is against onnxruntime in float32.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import pages
from benchmarks.cpu_models import MODELS, Arrays, data_path, model_path, split

OUTPUT = Path(__file__).parents[1] / "build" / "numerics"
TESTED = 8
BURST_S = 0.1


def runner(name: str, numerics: str) -> tuple[Callable[[Arrays], dict[str, Any]], Arrays]:
    """One inference of a model compiled so, and samples that did not calibrate it."""
    import edgewright
    from edgewright.frontend.cpu.bundle import CpuBundle
    from edgewright.targets.cpu.runtime import real

    model, data = str(model_path(MODELS[name])), data_path(MODELS[name])
    compiled = edgewright.compile(
        model, target="host", calibration=data, numerics=numerics, output=OUTPUT / f"{name}-{numerics}"
    )
    assert isinstance(compiled, CpuBundle)
    run, tensors = compiled.artifact.runner(threads=1), compiled.artifact.manifest.outputs
    _, tested = split(data, [one.name for one in compiled.artifact.manifest.inputs])

    def infer(sample: Arrays) -> dict[str, Any]:
        found = run(sample)
        return {tensor.name: real(tensor, found[tensor.name]) for tensor in tensors}

    return infer, tested


def noise_db(infer: Callable[[Arrays], dict[str, Any]], name: str, tested: Arrays) -> float:
    """Of all outputs on a few samples."""
    import onnxruntime  # type: ignore[import-untyped,unused-ignore]

    session = onnxruntime.InferenceSession(str(model_path(MODELS[name])))
    wanted = {one.name: one.type for one in session.get_inputs()}
    signal = noise = 0.0
    for i in range(TESTED):
        sample = {key: value[i : i + 1] for key, value in tested.items() if key in wanted}
        for exact, found in zip(session.run(None, sample), infer(sample).values(), strict=True):
            signal += float(np.square(exact, dtype=np.float64).sum())
            noise += float(np.square(exact.astype(np.float64) - found).sum())
    return float(10 * np.log10(signal / noise))


def burst_ms(infer: Callable[[Arrays], dict[str, Any]], sample: Arrays) -> float:
    """The fastest inference of a short burst."""
    infer(sample)
    best, until = float("inf"), time.perf_counter() + BURST_S
    while time.perf_counter() < until:
        start = time.perf_counter()
        infer(sample)
        best = min(best, time.perf_counter() - start)
    return 1000 * best


def main() -> int:
    """Compile, run in turns, print a table."""
    parser = argparse.ArgumentParser(description="shared numerics beside those of CPUs alone")
    parser.add_argument("--models", default=",".join(MODELS), help="comma-separated (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=30, help="turns of each (default: %(default)s)")
    parser.add_argument("--docs", action="store_true", help="renew the table of docs/how/integers.md")
    options = parser.parse_args()
    head = "| int8, 1 thread | shared, ms | own, ms | shared / own (quartiles) | shared, dB | own, dB |"
    table = [head, "|---|" + "---:|" * 5]
    print("\n".join(table), flush=True)
    for name in options.models.split(","):
        (shared, tested), (own, _) = (runner(name, numerics) for numerics in ("shared", "target"))
        sample = {key: value[:1] for key, value in tested.items()}
        times = [(burst_ms(shared, sample), burst_ms(own, sample)) for _ in range(options.rounds)]
        low, middle, high = statistics.quantiles([a / b for a, b in times], n=4)
        medians = " | ".join(f"{statistics.median(column):.3f}" for column in zip(*times, strict=True))
        noise = " | ".join(f"{noise_db(infer, name, tested):.1f}" for infer in (shared, own))
        table.append(f"| {name} | {medians} | {middle:.3f} ({low:.3f}-{high:.3f}) | {noise} |")
        print(table[-1], flush=True)
    if options.docs:
        pages.put("numerics", "\n".join(table))
    return 0


if __name__ == "__main__":
    sys.exit(main())
