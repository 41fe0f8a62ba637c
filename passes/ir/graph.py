"""The graph: immutable nodes that share structure, and the one way to rewrite them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from edgewright.passes.ir.op import InferError, Op, Work
from edgewright.passes.ir.types import Elem, Level, Quant, Shape, TensorType


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One value: an op applied to other nodes. Compared and hashed by identity.

    `origin`: names of the ONNX nodes this value comes from, the first naming the value in reports.
    """

    op: Op
    inputs: tuple[Node, ...]
    type: TensorType
    origin: tuple[str, ...] = ()

    @property
    def shape(self) -> Shape:
        return self.type.shape

    @property
    def elem(self) -> Elem:
        return self.type.elem

    @property
    def quant(self) -> Quant | None:
        return self.type.quant

    @property
    def name(self) -> str:
        """The first origin, or the op's kind where nothing is known."""
        return self.origin[0] if self.origin else self.op.kind

    @property
    def work(self) -> Work:
        return self.op.work(*(n.type for n in self.inputs))

    def with_inputs(self, inputs: Iterable[Node]) -> Node:
        """Return the same op on other inputs; keeps origin and quant, infers the rest anew."""
        return make(self.op, *inputs, origin=self.origin, quant=self.quant)

    def __repr__(self) -> str:
        return f"<{self.op.kind} {self.name} {self.type}>"


def merge_origins(*origins: Iterable[str]) -> tuple[str, ...]:
    """Return all names in order, each once."""
    return tuple(dict.fromkeys(name for names in origins for name in names))


def make(op: Op, *inputs: Node, origin: Iterable[str] = (), quant: Quant | None = None) -> Node:
    """Infer the type and build the node. InferError names op and operands."""
    origin = tuple(origin)
    try:
        inferred = op.infer(*(n.type for n in inputs))
    except (InferError, ValueError) as error:
        operands = ", ".join(f"{n.name}: {n.type}" for n in inputs)
        raise InferError(f"{op.kind}({operands}) at {origin or '?'}: {error}") from error
    if quant is not None:
        inferred = replace(inferred, quant=quant)
    return Node(op, inputs, inferred, origin)


@dataclass(frozen=True, slots=True)
class Graph:
    """A function from named inputs to named outputs. `inputs` are nodes whose op is `Input`."""

    name: str
    inputs: tuple[Node, ...]
    outputs: tuple[Node, ...]
    output_names: tuple[str, ...]
    level: Level = Level.FLOAT
    notes: tuple[str, ...] = field(default=(), compare=False)
    _order: tuple[Node, ...] = field(default=(), init=False, compare=False, repr=False)

    def nodes(self) -> list[Node]:
        """Return every node once, operands before their users, in an order that depends on the structure only."""
        if not self._order:
            object.__setattr__(self, "_order", tuple(topological(self.outputs, self.inputs)))
        return list(self._order)

    def users(self) -> dict[Node, list[Node]]:
        """Return which nodes read a node (once per operand position); graph outputs do not count."""
        users: dict[Node, list[Node]] = {node: [] for node in self.nodes()}
        for node in self.nodes():
            for operand in node.inputs:
                users[operand].append(node)
        return users

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes())


def topological(outputs: Iterable[Node], first: Iterable[Node] = ()) -> list[Node]:
    """Sort nodes depth first, operands before users, without recursion; `first` come first. ValueError on a cycle."""
    order: dict[Node, None] = dict.fromkeys(first)
    open_: set[Node] = set()
    for output in outputs:
        stack: list[tuple[Node, int]] = [(output, 0)]
        while stack:
            node, position = stack.pop()
            if node in order:
                continue
            if position == 0:
                if node in open_:
                    raise ValueError(f"cycle through {node.name}")
                open_.add(node)
            if position < len(node.inputs):
                stack.append((node, position + 1))
                operand = node.inputs[position]
                if operand in open_:
                    raise ValueError(f"cycle through {operand.name}")
                stack.append((operand, 0))
            else:
                open_.discard(node)
                order[node] = None
    return list(order)


def rewrite(graph: Graph, change: Callable[[Node], Node | None]) -> Graph:
    """Replace nodes bottom-up, each once: `change` gets a node whose operands are already rewritten and returns its
    replacement (same shape), or None to keep it. What nothing reads afterwards is gone."""

    def on_new_operands(old: Node, operands: tuple[Node, ...]) -> Node:
        candidate = moved(old, operands)
        return change(candidate) or candidate

    return rebuild(graph, on_new_operands)


def rebuild(graph: Graph, change: Callable[[Node, tuple[Node, ...]], Node | None]) -> Graph:
    """As `rewrite`, for changes that were decided on the old graph: `change` gets the old node and its new operands;
    None moves the node onto them. The graph itself where nothing changed."""
    done: dict[Node, Node] = {}
    for node in graph.nodes():
        operands = tuple(done[operand] for operand in node.inputs)
        done[node] = change(node, operands) or moved(node, operands)
    inputs, outputs = (tuple(done[node] for node in nodes) for nodes in (graph.inputs, graph.outputs))
    return graph if (inputs, outputs) == (graph.inputs, graph.outputs) else replace(graph, inputs=inputs, outputs=outputs)


def moved(node: Node, operands: tuple[Node, ...]) -> Node:
    """Return the node on other operands; itself when they are the same."""
    return node if operands == node.inputs else node.with_inputs(operands)
