"""The target of an FPGA: an integer graph is planned for the board's engine, and the engine is emitted with its program."""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from edgewright import __version__
from edgewright.frontend.files.checkpoints import nothing_to_start_from
from edgewright.frontend.fpga.bundle import FpgaBundle
from edgewright.frontend.fpga.report import compiled_report
from edgewright.frontend.options import Options
from edgewright.frontend.target import Prepared, Target
from edgewright.frontend.trial import quantised_on_random
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.board_memory import memory_of_board
from edgewright.hw.cost import Cycles, check_clock, cycles_of, predict_cycles, timing_of
from edgewright.hw.emit import emit
from edgewright.hw.manifest import EngineManifest, Program
from edgewright.hw.plan import Plan, plan
from edgewright.hw.stored_plan import PLAN, restore, store
from edgewright.passes.diagnostics import Exit, fail
from edgewright.passes.ir import Graph
from edgewright.passes.manifest import read_files, read_manifest, seal
from edgewright.passes.results import MemoryUsed, Snapshot
from edgewright.targets.device import Device, load

_DIGITS = 6
SLOWEST_MHZ, FASTEST_MHZ = 10, 1000


class FpgaTarget:
    """See `frontend.target.Target`."""

    precisions = ("int8",)
    bundle: type[FpgaBundle] = FpgaBundle

    def check(self, options: Options, device: Device) -> None:
        if options.precision not in self.precisions:
            message = f"the engine of '{device.name}' computes in int8 only"
            because, help_text = f"{options.precision} was asked for", "use --precision int8, or a CPU target"
            fail("T003", message, "--precision", because, help_text, Exit.USAGE)
        if options.clock is not None and not SLOWEST_MHZ <= options.clock <= FASTEST_MHZ:
            fail(
                "U037",
                f"{options.clock} MHz is not a clock for '{device.name}'",
                "--clock",
                f"an engine is made for {SLOWEST_MHZ} to {FASTEST_MHZ} MHz",
                f"omit it for the board's {device.clock_mhz:g} MHz, or ask for less",
                Exit.USAGE,
            )
        check_clock(EngineConfig.of_board(device.at_clock(options.clock)))

    def has_rms_norm(self, options: Options) -> bool:
        return False

    def build(self, prepared: Prepared, options: Options) -> FpgaBundle:
        device = prepared.device.at_clock(options.clock)
        prepared = replace(prepared, device=device)
        graph, clock = prepared.graph, prepared.clock
        config, memory = EngineConfig.of_board(device), memory_of_board(device)
        with clock.stage("plan"):
            if options.starts_by("plan"):
                planned = plan(graph, config)
                timing = timing_of(planned, memory)
                cycles = replace(cycles_of(timing), ideal=predict_cycles(planned).total)
            else:
                planned, cycles = stored_plan(prepared.previous, graph, config)
                timing = timing_of(planned, memory)
            check_fit(planned, device)
        with clock.stage("emit"):
            files = prepared.files | {PLAN: store(planned, cycles)} | emit(planned, cycles, device.part)
            manifest = EngineManifest(
                format=EngineManifest.FORMAT,
                edgewright=__version__,
                target=device.name,
                precision=options.precision,
                options=options.manifest(prepared.record.options),
                engine=asdict(config),
                program=Program(planned.program_address, len(planned.steps)),
                memory_bytes=planned.memory_bytes,
            )
            manifest, files = seal(manifest, files)
        used = MemoryUsed("board", str(memory), cycles.ideal)
        return FpgaBundle(manifest, compiled_report(prepared, options, planned, timing, used), files, plan=planned)

    def check_graph(self, graph: Graph, device: Device, precision: str) -> None:
        check_fit(_planned(quantised_on_random(graph), device.name)[0], device)

    def price(self, graph: Graph, device: Device, precision: str, variant: str | None) -> Snapshot:
        integer = quantised_on_random(graph, method="minmax", passes=False)
        planned, cycles = _planned(integer, device.name)
        assert device.clock_mhz is not None
        milliseconds = round(cycles.total / (device.clock_mhz * 1000), _DIGITS)
        activations = sum(r.size_bytes for r in planned.regions if r.kind in ("activation", "on-chip"))
        known: dict[str, Any] = {"latency_low_ms": milliseconds, "latency_high_ms": milliseconds, "cycles": cycles.total}
        return Snapshot(0, 0, weights_bytes=len(planned.image), temporaries_bytes=activations, **known)


@lru_cache(maxsize=2)
def _planned(graph: Graph, board: str) -> tuple[Plan, Cycles]:
    """Return the plan of an integer graph for a board, with its cycles behind the board's memory."""
    device = load(board)
    planned = plan(graph, EngineConfig.of_board(device))
    return planned, predict_cycles(planned, memory_of_board(device))


def stored_plan(previous: Path | None, graph: Graph, config: EngineConfig) -> tuple[Plan, Cycles]:
    """Return the plan that an earlier compilation left, with its cycles. CompileError: U021 (exit 2) when there is none for
    this engine, U022 and U023 when it is damaged."""
    if previous is None or not (previous / PLAN).is_file():
        nothing_to_start_from("the output folder has no plan checkpoint")
    manifest = read_manifest(previous, EngineManifest)
    if manifest.engine != asdict(config):
        nothing_to_start_from(f"the plan there is for the engine of '{manifest.target}'", "start with --from plan")
    files = read_files(previous, manifest.files, "checkpoints") | read_files(previous, manifest.files, "memory")
    return restore(files[PLAN], graph, config, files["memory/image.bin"])


def check_fit(planned: Plan, device: Device) -> None:
    """CompileError P003 when a plan needs more memory than the board has: the one resource that a model decides, not the
    engine."""
    assert device.memory is not None
    available = device.memory.dram_mib << 20
    if planned.memory_bytes > available:
        because = f"it needs {planned.memory_bytes >> 20} MiB, the board has {device.memory.dram_mib} MiB"
        help_text = "use a smaller model or another board"
        fail("P003", f"the model does not fit {device.name}", "external memory", because, help_text)


TARGET: Target = FpgaTarget()
