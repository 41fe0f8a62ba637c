"""What each target says of a model at each precision: the code that `compile` runs says it, with made-up samples."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from edgewright.frontend.inspect_model import Inspection, Supports
from edgewright.frontend.inspect_model import inspect as describe
from edgewright.frontend.onnx_reading.modules import AnyModel, as_source
from edgewright.frontend.target import target_of
from edgewright.passes.diagnostics import Diagnostic
from edgewright.passes.ir import Graph
from edgewright.targets.device import list_devices, load, load_supported


def checks(target: str | None = None, precision: str | None = None) -> dict[tuple[str, str], Supports]:
    """Return for each board and precision, supported boards first, a function that gives the reasons why a float graph cannot
    run so. target, precision: these only. CompileError (T001) for a board that does not exist."""
    devices = list_devices() if target is None else (load(target),)
    return {
        (device.name, each): partial(reasons, device.name, each)
        for device in devices
        for each in target_of(device.kind).precisions
        if precision in (None, each)
    }


def inspect(
    source: AnyModel,
    *,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    target: str | None = None,
    precision: str | None = None,
    passes: bool = False,
) -> Inspection:
    """Return what a model is and costs, and for each target and precision why it does not run there: nothing where it runs.

    ``target``, ``precision``: check these only; ``shapes``: of inputs that the file leaves open, or of a torch module;
    ``passes``: also what each group of passes does to the graph. Raises ``CompileError`` when the model cannot be read."""
    return describe(as_source(source, shapes), shapes, checks(target, precision), passes)


def reasons(target: str, precision: str, graph: Graph) -> list[Diagnostic]:
    """Return nothing when the model can be compiled so; raise CompileError with the reasons otherwise."""
    device = load_supported(target)
    target_of(device.kind).check_graph(graph, device, precision)
    return []
