"""The engine's clock: no chain of the printed engine is longer than a cycle, and one that would be is refused by name."""

from __future__ import annotations

from dataclasses import replace

import pytest
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.cost import ROUNDING_NS, chains_of, check_clock, placements_of, program_of
from edgewright.hw.kernel.chains import chains
from edgewright.hw.kernel.schedule import register_bits
from edgewright.passes.diagnostics import CompileError
from edgewright.targets.device import list_devices, load

CLOCKS_MHZ = (150, 200, 250, 300)


def engine(clock_mhz: int) -> EngineConfig:
    return replace(EngineConfig.of_board(load("zcu104")), clock_mhz=clock_mhz)


def registers(clock_mhz: int) -> int:
    return sum(register_bits(placement) for placement in placements_of(engine(clock_mhz)).values())


@pytest.mark.parametrize("clock_mhz", CLOCKS_MHZ)
def test_every_chain_fits_a_cycle(clock_mhz: int) -> None:
    slowest = chains_of(engine(clock_mhz))
    table = "\n".join(f"{chain.ns:.2f} {chain.process}: {chain}" for chain in slowest)
    print(table)
    assert slowest[0].ns <= 1000 / clock_mhz + ROUNDING_NS, f"a cycle is {1000 / clock_mhz:.2f} ns\n{table}"
    check_clock(engine(clock_mhz))


def test_every_supported_board_reaches_its_clock() -> None:
    for device in list_devices():
        if device.kind == "fpga" and device.supported:
            check_clock(EngineConfig.of_board(device))


def test_every_process_is_timed_from_the_kernel_s_source() -> None:
    found = chains_of(engine(300))
    assert {chain.process for chain in found} == {process.name for process in program_of(engine(300)).processes}
    named = {chain.process: chain.where.split(":")[0] for chain in found}
    assert named["fill"] in ("activations.py", "jobs.py") and named["norm_scale"] == "layernorm.py"


@pytest.mark.parametrize("name", ["product", "epilogue", "fill", "load_addresses"])
def test_what_drives_many_flip_flops_is_charged_for_it(name: str) -> None:
    program = program_of(engine(300))
    for process in program.processes:
        if process.name == name:
            links = {link.what for chain in chains(process, placements_of(engine(300))[name]) for link in chain.links}
            assert any(what.endswith("flip-flops") for what in links)


def test_a_slower_clock_takes_fewer_registers() -> None:
    assert registers(150) < registers(200) < registers(300)


def test_a_clock_out_of_reach_names_the_chain() -> None:
    with pytest.raises(CompileError) as caught:
        check_clock(engine(400))
    first = caught.value.diagnostics[0]
    slowest = chains_of(engine(400))[0]
    assert first.code == "P005" and first.at == f"process {slowest.process}, {slowest.where}" and slowest.where
    assert str(slowest) in first.because and "a cycle 2.50 ns" in first.because
    offered = int(first.help.split()[2])
    assert first.help == f"try --clock {offered} or lower" and 300 <= offered < 400
    check_clock(engine(offered))
