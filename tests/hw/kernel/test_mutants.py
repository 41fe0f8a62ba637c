"""A mutant of the printed SystemVerilog for each rule: the comparison with the interpreter must notice each.

All mutants are in one build, chosen by plusarg."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import numpy as np
import pytest
from edgewright.hw.kernel import (
    Block,
    ProcessTrace,
    Struct,
    StructValue,
    Value,
    bits,
    dot,
    first,
    i,
    interpret,
    last,
    maximum,
    minimum,
    round_shift,
    select,
    stack,
    to_systemverilog,
    u,
    wrap,
)

from tests.hw.kernel.kernel_bench import trace_rtl

pytestmark = pytest.mark.sim

Job = Struct("Job", n=u(3), m=u(3), shift=u(3))

# name, file, where (the group is what is replaced), what with
MUTANTS = [
    ("mixed_signs", "mutants_work.sv", r"11'\(mixed_wrapped\[i\]\) \+ (11'\(.*\));", "11'(signed'(factor))"),
    ("rounding", "mutants_work.sv", r"rounded_shr\[i\]\) \+ (13'sd1);", "13'sd0"),
    ("held_read", "mutants_work.sv", r"held_ready_o = (issue && first_k);", "issue"),
    ("late_command", "mutants_work.sv", r">>> (c_shift_s1);", "c_shift"),
    ("zero_bounds", "mutants_work.sv", r"assign skip = (.*);", "1'b0"),
    ("clear", "mutants_work.sv", r"\((first_k_s\d) \? ", "1'b0"),
    ("cancel", "mutants_work.sv", r"middle_cancel = (.*);", "1'b0"),
    ("credit", "mutants_work.sv", r"\((middle_room_q) \|\|", "1'b1"),
    ("valid", "mutants_work.sv", r"if \((valid_q\[2\])\) middle_value", "1'b1"),
    ("bank_full", "mutants_drain.sv", r"rows_held_q \|\| (rows_ready_i)", "1'b1"),
    ("bank_free", "mutants_fill.sv", r"rows_held_q \|\| (rows_ready_i)", "1'b1"),
    ("release", "mutants_drain.sv", r"rows_release_o = (.*);", "1'b0"),
    ("early_commit", "mutants_fill.sv", r"rows_commit_o = (.*);", "rows_ending"),
    ("waiting", "mutants_ahead.sv", r"step = (issue \|\| .*);", "1'b1"),
    ("walked", "mutants_ahead.sv", r"started = more_valid_i && (.*);", "1'b1"),
    ("ahead", "mutants_ahead.sv", r"t_ahead_q <= done_t \? (3'd1) :", "3'd0"),
    ("follows", "mutants_follow.sv", r"assign follows = (.*);", "1'b0"),
    ("settled", "mutants_follow.sv", r"assign started = (settled_q)", "later_valid_i"),
    ("next_first", "mutants_follow.sv", r"first_f_next <= (1'b0);", "1'b1"),
    ("mask", "pingpong.sv", r"(wr_mask_i\[l\])\) memory", "1'b1"),
    ("unpack", "mutants_pack.sv", r"\+ (17'\(signed'\(\{1'b0, sums_field.*\}\)\));", "17'sd0"),
]


def block() -> Block:
    b = Block("mutants")
    jobs, x, held, y = b.input("jobs", Job), b.input("x", i(8)[2]), b.input("held", u(6)), b.output("y", i(20)[2])
    middle = b.channel("middle", i(20)[2], depth=2, slack=0)

    @b.process(command=jobs, loops=[("n", lambda c: c.n), ("k", lambda c: c.m)])
    def work(p: ProcessTrace, c: StructValue, n: Value, k: Value) -> None:
        tokens = p.read(x)
        factor = p.read(held, when=first(k))
        product = wrap(tokens, i(3)) * tokens
        rounded = round_shift(product, c.shift)
        mixed = wrap(rounded, i(10)) + factor
        p.write(
            middle, p.accumulate(mixed, clear=first(k), type=i(20)), when=(~last(k) | first(n) | last(n)) & (tokens[0] > -30)
        )

    @b.process(loops=[("j", 1)])
    def narrow(p: ProcessTrace, j: Value) -> None:
        p.write(y, p.read(middle))

    words, turned = b.input("words", i(8)[2]), b.output("turned", i(8)[2])
    rows = b.buffer("rows", i(8)[2], depth=4, banks=2)

    @b.process(loops=[("row", 2), ("k", 4)])
    def fill(p: ProcessTrace, row: Value, k: Value) -> None:
        p.lock(rows, per=row)
        word = p.read(words)
        half = wrap(wrap(word, i(7)) * wrap(word, i(7)), i(8))
        odd = wrap(k, u(1))
        p.store(rows, wrap(k >> 1, u(2)), half, mask=stack([~odd, odd]))

    @b.process(loops=[("row", 2), ("k", 4)])
    def drain(p: ProcessTrace, row: Value, k: Value) -> None:
        p.lock(rows, per=row)
        p.write(turned, p.load(rows, wrap(1 - (k >> 1), u(2)) & 1))

    lanes, sums = b.input("lanes", i(8)[2, 4]), b.output("sums", i(17)[2, 1])

    @b.process()
    def pack(p: ProcessTrace, k: Value) -> None:
        v = p.read(lanes)
        p.write(sums, dot(v, v[1:]))

    more, ticks, late = b.input("more", Job), b.input("ticks", u(8)), b.output("late", u(8))

    @b.process(command=more, loops=[("s", lambda c: c.n), ("t", lambda c: c.m)])
    def ahead(p: ProcessTrace, c: StructValue, s: Value, t: Value) -> None:
        slow = (s * 37 + c.shift) * (t * 37 + 1)  # known some cycles after its iteration began
        tick = p.read(ticks, when=bits(slow, 2, 2) == 1, absent=True)
        p.write(late, wrap(tick + t, u(8)))

    later, counted = b.input("later", Job), b.output("counted", u(4))

    @b.process(
        command=later,
        loops=[
            ("f", lambda c: c.n),
            ("g", lambda c, f: minimum(select(last(f), f + c.m, maximum(maximum(c.shift, f) - first(f), 0)), 3)),
        ],
    )
    def follow(p: ProcessTrace, c: StructValue, f: Value, g: Value) -> None:
        p.write(counted, wrap(f + g, u(4)))  # the bound of g takes so long that it is computed an iteration of f ahead

    return b


def inputs() -> dict[str, Any]:
    rng = np.random.default_rng(5)
    jobs = {"n": [2, 0, 3, 2, 7], "m": [3, 4, 0, 5, 6], "shift": [1, 2, 0, 4, 3]}
    nests = zip(*jobs.values(), strict=True)
    reads = sum((s * 37 + shift) * (t * 37 + 1) >> 2 & 1 for n, m, shift in nests for s in range(n) for t in range(m))
    return {
        "jobs": jobs,
        "x": rng.integers(-128, 128, (58, 2)),
        "held": rng.integers(0, 64, 11),
        "words": rng.integers(-128, 128, (64, 2)),
        "lanes": rng.integers(-127, 128, (30, 2, 4)),
        "more": jobs,
        "later": jobs,
        "ticks": rng.integers(0, 256, reads),
    }


@cache
def printed() -> tuple[Block, dict[str, str]]:
    """The block and its files with every mutation behind its plusarg."""
    made = block()
    files = to_systemverilog(made)
    for name, file, pattern, wrong in MUTANTS:
        found = list(re.finditer(pattern, files[file]))
        assert len(found) == 1, (name, len(found))
        begin, end = found[0].span(1)
        text = files[file]
        files[file] = f'{text[:begin]}($test$plusargs("{name}") ? {wrong} : {text[begin:end]}){text[end:]}'
    return made, files


def passes(*plusargs: str) -> bool:
    made, files = printed()
    wanted = interpret(made, inputs())
    for idle, stall in ((0.0, 0.0), (0.3, 0.5), (0.0, 0.9)):
        try:
            run = trace_rtl(made, inputs(), idle, stall, plusargs=plusargs, files=files, optimise=False)
        except RuntimeError as error:
            if "failed:" not in str(error) or "%Error" not in str(error):
                raise
            return False
        if not all(np.array_equal(wanted[name], run.outputs[name]) for name in wanted):
            return False
    return True


def test_without_a_mutation_all_is_equal() -> None:
    assert passes()


@pytest.mark.parametrize("name", [m[0] for m in MUTANTS])
def test_mutants_are_noticed(name: str) -> None:
    assert not passes(f"+{name}")
