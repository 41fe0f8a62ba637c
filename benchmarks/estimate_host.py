"""What the estimate says of models on this machine next to what they take here.

    TVM_NUM_THREADS=1 python -m benchmarks.estimate_host MODEL.onnx[:int8|:fp32] ...

On as many threads as TVM_NUM_THREADS says. Prints one line of JSON for each model: the range, the median and the least of
the measured times, in ms.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np


def compare(path: str, precision: str, threads: int, seconds: float = 3.0) -> dict[str, Any]:
    """The range of the estimate and measured times of a model on this machine; TVM has to have been told the threads."""
    import tvm
    from edgewright.frontend.onnx_reading.reader import read_model
    from edgewright.frontend.samples.data import input_shapes, random_samples
    from edgewright.passes.pipeline import optimise, quantise
    from edgewright.targets.cpu.artifact import ENTRY
    from edgewright.targets.cpu.build import build
    from edgewright.targets.cpu.lower import lower
    from edgewright.targets.cpu.variants import variant
    from edgewright.targets.cpu.work import works_of
    from edgewright.targets.device import load
    from edgewright.targets.estimate import estimate

    host = load("host")
    assert host.cpu is not None
    graph = read_model(path, {})
    samples = random_samples(input_shapes(graph), 2)
    graph, _ = optimise(graph)
    if precision == "int8":
        graph = quantise(graph, samples.inputs).graph
    program = lower(graph, variant(host.cpu.variant))
    built = build(program)
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "model.so"
        library.write_bytes(built.library)
        entry = tvm.runtime.load_module(str(library))[ENTRY]
        blocks = [np.frombuffer(built.weights or b"\0", np.uint8), np.zeros(max(built.workspace_bytes, 1), np.uint8)]
        ends = [*(samples.inputs[name][:1] for name in samples.inputs), *(np.zeros(o.shape, o.dtype) for o in program.outputs)]
        arguments = [tvm.runtime.tensor(np.ascontiguousarray(array)) for array in (*blocks, *ends)]
        times: list[float] = []
        began = time.perf_counter()
        while len(times) < 20 or time.perf_counter() - began < seconds:
            start = time.perf_counter()
            entry(0, len(program.steps), *arguments)
            times.append((time.perf_counter() - start) * 1e3)
    estimated = estimate(works_of(program), host, threads)
    return {
        "model": Path(path).name,
        "precision": precision,
        "core": estimated.core,
        "variant": estimated.variant,
        "threads": threads,
        "macs": estimated.macs,
        "low_ms": estimated.low_ms,
        "median_ms": float(np.median(times)),
        "least_ms": min(times),
        "high_ms": estimated.high_ms,
    }


if __name__ == "__main__":
    told = os.environ.get("TVM_NUM_THREADS", "")
    if not told.isdecimal():
        sys.exit("set TVM_NUM_THREADS, to 1 for instance: TVM reads it when it is loaded")
    for argument in sys.argv[1:]:
        path, _, precision = argument.partition(":")
        print(json.dumps(compare(path, precision or "fp32", int(told))), flush=True)
