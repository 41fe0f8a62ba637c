"""One random model through reader, passes, quantisation and CPU code, beside onnxruntime."""

from __future__ import annotations

import traceback
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]
from edgewright.frontend.onnx_reading.reader import read_model
from edgewright.frontend.onnx_writing.writer import interface_names, write_integer
from edgewright.passes.diagnostics import CompileError
from edgewright.passes.ir.graph import Graph
from edgewright.passes.ir.interp import interpret
from edgewright.passes.ir.types import Array
from edgewright.passes.pipeline import optimise, quantise

from tests.fuzz.agreement import AGAINST_ONNXRUNTIME, difference, tolerances
from tests.fuzz.onnx_networks import finished

KERNELS = 1e-7  # its sigmoid, tanh and erf are so exact
SAMPLES = 4


@dataclass
class Findings:
    """What is wrong with models, by seed; how many came how far; how many were refused for what."""

    wrong: list[str] = field(default_factory=list)
    reached: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)


def run_onnx(model: onnx.ModelProto, feeds: dict[str, Array]) -> list[Array]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found: list[Array] = session.run(None, feeds)
    return found


def check_seed(seed: int, findings: Findings, compiled: bool) -> None:
    """Everything of one model; `compiled`: CPU code too."""
    try:
        _check(seed, findings, compiled)
    except CompileError as error:
        findings.refused.update(f"{d.code} {d.message.split(' ')[0]}" for d in error.diagnostics[:1])
    except Exception:  # any other error is a fault, and is reported with its seed
        findings.wrong.append(f"{seed}: {traceback.format_exc(limit=-4)}")


def _check(seed: int, findings: Findings, compiled: bool) -> None:
    model, proto = finished(seed)
    rng = np.random.default_rng(seed)
    one, many = model.samples(1, rng), model.samples(SAMPLES, rng)
    findings.reached["made"] += 1
    wanted = run_onnx(proto, one)
    with np.errstate(all="ignore"):
        graph = read_model(proto)
        findings.reached["read"] += 1
        allowed = tolerances(graph, one, absolute=KERNELS)
        optimised = {False: optimise(graph)[0], True: optimise(graph, rms_norm=True)[0]}
        for name, after in (("read", graph), ("with means", optimised[False]), ("without means", optimised[True])):
            _compare_floats(seed, name, wanted, interpret(after, one), allowed, findings)
        findings.reached["float"] += 1
        if compiled:
            _compiled(optimised[True], one)
            findings.reached["float on CPU"] += 1
        whole = quantise(optimised[False], many).graph
        findings.reached["quantised"] += 1
        exact = interpret(whole, one)
    names = interface_names(whole)
    feeds = {written: one[node.name] for written, node in zip(names[0], whole.inputs, strict=True)}
    feeds = {name: value.astype(np.int64) if value.dtype == np.bool_ else value for name, value in feeds.items()}
    for output, value in zip(whole.output_names, run_onnx(write_integer(whole), feeds), strict=True):
        if not np.array_equal(value, exact[output]):
            findings.wrong.append(f"{seed}: integers of {output} differ from onnxruntime's")
    findings.reached["integers"] += 1
    if compiled:
        _compiled(whole, one)
        findings.reached["integers on CPU"] += 1


def _compare_floats(
    seed: int, name: str, wanted: list[Array], found: dict[str, Array], allowed: list[float], findings: Findings
) -> None:
    for a, (output, b), most in zip(wanted, found.items(), allowed, strict=True):
        if not np.isfinite(a).all():
            findings.reached["not finite"] += 1
        elif a.shape != b.shape or difference(a, b) > AGAINST_ONNXRUNTIME * most:
            size = np.abs(a).max(initial=0)
            findings.wrong.append(f"{seed}: {name}, {output} differs by {difference(a, b):.2g} of {size:.2g} ({most:.1g})")


def _compiled(graph: Graph, values: dict[str, Array]) -> None:
    """AssertionError where compiled code differs from the interpreter."""
    from tests.targets.cpu.lowered import Compiled  # TVM takes seconds to import

    Compiled(graph).check(values)
