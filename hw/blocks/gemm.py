"""The product array: ``tokens x outs x ins`` int8 products a cycle, two per DSP, accumulated over the depth."""

from __future__ import annotations

from edgewright.hw.blocks.activations import is_first_product
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
    weights: Buffer,
    *,
    scores: Channel,
    sums: Channel,
) -> None:
    """One job per block of tokens; ``scores`` and ``sums`` are ``ACCUMULATOR[tokens, outs]``, a tile of outputs a token."""

    @b.process(
        command=commands,
        loops=[
            ("j", lambda c: c.n_jobs),
            ("o", lambda c, j: select(is_first_product(c, j), c.outs0, c.outs1)),
            ("k", lambda c, j, o: select(is_first_product(c, j), c.depth0, c.depth1)),
        ],
    )
    def product(p: ProcessTrace, c: StructValue, j: Value, o: Value, k: Value) -> None:
        p.lock(weights, per=None)
        p.lock(activations, per=j)
        rows = is_first_product(c, j)
        a = p.load(activations, wrap(k, u(address_bits(activations.depth))))
        address = select(rows, o * c.depth0, c.base1 + o * c.depth1) + k
        w = p.load(weights, wrap(address, u(address_bits(weights.depth))))
        total = p.accumulate(dot(a, w), clear=first(k), type=ACCUMULATOR[cfg.tokens, cfg.outs])
        p.write(scores, total, when=last(k) & rows & c.attention)
        p.write(sums, total, when=last(k) & ~(rows & c.attention))
