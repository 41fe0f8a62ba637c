"""One file through everything that reads and plans it: right, refused with one clear error, or a fault."""

from __future__ import annotations

import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped,unused-ignore]
from edgewright.frontend.data import input_shapes, random_samples, unbatched_inputs
from edgewright.frontend.onnx_reading.reader import read_model
from edgewright.frontend.onnx_writing.writer import write_integer
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.plan import plan
from edgewright.passes import error_texts
from edgewright.passes.diagnostics import CompileError, Exit
from edgewright.passes.input_ranges import input_ranges
from edgewright.passes.ir import Array, Graph, Node
from edgewright.passes.ir.interp import interpret, visit
from edgewright.passes.pipeline import QuantiseOptions, optimise, quantise
from edgewright.targets.device import load_supported

COMPARED = "onnxruntime ran it"
TOLERANCE = 2e-3
"""Of an output's largest magnitude: float32 in another order, and a few weights that mutations made extreme."""
LARGEST = 1e7
"""Beyond, float32 keeps no digits of ordinary terms in the same sum."""
LARGEST_INPUT = 1 << 20
"""Elements given to onnxruntime."""
MASKED = np.float32(-3.4028e38)
"""The lowest float32 forbids scores, and takes part in no sum that counts."""


@dataclass(frozen=True)
class Verdict:
    """`kind`: planned, a fault, or the stage that refused the model. `where`: the code, or what was wrong."""

    kind: str
    where: str
    seconds: float = 0.0
    compared: bool = False


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
    return Verdict(verdict.kind, verdict.where, time.process_time() - started, COMPARED in stage)


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
    if _compare(data, graph, samples, found):
        stage.append(COMPARED)
    stage[0] = "quantise"
    integer = quantise(plain, samples, QuantiseOptions(method="minmax")).graph
    stage[0] = "write"
    _same_bits(integer, samples)
    stage[0] = "plan"
    plan(integer, EngineConfig.from_table(load_supported("zcu104").engine))


def _session(data: bytes) -> onnxruntime.InferenceSession | None:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception:  # it refuses the model for reasons of its own
        return None


def _extreme(graph: Graph, samples: dict[str, Array]) -> bool:
    """Whether values are so large that their sums depend on the order of their terms."""
    largest = [0.0]

    def see(node: Node, value: Array) -> None:
        if node.type.is_float and value.size:
            sizes = np.where(value < MASKED, 0, np.abs(value))
            largest[0] = max(largest[0], float(np.nan_to_num(sizes, nan=np.inf).max()))

    visit(graph, samples, see)
    return largest[0] > LARGEST


def _compare(data: bytes, graph: Graph, samples: dict[str, Array], found: list[dict[str, Array]]) -> bool:
    """Whether onnxruntime ran the file too; AssertionError where its values differ."""
    session = _session(data)
    if session is None or _extreme(graph, samples):
        return False
    own, count = unbatched_inputs(graph), len(next(iter(samples.values())))
    wanted: list[list[Array]] = []
    types = {"float": np.float32, "int64": np.int64, "int32": np.int32, "uint8": np.uint8, "int8": np.int8, "bool": np.bool_}
    fixed = {i.name: i.shape[0] for i in session.get_inputs() if i.name not in own and i.shape}
    batch = max((n for n in fixed.values() if isinstance(n, int)), default=1)
    if batch * sum(array.size for array in samples.values()) > LARGEST_INPUT:
        return False
    try:
        for sample in range(count):
            feeds: dict[str, Array] = {}
            for i in session.get_inputs():
                one = samples[i.name][sample : sample + 1]
                one = one[0] if i.name in own else np.repeat(one, batch, axis=0)  # equal rows
                feeds[i.name] = one.astype(types.get(i.type.removeprefix("tensor(").removesuffix(")"), np.int16))
            wanted.append([np.asarray(value) for value in session.run(list(graph.output_names), feeds)])
    except Exception:
        return False
    for position, name in enumerate(graph.output_names):
        rows = [row[position] for row in wanted]
        if batch > 1:
            rows = [row[: len(row) // batch] if row.ndim and len(row) % batch == 0 else row for row in rows]
        right = np.concatenate([np.atleast_1d(row) for row in rows]).astype(np.float64)
        for label, values in zip(("read", "passes", "passes of CPUs"), found, strict=True):
            value = values[name].astype(np.float64)
            if value.size != right.size and value.size * count == right.size:  # depends on no input
                value = np.concatenate([value] * count)
            assert value.size == right.size, f"{label}: output {name!r} is {value.shape}, and onnxruntime's {right.shape}"
            value = value.reshape(right.shape)
            error = np.abs(value - right).max(initial=0) / max(1e-6, np.abs(right).max(initial=0))
            assert error < TOLERANCE, f"{label}: output {name!r} differs by {error:.2g} of the largest"
    return True


def _same_bits(integer: Graph, samples: dict[str, Array]) -> None:
    written = write_integer(integer)
    session = _session(written.SerializeToString())
    assert session is not None, "onnxruntime refuses the written integer model"
    expected = interpret(integer, {name: array[:1] for name, array in samples.items()})
    kinds = {i.name: i.type for i in session.get_inputs()}
    order = [i.name for i in session.get_inputs()]
    names = dict(zip(order, input_shapes(integer), strict=True))
    feeds = {
        i: samples[names[i]][:1].astype(np.float32 if kinds[i] == "tensor(float)" else np.int64) for i in order
    }
    outputs = [o.name for o in session.get_outputs()]
    for name, value, wanted in zip(outputs, session.run(outputs, feeds), expected.values(), strict=True):
        assert np.array_equal(value, wanted), f"integer output {name!r} has other bits in onnxruntime"


def smallest(data: bytes) -> str:
    """A model in words, for a report of a fault."""
    try:
        return onnx.printer.to_text(onnx.ModelProto.FromString(data))
    except Exception:
        return f"{len(data)} bytes"
