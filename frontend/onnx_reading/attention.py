"""The reader of ONNX's own Attention operator."""

from __future__ import annotations

import math

import numpy as np
from edgewright.frontend.canonical.scores import LOWEST
from edgewright.frontend.onnx_reading.site import Results, Site, Unsupported, reads
from edgewright.passes.ir import Node
from edgewright.passes.ops import Add, Gather, MatMul, Mul, Softmax, Where, scalar_of, value_of


def _attention_bias(site: Site, queries: int, keys: int) -> Node | None:
    """Return what the operator Attention adds to its scores: a mask of booleans or numbers, and the causal mask."""
    bias = site.input(3) if site.has(3) else None
    if bias is not None and not bias.type.is_float:
        choices = [scalar_of(n) for n in bias.inputs[1:]] if isinstance(bias.op, Where) else []
        zero, lowest = site.scalar(0.0), site.scalar(LOWEST)
        known = value_of(bias)
        if known is not None:
            bias = site.value(np.where(known, np.float32(0), np.float32(LOWEST)))
        elif choices in ([1.0, 0.0], [0.0, 1.0]):
            bias = site.make(Where(), bias.inputs[0], *((zero, lowest) if choices[0] else (lowest, zero)))
        else:
            bias = site.make(Where(), bias, zero, lowest)
    if site.integer("is_causal", 0):
        if queries * keys > 1 << 26:
            raise Unsupported(f"its causal mask has {queries} x {keys} elements", "use fewer tokens")
        later = np.triu(np.full((queries, keys), LOWEST, np.float32), 1)
        bias = site.value(later) if bias is None else site.make(Add(), bias, site.value(later))
    return bias


def _shared(site: Site, q: Node, x: Node) -> Node:
    """Return keys or values (batch, heads, tokens, dim), repeated if several heads of queries share one of theirs."""
    heads, count = x.shape[1], q.shape[1]
    if count % heads:
        raise Unsupported(f"{count} query heads do not divide among {heads} key heads")
    head_of_query = np.repeat(np.arange(heads), count // heads).astype(np.int64)
    return x if count == heads else site.make(Gather(1), x, site.value(head_of_query))


@reads("Attention")
def read_attention(site: Site) -> Results:
    """Read Attention of opset 23 as elementary operators, which are then recognised like any others; without caches."""
    for index, cache in ((4, "past keys"), (5, "past values")):
        if site.has(index):
            raise Unsupported(f"it takes {cache}", "export the model for a whole image or text at once")
    if site.real("softcap", 0.0):
        raise Unsupported("it caps the scores (softcap)")
    site.only_first_output()
    q, k, v = (site.input(i) for i in range(3))
    flat = len(q.shape) == 3
    if flat:
        heads, kv_heads = site.integer("q_num_heads", 0), site.integer("kv_num_heads", 0)
        if heads < 1 or kv_heads < 1 or q.shape[2] % heads or k.shape[2] % kv_heads or v.shape[2] % kv_heads:
            raise Unsupported(f"{heads} and {kv_heads} heads do not divide widths {q.shape[2]} and {k.shape[2]}")
        q, k, v = (
            site.transpose(site.reshape(x, (*x.shape[:2], n, x.shape[2] // n)), 0, 2, 1, 3)
            for x, n in ((q, heads), (k, kv_heads), (v, kv_heads))
        )
    k, v = _shared(site, q, k), _shared(site, q, v)
    scale = site.real("scale", 0.0) or 1.0 / math.sqrt(q.shape[-1])
    scores = site.make(Mul(), site.make(MatMul(), q, site.transpose(k, 0, 1, 3, 2)), site.scalar(scale))
    bias = _attention_bias(site, q.shape[2], k.shape[2])
    scores = scores if bias is None else site.make(Add(), scores, bias)
    mixed = site.make(MatMul(), site.make(Softmax(-1), scores), v)  # (batch, heads, tokens, dim)
    if not flat:
        return mixed
    batch, heads, tokens, dim = mixed.shape
    return site.reshape(site.transpose(mixed, 0, 2, 1, 3), (batch, tokens, heads * dim))
