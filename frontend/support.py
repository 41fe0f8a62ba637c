"""What each target says of a model: it is planned there by the code that `compile` runs, with made-up ranges."""

from __future__ import annotations

from functools import lru_cache, partial
from importlib.util import find_spec

from edgewright.frontend.data import input_shapes, random_samples
from edgewright.frontend.inspect_model import Supports
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.plan import plan
from edgewright.passes.diagnostics import CompileError, Diagnostic
from edgewright.passes.ir.graph import Graph
from edgewright.passes.pipeline import QuantiseOptions, optimise, quantise
from edgewright.targets.device import list_devices, load_supported


def checks() -> dict[str, Supports]:
    """For each board, supported ones first, a function that gives the reasons why a float graph cannot run there."""
    return {device.name: partial(reasons, device.name) for device in list_devices()}


def reasons(target: str, graph: Graph) -> list[Diagnostic]:
    """Empty when the model can be compiled for the target; raises CompileError with the reasons otherwise.

    Whether it runs does not depend on the ranges, so two random samples do.
    """
    device = load_supported(target)
    if device.kind == "cpu":
        _lower(graph)
        return []
    optimised, _ = optimise(graph)
    samples = random_samples(input_shapes(graph), count=2)
    integer = quantise(optimised, samples.inputs, QuantiseOptions(method="minmax")).graph
    plan(integer, EngineConfig.from_table(device.engine))
    return []


@lru_cache(maxsize=1)
def _lower(graph: Graph) -> None:
    """Lowers for a CPU, where what a model may hold does not depend on the board; raises CompileError."""
    if find_spec("tvm") is None:
        because = "TVM, which generates code for CPUs, is not installed"
        raise CompileError([Diagnostic("T002", "nothing is compiled for CPUs here", "--target", because, "install apache-tvm")])
    from edgewright.targets.cpu.lower import lower
    from edgewright.targets.cpu.variants import variant

    optimised, _ = optimise(graph, rms_norm=True)
    lower(optimised, variant("neon"))
