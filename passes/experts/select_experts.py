from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np
from edgewright.passes.diagnostics import Diagnostic
from edgewright.passes.experts.expert_usage import LayerUsage, expert_usage, mixtures, tell_usage, unreachable
from edgewright.passes.ir import Array, Graph, Node, make, rebuild, topological
from edgewright.passes.ops import Gather, Linear, MoE, Reshape, constant, value_of
from edgewright.passes.transform import Note, Pass


@dataclass(frozen=True, slots=True)
class SelectExperts(Pass):
    """Keeps what one task of a model of experts needs, and drops experts that are not chosen.

    Before: MoE(x, router_t(x); N experts) for every task t. After: one task's routers and head; of each layer the experts
    that some input can reach, or, with a threshold, those that at least that share of the samples' tokens chooses (the most
    used one always; a token chooses at most as many as are left). Routers lose their columns, weights their experts.
    task: an output's name; None: all. usage_threshold: None drops only what is provably unreachable. samples by input name,
    for the threshold and for the table of usage.
    Exact: without a threshold, within float rounding. Source: M3ViT (arXiv 2210.14793), section 3.2 (a task's router selects
    its pathway); that nothing unreachable is kept, and the threshold, are ours.
    """

    task: str | None = None
    usage_threshold: float | None = None
    samples: Mapping[str, Array] = field(default_factory=dict)

    @property
    def exact(self) -> bool:  # type: ignore[override]
        return self.usage_threshold is None

    def run(self, graph: Graph, note: Note) -> Graph:
        for diagnostic in self._refusals(graph):
            note.refuse(diagnostic)
        if note.refusals:
            return graph
        usage = expert_usage(graph, self.samples) if self.samples else []
        tell_usage(note, usage)
        graph = self._one_task(graph, note)
        experts_kept = {node: self._kept(node, usage) for node in mixtures(graph)}
        _tell_kept(note, experts_kept, usage)
        return _without(graph, experts_kept)

    def _refusals(self, graph: Graph) -> Iterator[Diagnostic]:
        option = "--task" if self.task is not None else "--usage-threshold"
        if not mixtures(graph):
            yield Diagnostic(
                "E012",
                f"{option} on a model without experts",
                graph.name,
                "no mixture of experts was found in it, so there is no router to keep and nothing to drop",
                "edgewright inspect shows the graph as it was read; omit the option for other models",
            )
        if self.task is not None and self.task not in graph.output_names:
            names = ", ".join(graph.output_names)
            if len(graph.outputs) == 1:
                because, help_text = f"it has one output, {names}", "omit --task, or give that name"
                yield Diagnostic("E011", "the model has only one task", f"--task {self.task}", because, help_text)
            else:
                because, help_text = f"its tasks are {names}", "give one of them"
                yield Diagnostic("E010", f"the model has no task {self.task!r}", "--task", because, help_text)
        if self.usage_threshold is not None and not 0 <= self.usage_threshold < 1:
            because, help_text = "it is a share of the tokens, from 0 to below 1", "0.01 drops what one token in 100 chooses"
            yield Diagnostic("E013", f"a usage threshold of {self.usage_threshold}", "--usage-threshold", because, help_text)
        if self.usage_threshold is not None and not self.samples:
            because, help_text = "usage is counted on samples", "give --data train.npz"
            yield Diagnostic("E014", "a usage threshold without samples", "--usage-threshold", because, help_text)

    def _one_task(self, graph: Graph, note: Note) -> Graph:
        """Return the graph of the task's output alone; inputs that only others read go too."""
        if self.task is None or graph.output_names == (self.task,):
            return graph
        output = graph.outputs[graph.output_names.index(self.task)]
        read_by_task, read_by_all = set(topological([output])), set(topological(graph.outputs))
        inputs = tuple(node for node in graph.inputs if node in read_by_task or node not in read_by_all)
        note.count("tasks dropped", len(graph.outputs) - 1)
        note.count("routers dropped", len(mixtures(graph)))
        result = replace(graph, inputs=inputs, outputs=(output,), output_names=(self.task,))
        note.counts["routers dropped"] -= len(mixtures(result))
        return result

    def _kept(self, node: Node, usage: list[LayerUsage]) -> tuple[int, ...]:
        """Return the experts that stay."""
        never = unreachable(node)
        reachable = [expert for expert in range(node.inputs[1].shape[2]) if expert not in never]
        if self.usage_threshold is None:
            return tuple(reachable)
        shares = next(layer.shares for layer in usage if layer.node is node)
        used = [expert for expert in reachable if shares[expert] >= self.usage_threshold]
        return tuple(used or [max(reachable, key=lambda expert: (shares[expert], -expert))])


def _tell_kept(note: Note, experts_kept: Mapping[Node, tuple[int, ...]], usage: list[LayerUsage]) -> None:
    rows = []
    for node, experts in experts_kept.items():
        assert isinstance(node.op, MoE)
        count, never = node.inputs[1].shape[2], len(unreachable(node))
        chosen = next((int((layer.chosen > 0).sum()) for layer in usage if layer.node is node), None)
        rows.append((node.name, count, never, chosen, len(experts), min(node.op.top_k, len(experts))))
        note.count("experts dropped", count - len(experts))
        note.count("experts unreachable", never)
    columns = ("layer", "experts", "unreachable", "chosen on the samples", "kept", "chosen by a token")
    note.table("Experts kept", columns, rows, "Experts of each layer of the model that is left.")


def _without(graph: Graph, experts_kept: Mapping[Node, tuple[int, ...]]) -> Graph:
    """Return each MoE with the experts that are kept; layers that share weights and keep the same share them again."""

    @cache
    def part(node: Node, experts: tuple[int, ...]) -> Node:
        value = value_of(node)
        if value is not None:
            return constant(value[list(experts)], node.origin)
        return make(Gather(0), node, constant(np.asarray(experts, np.int64)))

    def change(old: Node, operands: tuple[Node, ...]) -> Node | None:
        experts = experts_kept.get(old, ())
        if old not in experts_kept or len(experts) == old.inputs[1].shape[2]:
            return None
        assert isinstance(old.op, MoE)
        x, logits, *weights = operands
        op = replace(old.op, top_k=min(old.op.top_k, len(experts)))
        return make(op, x, columns(logits, experts), *(part(w, experts) for w in weights), origin=old.origin)

    def columns(logits: Node, experts: tuple[int, ...]) -> Node:
        value = value_of(logits)
        if value is not None:
            return constant(value[..., list(experts)], logits.origin)
        if isinstance(logits.op, Reshape) and logits.inputs[0].shape[-1:] == logits.shape[-1:]:
            inner = columns(logits.inputs[0], experts)
            return make(Reshape((*logits.shape[:-1], len(experts))), inner, origin=logits.origin)
        if isinstance(logits.op, Linear):
            x, w, b = logits.inputs
            return make(Linear(), x, part(w, experts), part(b, experts), origin=logits.origin)
        return make(Gather(logits.type.rank - 1), logits, constant(np.asarray(experts, np.int64)), origin=logits.origin)

    return rebuild(graph, change)
