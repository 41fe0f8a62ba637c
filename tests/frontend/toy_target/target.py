"""The target and its bundle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from edgewright import __version__
from edgewright.frontend.bundle import SAMPLES_FILE, Bundle, Source
from edgewright.frontend.files.npz import npz
from edgewright.frontend.options import Options
from edgewright.frontend.samples.ran import Ran
from edgewright.frontend.target import Prepared, Target
from edgewright.passes.diagnostics import fail
from edgewright.passes.ir.graph import Graph
from edgewright.passes.ir.interp import interpret
from edgewright.passes.manifest import Manifest, seal
from edgewright.passes.results import Snapshot
from edgewright.targets.device import Device

TABLE = "outputs.npz"
MOST_OUTPUTS = 4


class ToyManifest(Manifest, frozen=True, kw_only=True, tag="toy"):
    """`rows`: how many samples the table has."""

    FORMAT: ClassVar[int] = 7
    REQUIRED: ClassVar[tuple[str, ...]] = (TABLE,)

    rows: int


@dataclass(slots=True)
class ToyBundle(Bundle[ToyManifest]):
    MANIFEST: ClassVar[type[Manifest]] = ToyManifest

    def run(self, source: Source = None, *, samples: int | None = None, threads: int | None = None, check: bool = False) -> Ran:
        if source is None:
            with np.load(self.directory / TABLE) as table:
                outputs = {name: table[name][:samples] for name in table.files}
        else:
            outputs = interpret(self.graph, self.first_samples(source, samples))
        expected = interpret(self.graph, self.first_samples(source, samples)) if check else outputs
        agrees = all(np.array_equal(outputs[name], expected[name]) for name in expected)
        return Ran(outputs, agrees if check else None)


class ToyTarget:
    precisions = ("int8",)
    bundle: type[ToyBundle] = ToyBundle

    def check(self, options: Options, device: Device) -> None:
        pass

    def has_rms_norm(self, options: Options) -> bool:
        return False

    def build(self, prepared: Prepared, options: Options) -> ToyBundle:
        with prepared.clock.stage("tabulate"):
            self.check_graph(prepared.graph, prepared.device, options.precision)
            bundle = ToyBundle(
                ToyManifest(
                    format=ToyManifest.FORMAT,
                    edgewright=__version__,
                    target=prepared.device.name,
                    precision=options.precision,
                    options=options.manifest(prepared.record.options),
                    rows=0,
                ),
                prepared.report(options, macs=sum(node.work.macs for node in prepared.graph.nodes())),
                _graph=prepared.graph,
            )
            outputs = interpret(prepared.graph, bundle.samples(_kept(prepared.files[SAMPLES_FILE])))
            files = {**prepared.files, TABLE: npz(outputs)}
            bundle.manifest, bundle.files = seal(bundle.manifest, files)
        return bundle

    def check_graph(self, graph: Graph, device: Device, precision: str) -> None:
        if len(graph.outputs) > MOST_OUTPUTS:
            fail("P002", "too many outputs", device.name, f"a table has at most {MOST_OUTPUTS}", "remove some")

    def price(self, graph: Graph, device: Device, precision: str, variant: str | None) -> Snapshot:
        return Snapshot(0, 0, weights_bytes=1)


def _kept(content: bytes) -> dict[str, Any]:
    import io

    with np.load(io.BytesIO(content)) as samples:
        return {name: samples[name] for name in samples.files}


TARGET: Target = ToyTarget()
