"""Chains from register to register are timed as they stand in the printed hardware, that of issue included."""

from __future__ import annotations

from edgewright.hw.kernel import Block, ProcessTrace, Struct, StructValue, Value, last, u, wrap
from edgewright.hw.kernel.chains import Chain, chains
from edgewright.hw.kernel.delays import MARGIN_NS, fan_out
from edgewright.hw.kernel.schedule import place

Job = Struct("Job", rows=u(12), tokens=u(16))


def block() -> Block:
    """Rows of twelve tokens, of which the last has fewer."""
    b = Block("rows")
    jobs, x, y = b.input("jobs", Job), b.input("x", u(8)[64]), b.output("y", u(8)[64])

    @b.process(command=jobs, loops=[("j", lambda c: c.rows), ("t", 12)])
    def rows(p: ProcessTrace, c: StructValue, j: Value, t: Value) -> None:
        valid = (j * 12 + t) < c.tokens
        p.write(y, wrap(p.read(x, when=valid & ~last(t), absent=True) + 1, u(8)), when=valid)

    return b


def found() -> list[Chain]:
    process = block().check().processes[0]
    return chains(process, place(process))


def test_chains_are_sorted_and_name_their_source() -> None:
    all_of_them = found()
    assert [chain.ns for chain in all_of_them] == sorted((chain.ns for chain in all_of_them), reverse=True)
    assert all_of_them[0].where.startswith("test_chains.py:")


def test_a_chain_is_the_sum_of_its_links() -> None:
    for chain in found():
        assert abs(chain.ns - MARGIN_NS - sum(link.ns for link in chain.links)) < 1e-3, str(chain)


def test_what_issue_drives_is_timed() -> None:
    ends = {chain.end for chain in found()}
    assert {"counter j", "counter t", "the output of the FIFO of x", "the word held of x"} <= ends


def test_more_loads_take_longer() -> None:
    assert fan_out(1) == fan_out(8) == 0 < fan_out(64) < fan_out(256) < fan_out(5000)
