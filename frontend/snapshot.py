"""What a model costs where it is to run, without compiling it: the figures of `Change.before` and `after`.

The exact float passes run first, as they do in a compilation. Whether integers fit and how long they take does not depend
on ranges, so two made-up samples calibrate what is only priced.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from importlib.util import find_spec

from edgewright.frontend.data import input_shapes, random_samples
from edgewright.passes.diagnostics import CompileError
from edgewright.passes.input_ranges import input_ranges
from edgewright.passes.ir.graph import Graph
from edgewright.passes.pipeline import QuantiseOptions, optimise, quantise
from edgewright.passes.results import Snapshot
from edgewright.targets.device import Device

_FEW = 2
_DIGITS = 6


@dataclass(slots=True)
class Pricing:
    """Prices models for one target in one precision. `reasons`: why a figure is missing, in words."""

    device: Device
    precision: str
    variant: str | None = None
    reasons: dict[str, None] = field(default_factory=dict)

    @property
    def where(self) -> str:
        """What the figures are for, in words."""
        if self.device.kind == "fpga":
            return f"int8 on {self.device.name}"
        name = "this machine" if self.device.name == "host" else self.device.name
        return f"{self.precision} on {name}, one thread"

    def snapshot(self, graph: Graph) -> Snapshot:
        """The cost of a float graph; what cannot be priced is None and has a reason."""
        nodes = graph.nodes()
        found = Snapshot(
            macs=sum(node.work.macs for node in nodes),
            parameters=sum(node.type.size for node in nodes if node.op.kind == "Constant" and node.type.is_float),
        )
        try:
            optimised, _ = optimise(graph, rms_norm=self.precision == "fp32" and self.device.kind != "fpga")
            if self.device.kind == "fpga":
                return self._on_engine(optimised, found)
            return self._on_cpu(optimised, found)
        except CompileError as error:
            first = error.diagnostics[0]
            self.reasons[f"Not every model could be priced for {self.device.name}: {first.message}, {first.because}."] = None
            return found

    def _integer(self, graph: Graph) -> Graph:
        samples = random_samples(input_shapes(graph), _FEW, ranges=input_ranges(graph))
        return quantise(graph, samples.inputs, QuantiseOptions(method="minmax")).graph

    def _on_cpu(self, graph: Graph, found: Snapshot) -> Snapshot:
        if find_spec("tvm") is None:
            self.reasons["Memory and latency are not estimated: TVM, which lays programs out, is not installed."] = None
            return found
        from edgewright.frontend.driver_cpu import variant_of
        from edgewright.targets.cpu.build import sizes
        from edgewright.targets.cpu.lower import lower
        from edgewright.targets.cpu.variants import runnable, variant
        from edgewright.targets.cpu.work import works_of
        from edgewright.targets.estimate import estimate

        kernels = variant_of(self.device, self.variant)
        program = lower(self._integer(graph) if self.precision == "int8" else graph, kernels)
        weights, temporaries = sizes(program)
        found = replace(found, weights_bytes=weights, temporaries_bytes=temporaries)
        cpu = self.device.cpu
        own = None if cpu is None else variant(cpu.variant)
        if own is None or self.device.clock_mhz is None or kernels not in runnable(own.arch, own.features):
            self.reasons[f"Latency is not estimated: {self.device.name} does not run these kernels, or is not known."] = None
            return found
        one = estimate(works_of(program), self.device, 1, kernels.name)
        return replace(found, latency_low_ms=round(one.low_ms, _DIGITS), latency_high_ms=round(one.high_ms, _DIGITS))

    def _on_engine(self, graph: Graph, found: Snapshot) -> Snapshot:
        from edgewright.hw.blocks.config import EngineConfig
        from edgewright.hw.cost import predict_cycles
        from edgewright.hw.plan import plan

        planned = plan(self._integer(graph), EngineConfig.from_table(dict(self.device.engine)))
        cycles = predict_cycles(planned).total
        assert self.device.clock_mhz is not None
        milliseconds = round(cycles / (self.device.clock_mhz * 1000), _DIGITS)
        held = {kind: sum(r.size_bytes for r in planned.regions if r.kind == kind) for kind in ("activation", "weights")}
        return replace(
            found,
            cycles=cycles,
            latency_low_ms=milliseconds,
            latency_high_ms=milliseconds,
            weights_bytes=len(planned.image),
            temporaries_bytes=held["activation"],
        )
