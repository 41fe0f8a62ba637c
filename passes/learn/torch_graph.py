"""A graph as a torch module: its constants are the parameters, and it goes back into a graph when they are trained."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from edgewright.passes import ops
from edgewright.passes.ir import Graph, Level, Node, rebuild, topological
from edgewright.passes.learn.torch_batch import on_batch
from edgewright.passes.learn.torch_import import Tensor, nn, torch
from edgewright.passes.learn.torch_ops import Function
from edgewright.passes.learn.weights import learnable_constants, matrices

Source = Node | tuple[Node, int]  # a node's value, or one part of what it was split into


@dataclass(frozen=True, slots=True)
class _Step:
    """One call: which values it takes, where the result goes, and which values are not needed afterwards."""

    run: Function
    operands: tuple[Any, ...]
    result: Any
    last: tuple[Any, ...]


class TorchGraph(nn.Module):
    """Any Graph[FLOAT], equal to `interp` up to float32 rounding, for one sample or many.

    `learnable` chooses among the Constant nodes; by default the float constants of more than one element that are weights,
    biases, affine factors or tables (`weights.learnable_constants`). Values of B samples lead with B times the graph's
    leading axis, outputs as inputs. ValueError for a graph of the integer level and for wrong inputs.
    """

    def __init__(self, graph: Graph, learnable: Callable[[Node], bool] | None = None) -> None:
        super().__init__()
        if graph.level is not Level.FLOAT:
            raise ValueError(f"graph {graph.name} is quantised: only float graphs learn")
        self.graph = graph
        nodes = graph.nodes()
        constants = [node for node in nodes if isinstance(node.op, ops.Constant)]
        chosen = learnable_constants(graph) if learnable is None else {n for n in constants if learnable(n)}
        self._names = {node: f"{'learned' if node in chosen else 'fixed'}{i}" for i, node in enumerate(constants)}
        self._learned = dict.fromkeys(node for node in constants if node in chosen)
        for node, name in self._names.items():
            value = torch.from_numpy(_array(node))
            if node in chosen:
                self.register_parameter(name, nn.Parameter(value))
            else:
                self.register_buffer(name, value, persistent=False)
        self._inputs = {node.name: node for node in graph.inputs}
        self._depends = _dependent(nodes)
        self._plans: dict[tuple[Any, ...], list[_Step]] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> TorchGraph:
        """Return a module of its own on the same graph, so that nodes still name its values."""
        copy = TorchGraph(self.graph, self._learned.__contains__)
        copy.load_state_dict(self.state_dict())
        for node in self._learned:
            copy.parameter(node).requires_grad_(self.parameter(node).requires_grad)
        memo[id(self)] = copy
        copy.train(self.training)
        return copy

    @property
    def learned(self) -> tuple[Node, ...]:
        """The Constant nodes that are parameters, operands before their users."""
        return tuple(self._learned)

    def parameter(self, node: Node) -> nn.Parameter:
        """Return the parameter that a Constant node became. KeyError for any other."""
        if node not in self._names or not self._names[node].startswith("learned"):
            raise KeyError(f"{node} does not learn")
        parameter: nn.Parameter = getattr(self, self._names[node])
        return parameter

    def matrices(self) -> list[nn.Parameter]:
        """Return the parameters that weight decay is for: weights of products, no biases, norms or tables."""
        weights = matrices(self.graph)
        return [self.parameter(node) for node in self._learned if node in weights]

    def forward(self, inputs: Mapping[str, Tensor], given: Mapping[Node, Tensor] | None = None) -> dict[str, Tensor]:
        """Return the outputs by name; `given` as in `evaluate`."""
        values = self.evaluate(inputs, self.graph.outputs, given)
        return dict(zip(self.graph.output_names, values, strict=True))

    def evaluate(
        self, inputs: Mapping[str, Tensor], wanted: Sequence[Node], given: Mapping[Node, Tensor] | None = None
    ) -> list[Tensor]:
        """Return values of nodes of the graph, computing nothing else.

        `given` values stand in for their nodes: with a batch for a node that depends on inputs, of the node's own shape for
        a Constant or what is computed from constants alone. Inputs that nothing wanted depends on may be missing.
        """
        given = given or {}
        key = (*wanted, None, *given)
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans[key] = self._plan(wanted, given)
        values: dict[Any, Any] = dict(given)
        for step in plan:
            if step.operands:
                values[step.result] = step.run(*[values[operand] for operand in step.operands])
            elif isinstance(step.result.op, ops.Constant):
                values[step.result] = getattr(self, self._names[step.result])
            else:
                values[step.result] = self._input(step.result, inputs)
            for operand in step.last:
                del values[operand]
        return [values[node] for node in wanted]

    def _input(self, node: Node, inputs: Mapping[str, Tensor]) -> Tensor:
        value = inputs.get(node.name)
        if value is None:
            raise ValueError(f"graph {self.graph.name} needs input {node.name}, got {sorted(inputs)}")
        lead = node.shape[0] if node.shape else 1
        if tuple(value.shape[1:]) != node.shape[1:] or value.ndim == 0 or value.shape[0] % lead:
            raise ValueError(f"input {node.name} has shape {tuple(value.shape)}, the graph takes {node.shape}")
        return value.to(torch.float32 if node.type.is_float else torch.int64)

    def _plan(self, wanted: Sequence[Node], given: Collection[Node]) -> list[_Step]:
        needed = _reached(wanted, given)
        parts = _split_evenly(needed)
        steps: list[tuple[Function, tuple[Any, ...], Any]] = []
        split: set[Any] = set()
        for node in needed:
            if node in parts:
                key, sizes, axis, position = parts[node]
                if key not in split:
                    split.add(key)
                    steps.append((_splitter(sizes, axis), (node.inputs[0],), key))
                steps.append((_picker(position), (key,), node))
                continue
            run = on_batch(node, tuple(n in self._depends for n in node.inputs)) if node.inputs else _unused
            steps.append((run, node.inputs, node))
        last = {value: i for i, (_, operands, result) in enumerate(steps) for value in (*operands, result)}
        ends: list[list[Any]] = [[] for _ in steps]
        for value, i in last.items():
            if value not in wanted and value not in given:
                ends[i].append(value)
        return [_Step(*step, tuple(gone)) for step, gone in zip(steps, ends, strict=True)]

    def to_graph(self) -> Graph:
        """Return the same nodes with the trained constants; constants that did not change, and what they feed, are the
        same nodes."""

        def trained(node: Node, operands: tuple[Node, ...]) -> Node | None:
            if node not in self._learned:
                return None
            value = self.parameter(node).detach().cpu().numpy()
            if np.array_equal(value, _array(node)):
                return None
            return ops.constant(value, node.origin, node.quant)

        return rebuild(self.graph, trained)


def _array(node: Node) -> Any:
    """Return a copy of a Constant's value that torch may own: float32, or int64."""
    value = ops.value_of(node)
    assert value is not None
    return np.array(value, np.float32 if value.dtype.kind == "f" else np.int64)


def _dependent(nodes: Iterable[Node]) -> set[Node]:
    """Return the nodes whose values depend on an input."""
    dependent: set[Node] = set()
    for node in nodes:
        if isinstance(node.op, ops.Input) or not dependent.isdisjoint(node.inputs):
            dependent.add(node)
    return dependent


def _reached(wanted: Sequence[Node], given: Collection[Node]) -> list[Node]:
    """Return what has to be computed when some values are given, operands before their users."""
    needed: set[Node] = set()
    stack = [node for node in wanted if node not in given]
    while stack:
        node = stack.pop()
        if node not in needed:
            needed.add(node)
            stack += [operand for operand in node.inputs if operand not in given]
    return [node for node in topological(wanted) if node in needed]


def _split_evenly(nodes: Iterable[Node]) -> dict[Node, tuple[Any, list[int], int, int]]:
    """Slices that cut one value into adjoining parts: key, sizes, axis and position of each.

    One split has one gradient to put together; slices would have one each, mostly zeros.
    """
    groups: dict[tuple[Node, int], list[Node]] = {}
    for node in nodes:
        if isinstance(node.op, ops.Slice) and node.op.step == 1 and node.op.axis % node.type.rank:
            groups.setdefault((node.inputs[0], node.op.axis % node.type.rank), []).append(node)
    parts: dict[Node, tuple[Any, list[int], int, int]] = {}
    for (source, axis), members in groups.items():
        bounds = sorted({(m.op.start, m.op.stop) for m in members if isinstance(m.op, ops.Slice)})
        ends = [0, *(stop for _, stop in bounds)]
        if len(bounds) < 2 or [start for start, _ in bounds] != ends[:-1] or ends[-1] != source.shape[axis]:
            continue
        sizes = [stop - start for start, stop in bounds]
        for member in members:
            assert isinstance(member.op, ops.Slice)
            parts[member] = ((source, axis), sizes, axis, bounds.index((member.op.start, member.op.stop)))
    return parts


def _splitter(sizes: list[int], axis: int) -> Callable[..., Any]:
    return lambda x: x.split(sizes, axis)


def _picker(position: int) -> Callable[..., Any]:
    return lambda parts: parts[position]


def _unused(*operands: Tensor) -> Tensor:
    raise RuntimeError("inputs and constants are looked up, not computed")
