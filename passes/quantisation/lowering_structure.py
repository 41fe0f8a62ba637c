"""The structure that lowering to integers needs: which values are moved, joined, read at 16 bits, or known on the host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from edgewright.passes import ops
from edgewright.passes.ir import Graph, Int, Node
from edgewright.passes.ops.groups import ACCUMULATING, CHOOSING, NORMS, ON_HOST, TABLES, WINDOWS, Group
from edgewright.passes.quantisation.function import Function

ACTIVATIONS: Group = (*TABLES, Function)
VIEWS = CHOOSING  # values of one scale
CLIPPING: Group = (
    ops.Relu,
    ops.Clip,
)  # chosen by the rules: saturation does the same, so that the step before it can contain it
SUMS: Group = (ops.Add, ops.Sub)  # chosen by the rules: the residual stream, which AddRequantised keeps at 16 bits
POOLED_MAX = 2000  # int16 values whose sum fits the accumulator


def carried(node: Node) -> tuple[int, ...]:
    """Return which operands of a view hold the values it moves; the others say where."""
    if isinstance(node.op, ops.Gather):
        return (0,)
    if isinstance(node.op, ops.Where):
        return (1, 2)
    return tuple(range(len(node.inputs)))


def moved(node: Node) -> list[Node]:
    """Return the operands of a view whose values it moves, except constants."""
    return [node.inputs[i] for i in carried(node) if not isinstance(node.inputs[i].op, ops.Constant)]


def root(node: Node) -> Node:
    """Return what a chain of views moves: the first operand that is not a constant, all the way up."""
    while isinstance(node.op, VIEWS):
        node = next(iter(moved(node)), node.inputs[carried(node)[0]])
    return node


def is_wide(node: Node) -> bool:
    """Return whether the value is a sum or a view of one, whose own form is int16."""
    return isinstance(root(node).op, (*SUMS, ops.Softmax))


def pools_wide(node: Node) -> bool:
    """Return whether a mean adds up int16 values. The mean over tokens takes int8: its operand is usually normalised, and
    the engine has no other."""
    assert isinstance(node.op, ops.ReduceMean)
    (x,) = node.inputs
    axes = {axis % x.type.rank for axis in node.op.axes}
    tokens = x.type.rank == 3 and axes == {1}
    return is_wide(x) and not tokens and x.type.size // node.type.size <= POOLED_MAX


def is_quotient(node: Node) -> bool:
    """Return whether a computed value divides: integers are divided at 16 bits and more."""
    return isinstance(node.op, ops.Div) and not isinstance(node.inputs[1].op, ops.Constant)


def scaled_wide(node: Node) -> Node | None:
    """Return the sum or norm that a constant for each channel of maps multiplies, which has 16 bits of its own; None for any
    other node. Rows of tokens stay as they are: products with a diagonal read int8, on the engine too."""
    if not isinstance(node.op, (ops.Mul, ops.Div)):
        return None
    for x, factor in (node.inputs, node.inputs[::-1])[: 2 if isinstance(node.op, ops.Mul) else 1]:
        if not isinstance(factor.op, ops.Constant) or isinstance(x.op, ops.Constant) or x.shape != node.shape:
            continue
        varying = [axis - factor.type.rank for axis, n in enumerate(factor.shape) if n > 1]
        if len(varying) == 1 and varying[0] < -1 and isinstance(root(x).op, (*SUMS, *NORMS)):
            return x
    return None


def accumulated(node: Node) -> Node | None:
    """Return the product whose elements the value consists of, moved at most; None where it is something else."""
    while isinstance(node.op, WINDOWS):
        node = node.inputs[0]
    return node if isinstance(node.op, ACCUMULATING) else None


def only_moved(node: Node, users: Mapping[Node, Sequence[Node]]) -> frozenset[Node]:
    """Return the moves that bring a product into the order of ``node``, which they end in, if nothing else reads the product or
    what is moved on the way; else nothing."""
    chain, waiting, products = {node}, [node], set[Node]()
    while waiting:
        step = waiting.pop()
        if not isinstance(step.op, (*WINDOWS, ops.Concat)):
            products.add(step)
            continue
        for operand in step.inputs:
            if operand not in chain:
                chain.add(operand)
                waiting.append(operand)
    alone = all(user in chain for step in chain - {node} for user in users[step]) and len(users[node]) == 1
    if node in products or len(products) != 1 or not alone:
        return frozenset()
    product = products.pop()
    return frozenset(chain - {product}) if isinstance(product.op, ACCUMULATING) else frozenset()


def wide_values(graph: Graph) -> tuple[dict[Node, tuple[Node, ...]], set[Node]]:
    """Return which int16 values share a scale (views cannot change it), and which values something reads at 16 bits."""
    read: set[Node] = set()
    joining = set(graph.outputs)
    joined: dict[Node, list[Node]] = {}
    for node in reversed(graph.nodes()):
        op = node.op
        pooled = isinstance(op, ops.ReduceMean) and pools_wide(node)
        if isinstance(op, (*SUMS, ops.Softmax)):
            read.update(n for n in node.inputs if not isinstance(n.op, ops.Constant))
        elif isinstance(op, ops.MoE):
            read.add(node.inputs[1])
        elif (scaled := scaled_wide(node)) is not None:
            read.add(scaled)
        elif is_quotient(node):
            read.update(n for n in node.inputs if not isinstance(n.op, ops.Constant) and accumulated(n) is None)
        elif isinstance(op, NORMS) or pooled or (isinstance(op, CLIPPING) and node in read):
            read.add(node.inputs[0])
        elif isinstance(op, VIEWS) and (node in read or node in joining or _cuts_wide(node)):
            (read if node in read or _cuts_wide(node) else joining).update(moved(node))
            members = [node, *moved(node)]
            merged = list(dict.fromkeys(m for n in members for m in joined.get(n, [n])))
            joined.update(dict.fromkeys(merged, merged))
    return {node: tuple(members) for node, members in joined.items()}, read


def _cuts_wide(node: Node) -> bool:
    return isinstance(node.op, ops.Slice) and is_wide(node)


def hosted(graph: Graph) -> set[Node]:
    """Return float values that the host computes from integer inputs alone (masks): no constants, no inputs."""
    known: set[Node] = set()
    on_host: set[Node] = set()
    for node in graph.nodes():
        is_source = isinstance(node.op, ops.Constant) or (isinstance(node.op, ops.Input) and isinstance(node.elem, Int))
        table = isinstance(node.op, ops.Gather) and node.inputs[0].type.is_float and node.inputs[0].type.size > 256
        if is_source or (isinstance(node.op, ON_HOST) and not table and all(n in known for n in node.inputs)):
            known.add(node)
            if not is_source and node.type.is_float:
                on_host.add(node)
    return on_host


def channel_axis(product: Node) -> int:
    """Return which axis of a product holds its output channels, counted from the end."""
    return -3 if isinstance(product.op, ops.Conv) else -1


def is_part(node: Node) -> bool:
    """Return whether the value is some output channels of a Linear or Conv."""
    if not isinstance(node.op, ops.Slice) or not isinstance(node.inputs[0].op, (ops.Linear, ops.Conv)):
        return False
    rank = node.type.rank
    return node.op.axis % rank == channel_axis(node.inputs[0]) % rank


def split_in_parts(users: list[Node]) -> bool:
    """Return whether a product is read only by slices of channels, no channel by two different slices."""
    if not users or not all(is_part(user) for user in users):
        return False
    slices = [user.op for user in users if isinstance(user.op, ops.Slice) and user.op.step == 1]
    spans = sorted({(part.start, part.stop) for part in slices})
    return len(slices) == len(users) and all(a[1] <= b[0] for a, b in pairwise(spans))
