"""Each operator in torch, differentiable: equal to its `eval` on floats up to rounding.

The functions take tensors of the graph's own shapes; `torch_batch` puts a batch before the leading axis.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from edgewright.passes import ops
from edgewright.passes.ir import Op
from edgewright.passes.learn.torch_elementwise import elementwise
from edgewright.passes.learn.torch_experts import experts
from edgewright.passes.learn.torch_import import Tensor, functional, torch
from edgewright.passes.ops.activations import ACTIVATIONS
from edgewright.passes.ops.hashing import NORM_FLOOR

Function: TypeAlias = Callable[..., Tensor]


def function_of(op: Op) -> Function:
    """Return the op as a function of tensors. TypeError for an op of the integer level."""
    build = FUNCTIONS.get(type(op))
    if build is None:
        raise TypeError(f"{op.kind} has no float form to learn with")
    return build(op)


def _linear(op: ops.Linear) -> Function:
    def run(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        if x.ndim <= 3:
            return functional.linear(x, w, b)
        rows = functional.linear(x.reshape(-1, x.shape[-1]), w, b)  # one product, and the bias within it
        return rows.reshape(*x.shape[:-1], w.shape[0])

    return run


def _patch_embed(op: ops.PatchEmbed) -> Function:
    patch = op.patch

    def run(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        split = x.reshape(batch, channels, height // patch, patch, width // patch, patch).permute(0, 2, 4, 1, 3, 5)
        return functional.linear(split.reshape(batch, -1, channels * patch * patch), w, b)

    return run


def _conv(op: ops.Conv) -> Function:
    top, left, bottom, right = op.pads

    def run(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
        pads = (top, left)
        if (top, left) != (bottom, right):
            x, pads = functional.pad(x, (left, right, top, bottom)), (0, 0)
        return functional.conv2d(x, w, b, op.strides, pads, op.dilations, op.groups)

    return run


def _conv_transpose(op: ops.ConvTranspose) -> Function:
    top, left = op.pads
    high, wide = op.size

    def run(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
        y = functional.conv_transpose2d(x, w, None, op.strides, groups=op.groups)
        below, right = max(0, top + high - y.shape[2]), max(0, left + wide - y.shape[3])
        y = functional.pad(y, (0, right, 0, below))[:, :, top : top + high, left : left + wide]
        return y if b is None else y + b[:, None, None]

    return run


def _batch_normalization(op: ops.BatchNormalization) -> Function:
    def run(x: Tensor, gamma: Tensor, beta: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        return functional.batch_norm(x, mean, variance, gamma, beta, training=False, eps=op.epsilon)

    return run


def _layer_normalization(op: ops.LayerNormalization) -> Function:
    return lambda x, gamma, beta: functional.layer_norm(x, gamma.shape, gamma, beta, op.epsilon)


def _rms_normalization(op: ops.RMSNormalization) -> Function:
    return lambda x, gamma: functional.rms_norm(x, gamma.shape, gamma, op.epsilon)


def _attention(op: ops.Attention) -> Function:
    def run(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
        q, k, v = (x.reshape(*x.shape[:2], op.heads, -1).transpose(1, 2) for x in (q, k, v))
        if bias is not None and bias.ndim < 4:
            bias = bias.reshape(*(1 for _ in range(4 - bias.ndim)), *bias.shape)
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=op.scale)
        return mixed.transpose(1, 2).flatten(2)

    return run


class _Sign(torch.autograd.Function):
    """+1 from 0 on, else -1; the gradient passes where |x| < 1 (the clipped straight-through estimator)."""

    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        context.save_for_backward(x.abs() < 1)
        return torch.where(x >= 0, 1.0, -1.0).to(torch.float32)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        (passes,) = context.saved_tensors
        return gradients[0].to(torch.float64) * passes


def _hash_codes(op: ops.HashCodes) -> Function:
    def run(u: Tensor, anchors: Tensor, coefficients: Tensor, threshold: Tensor) -> Tensor:
        # float64 as in eval: a bit beside its threshold falls to the same side
        u, anchors, coefficients, threshold = (x.to(torch.float64) for x in (u, anchors, coefficients, threshold))
        split = u.reshape(*u.shape[:2], op.heads, -1)
        directions = split / torch.sqrt((split * split).sum(-1, keepdim=True) + NORM_FLOOR)
        cosines = torch.einsum("bthd,hmd->bthm", directions, anchors)
        squares = (directions * directions).sum(-1, keepdim=True) + (anchors * anchors).sum(-1)
        kernels = torch.exp((2 * cosines - squares) / (2 * op.sigma))
        margins = torch.einsum("bthm,hrm->bthr", kernels, coefficients) - threshold
        codes: Tensor = _Sign.apply(margins)
        return codes.flatten(2)

    return run


def _hash_attention(op: ops.HashAttention) -> Function:
    constant = op.bits + 1

    def run(codes: Tensor, v: Tensor) -> Tensor:
        codes, v = (x.reshape(*x.shape[:2], op.heads, -1).transpose(1, 2) for x in (codes, v))
        context = codes.transpose(-1, -2) @ v
        total = v.sum(2, keepdim=True) if op.constant == "sum" else v
        weights = codes @ codes.sum(2)[..., None] + constant * codes.shape[2]
        return ((codes @ context + constant * total) / weights).transpose(1, 2).flatten(2)

    return run


def _gather(op: ops.Gather) -> Function:
    def run(data: Tensor, indices: Tensor) -> Tensor:
        axis = op.axis % data.ndim
        if axis == 0 and data.ndim == 2:
            return functional.embedding(indices % data.shape[0], data)
        taken = data.index_select(axis, (indices % data.shape[axis]).reshape(-1))
        return taken.reshape(*data.shape[:axis], *indices.shape, *data.shape[axis + 1 :])

    return run


def _slice(op: ops.Slice) -> Function:
    def run(x: Tensor) -> Tensor:
        index = [slice(None)] * x.ndim
        index[op.axis] = slice(op.start, op.stop, op.step)
        return x[tuple(index)]

    return run


def _experts(op: ops.MoE) -> Function:
    act = function_of(ACTIVATIONS[op.activation])
    return lambda *operands: experts(op, act, *operands)


def _gelu(op: ops.Gelu) -> Function:
    return lambda x: functional.gelu(x, approximate=op.approximate)


FUNCTIONS: dict[type[Op], Callable[[Any], Function]] = {
    ops.Add: lambda op: torch.add,
    ops.Attention: _attention,
    ops.BatchNormalization: _batch_normalization,
    ops.Cast: lambda op: lambda x: x.to(torch.float32),
    ops.Clip: lambda op: lambda x: torch.clamp(x, op.low, op.high),
    ops.Concat: lambda op: lambda *parts: torch.cat(parts, op.axis),
    ops.Conv: _conv,
    ops.ConvTranspose: _conv_transpose,
    ops.Div: lambda op: torch.div,
    ops.Elementwise: elementwise,
    ops.Erf: lambda op: torch.erf,
    ops.Exp: lambda op: torch.exp,
    ops.Gather: _gather,
    ops.Gelu: _gelu,
    ops.HardSwish: lambda op: functional.hardswish,
    ops.HashAttention: _hash_attention,
    ops.HashCodes: _hash_codes,
    ops.LayerNormalization: _layer_normalization,
    ops.Linear: _linear,
    ops.MatMul: lambda op: torch.matmul,
    ops.Max: lambda op: torch.maximum,
    ops.Min: lambda op: torch.minimum,
    ops.MoE: _experts,
    ops.Mul: lambda op: torch.mul,
    ops.Neg: lambda op: torch.neg,
    ops.PatchEmbed: _patch_embed,
    ops.Pow: lambda op: torch.pow,
    ops.Reciprocal: lambda op: torch.reciprocal,
    ops.ReduceMean: lambda op: lambda x: x.mean(op.axes, keepdim=op.keepdims),
    ops.Relu: lambda op: functional.relu,
    ops.Reshape: lambda op: lambda x: x.reshape(op.shape),
    ops.RMSNormalization: _rms_normalization,
    ops.Sigmoid: lambda op: torch.sigmoid,
    ops.Silu: lambda op: functional.silu,
    ops.Slice: _slice,
    ops.Softmax: lambda op: lambda x: torch.softmax(x, op.axis),
    ops.Sign: lambda op: torch.sign,
    ops.Sqrt: lambda op: torch.sqrt,
    ops.Sub: lambda op: torch.sub,
    ops.Tanh: lambda op: torch.tanh,
    ops.Transpose: lambda op: lambda x: x.permute(op.perm),
    ops.Where: lambda op: lambda condition, a, b: torch.where(condition != 0, a, b),
}
