"""The register map and the files that are made from it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.cost import program_of
from edgewright.hw.registers import PORTS, REGISTERS, c_header, renewed
from edgewright.hw.top import RTL


def test_axil_control_holds_the_table_of_today() -> None:
    text = (RTL / "axil_control.sv").read_text()
    assert renewed(text) == text, "run python -m edgewright.hw.registers"


def test_error_bits_are_in_the_order_of_the_masters() -> None:
    assert tuple(port.name for port in program_of(EngineConfig()).axi) == PORTS


def test_offsets_and_fields_do_not_overlap() -> None:
    assert [register.offset for register in REGISTERS] == [4 * index for index in range(len(REGISTERS))]
    for register in REGISTERS:
        bits = [bit for field in register.fields for bit in range(field.low, field.high + 1)]
        assert len(bits) == len(set(bits)) and max(bits) < 32, register.name


def test_the_header_compiles_and_names_every_register(tmp_path: Path) -> None:
    lines = [f'_Static_assert(EW_{r.name.upper()} == {r.offset}u, "");' for r in REGISTERS]
    (tmp_path / "engine_registers.h").write_text(c_header())
    (tmp_path / "use.c").write_text('#include "engine_registers.h"\n' + "\n".join(lines) + "\n")
    subprocess.run(["gcc", "-std=c11", "-Wall", "-Werror", "-fsyntax-only", "use.c"], cwd=tmp_path, check=True)
    masks = dict(re.findall(r"#define (EW_\w+_MASK) 0x([0-9a-f]{8})u", c_header()))
    assert masks["EW_ERRORS_DECERR_RESULTS_MASK"] == "00004000" and masks["EW_COUNT_COUNT_MASK"] == "0000ffff"
