"""What a printed process tells its reader: names of Python variables, the source line of each stage, what each port carries."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import pytest
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.cost import rtl_files
from edgewright.hw.kernel import (
    Block,
    ProcessTrace,
    Struct,
    StructValue,
    Value,
    first,
    fit,
    i,
    index,
    last,
    round_shift,
    sat,
    select,
    stack,
    to_systemverilog,
    u,
    wrap,
)
from edgewright.hw.kernel.source import LONGEST, own_line
from edgewright.hw.kernel.sv_comments import stripped, without_comments
from edgewright.hw.kernel.symbols import SYSTEMVERILOG
from edgewright.hw.synth import PRIMITIVES
from edgewright.hw.top import RTL
from edgewright.targets.device import load
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hw.kernel.random_kernels import random_block

HERE = Path(__file__).name
DECLARED = re.compile(
    r"^ *(?:\(\*.*?\*\) )?logic (?:signed )?(?:\[[^\]]*\])* ?(\w+(?: \[\d+\])*(?:, \w+(?: \[\d+\])*)*);", re.M
)
PORT = re.compile(r"^ +(?:\(\*.*?\*\) )?(?:input|output) +(?:logic|wire)\b.*?(\w+),? *(//.*)?$", re.M)
Job = Struct("Job", size=u(4), shift=u(4), fast=u(1))


def halved(amount: Value) -> Value:
    """Compute through a variable of its own, and return what is not the last one."""
    doubled = amount * 3
    return round_shift(doubled + 5, 2)


def block(extra: bool = False) -> Block:
    """A process with each kind of value that needs a name. `extra`: with a statement more in the middle."""
    b = Block("names")
    jobs, x, y = b.input("jobs", Job), b.input("x", i(8)[3]), b.output("y", i(8))
    seen, rows = b.output("seen", u(9)), b.buffer("rows", i(12), depth=4)

    @b.process(command=jobs, loops=[("n", lambda c: c.size + 1), ("k", 3)])
    def work(p: ProcessTrace, c: StructValue, n: Value, k: Value) -> None:
        tile = p.read(x, when=first(n) & first(k))
        picked = index(tile, k)
        if extra:
            p.write(seen, fit(wrap(picked * picked, u(16)) & 511, u(9)))
        else:
            p.write(seen, 7)
        scaled = round_shift(picked * tile[0], c.shift)
        total = halved(scaled)
        total = select(c.fast, total, picked)
        final = p.accumulate(total, clear=first(k), type=i(30))
        p.store(rows, wrap(k, u(2)), sat(final, i(12)), when=~last(k) & ~c.fast)
        p.write(y, sat(final - 9, i(8)), when=last(k))

    @b.process(loops=[("k", 3)])
    def drain(p: ProcessTrace, k: Value) -> None:
        p.load(rows, wrap(k, u(2)))

    return b


def declared(text: str) -> list[str]:
    """Return the names of all variables that a module declares, in order."""
    return [part.split()[0] for names in DECLARED.findall(text) for part in names.split(",")]


def test_values_are_named_after_their_variables() -> None:
    text = to_systemverilog(block())["names_work.sv"]
    names = declared(text)
    for variable in ("tile", "picked", "scaled", "total", "total_2", "final_2", "c_shift", "c_fast"):
        assert variable in names, variable
    assert "final" not in names, "a keyword"
    for part in ("scaled_product", "scaled_shr", "scaled_rounded", "total_doubled", "bound_n", "x_when"):
        assert part in names, part
    for role in ("rows_value", "rows_when", "y_value", "not_last_k", "not_c_fast"):
        assert role in names, role
    assert not [n for n in names if re.fullmatch(r"(both|inverted|chosen|lowered|raised|wrapped|sum)(_by)?_\d+(_s\d+)?", n)]


def test_a_register_adds_its_stage_and_nothing_else() -> None:
    names = declared(to_systemverilog(block())["names_work.sv"])
    carried = [n for n in names if re.search(r"_s\d+$", n)]
    assert carried and all(
        re.sub(r"_s\d+$", "", n) in names or re.match(r"(first|last)_", n) or n.startswith("k_s") for n in carried
    )


def test_a_statement_more_changes_no_other_name() -> None:
    without, with_it = (declared(to_systemverilog(block(extra))["names_work.sv"]) for extra in (False, True))
    stages = re.compile(r"_s\d+$")
    assert {stages.sub("", n) for n in without} <= {stages.sub("", n) for n in with_it}


def test_a_variable_that_is_assigned_again_names_both_values() -> None:
    b = Block("again")
    x, y = b.input("x", u(4)), b.output("y", u(7))

    @b.process()
    def work(p: ProcessTrace, k: Value) -> None:
        value = p.read(x)
        for _ in range(3):
            value = value + value
        p.write(y, value)

    names = declared(to_systemverilog(b)["again_work.sv"])
    assert [n for n in names if n.startswith("value")] == ["value", "value_2", "value_3", "value_4"]


def test_functions_that_a_process_calls_name_parts_of_its_variables() -> None:
    b = Block("calls")
    x, y = b.input("x", i(8)), b.output("y", i(12)[2])

    @b.process()
    def work(p: ProcessTrace, k: Value) -> None:
        token = p.read(x)
        near, far = halved(token), halved(token + 1)
        p.write(y, stack([wrap(near, i(12)), wrap(far, i(12))]))

    process = b.program.processes[0]
    names = declared(to_systemverilog(b)["calls_work.sv"])
    assert {"near", "far", "near_doubled", "far_doubled"} <= set(names) and "amount" not in names
    wheres = {node.where for node in process.nodes()}
    assert any(where.startswith(f"{HERE}:") and " from " in where for where in wheres)
    assert {own_line(where).partition(":")[0] for where in wheres} == {HERE}


def test_stages_quote_their_statements() -> None:
    text = to_systemverilog(block())["names_work.sv"]
    assert re.search(rf"^/// Process work, printed from {HERE}:\d+\.$", text, re.M)
    assert re.search(rf"^  //   scaled = round_shift\(picked \* tile\[0\], c\.shift\)   {HERE}:\d+$", text, re.M)
    stages = re.findall(r"^  // stage (\d+)(.*)$", text, re.M)
    assert [int(number) for number, _ in stages] == list(range(len(stages))) and all(said for _, said in stages)


def test_a_process_without_a_source_is_printed_all_the_same() -> None:
    b = Block("bare")
    x, y, z = b.input("x", u(4)), b.output("y", u(5)), b.output("z", u(4))
    twice, copied = b.fork(x, 2)
    space: dict[str, object] = {"twice": twice, "y": y}
    exec("def double(p, k):\n    value = p.read(twice)\n    p.write(y, value + value)", space)
    b.process(name="double")(space["double"])  # type: ignore[arg-type]

    def copy(z: object, p: ProcessTrace, k: Value) -> None:
        p.write(z, p.read(copied))  # type: ignore[arg-type]

    b.process(name="copy")(partial(copy, z))
    files = to_systemverilog(b)
    assert "value" in declared(files["bare_double.sv"]) and "<string>:2" in files["bare_double.sv"]
    assert files["bare_copy.sv"].startswith("/// Process copy.\n") and f"{HERE}:" in files["bare_copy.sv"]
    assert re.search(rf"// stage 0: .*{HERE}:\d+", files["bare_x_fork.sv"])


def test_long_statements_are_shortened_to_a_line() -> None:
    b = Block("long")
    x, y = b.input("x", u(8)), b.output("y", u(8))

    @b.process()
    def work(p: ProcessTrace, k: Value) -> None:
        # fmt: off
        total = (p.read(x) + 1234567890123456789012345678901234567890123456789012345678901234567890123456789012345
                 + 1)  # a comment
        # fmt: on
        p.write(y, wrap(total, u(8)))

    text = to_systemverilog(b)["long_work.sv"]
    (quoted,) = set(re.findall(r"(total = p\.read.*?)   ", text))
    assert len(quoted) <= LONGEST and quoted.endswith(" ...") and "comment" not in text.partition("total =")[2][:200]


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 10_000))
def test_names_are_unique_identifiers(seed: int) -> None:
    made = random_block(seed)[0]
    files = to_systemverilog(made)
    assert files == to_systemverilog(random_block(seed)[0]), "printed the same again"
    for process in made.program.processes:
        text = files[f"{made.name}_{process.name}.sv"]
        names = declared(text) + [name for name, _ in PORT.findall(text.partition(");\n")[0])]
        assert len(names) == len(set(names))
        assert not set(names) & SYSTEMVERILOG and all(re.fullmatch(r"[A-Za-z]\w*", n) for n in names)


ENGINE = rtl_files(EngineConfig.of_board(load("zcu104")))
CELLS = {path.name: path.read_text() for path in RTL.glob("*.sv") if path.name != PRIMITIVES.name}


@pytest.mark.parametrize("name", sorted(n for n in {**CELLS, **ENGINE} if n.endswith((".sv", ".v"))))
def test_every_port_says_what_it_carries(name: str) -> None:
    text = {**CELLS, **ENGINE}[name]
    header = re.search(r"^module \w+(?: #\(.*?^\))? \((.*?)^\);", text, re.M | re.S)
    assert header is not None
    ports = PORT.findall(header[1])
    assert len(ports) == len(re.findall(r"^ +(?:\(\*.*?\*\) )?(?:input|output)\b", header[1], re.M)) > 0
    assert [port for port, comment in ports if len(comment) < len("// a word")] == []


@pytest.mark.parametrize("name", sorted(n for n in {**CELLS, **ENGINE} if n.endswith((".sv", ".v"))))
def test_single_bits_have_no_dimension_and_lint_no_switch(name: str) -> None:
    text = {**CELLS, **ENGINE}[name]
    assert "[0:0]" not in text
    for switch in re.findall(r"lint_off \w+.*?lint_on \w+", text, re.S):
        assert len(switch.splitlines()) <= 3, "around one line only"
    assert text.count("lint_off") == text.count("lint_on")
    assert "lint_off" not in text or name in CELLS


def test_what_is_made_of_a_text_does_not_depend_on_its_comments() -> None:
    text = 'a = b;  // why\n  // a line of its own\n\n$error("http://x // y \\" // z");  // end\nc; // verilator lint_off X'
    assert stripped(text) == 'a = b;\n$error("http://x // y \\" // z");\nc; // verilator lint_off X'
    printed = ENGINE["engine_epilogue.sv"]
    moved = re.sub(r"epilogue\.py:(\d+)", lambda found: f"epilogue.py:{int(found[1]) + 1}", printed)
    assert moved != printed and stripped(moved) == stripped(printed)
    assert without_comments({"a.sv": text, "a.txt": text}) == {"a.sv": stripped(text), "a.txt": text}


def test_no_path_of_this_machine_is_printed() -> None:
    root = str(Path(__file__).resolve().parents[3])
    assert not [name for name, text in ENGINE.items() if root in text or str(Path.home()) in text]
    assert "printed from hw/blocks/epilogue.py:" in ENGINE["engine_epilogue.sv"]
