"""Lines executed and bits toggled in the whole engine by the models that the blocks are tested on, hub and movers included."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from edgewright.hw.cost import rtl_files
from edgewright.hw.plan import plan
from edgewright.passes.ir.interp import interpret_all
from edgewright.sim.build import Build
from edgewright.sim.engine import CELLS, Job, build_engine, run_engine
from edgewright.sim.network import input_writes, judged

from tests.hw.blocks.recordings import CONFIG, graphs

pytestmark = pytest.mark.sim
ON_CHIP = replace(CONFIG, on_chip_words=1024, on_chip_banks=4)
FLOORS = {"line": 0.96, "toggle": 0.78}
CHOSEN = (1, 3, 4, 6, 9, 17)
"""Of the recorded graphs: two vision transformers, windows, a mobile network, text and max pooling. Each takes as long as its
coverage takes to write; all graphs together reach 96.5 % and 79.9 %."""
POINT = re.compile(r"C '(.*)' (\d+)")


def covered(files: Iterable[Path]) -> dict[str, dict[str, Counter[bool]]]:
    """Add up Verilator's coverage files: kind (line, toggle) -> module -> how many points were reached and were not.

    A line counts in every instance of its module, and so does a bit, in each of its two directions. The test bench and its
    memory are left out.
    """
    counts: Counter[str] = Counter()
    for file in files:
        for found in POINT.finditer(file.read_text(errors="replace")):
            counts[found[1]] += int(found[2])
    kinds: dict[str, dict[str, Counter[bool]]] = {"line": {}, "toggle": {}}
    for point, count in counts.items():
        fields = dict(part.split("\2", 1) for part in point.split("\1")[1:])
        module = Path(fields["f"]).stem
        if module not in CELLS:
            kind = "toggle" if fields["page"].startswith("v_toggle") else "line"
            kinds[kind].setdefault(module, Counter())[count > 0] += 1
    return kinds


@pytest.fixture(scope="module")
def model() -> Build:
    return build_engine(rtl_files(ON_CHIP), memory_bytes=1 << 21, unroll_stmts=600, coverage=True)


def test_the_models_reach_lines_and_bits(model: Build, tmp_path: Path) -> None:
    files = []
    for seed, (graph, inputs) in enumerate(graphs()):
        if seed not in CHOSEN:
            continue
        planned = plan(graph, ON_CHIP)
        values = interpret_all(graph, inputs)
        job = Job(planned.program_address, len(planned.steps), input_writes(planned, values))
        files.append(tmp_path / f"{seed}.dat")
        run = run_engine(model, {0: planned.image}, [job], stall=0.3, seed=seed + 1, coverage=files[-1])
        assert judged(planned, values, run.logs[0], planned.image, job.writes).exact
    for kind, modules in covered(files).items():
        total = sum(modules.values(), Counter[bool]())
        share = total[True] / total.total()
        lowest = sorted(modules, key=lambda module: modules[module][True] / modules[module].total())[:8]
        listed = [f"{module} {modules[module][True]}/{modules[module].total()}" for module in lowest]
        print(f"{kind}: {share:.1%} of {total.total()}; lowest: {', '.join(listed)}")  # pytest -s
        assert share >= FLOORS[kind], f"{kind} coverage is {share:.1%}; lowest: {', '.join(listed)}"
