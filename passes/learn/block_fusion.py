"""Training for block fusion: the learned parameters of the neighbours of a removed block, and their losses."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from edgewright.passes.ir import Array, Graph, Node, moved, rebuild
from edgewright.passes.learn.dataset import LearningData
from edgewright.passes.learn.fit import Batch, fit
from edgewright.passes.learn.losses import distil, feature_mse
from edgewright.passes.learn.recipe import Recipe
from edgewright.passes.learn.torch_graph import TorchGraph
from edgewright.passes.learn.torch_import import Tensor, nn, torch
from edgewright.passes.ops import constant, value_of
from edgewright.passes.structure.find_blocks import TransformerBlock, find_blocks, tokens_read
from edgewright.passes.transform import Progress

CURVE_POINTS = 10  # means of the loss kept for each stage
ALL = slice(None)
TEMPERATURE = 2.0
Row = tuple[object, ...]


class FusedConstant(nn.Module):
    """W' = W0 + B A + sum_k (L_k R_k) * P_k of a matrix (O, I); of a vector (O,), b' = b0 + b + sum_k beta_k * p_k.

    W0 and every P_k are frozen. A (rank, I) and R_k (rank, I) are Kaiming-uniform, the others zero, so that W' is W0 at
    first. Source: FuseGPT (arXiv 2411.14507), section 3.2.
    """

    def __init__(self, value: Array, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        self.rank, self.generator = min(rank, *value.shape), generator
        self.register_buffer("frozen", torch.from_numpy(np.array(value, np.float32)))
        self.factors = nn.ParameterList(self._factors(value.shape))
        self.coefficients = nn.ModuleList()
        self.parents: list[Tensor] = []

    def _factors(self, shape: tuple[int, ...]) -> list[Tensor]:
        if len(shape) == 1:
            return [torch.zeros(shape)]
        bound = math.sqrt(3 / shape[1])
        right = torch.empty(self.rank, shape[1]).uniform_(-bound, bound, generator=self.generator)
        return [torch.zeros(shape[0], self.rank), right]

    def absorb(self, parent: Array) -> None:
        """Take a removed block's constant of the same shape as one more P."""
        self.parents.append(torch.from_numpy(np.array(parent, np.float32)))
        self.coefficients.append(nn.ParameterList(self._factors(parent.shape)))

    def shift(self, change: Array) -> None:
        """W0 becomes W0 + change."""
        assert isinstance(self.frozen, torch.Tensor)
        self.frozen += torch.from_numpy(np.array(change, np.float32))

    def forward(self) -> Tensor:
        """Return the constant as it stands."""
        value: Tensor = self.frozen + _product(self.factors)
        for factors, parent in zip(self.coefficients, self.parents, strict=True):
            value = value + _product(factors) * parent
        return value

    def folded(self) -> Array:
        """Return the constant as plain numbers."""
        with torch.no_grad():
            return np.asarray(self().numpy())


def _product(factors: nn.ParameterList) -> Tensor:
    return factors[0] if len(factors) == 1 else factors[0] @ factors[1]


class FusedBlock(nn.Module):
    """All of a block that learns: its Linears as `FusedConstant`s, its norms' factors as they are.

    Constants are known by their position in `TransformerBlock.constants`, which is the same for blocks of one form.
    """

    def __init__(self, block: TransformerBlock, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        self.linears, self.norms = nn.ModuleDict(), nn.ParameterDict()
        for position, value, is_linear in learned_constants(block):
            if is_linear:
                self.linears[str(position)] = FusedConstant(value, rank, generator)
            else:
                self.norms[str(position)] = nn.Parameter(torch.from_numpy(np.array(value, np.float32)))

    def absorb(self, removed: FusedBlock) -> None:
        """The removed block's constants, folded as they stand, become one more P of each Linear."""
        for position, linear in self.linears.items():
            other = removed.linears[position]
            assert isinstance(linear, FusedConstant) and isinstance(other, FusedConstant)
            linear.absorb(other.folded())

    def shift(self, block: TransformerBlock, changes: Mapping[str, Array]) -> None:
        """Add to the frozen part of Linears' constants of the block, by role ("ffn2.weight")."""
        for position, (role, _) in enumerate(block.constants):
            linear = self.linears[str(position)] if role in changes else None
            if isinstance(linear, FusedConstant):
                linear.shift(changes[role])

    def values(self, block: TransformerBlock) -> dict[Node, Tensor]:
        """Return the learned constants as they stand, by the constant nodes of a block as it lies in some graph."""
        values: dict[str, Tensor] = {position: linear() for position, linear in self.linears.items()} | dict(self.norms.items())
        return {block.constants[int(position)][1]: value for position, value in values.items()}

    def parameter_groups(self, rate: float, coefficient_rate: float) -> Iterator[dict[str, object]]:
        """For `fit`: coefficients of absorbed blocks at their own rate; nothing decays."""
        for linear in self.linears.values():
            assert isinstance(linear, FusedConstant)
            yield {"params": list(linear.factors.parameters()), "lr": rate, "weight_decay": 0.0}
            yield {"params": list(linear.coefficients.parameters()), "lr": coefficient_rate, "weight_decay": 0.0}
        yield {"params": list(self.norms.parameters()), "lr": rate, "weight_decay": 0.0}


def learned_constants(block: TransformerBlock) -> Iterator[tuple[int, Array, bool]]:
    """Yield (position in `block.constants`, value, belongs to a Linear) of what learns: weights, biases, norms' factors."""
    products = {node for _, linear in block.linears for node in linear.inputs[1:]}
    factors = {node for _, norm in block.norms for node in norm.inputs[1:]}
    for position, (_, node) in enumerate(block.constants):
        value = value_of(node)
        if value is not None and (node in products or node in factors):
            yield position, value, node in products


def with_own_constants(graph: Graph, blocks: Sequence[TransformerBlock]) -> Graph:
    """Return the same function; what learns in one block is no longer shared with another (exporters keep equal tensors
    once)."""
    owner = {node: block.index for block in blocks for node in block.members}
    positions = {(block.index, block.constants[p][1]) for block in blocks for p, _, _ in learned_constants(block)}
    readers: dict[Node, set[int]] = {}
    for node in graph.nodes():
        for operand in node.inputs:
            readers.setdefault(operand, set()).add(owner.get(node, -1))
    copies: dict[tuple[int, Node], Node] = {}

    def change(old: Node, operands: tuple[Node, ...]) -> Node | None:
        if old not in owner:
            return None
        own_operands = list(operands)
        for i, operand in enumerate(old.inputs):
            key = (owner[old], operand)
            if key in positions and len(readers[operand]) > 1:
                value = value_of(operand)
                assert value is not None
                own_operands[i] = copies.setdefault(key, constant(value, operand.origin))
        return moved(old, tuple(own_operands))

    return rebuild(graph, change)


def fold(graph: Graph, blocks: Sequence[TransformerBlock], fused: Sequence[FusedBlock]) -> Graph:
    """Return the graph with the learned constants as plain ones: no operator more than before."""
    values: dict[Node, Array] = {}
    with torch.no_grad():
        for block, learned in zip(blocks, fused, strict=True):
            values |= {node: value.numpy() for node, value in learned.values(block).items()}

    def change(old: Node, operands: tuple[Node, ...]) -> Node | None:
        return constant(values[old], old.origin) if old in values else None

    return rebuild(graph, change)


@dataclass(frozen=True, slots=True)
class FusionSchedule:
    """How long and how fast: epochs may be a fraction."""

    epochs: float
    batch: int
    rate: float
    seed: int

    def recipe(self, samples: int) -> Recipe:
        per_epoch = max(1, samples // self.batch)
        steps = max(1, round(self.epochs * per_epoch))
        return Recipe(
            epochs=math.ceil(steps / per_epoch),
            batch=self.batch,
            rate=self.rate,
            warmup_epochs=0.1 * steps / per_epoch,
            weight_decay=0.0,
            seed=self.seed,
            steps_max=steps,
        )


FEATURE_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"mse": feature_mse, "kl": distil}


def learn_group(
    before: tuple[Graph, Sequence[TransformerBlock]],
    after: tuple[Graph, Sequence[TransformerBlock]],
    fused: Sequence[FusedBlock],
    samples: Mapping[str, Array],
    mask: str | None,
    schedule: FusionSchedule,
    coefficient_rate: float,
    loss: str,
    *,
    stage: str,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> tuple[Row, ...]:
    """Train `fused`, in place, so that the blocks of a group `after` one was removed give what those `before` gave; return
    (stage, step, mean loss) of the steps that ran.

    The graphs are the same up to the group, whose input is computed once for both: by the prefix as fused so far.
    mask: the input that says which tokens count; those that nothing reads after the group do not.
    """
    teacher, student = TorchGraph(before[0], _nothing), TorchGraph(after[0], _nothing)
    read = tokens_read(before[0], before[1][-1])
    start, goal = before[1][0].stream_in, before[1][-1].stream_out
    first, last = after[1][0].stream_in, after[1][-1].stream_out
    curve = _Curve(stage)

    def compare(batch: Batch) -> Tensor:
        with torch.no_grad():
            x, target = teacher.evaluate(batch.inputs, [start, goal])
        known = {first: x}
        for block, learned in zip(after[1], fused, strict=True):
            known |= learned.values(block)
        (output,) = student.evaluate(batch.inputs, [last], known)
        return curve.add(FEATURE_LOSSES[loss](*(_counted(t, batch, mask, read) for t in (output, target))))

    recipe = schedule.recipe(len(next(iter(samples.values()))))
    groups = [group for learned in fused for group in learned.parameter_groups(schedule.rate, coefficient_rate)]
    fit(groups, recipe, LearningData(samples), compare, checkpoint=checkpoint, progress=progress, stage=stage)
    return curve.rows()


def distil_whole(
    teacher: Graph,
    student: Graph,
    samples: Mapping[str, Array],
    mask: str | None,
    schedule: FusionSchedule,
    *,
    hidden: float = 0.0,
    stage: str = "distillation",
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> tuple[Graph, tuple[Row, ...]]:
    """Train all weights of the student on the teacher's outputs: logits (samples, classes) by their softmax, hidden
    values by their squared error, over the tokens that count; return the graph, and (stage, step, mean loss). hidden: weight
    of the squared error of the last hidden state, of the tokens that are read."""
    answering, module = TorchGraph(teacher, _nothing), TorchGraph(student)
    last = [find_blocks(graph)[-1] for graph in (teacher, student)] if hidden else []
    ends, read = [block.stream_out for block in last], tokens_read(teacher, last[0]) if hidden else ALL
    curve = _Curve(stage)

    def compare(batch: Batch) -> Tensor:
        with torch.no_grad():
            answers = answering.evaluate(batch.inputs, (*teacher.outputs, *ends[:1]))
        value = torch.zeros(())
        for i, output in enumerate(module.evaluate(batch.inputs, (*student.outputs, *ends[1:]))):
            if i == len(teacher.outputs):
                value = value + hidden * feature_mse(*(_counted(t, batch, mask, read) for t in (output, answers[i])))
            elif output.ndim == 2 and output.shape[-1] > 1:
                value = value + distil(output, answers[i], TEMPERATURE)
            else:
                value = value + feature_mse(*(_counted(t, batch, mask) for t in (output, answers[i])))
        return curve.add(value)

    recipe = schedule.recipe(len(next(iter(samples.values()))))
    fit(module, recipe, LearningData(samples), compare, checkpoint=checkpoint, progress=progress, stage=stage)
    return module.to_graph(), curve.rows()


def _nothing(node: Node) -> bool:
    return False


def _counted(values: Tensor, batch: Batch, mask: str | None, read: slice = ALL) -> Tensor:
    """Return (samples, tokens, features) without the tokens that nothing reads or the mask hides: (counted tokens,
    features)."""
    if values.ndim == 3 and read != ALL:
        values = values[:, read]
    if mask is None or values.ndim != 3 or batch.inputs[mask].shape != values.shape[:2]:
        return values
    return values[batch.inputs[mask] != 0]


class _Curve:
    """Means of the loss over tenths of the steps that ran."""

    def __init__(self, stage: str) -> None:
        self.stage, self.values = stage, list[float]()

    def add(self, value: Tensor) -> Tensor:
        self.values.append(float(value.detach()))
        return value

    def rows(self) -> tuple[Row, ...]:
        ends = np.linspace(0, len(self.values), min(CURVE_POINTS, len(self.values)) + 1).astype(int)
        return tuple((self.stage, int(end), float(np.mean(self.values[start:end]))) for start, end in pairwise(ends))
