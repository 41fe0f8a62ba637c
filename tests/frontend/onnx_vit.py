"""Vision transformers in ONNX as different exporters spell them: one network, many spellings, made by code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import onnx
from edgewright.passes.ir import Array
from onnx import TensorProto, helper, numpy_helper


@dataclass(frozen=True)
class Spelling:
    """How one network is written down. Every field has the values that the code below branches on."""

    opset: int = 17
    norm: str = "fused"  # fused | div | mul_reciprocal | pow_half | power_minus_half | squared_by_mul | two_means
    gelu: str = "erf_div"  # erf_div | erf_mul | erf_half_first | erf_half_last | tanh | op | op_tanh
    qkv: str = "split"  # split | slice | gather | unstack_first | three | interleaved | slice_last | split_last
    scale: str = "q"  # q | k | both | scores | scores_div | shape
    attention: str = "matmul"  # matmul | folded | op4 | op3
    linear: str = "matmul"  # matmul | matmul_swapped | transposed | gemm | gemm_transposed | flat_gemm
    pool: str = "gather"  # gather | gather_vector | slice | mean | mean_pool
    patch: str = "conv"  # conv | conv_flatten | conv_reshape_minus_one | reshapes
    batch: str | int = 1
    layer_scale: bool = False
    mask: bool = False
    nan_guard: bool = False  # Where(IsNaN(p), 0, p) behind the softmax


@dataclass(frozen=True)
class Sizes:
    """Dimensions of the network."""

    image: int = 8
    patch: int = 2
    channels: int = 3
    width: int = 24
    heads: int = 3
    hidden: int = 40
    classes: int = 7
    blocks: int = 1


@dataclass
class Builder:
    """Nodes, weights from a fixed generator, and names as an exporter would number them."""

    spelling: Spelling
    sizes: Sizes = field(default_factory=Sizes)
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    tensors: list[onnx.TensorProto] = field(default_factory=list)
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(7))

    def op(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        names = [f"{kind}_{len(self.nodes)}_{i}" for i in range(outputs)]
        node = helper.make_node(kind, list(inputs), names, name=f"/{kind}_{len(self.nodes)}", **attributes)
        self.nodes.append(node)
        return names[0] if outputs == 1 else names

    def value(self, array: Array) -> str:
        name = f"c{len(self.tensors)}"
        self.tensors.append(numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name))
        return name

    def real(self, number: float) -> str:
        return self.value(np.asarray(number, np.float32))

    def ints(self, *numbers: int) -> str:
        return self.value(np.asarray(numbers, np.int64))

    def normal(self, *shape: int, scale: float = 1.0) -> Array:
        return (self.rng.standard_normal(shape) * scale).astype(np.float32)

    def reshape(self, x: str, *shape: int) -> str:
        return str(self.op("Reshape", x, self.ints(*shape)))

    def transpose(self, x: str, *perm: int) -> str:
        return str(self.op("Transpose", x, perm=list(perm)))

    def reduce_mean(self, x: str, axes: Sequence[int], keepdims: int = 1) -> str:
        if self.spelling.opset >= 18:
            return str(self.op("ReduceMean", x, self.ints(*axes), keepdims=keepdims))
        return str(self.op("ReduceMean", x, axes=list(axes), keepdims=keepdims))

    def squeeze(self, x: str, axis: int) -> str:
        if self.spelling.opset >= 13:
            return str(self.op("Squeeze", x, self.ints(axis)))
        return str(self.op("Squeeze", x, axes=[axis]))

    def split(self, x: str, axis: int, parts: int, size: int) -> list[str]:
        if self.spelling.opset >= 13:
            return list(self.op("Split", x, self.ints(*[size] * parts), outputs=parts, axis=axis))
        return list(self.op("Split", x, outputs=parts, axis=axis, split=[size] * parts))

    def linear(self, x: str, ins: int, outs: int, gain: float = 1.0) -> str:
        w, b = self.normal(outs, ins, scale=gain / ins**0.5), self.value(self.normal(outs, scale=0.2))
        kind = self.spelling.linear
        if kind == "gemm" or kind == "gemm_transposed":
            raise ValueError("Gemm takes matrices: flat_gemm")
        if kind == "flat_gemm" and x != self.pooled:
            flat = self.op("Gemm", self.reshape(x, -1, ins), self.value(w), b, transB=1)
            return self.reshape(flat, -1, self.tokens, outs)
        if kind == "transposed":
            product = self.op("MatMul", x, self.transpose(self.value(w), 1, 0))
        else:
            product = self.op("MatMul", x, self.value(w.T))
        return str(self.op("Add", b, product) if kind == "matmul_swapped" else self.op("Add", product, b))

    pooled: str = ""

    @property
    def tokens(self) -> int:
        patches = (self.sizes.image // self.sizes.patch) ** 2
        return patches if self.spelling.pool.startswith("mean") else patches + 1

    def norm(self, x: str) -> str:
        width, kind = self.sizes.width, self.spelling.norm
        gamma, beta = self.value(1 + self.normal(width, scale=0.3)), self.value(self.normal(width, scale=0.3))
        if kind == "fused":
            return str(self.op("LayerNormalization", x, gamma, beta, axis=-1, epsilon=1e-3))
        centred = self.op("Sub", x, self.reduce_mean(x, [-1]))
        again = self.op("Sub", x, self.reduce_mean(x, [2])) if kind == "two_means" else centred
        square = self.op("Mul", again, again) if kind == "squared_by_mul" else self.op("Pow", again, self.real(2.0))
        shifted = self.op("Add", self.reduce_mean(square, [-1]), self.real(1e-3))
        if kind == "mul_reciprocal":
            normal = self.op("Mul", centred, self.op("Reciprocal", self.op("Sqrt", shifted)))
        elif kind == "pow_half":
            normal = self.op("Div", centred, self.op("Pow", shifted, self.real(0.5)))
        elif kind == "power_minus_half":
            normal = self.op("Mul", self.op("Pow", shifted, self.real(-0.5)), centred)
        else:
            normal = self.op("Div", centred, self.op("Sqrt", shifted))
        return str(self.op("Add", self.op("Mul", normal, gamma), beta))

    def gelu(self, x: str) -> str:
        kind = self.spelling.gelu
        if kind.startswith("op"):
            return str(self.op("Gelu", x, approximate="tanh" if kind == "op_tanh" else "none"))
        if kind == "tanh":
            cube = self.op("Mul", self.op("Pow", x, self.real(3.0)), self.real(0.044715))
            bent = self.op("Tanh", self.op("Mul", self.op("Add", x, cube), self.real((2 / np.pi) ** 0.5)))
            return str(self.op("Mul", self.op("Mul", x, self.real(0.5)), self.op("Add", bent, self.real(1.0))))
        if kind == "erf_mul":
            bent = self.op("Erf", self.op("Mul", x, self.real(0.5**0.5)))
        else:
            bent = self.op("Erf", self.op("Div", x, self.real(2**0.5)))
        raised = self.op("Add", bent, self.real(1.0))
        if kind == "erf_half_first":
            return str(self.op("Mul", self.op("Mul", self.real(0.5), x), raised))
        if kind == "erf_half_last":
            return str(self.op("Div", self.op("Mul", raised, x), self.real(2.0)))
        return str(self.op("Mul", x, self.op("Mul", self.real(0.5), raised)))

    def heads(self, x: str) -> tuple[str, str, str]:
        """q, k, v as (batch, heads, tokens, dim)."""
        width, heads, tokens = self.sizes.width, self.sizes.heads, self.tokens
        dim, kind = width // heads, self.spelling.qkv
        if kind == "three":
            parts = [self.linear(x, width, width, 1.5) for _ in range(3)]
            q, k, v = (self.transpose(self.reshape(p, -1, tokens, heads, dim), 0, 2, 1, 3) for p in parts)
            return q, k, v
        merged = self.linear(x, width, 3 * width, 1.5)
        if kind in ("slice_last", "split_last"):
            if kind == "split_last":
                parts = self.split(merged, 2, 3, width)
            else:
                ends = [0, width, 2 * width, 1 << 62]
                parts = [self.op("Slice", merged, self.ints(a), self.ints(b), self.ints(-1)) for a, b in pairwise(ends)]
            q, k, v = (self.transpose(self.reshape(p, -1, tokens, heads, dim), 0, 2, 1, 3) for p in parts)
            return q, k, v
        if kind == "interleaved":  # channels in the order (head, dim, which)
            five = self.reshape(merged, -1, tokens, heads, dim, 3)
            five = self.transpose(five, 4, 0, 2, 1, 3)
        elif kind == "unstack_first":  # split the axis of three before moving it
            five = self.reshape(merged, -1, tokens, 3, heads, dim)
            parts = [self.squeeze(p, 2) for p in self.split(five, 2, 3, 1)]
            q, k, v = (self.transpose(p, 0, 2, 1, 3) for p in parts)
            return q, k, v
        else:
            five = self.transpose(self.reshape(merged, -1, tokens, 3, heads, dim), 2, 0, 3, 1, 4)
        if kind == "gather":
            parts = [self.op("Gather", five, self.value(np.asarray(i, np.int64)), axis=0) for i in range(3)]
        elif kind == "slice":
            cut = [self.op("Slice", five, self.ints(i), self.ints(i + 1), self.ints(0)) for i in range(3)]
            parts = [self.squeeze(p, 0) for p in cut]
        else:
            parts = [self.squeeze(p, 0) for p in self.split(five, 0, 3, 1)]
        return parts[0], parts[1], parts[2]

    def attend(self, x: str) -> str:
        width, heads, tokens = self.sizes.width, self.sizes.heads, self.tokens
        dim, kind, where = width // heads, self.spelling.attention, self.spelling.scale
        if kind == "op3":
            merged = self.split(self.linear(x, width, 3 * width, 1.5), 2, 3, width)
            return str(self.op("Attention", *merged, q_num_heads=heads, kv_num_heads=heads))
        q, k, v = self.heads(x)
        if kind == "op4":
            mixed = self.op("Attention", q, k, v)
            return self.reshape(self.transpose(mixed, 0, 2, 1, 3), -1, tokens, width)
        factor = dim**-0.5
        if where == "shape":  # TorchScript: sqrt(1 / sqrt(last dimension)) on both
            size = self.op("Slice", self.op("Shape", q), self.ints(-1), self.ints(1 << 62))
            root = self.op("Div", self.value(np.ones(1, np.float32)), self.op("Sqrt", self.op("Cast", size, to=1)))
            half = self.op("Sqrt", root)
        else:
            half = self.real(factor**0.5)
        if kind == "folded":  # batch and heads in one axis, as torch.bmm wants them
            q, k, v = (self.reshape(p, heads, tokens, dim) for p in (q, k, v))
            k = self.transpose(k, 0, 2, 1)
        else:
            k = self.transpose(k, 0, 1, 3, 2)
        q = self.op("Mul", q, self.real(factor)) if where == "q" else q
        k = self.op("Mul", self.real(factor), k) if where == "k" else k
        if where in ("both", "shape"):
            q, k = self.op("Mul", q, half), self.op("Mul", k, half)
        scores = self.op("MatMul", q, k)
        scores = self.op("Mul", scores, self.real(factor)) if where == "scores" else scores
        scores = self.op("Div", scores, self.real(1 / factor)) if where == "scores_div" else scores
        if self.spelling.mask:
            scores = self.op("Add", scores, self.value(self.normal(tokens, tokens)))
        weights = self.op("Softmax", scores, axis=2 if kind == "folded" else 3)
        if self.spelling.nan_guard:
            weights = self.op("Where", self.op("IsNaN", weights), self.real(0.0), weights)
        mixed = self.op("MatMul", weights, v)
        if kind == "folded":
            mixed = self.reshape(mixed, 1, heads, tokens, dim)
        return self.reshape(self.transpose(mixed, 0, 2, 1, 3), -1, tokens, width)

    def residual(self, x: str, branch: str) -> str:
        if self.spelling.layer_scale:
            branch = self.op("Mul", branch, self.value(self.normal(self.sizes.width)))
        return str(self.op("Add", x, branch))

    def embed(self, x: str) -> str:
        s, kind = self.sizes, self.spelling.patch
        grid, count = s.image // s.patch, (s.image // s.patch) ** 2
        ins = s.channels * s.patch**2
        if kind == "reshapes":  # cut by reshapes, pixels of a patch in (row, column, channel) order
            six = self.reshape(x, -1, s.channels, grid, s.patch, grid, s.patch)
            rows = self.reshape(self.transpose(six, 0, 2, 4, 3, 5, 1), -1, count, ins)
            product = self.op("MatMul", rows, self.value(self.normal(ins, s.width, scale=ins**-0.5)))
            return str(self.op("Add", product, self.value(self.normal(s.width))))
        w = self.value(self.normal(s.width, s.channels, s.patch, s.patch, scale=ins**-0.5))
        b = self.value(self.normal(s.width))
        maps = self.op("Conv", x, w, b, kernel_shape=[s.patch] * 2, strides=[s.patch] * 2)
        if kind == "conv_flatten":  # by Shape, as TorchScript writes flatten(2)
            head = self.op("Slice", self.op("Shape", maps), self.ints(0), self.ints(2), self.ints(0))
            flat = self.op("Reshape", maps, self.op("Concat", head, self.ints(-1), axis=0))
        else:
            flat = self.reshape(maps, -1 if kind == "conv_reshape_minus_one" else 0, s.width, count)
        return self.transpose(flat, 0, 2, 1)

    def class_token(self, tokens: str) -> str:
        row = self.value(self.normal(1, 1, self.sizes.width))
        if self.spelling.batch != 1:  # expand to the batch of the tokens
            size = self.op("Gather", self.op("Shape", tokens), self.value(np.asarray([0], np.int64)))
            row = self.op("Expand", row, self.op("Concat", size, self.ints(1), self.ints(self.sizes.width), axis=0))
        return str(self.op("Concat", row, tokens, axis=1))

    def pool_tokens(self, x: str) -> str:
        kind = self.spelling.pool
        if kind == "mean":
            return self.reduce_mean(x, [1], keepdims=0)
        if kind == "mean_pool":
            mean = self.op("GlobalAveragePool", self.transpose(x, 0, 2, 1))
            return str(self.op("Flatten", mean))
        if kind == "slice":
            return self.squeeze(self.op("Slice", x, self.ints(0), self.ints(1), self.ints(1)), 1)
        index = self.value(np.asarray([0] if kind == "gather_vector" else 0, np.int64))
        row = self.op("Gather", x, index, axis=1)
        return self.squeeze(row, 1) if kind == "gather_vector" else str(row)

    def network(self) -> onnx.ModelProto:
        s = self.sizes
        x = self.embed("x")
        if not self.spelling.pool.startswith("mean"):
            x = self.class_token(x)
        x = self.op("Add", x, self.value(self.normal(1, self.tokens, s.width, scale=0.5)))
        for _ in range(s.blocks):
            x = self.residual(x, self.linear(self.attend(self.norm(x)), s.width, s.width))
            wide = self.gelu(self.linear(self.norm(x), s.width, s.hidden, 1.5))
            x = self.residual(x, self.linear(wide, s.hidden, s.width))
        self.pooled = self.pool_tokens(self.norm(x))
        w, b = self.normal(s.classes, s.width, scale=s.width**-0.5), self.value(self.normal(s.classes))
        logits = self.op("Gemm", self.pooled, self.value(w), b, transB=1)
        self.nodes[-1].output[0] = "logits"
        assert logits
        batch = self.spelling.batch
        shape = [batch, s.channels, s.image, s.image]
        graph = helper.make_graph(
            self.nodes,
            "vit",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, s.classes])],
            self.tensors,
        )
        ir_version = 11 if self.spelling.opset >= 23 else 9
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.spelling.opset)], ir_version=ir_version)


def vit(spelling: Spelling, sizes: Sizes | None = None) -> onnx.ModelProto:
    """The network under a spelling."""
    return Builder(spelling, sizes or Sizes()).network()
