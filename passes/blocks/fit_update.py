"""What a removed block adds to the residual stream, predicted from the hidden units of the feed-forward network before it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from edgewright.passes.blocks.block_influence import Run
from edgewright.passes.ir import Array, Graph, Node
from edgewright.passes.ops import Add, LayerNormalization, value_of
from edgewright.passes.structure.find_blocks import TransformerBlock

CHUNK_SAMPLES = 64
RIDGE = 1e-4  # of the mean square of a hidden unit: enough for units that never fire
TOKENS_PER_UNIT = 4  # fewer say more about themselves than about the block
FLAT = 1e-3  # a norm's factor below this share of their mean says nothing about what it multiplies


@dataclass(frozen=True, slots=True, eq=False)
class Update:
    """What the second feed-forward Linear before a removed block is to add to its weight (width, hidden) and its bias
    (width,); explained: the share of the update's variance over the tokens that this predicts, at most 1."""

    weight: Array
    bias: Array
    explained: float


def fit_update(
    graph: Graph, front: TransformerBlock, removed: TransformerBlock, samples: Mapping[str, Array], mask: str | None, run: Run
) -> Update | None:
    """Return the least squares of `removed` over the hidden units of `front`, the block that it reads.

    Pre-norm: stream_out - stream_in is predicted. Post-norm: the sum before the norm in front is to become what that norm
    takes to the removed block's output, at the same mean and deviation. Tokens that `mask` hides do not count.
    None where no such Linear ends in the stream, and with less than `TOKENS_PER_UNIT` tokens for each hidden unit.
    Source: ReplaceMe (arXiv 2505.02819), section 3, which fits one matrix after the Linear; the hidden units, of which
    there are more, contain that.
    """
    linear, ends = front.linear("ffn2"), front.stream_out
    norm = ends if isinstance(ends.op, LayerNormalization) else None
    total = ends if norm is None else norm.inputs[0]
    if linear is None or not isinstance(total.op, Add) or linear not in total.inputs or removed.stream_in is not ends:
        return None
    if norm is not None and any(value_of(node) is None for node in norm.inputs[1:]):
        return None
    hidden = linear.inputs[0]
    probed = {"hidden": hidden, "goal": removed.stream_out, "now": total}
    probe = replace(graph, outputs=tuple(probed.values()), output_names=tuple(probed))
    width, units = ends.shape[-1], hidden.shape[-1]
    gram, product = np.zeros((units + 1, units + 1)), np.zeros((units + 1, width))
    squares, sums, tokens = 0.0, np.zeros(width), 0
    leads = {node.name: node.shape[0] for node in graph.inputs}
    for start in range(0, min(len(samples[name]) // lead for name, lead in leads.items()), CHUNK_SAMPLES):
        part = {name: samples[name][start * lead : (start + CHUNK_SAMPLES) * lead] for name, lead in leads.items()}
        values = run(probe, part)
        rows, goal, now = (_rows(values[name], part, mask) for name in probed)
        update = (goal if norm is None else _before_norm(norm, goal, now)) - now
        rows = np.concatenate([rows, np.ones((len(rows), 1))], axis=1)
        gram += rows.T @ rows
        product += rows.T @ update
        squares, sums, tokens = squares + float(np.square(update).sum()), sums + update.sum(0), tokens + len(update)
    if tokens < TOKENS_PER_UNIT * (units + 1):
        return None
    ridge = np.full(units + 1, RIDGE * max(float(np.trace(gram[:-1, :-1])), 1e-12) / units)
    ridge[-1] = 0.0  # the bias is free
    solved = np.linalg.solve(gram + np.diag(ridge), product)
    left = squares - 2 * float((solved * product).sum()) + float((solved * (gram @ solved)).sum())
    spread = squares - float(np.square(sums).sum()) / tokens
    explained = 1 - left / spread if spread > 1e-9 * squares else 1.0  # nothing varies: the bias is all
    return Update(solved[:-1].T.astype(np.float32), solved[-1].astype(np.float32), explained)


def _rows(values: Array, samples: Mapping[str, Array], mask: str | None) -> Array:
    """Return (tokens that count, features) float64."""
    rows = values.reshape(-1, values.shape[-1]).astype(np.float64)
    if mask is None or samples[mask].size != len(rows):
        return rows
    return np.asarray(rows[samples[mask].reshape(-1) != 0])


def _before_norm(norm: Node, goal: Array, now: Array) -> Array:
    """Return what `norm` takes to `goal`, with the mean and the deviation that `now` (tokens, width) has."""
    gamma, beta = (np.asarray(value_of(node), np.float64) for node in norm.inputs[1:])
    floor = FLAT * np.abs(gamma).mean()
    centred = (goal - beta) / np.where(np.abs(gamma) < floor, np.inf, gamma)
    mean = now.mean(-1, keepdims=True)
    deviation = np.sqrt(np.square(now - mean).mean(-1, keepdims=True))
    return np.asarray(np.where(np.abs(gamma) < floor, now, mean + deviation * centred))
