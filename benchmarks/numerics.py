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
from pathlib import Path

import numpy as np

from benchmarks import pages
from benchmarks.cpu_models import MODELS, Arrays, data_path, model_path, split
from benchmarks.cpu_peers import Run, real_outputs

OUTPUT = Path(__file__).parents[1] / "build" / "numerics"
TESTED = 8
BURST_S = 0.1


def runner(name: str, numerics: str) -> tuple[Run, Arrays]:
    """One inference of a model compiled so, and samples that did not calibrate it."""
    import edgewright
    from edgewright.frontend.cpu.bundle import CpuBundle

    model, data = str(model_path(MODELS[name])), data_path(MODELS[name])
    output = OUTPUT / f"{name}-{numerics}"
    compiled = edgewright.compile(model, target="host", calibration=data, numerics=numerics, output=output)
    assert isinstance(compiled, CpuBundle)
    _, tested = split(data, [tensor.name for tensor in compiled.artifact.manifest.inputs])
    return real_outputs(compiled.artifact, threads=1), tested


def noise_db(infer: Run, name: str, tested: Arrays) -> float:
    """Of all outputs on a few samples."""
    import onnxruntime  # type: ignore[import-untyped,unused-ignore]

    session = onnxruntime.InferenceSession(str(model_path(MODELS[name])))
    wanted = {tensor.name for tensor in session.get_inputs()}
    signal = noise = 0.0
    for i in range(TESTED):
        sample = {key: value[i : i + 1] for key, value in tested.items() if key in wanted}
        for exact, output in zip(session.run(None, sample), infer(sample), strict=True):
            signal += float(np.square(exact, dtype=np.float64).sum())
            noise += float(np.square(exact.astype(np.float64) - output).sum())
    return float(10 * np.log10(signal / noise))


def burst_ms(infer: Run, sample: Arrays) -> float:
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
        (shared, tested), (target, _) = (runner(name, numerics) for numerics in ("shared", "target"))
        sample = {key: value[:1] for key, value in tested.items()}
        times = [(burst_ms(shared, sample), burst_ms(target, sample)) for _ in range(options.rounds)]
        low, middle, high = statistics.quantiles([a / b for a, b in times], n=4)
        medians = " | ".join(f"{statistics.median(column):.3f}" for column in zip(*times, strict=True))
        noise = " | ".join(f"{noise_db(infer, name, tested):.1f}" for infer in (shared, target))
        table.append(f"| {name} | {medians} | {middle:.3f} ({low:.3f}-{high:.3f}) | {noise} |")
        print(table[-1], flush=True)
    if options.docs:
        pages.put("numerics", "\n".join(table))
    return 0


if __name__ == "__main__":
    sys.exit(main())
