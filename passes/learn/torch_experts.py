"""Mixtures of experts in torch: queues of tokens by one sort, two products for each expert that has any, one sum back."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

from edgewright.passes import ops
from edgewright.passes.learn.torch_import import Tensor, torch


class GroupedLinear(torch.autograd.Function):
    """rows (M, in) in groups of `counts` rows, group e times w[e] (out, in) plus b[e] (out): (M, out).

    Each product writes its part of one result, forward and backward; groups of no rows cost nothing.
    """

    @staticmethod
    def forward(context: Any, rows: Tensor, w: Tensor, b: Tensor, counts: list[int]) -> Tensor:
        out = rows.new_empty(rows.shape[0], w.shape[1])
        for e, part in _groups(counts):
            torch.addmm(b[e], rows[part], w[e].t(), out=out[part])
        context.save_for_backward(rows, w)
        context.counts = counts
        return out

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        rows, w = context.saved_tensors
        gradient = gradients[0].contiguous()
        need_rows, need_w, need_b = context.needs_input_grad[:3]
        d_rows = torch.empty_like(rows) if need_rows else None
        d_w = torch.zeros_like(w) if need_w else None
        d_b = w.new_zeros(w.shape[:2]) if need_b else None
        for e, part in _groups(context.counts):
            if d_rows is not None:
                torch.mm(gradient[part], w[e], out=d_rows[part])
            if d_w is not None:
                torch.mm(gradient[part].t(), rows[part], out=d_w[e])
            if d_b is not None:
                torch.sum(gradient[part], 0, out=d_b[e])
        return d_rows, d_w, d_b, None


def _groups(counts: list[int]) -> list[tuple[int, slice]]:
    ends = list(accumulate(counts))
    return [(e, slice(end - count, end)) for e, (count, end) in enumerate(zip(counts, ends, strict=True)) if count]


def route(op: ops.MoE, logits: Tensor) -> tuple[Tensor, Tensor]:
    """For rows of logits (M, N): the chosen experts (M, K), best first, of equal ones the lower, and their gates (M, K)."""
    chosen = _largest(logits.detach(), op.top_k)
    if op.softmax == "after" or op.renormalise:
        return chosen, torch.softmax(logits.gather(1, chosen), -1)
    return chosen, torch.softmax(logits, -1).gather(1, chosen)


def _largest(logits: Tensor, count: int) -> Tensor:
    """Return the positions of the largest values of each row, of equal ones the first: a whole sort only where values are
    equal."""
    values, places = logits.topk(min(count + 1, logits.shape[1]), -1)
    if bool((values[:, 1:] == values[:, :-1]).any()):
        places = torch.sort(logits, dim=-1, descending=True, stable=True).indices
    return places[:, :count]


def experts(op: ops.MoE, act: Any, x: Tensor, logits: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Tensor:
    """Return the value of a MoE; the gradient reaches the chosen experts, and the router through their gates."""
    rows = x.reshape(-1, x.shape[-1])
    chosen, gates = route(op, logits.reshape(-1, logits.shape[-1]))
    experts_of = chosen.reshape(-1)
    order = torch.argsort(experts_of, stable=True)
    counts = torch.bincount(experts_of, minlength=w1.shape[0]).tolist()
    tokens = order // op.top_k
    hidden = act(GroupedLinear.apply(rows.index_select(0, tokens), w1, b1, counts))
    parts = GroupedLinear.apply(hidden, w2, b2, counts) * gates.reshape(-1).index_select(0, order)[:, None]
    out = parts.new_zeros(rows.shape[0], w2.shape[1]).index_add(0, tokens, parts)
    return out.reshape(*x.shape[:-1], w2.shape[1])
