"""MoE and hash codes learn: gradients against dense torch, queues of any length, the straight-through sign."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from edgewright.passes import ops
from hypothesis import given
from hypothesis import strategies as st

pytestmark = pytest.mark.train


def dense(op: ops.MoE, x: Any, logits: Any, w1: Any, b1: Any, w2: Any, b2: Any) -> Any:
    """Every expert on every token, masked: what exporters write."""
    import torch

    chosen = logits.topk(op.top_k, -1).indices
    kept = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, chosen, True)
    if op.softmax == "after" or op.renormalise:
        gates = torch.softmax(logits.masked_fill(~kept, -torch.inf), -1)
    else:
        gates = torch.softmax(logits, -1) * kept
    hidden = torch.nn.functional.gelu(torch.einsum("btd,nhd->btnh", x, w1) + b1)
    return torch.einsum("btno,btn->bto", torch.einsum("btnh,noh->btno", hidden, w2) + b2, gates)


@given(st.integers(0, 99), st.integers(1, 4), st.integers(1, 9), st.booleans(), st.booleans())
def test_gradients_equal_those_of_all_experts_masked(
    seed: int, top_k: int, tokens: int, before: bool, renormalise: bool
) -> None:
    import torch
    from edgewright.passes.learn.torch_ops import function_of

    generator = torch.Generator().manual_seed(seed)
    shapes = ((2, tokens, 3), (2, tokens, 4), (4, 5, 3), (4, 5), (4, 2, 5), (4, 2))
    operands = [torch.randn(s, generator=generator, dtype=torch.float64).requires_grad_() for s in shapes]
    op = ops.MoE(top_k, "before" if before else "after", renormalise)
    weight = torch.randn((2, tokens, 2), generator=generator, dtype=torch.float64)
    found, wanted = function_of(op)(*operands), dense(op, *operands)
    assert torch.allclose(found, wanted, atol=1e-12)
    ours, theirs = (torch.autograd.grad((y * weight).sum(), operands) for y in (found, wanted))
    for a, b in zip(ours, theirs, strict=True):
        assert torch.allclose(a, b, atol=1e-12)


@pytest.mark.parametrize("logits", [[[0.0, 9, 1]] * 6, [[0.0, 0, 0]] * 6, [[5.0, 0, 0]], [[0.0, 1, 1]]])
def test_one_expert_for_all_none_for_some_ties_and_one_token(logits: list[list[float]]) -> None:
    import torch
    from edgewright.passes.learn.torch_ops import function_of

    rng, op = np.random.default_rng(0), ops.MoE(1)
    router = np.array(logits, np.float32)[None]
    shapes = ((1, len(logits), 4), (3, 5, 4), (3, 5), (3, 4, 5), (3, 4))
    x, *weights = (rng.standard_normal(s).astype(np.float32) for s in shapes)
    tensors = [torch.from_numpy(a).requires_grad_() for a in (x, router, *weights)]
    found = function_of(op)(*tensors)
    assert np.allclose(found.detach().numpy(), op.eval(x, router, *weights), atol=1e-6)
    torch.autograd.backward(found.sum())
    used = {int(np.argmax(row)) for row in logits}
    assert tensors[2].grad is not None
    assert {e for e in range(3) if tensors[2].grad[e].abs().sum() > 0} == used


def test_the_gradient_passes_a_sign_where_its_argument_is_small() -> None:
    import torch
    from edgewright.passes.learn.torch_ops import function_of

    # one anchor at the token's direction: kernel 1, so that the margin is the coefficient less the threshold
    u, anchors = torch.tensor([[[3.0, 0.0]]]), torch.tensor([[[1.0, 0.0]]])
    coefficients = torch.tensor([[[0.5], [-0.5], [2.5], [-2.5]]], requires_grad=True)
    codes = function_of(ops.HashCodes(1))(u, anchors, coefficients, torch.zeros(1, 4))
    assert codes.tolist() == [[[1, -1, 1, -1]]]
    torch.autograd.backward(codes.sum())
    assert coefficients.grad is not None
    assert torch.allclose(coefficients.grad.flatten(), torch.tensor([1.0, 1.0, 0.0, 0.0]), atol=1e-6)
