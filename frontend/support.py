"""What each target says of a model at each precision: the code that `compile` runs says it, with made-up samples."""

from __future__ import annotations

from functools import lru_cache, partial
from importlib.util import find_spec

from edgewright.frontend.data import input_shapes, random_samples
from edgewright.frontend.driver import check_fit
from edgewright.frontend.inspect_model import Supports
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.cost import predict_cycles
from edgewright.hw.plan import plan
from edgewright.passes.diagnostics import CompileError, Diagnostic
from edgewright.passes.input_ranges import input_ranges
from edgewright.passes.ir.graph import Graph
from edgewright.passes.pipeline import QuantiseOptions, optimise, quantise
from edgewright.targets.device import list_devices, load, load_supported

PRECISIONS = {"cpu": ("int8", "fp32")}
"""What a kind of target computes in, the default of `compile` first; all others in int8 only."""


def checks(target: str | None = None, precision: str | None = None) -> dict[tuple[str, str], Supports]:
    """For each board and precision, supported boards first, a function that gives the reasons why a float graph cannot run
    so. target, precision: these only. CompileError (T001) for a board that there is not."""
    devices = list_devices() if target is None else (load(target),)
    return {
        (device.name, each): partial(reasons, device.name, each)
        for device in devices
        for each in PRECISIONS.get(device.kind, ("int8",))
        if precision in (None, each)
    }


def reasons(target: str, precision: str, graph: Graph) -> list[Diagnostic]:
    """Empty when the model can be compiled so; raises CompileError with the reasons otherwise.

    Ranges come from two random samples: what they decide is only whether scales lie within the arithmetic (Q007).
    """
    device = load_supported(target)
    if device.kind == "cpu":
        _lower(graph, precision)
        return []
    planned = plan(_quantised(graph), EngineConfig.from_table(device.engine))
    check_fit(planned, device)
    predict_cycles(planned)
    return []


@lru_cache(maxsize=2)
def _quantised(graph: Graph) -> Graph:
    """The integer graph of every target, as `frontend.driver` makes it."""
    optimised, _ = optimise(graph)
    samples = random_samples(input_shapes(graph), count=2, ranges=input_ranges(graph))
    return quantise(optimised, samples.inputs, QuantiseOptions()).graph


def _lower(graph: Graph, precision: str) -> None:
    """Lowers for a CPU, where what a model may hold does not depend on the board; raises CompileError."""
    refused = _refused(graph, precision)
    if refused:
        raise CompileError(refused)


@lru_cache(maxsize=2)
def _refused(graph: Graph, precision: str) -> tuple[Diagnostic, ...]:
    """Why no CPU runs a model at a precision."""
    if find_spec("tvm") is None:
        because = "TVM, which generates code for CPUs, is not installed"
        return (Diagnostic("T022", "nothing is compiled for CPUs here", "--target", because, "pip install 'edgewright[cpu]'"),)
    from edgewright.targets.cpu.lower import lower
    from edgewright.targets.cpu.variants import variant

    try:
        lower(_quantised(graph) if precision == "int8" else optimise(graph, rms_norm=True)[0], variant("neon"))
    except CompileError as error:
        return error.diagnostics
    return ()
