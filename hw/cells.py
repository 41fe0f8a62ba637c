"""Synthesise an engine block by block with Yosys and store the counts in `hw/cells.json`, from which reports read them.

    python -m edgewright.hw.cells zcu104 [block ...]

With blocks, those alone are counted anew, and the counts of the others stay.

Whole engines are too large to synthesise at once. Each process is counted alone; FIFOs, buffers and movers are counted
in the top module without the processes; the product array is counted for 2 and 4 tokens and extrapolated, which is exact for
its DSPs and close for the rest, because each pair of tokens repeats the same logic. The exponentials are counted for eight
lanes (2 tokens, 4 keys) and multiplied, which is exact for their DSPs and counts what lanes share too often.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, replace

from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.blocks.engine import build
from edgewright.hw.cost import CELLS_FILE, config_key, program_of
from edgewright.hw.kernel.sv_block import to_systemverilog
from edgewright.hw.kernel.sv_cells import CELLS
from edgewright.hw.synth import Cells, estimate
from edgewright.targets.device import load

EXTRAPOLATED, MULTIPLIED = ("product",), ("softmax_exp",)
"""Processes that repeat the same logic for each pair of tokens, too large to synthesise whole."""
TABLE_LANES = 8
"""Lanes that may read one table: Yosys runs out of memory where more do."""
TOP = "streams, buffers and movers"
COUNTS = ("dsp", "lut", "ff", "bram36", "uram")


def blocks_of(config: EngineConfig) -> list[str]:
    """Return the names of the blocks of an engine in the order in which they are listed."""
    return [TOP, *(process.name for process in program_of(config).processes)]


def counted(config: EngineConfig, wanted: Collection[str]) -> Iterator[tuple[str, Mapping[str, float]]]:
    """Count the cells of some blocks of one engine, one after the other."""
    files = to_systemverilog(program_of(config), config.period_ns)
    for name in blocks_of(config):
        if name not in wanted:
            continue
        if name == TOP:
            processes = [process.name for process in program_of(config).processes]
            cells: Mapping[str, float] = counts(estimate(with_black_boxes(files, processes), "engine", flatten=False))
        elif name in EXTRAPOLATED:
            cells = extrapolated(config, name)
        elif name in MULTIPLIED:
            few = replace(config, tokens=2, softmax_keys=min(config.softmax_keys, TABLE_LANES // 2))
            part = process_counts(few, name)
            times = config.tokens * config.softmax_keys // (few.tokens * few.softmax_keys)
            cells = {kind: times * part[kind] for kind in COUNTS}
        else:
            cells = counts(estimate(files_of(files, name), f"engine_{name}"))
        print(name, dict(cells), flush=True)
        yield name, cells


def extrapolated(config: EngineConfig, name: str) -> dict[str, float]:
    """Extrapolate a process from two small ones: a constant part, and a part for each pair of tokens."""
    small, larger = (process_counts(replace(config, tokens=tokens), name) for tokens in (2, 4))
    pairs = config.tokens // 2
    return {kind: small[kind] + (pairs - 1) * (larger[kind] - small[kind]) for kind in COUNTS}


def process_counts(config: EngineConfig, name: str) -> dict[str, float]:
    """Synthesise one process of a configuration as a whole."""
    return counts(estimate(files_of(to_systemverilog(build(config), config.period_ns), name), f"engine_{name}"))


def files_of(files: Mapping[str, str], name: str) -> dict[str, str]:
    """Return the module of a process and the cells that it instantiates."""
    top = f"engine_{name}.sv"
    cells = sorted(cell for needed, parts in CELLS.items() if f"  {needed} #(" in files[top] for cell in parts)
    return {file: files[file] for file in (top, *(f"{cell}.sv" for cell in cells))}


def with_black_boxes(files: Mapping[str, str], processes: list[str]) -> dict[str, str]:
    """Reduce each process in the engine's files to its ports."""
    result = dict(files)
    for name in processes:
        text = files[f"engine_{name}.sv"]
        head = re.search(rf"module engine_{name}\b.*?\n\);", text, re.DOTALL)
        assert head is not None
        result[f"engine_{name}.sv"] = f"(* blackbox *)\n{head.group(0)}\nendmodule\n"
    return result


def counts(cells: Cells) -> dict[str, float]:
    """Return the numbers of an estimate."""
    return {name: value for name, value in asdict(cells).items() if name in COUNTS}


def main() -> None:
    """Synthesise the engine of a board and write its counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("board")
    parser.add_argument("blocks", nargs="*")
    arguments = parser.parse_args()
    config = EngineConfig.of_board(load(arguments.board))
    from importlib import metadata

    known = json.loads(CELLS_FILE.read_text(encoding="utf-8")) if CELLS_FILE.is_file() else {}
    names, before = blocks_of(config), known.get(config_key(config), {}).get("blocks", {})
    if unknown := set(arguments.blocks) - set(names):
        parser.error(f"this engine has no block {', '.join(sorted(unknown))}")
    wanted = arguments.blocks or names
    if missing := set(names) - set(wanted) - set(before):
        parser.error(f"no counts to keep of {', '.join(sorted(missing))}")
    cells = before | dict(counted(config, wanted))
    source = f"Yosys {metadata.version('pyosys')} estimate, block by block; DSP, BRAM, URAM as UltraScale+, LUT, FF as 7 series"
    known[config_key(config)] = {"source": source, "blocks": {name: cells[name] for name in names}}
    CELLS_FILE.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
