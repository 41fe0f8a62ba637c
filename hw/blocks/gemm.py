"""The product array: ``tokens x outs x ins`` int8 products per cycle, two per DSP, accumulated over the depth."""

from __future__ import annotations

from edgewright.hw.blocks import jobs
from edgewright.hw.blocks.config import EngineConfig, address_bits
from edgewright.hw.kernel import Block, ProcessTrace, StructValue, Value, dot, first, i, last, select, u, wrap
from edgewright.hw.kernel.ir import Buffer, Channel

ACCUMULATOR = i(27)
"""Bounded by the planner from the actual weights, so that requantising needs one DSP."""


def add_product(
    b: Block,
    cfg: EngineConfig,
    commands: Channel,
    activations: Buffer,
    *,
    weights: Channel,
    operands: Channel,
    scores: Channel,
    sums: Channel,
) -> None:
    """One job per block of tokens; ``weights`` and ``operands``: i8[outs, ins], constant and computed tiles; ``scores`` and
    ``sums``: ``ACCUMULATOR[tokens, outs]``, one tile of outputs per stream token."""

    @b.process(
        command=commands,
        loops=[
            ("j", lambda c: c.n_jobs),
            ("o", lambda c, j: jobs.outs(c, j)),
            ("k", lambda c, j, o: jobs.depth(c, j)),
        ],
    )
    def product(p: ProcessTrace, c: StructValue, j: Value, o: Value, k: Value) -> None:
        p.lock(activations, per=j)
        rows = jobs.reads_rows(c, j)
        a = p.load(activations, wrap(k, u(address_bits(activations.depth))))
        constant = p.read(weights, when=~c.computed, absent=True)
        w = select(c.computed, p.read(operands, when=c.computed, absent=True), constant)
        total = p.accumulate(dot(a, w), clear=first(k), type=ACCUMULATOR[cfg.tokens, cfg.outs])
        p.write(scores, total, when=last(k) & rows & c.attention)
        p.write(sums, total, when=last(k) & ~(rows & c.attention))
