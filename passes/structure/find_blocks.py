"""Transformer blocks of a float graph as data, for the passes that remove, hash and split them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_

from edgewright.passes.ir import Graph, Node, topological
from edgewright.passes.ops import Add, Constant, Slice
from edgewright.passes.ops.groups import NORMS
from edgewright.passes.structure.name_constants import named_constants

ATTENTIONS = ("Attention", "HashAttention")


@dataclass(frozen=True, slots=True)
class TransformerBlock:
    """Attention with its residual, then a feed-forward network with its own.

    stream_in, stream_out: the residual stream before and after, (windows, tokens, width). Pre-norm: both are sums (or
    what stands before the first block); post-norm (BERT): both are normalised sums.
    members: the nodes after stream_in up to and with stream_out that depend on stream_in, operands first; no constants.
    attention: the Attention or HashAttention node. linears: (role, node), roles "qkv", "query", "key", "value",
    "key_value", "query_key", "projection", "ffn1", "ffn2", "router", or "linear3" for one that has no such place.
    norms: ("norm1", node), ("norm2", node), in order. constants: (role, node) of every constant that a member reads, as
    "qkv.weight", "norm1.gamma", "moe.w1", in an order that is the same for blocks of one `form`.
    hidden: units of the feed-forward network (of one expert).
    form: equal for two blocks exactly if their operators, attributes, wiring and the shapes of their constants are.
    closed: nobody outside reads a member but stream_out, so the block can be taken out.
    """

    index: int
    layout: str
    stream_in: Node
    stream_out: Node
    members: tuple[Node, ...]
    attention: Node
    linears: tuple[tuple[str, Node], ...]
    norms: tuple[tuple[str, Node], ...]
    constants: tuple[tuple[str, Node], ...]
    heads: int
    width: int
    hidden: int
    hashed: bool
    experts: int
    form: tuple[object, ...]
    closed: bool

    @property
    def tokens(self) -> int:
        return self.stream_in.shape[-2]

    @property
    def is_plain(self) -> bool:
        """Return whether the block has softmax attention and one dense feed-forward network."""
        return not self.hashed and not self.experts

    @property
    def name(self) -> str:
        return f"block {self.index} ({self.attention.name})"

    def linear(self, role: str) -> Node | None:
        return dict(self.linears).get(role)

    def constant(self, role: str) -> Node | None:
        return dict(self.constants).get(role)


def find_blocks(graph: Graph) -> tuple[TransformerBlock, ...]:
    """Return all blocks in the order in which data passes them. Empty where there are none (no pattern of attention residual
    and feed-forward residual). Works before and after the float passes; a last block that `SliceEarly` has narrowed to
    the tokens that are read is a block of its own form."""
    reach = _Reach(graph)
    sums = list(_residuals(reach))
    attends = {node: skip for node, skip, kinds in sums if sum(kind in ATTENTIONS for kind in kinds) == 1}
    feeds = {
        skip: node
        for node, skip, kinds in sums
        if not any(kind in ATTENTIONS for kind in kinds) and ("MoE" in kinds or kinds.count("Linear") >= 2)
    }
    blocks: list[TransformerBlock] = []
    for middle, skip in attends.items():
        block = _block(len(blocks), reach, skip, middle, feeds)
        if block is not None:
            blocks.append(block)
    return tuple(blocks)


def runs_of_equal_blocks(blocks: Sequence[TransformerBlock]) -> tuple[tuple[TransformerBlock, ...], ...]:
    """Return maximal runs of blocks, each reading the one before it, that may be grouped: equal `form`."""
    runs: list[list[TransformerBlock]] = []
    for block in blocks:
        last = runs[-1][-1] if runs else None
        if last is not None and last.form == block.form and last.stream_out is block.stream_in:
            runs[-1].append(block)
        else:
            runs.append([block])
    return tuple(tuple(run) for run in runs)


def tokens_read(graph: Graph, block: TransformerBlock) -> slice:
    """Return the tokens of a block's output that anything after it reads: those that a Slice takes, of it or of its norm."""
    users = graph.users()
    stack, spans = [block.stream_out], []
    everything = slice(0, block.stream_out.shape[-2])
    while stack:
        node = stack.pop()
        if node in graph.outputs:
            return everything
        for user in users[node]:
            if isinstance(user.op, NORMS):
                stack.append(user)
            elif isinstance(user.op, Slice) and user.op.axis % node.type.rank == node.type.rank - 2 and user.op.step == 1:
                spans.append((user.op.start, user.op.stop))
            else:
                return everything
    return slice(min(a for a, _ in spans), max(b for _, b in spans)) if spans else everything


class _Reach:
    """Who depends on whom, as bit sets over the topological order."""

    def __init__(self, graph: Graph) -> None:
        self.nodes = graph.nodes()
        self.bit = {node: 1 << i for i, node in enumerate(self.nodes)}
        self.outputs = set(graph.outputs)
        self.users = graph.users()
        self.above: dict[Node, int] = {}  # the node and all it depends on
        for node in self.nodes:
            self.above[node] = reduce(or_, (self.above[operand] for operand in node.inputs), self.bit[node])
        self.below: dict[Node, int] = {}  # the node and all that depend on it
        for node in reversed(self.nodes):
            self.below[node] = reduce(or_, (self.below[user] for user in self.users[node]), self.bit[node])

    def between(self, start: Node, end: Node) -> int:
        """Return all nodes on a path from start to end, including end but not start."""
        return self.below[start] & self.above[end] & ~self.bit[start]

    def of(self, bits: int) -> list[Node]:
        return [self.nodes[i] for i in range(bits.bit_length()) if bits >> i & 1]


def _residuals(reach: _Reach) -> Iterator[tuple[Node, Node, list[str]]]:
    """Yield (sum, the value it adds again, operators of the branch) of every sum whose one operand depends on the other."""
    for node in reach.nodes:
        if not isinstance(node.op, Add):
            continue
        for skip, branch in (node.inputs, node.inputs[::-1]):
            if isinstance(skip.op, Constant) or skip is branch or not reach.above[branch] & reach.bit[skip]:
                continue
            if skip.shape == node.shape:
                inner = reach.between(skip, node) & ~reach.bit[node]
                yield node, skip, [n.op.kind for n in reach.of(inner)]


def _block(index: int, reach: _Reach, skip: Node, middle: Node, feeds: dict[Node, Node]) -> TransformerBlock | None:
    """Return the block whose attention is added at `middle`."""
    if middle in feeds:
        layout, stream_out = "pre-norm", feeds[middle]
    else:
        normed = _only_norm(reach, middle)
        end = feeds.get(normed) if normed is not None else None
        last = _only_norm(reach, end) if end is not None else None
        if last is None:
            return None
        layout, stream_out = "post-norm", last
    stream_in = skip
    if isinstance(skip.op, Slice) and _is_read_whole(reach, skip, middle):
        stream_in = skip.inputs[0]
    bits = reach.between(stream_in, stream_out)
    inside = set(reach.of(bits))
    members = tuple(node for node in topological([stream_out]) if node in inside)
    attention = next((node for node in members if node.op.kind in ATTENTIONS), None)
    if attention is None:
        return None
    closed = not any(
        node is not stream_out and (node in reach.outputs or any(user not in inside for user in reach.users[node]))
        for node in members
    )
    linears, norms, constants = named_constants(members, attention)
    experts = next((node for node in members if node.op.kind == "MoE"), None)
    second = dict(linears).get("ffn2")
    hidden = experts.inputs[2].shape[1] if experts is not None else second.inputs[1].shape[1] if second else 0
    return TransformerBlock(
        index,
        layout,
        stream_in,
        stream_out,
        members,
        attention,
        linears,
        norms,
        constants,
        heads=int(getattr(attention.op, "heads", 1)),
        width=stream_in.shape[-1],
        hidden=hidden,
        hashed=attention.op.kind == "HashAttention",
        experts=experts.inputs[2].shape[0] if experts is not None else 0,
        form=(layout, *_form(stream_in, members)),
        closed=closed,
    )


def _only_norm(reach: _Reach, node: Node) -> Node | None:
    users = reach.users[node]
    return users[0] if len(users) == 1 and isinstance(users[0].op, NORMS) and node not in reach.outputs else None


def _is_read_whole(reach: _Reach, part: Node, middle: Node) -> bool:
    """Return whether the branch added to a slice of the stream also depends on the stream beside that slice."""
    whole = part.inputs[0]
    beside = reach.between(whole, middle) & ~reach.below[part]
    return any(node.op.kind in ("Linear", *(norm.__name__ for norm in NORMS)) for node in reach.of(beside))


def _form(stream_in: Node, members: tuple[Node, ...]) -> tuple[object, ...]:
    """Return operators, attributes, wiring, shapes: everything but the values of the block's constants."""
    numbers = {node: i for i, node in enumerate(members)}
    outside: dict[Node, str] = {}

    def operand(node: Node) -> object:
        if node is stream_in:
            return "in"
        if node in numbers:
            return numbers[node]
        if isinstance(node.op, Constant):
            return ("constant", node.shape, str(node.elem))
        return outside.setdefault(node, f"beside {len(outside)} {node.type}")

    rows = [(repr(node.op), tuple(operand(n) for n in node.inputs), str(node.type)) for node in members]
    return (stream_in.shape, *rows)
