"""What a model costs where it is to run, without compiling it: the figures of `Change.before` and `after`.

The exact float passes run first, as they do in a compilation. Whether integers fit and how long they take does not depend
on ranges, so two made-up samples calibrate what is only priced.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from edgewright.frontend.options import Options
from edgewright.frontend.target import Unpriced, target_of
from edgewright.passes.diagnostics import CompileError
from edgewright.passes.ir import Graph
from edgewright.passes.pipeline import optimise
from edgewright.passes.results import Snapshot
from edgewright.passes.structure.sub_model_shape import footprint
from edgewright.targets.device import Device


@dataclass(slots=True)
class Pricing:
    """Prices models for one target in one precision. `reasons`: why a figure is missing, in words."""

    device: Device
    precision: str
    variant: str | None = None
    reasons: dict[str, None] = field(default_factory=dict)

    def snapshot(self, graph: Graph) -> Snapshot:
        """Return the cost of a float graph; what cannot be priced is None and has a reason."""
        size, target = footprint(graph), target_of(self.device.kind)
        rms_norm = self.precision == "fp32" and target.has_rms_norm(Options())
        known = Snapshot(0, 0)
        try:
            known = target.price(optimise(graph, rms_norm=rms_norm)[0], self.device, self.precision, self.variant)
        except Unpriced as missing:
            known = missing.known
            self.reasons[str(missing)] = None
        except CompileError as error:
            first = error.diagnostics[0]
            self.reasons[f"Not every model could be priced for {self.device.name}: {first.message}, {first.because}."] = None
        return replace(known, macs=size.macs, parameters=size.parameters)
