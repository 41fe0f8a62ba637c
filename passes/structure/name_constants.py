"""The role of each constant of a transformer block."""

from __future__ import annotations

from collections.abc import Sequence

from edgewright.passes.ir import Node
from edgewright.passes.ops import Add, Constant, Linear, Mul
from edgewright.passes.ops.groups import NORMS, WINDOWS

Named = tuple[tuple[str, Node], ...]

# the roles of a Linear by the operands of Attention(q, k, v) or HashAttention(codes, v) that it feeds
FEEDS = {(0, 1, 2): "qkv", (0,): "query", (1,): "key", (2,): "value", (1, 2): "key_value", (0, 1): "query_key"}
# how reports name the constant operands of these operators; those of any other are numbered
OPERANDS = {
    "LayerNormalization": ("", "gamma", "beta"),
    "RMSNormalization": ("", "gamma"),
    "Linear": ("", "weight", "bias"),
    "MoE": ("", "", "w1", "b1", "w2", "b2"),
    "HashCodes": ("", "anchors", "coefficients", "threshold"),
}


def named_constants(members: Sequence[Node], attention: Node) -> tuple[Named, Named, Named]:
    """Return (role, node) of the Linears, of the norms, and of every constant that a member reads, in the order of `members`,
    a block's nodes, operands first."""
    names: dict[Node, str] = {}
    for node, fed in _feeding(attention).items():
        names[node] = FEEDS.get(tuple(sorted(fed)), "")
    after = False  # of the attention node: what comes then is its projection, then the feed-forward network
    below = {attention}
    feed: list[Node] = []
    for node in members:
        if any(operand in below for operand in node.inputs):
            below.add(node)
        if isinstance(node.op, Linear) and node not in names:
            if not after and node in below:
                names[node], after = "projection", True
            elif node in below:
                feed.append(node)
    experts = next((node for node in members if node.op.kind == "MoE"), None)
    if experts is not None:
        names |= {node: "router" for node in feed if _leads(node, experts.inputs[1])}
        feed = [node for node in feed if node not in names]
    elif len(feed) == 2:
        names |= {feed[0]: "ffn1", feed[1]: "ffn2"}
    elif len(feed) == 3:  # a gated network: two halves, then the product back
        names |= {feed[0]: "ffn1", feed[1]: "gate", feed[2]: "ffn2"}
    norms = [node for node in members if isinstance(node.op, NORMS)]
    names |= {node: f"norm{i + 1}" for i, node in enumerate(norms)}
    return (
        tuple((_name(node, names, members), node) for node in members if isinstance(node.op, Linear)),
        tuple((names[node], node) for node in norms),
        tuple(_constants(members, names)),
    )


def _constants(members: Sequence[Node], names: dict[Node, str]) -> list[tuple[str, Node]]:
    roles: dict[Node, str] = {}
    for node in members:
        places = OPERANDS.get(node.op.kind, ())
        for i, operand in enumerate(node.inputs):
            if isinstance(operand.op, Constant) and operand not in roles:
                place = places[i] if i < len(places) and places[i] else f"operand{i}"
                roles[operand] = f"{_name(node, names, members)}.{place}"
    return [(role, node) for node, role in roles.items()]


def _name(node: Node, names: dict[Node, str], members: Sequence[Node]) -> str:
    kind = node.op.kind
    by_kind = {"MoE": "moe", "HashCodes": "codes", "Attention": "attention", "HashAttention": "attention"}.get(kind)
    return names.get(node) or by_kind or f"{kind.lower()}{members.index(node)}"


def _feeding(attention: Node) -> dict[Node, set[int]]:
    """Return the Linears that an operand of the attention is a part of, with the operands (0 q, 1 k, 2 v) they feed."""
    hashed = attention.op.kind == "HashAttention"
    feeding: dict[Node, set[int]] = {}
    for i, operand in enumerate(attention.inputs[:3]):
        places = {0: {0, 1}, 1: {2}}.get(i, set()) if hashed else {i}
        for node in _sources(operand):
            feeding.setdefault(node, set()).update(places)
    return feeding


def _sources(node: Node) -> list[Node]:
    """Return the Linears after moves, scales and codes."""
    while isinstance(node.op, (*WINDOWS, Mul, Add)) or node.op.kind == "HashCodes":
        inner = [operand for operand in node.inputs if not isinstance(operand.op, Constant)]
        if not inner:
            return []
        if len(inner) > 1:
            return [source for operand in inner for source in _sources(operand)] if isinstance(node.op, Add) else []
        node = inner[0]
    return [node] if isinstance(node.op, Linear) else []


def _leads(node: Node, target: Node) -> bool:
    """Return whether `target` is `node` after moves and elementwise steps."""
    while target is not node:
        inner = [operand for operand in target.inputs if not isinstance(operand.op, Constant)]
        if len(inner) != 1 or isinstance(target.op, Linear):
            return False
        target = inner[0]
    return True
