"""One file through everything that reads and plans it: right, refused with one clear error, or a fault."""

from __future__ import annotations

import functools
import math
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped,unused-ignore]
from edgewright.frontend.onnx_reading.reader import read_model
from edgewright.frontend.onnx_writing.writer import write_integer
from edgewright.frontend.samples.data import input_shapes, random_samples, unbatched_inputs
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.plan import plan
from edgewright.passes import error_texts
from edgewright.passes.diagnostics import CompileError, Exit
from edgewright.passes.input_ranges import input_ranges
from edgewright.passes.ir import Array, Graph, Node
from edgewright.passes.ir.interp import interpret, visit
from edgewright.passes.ops import LayerNormalization, RMSNormalization
from edgewright.passes.pipeline import QuantiseOptions, optimise, quantise
from edgewright.targets.device import load_supported

from tests.fuzz.agreement import AGAINST_ONNXRUNTIME, difference, tolerances

COMPARED = "onnxruntime ran it"
UNDECIDED = "float32 does not decide it"
TOLERANCE = 2e-3
"""Of an output's largest magnitude, for float32 in another order. Beyond it, what rounding does to this model counts."""
NORMED = 1e18
"""The square of what enters a norm and is larger overflows in float32; ours squares in float64."""
LARGEST_INPUT = 1 << 20
"""Elements given to onnxruntime."""


@dataclass(frozen=True)
class Verdict:
    """`kind`: planned, a fault, or the stage that refused the model. `where`: the code, or what was wrong."""

    kind: str
    where: str
    seconds: float = 0.0
    compared: bool = False
    undecided: bool = False


def check(data: bytes) -> Verdict:
    """Never raises."""
    started = time.process_time()
    stage = ["read"]
    try:
        with np.errstate(all="ignore"):
            _through(data, stage)
        verdict = Verdict("planned", "")
    except CompileError as error:
        verdict = _refusal(error, stage[0])
    except MemoryError:
        verdict = Verdict("fault", f"{stage[0]}: MemoryError")
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        own = [f for f in traceback.extract_tb(error.__traceback__) if "edgewright" in f.filename]
        last = own[-1] if own else frame
        place = f"{Path(last.filename).name}:{last.lineno}"
        verdict = Verdict("fault", f"{stage[0]}: {type(error).__name__} at {place}: {str(error)[:160]}")
    return Verdict(verdict.kind, verdict.where, time.process_time() - started, COMPARED in stage, UNDECIDED in stage)


def _refusal(error: CompileError, stage: str) -> Verdict:
    for diagnostic in error.diagnostics:
        if not (diagnostic.message and diagnostic.because):
            return Verdict("fault", f"{stage}: incomplete diagnostic {diagnostic!r}")
        if diagnostic.code not in error_texts.codes():
            return Verdict("fault", f"{stage}: code {diagnostic.code} is not explained")
    if error.exit_code == Exit.BUG or not error.diagnostics:
        return Verdict("fault", f"{stage}: refused as a bug of ours: {str(error)[:160]}")
    return Verdict(f"refused by {stage}", error.diagnostics[0].code)


def _through(data: bytes, stage: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(data)
        graph = read_model(path)
    stage[0] = "passes"
    plain, _ = optimise(graph)
    rms, _ = optimise(graph, rms_norm=True)
    stage[0] = "interpret"
    samples = random_samples(input_shapes(graph), 2, ranges=input_ranges(graph)).inputs
    found = [interpret(one, samples) for one in (graph, plain, rms)]
    stage += _compare(data, graph, samples, found)
    stage[0] = "quantise"
    integer = quantise(plain, samples, QuantiseOptions(method="minmax")).graph
    stage[0] = "write"
    _same_bits(integer, samples)
    stage[0] = "plan"
    plan(integer, EngineConfig.of_board(load_supported("zcu104")))


def _session(data: bytes) -> onnxruntime.InferenceSession | None:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception:  # it refuses the model for reasons of its own
        return None


def _compare(data: bytes, graph: Graph, samples: dict[str, Array], found: list[dict[str, Array]]) -> list[str]:
    """What was compared with onnxruntime. AssertionError where its values differ, or those of the passes, which compute in
    the same precision as the graph that was read."""
    read, *passes = found
    rounding = functools.cache(lambda: _rounding(graph, samples))
    decided = functools.cache(lambda: _squares_fit(graph, samples))

    def within(name: str) -> float:
        return rounding()[name]

    def of_kernels(name: str) -> float:
        return AGAINST_ONNXRUNTIME * rounding()[name] if decided() else math.inf

    for label, values in zip(("passes", "passes of CPUs"), passes, strict=True):
        for name in graph.output_names:
            _agree(label, name, read[name].astype(np.float64), values[name], within)
    wanted = _onnxruntime(data, graph, samples)
    if wanted is None:
        return []
    for name, right in zip(graph.output_names, wanted, strict=True):
        value = read[name]
        assert value.size == right.size, f"output {name!r} is {value.shape}, and onnxruntime's {right.shape}"
        if not _agree("read", name, right, value.reshape(right.shape), of_kernels):
            return [UNDECIDED]
    return [COMPARED]


def _agree(label: str, name: str, right: Array, value: Array, allowed: Callable[[str], float]) -> bool:
    """Whether values are equal, to TOLERANCE or what rounding does; False where rounding decides them all."""
    error = difference(right, value)
    size = max(1e-6, float(np.abs(right[np.isfinite(right)]).max(initial=0)))
    if error <= TOLERANCE * size:
        return True
    most = allowed(name)
    if not most < size:
        return False
    assert error <= most, f"{label}: output {name!r} differs by {error / size:.2g} of the largest ({most / size:.2g})"
    return True


def _rounding(graph: Graph, samples: dict[str, Array]) -> dict[str, float]:
    """How far rounding moves each output."""
    lead = {name: shape[0] for name, shape in input_shapes(graph).items()}
    runs = [
        tolerances(graph, {name: array[i * lead[name] : (i + 1) * lead[name]] for name, array in samples.items()})
        for i in range(min(len(samples[name]) // size for name, size in lead.items()))
    ]
    return {name: max(one) for name, one in zip(graph.output_names, zip(*runs, strict=True), strict=True)}


def _squares_fit(graph: Graph, samples: dict[str, Array]) -> bool:
    """Whether float32 holds the squares in all norms."""
    fits = [True]
    normed = {node.inputs[0] for node in graph.nodes() if isinstance(node.op, LayerNormalization | RMSNormalization)}

    def see(node: Node, value: Array) -> None:
        if node in normed and value.size:
            fits[0] = fits[0] and bool((np.abs(value) <= NORMED).all())

    visit(graph, samples, see)
    return fits[0]


def _onnxruntime(data: bytes, graph: Graph, samples: dict[str, Array]) -> list[Array] | None:
    """Its outputs in float64, samples along axis 0; None where it refuses the file or its inputs are too large."""
    session = _session(data)
    if session is None:
        return None
    own, count = unbatched_inputs(graph), len(next(iter(samples.values())))
    types = {"float": np.float32, "int64": np.int64, "int32": np.int32, "uint8": np.uint8, "int8": np.int8, "bool": np.bool_}
    fixed = {i.name: i.shape[0] for i in session.get_inputs() if i.name not in own and i.shape}
    batch = max((n for n in fixed.values() if isinstance(n, int)), default=1)
    if batch * sum(array.size for array in samples.values()) > LARGEST_INPUT:
        return None
    runs: list[list[Array]] = []
    try:
        for sample in range(count):
            feeds: dict[str, Array] = {}
            for i in session.get_inputs():
                one = samples[i.name][sample : sample + 1]
                one = one[0] if i.name in own else np.repeat(one, batch, axis=0)  # equal rows
                feeds[i.name] = one.astype(types.get(i.type.removeprefix("tensor(").removesuffix(")"), np.int16))
            runs.append([np.asarray(value) for value in session.run(list(graph.output_names), feeds)])
    except Exception:
        return None
    found = []
    for rows in zip(*runs, strict=True):
        if batch > 1:
            rows = tuple(row[: len(row) // batch] if row.ndim and len(row) % batch == 0 else row for row in rows)
        found.append(np.concatenate([np.atleast_1d(row) for row in rows]).astype(np.float64))
    return found


def _same_bits(integer: Graph, samples: dict[str, Array]) -> None:
    written = write_integer(integer)
    session = _session(written.SerializeToString())
    assert session is not None, "onnxruntime refuses the written integer model"
    expected = interpret(integer, {name: array[:1] for name, array in samples.items()})
    kinds = {i.name: i.type for i in session.get_inputs()}
    order = [i.name for i in session.get_inputs()]
    names = dict(zip(order, input_shapes(integer), strict=True))
    feeds = {i: samples[names[i]][:1].astype(np.float32 if kinds[i] == "tensor(float)" else np.int64) for i in order}
    outputs = [o.name for o in session.get_outputs()]
    for name, value, wanted in zip(outputs, session.run(outputs, feeds), expected.values(), strict=True):
        assert np.array_equal(value, wanted), f"integer output {name!r} has other bits in onnxruntime"


def smallest(data: bytes) -> str:
    """A model in words, for a report of a fault."""
    try:
        return onnx.printer.to_text(onnx.ModelProto.FromString(data))
    except Exception:
        return f"{len(data)} bytes"
