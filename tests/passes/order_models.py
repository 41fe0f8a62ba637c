"""Every pass that a user can ask for, applied to the smallest model that has what it needs."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from unittest.mock import patch

import numpy as np
from edgewright.passes import orders
from edgewright.passes.blocks.fuse_blocks import FuseBlocks
from edgewright.passes.hashing.hash_attention import HashAttentionLayers
from edgewright.passes.ir.graph import Graph, Node, make
from edgewright.passes.ir.types import Array
from edgewright.passes.ops import Add, Input, Linear, MoE, PatchEmbed, ReduceMean, constant, graph_input
from edgewright.passes.pipeline import QuantiseOptions, optimise, quantise

from tests.models import VitBuilder, tiny_vit

SAMPLES = 24
TASKS = ("class", "shape")


@cache
def plain() -> Graph:
    """Four equal blocks and a head of four classes."""
    return tiny_vit(3, image=8, width=16, hidden=32, blocks=4, classes=4, pooling="avg")


@cache
def experts() -> Graph:
    """Two tasks on one backbone: a block with four experts, of which each task's own router takes two."""
    build = VitBuilder(np.random.default_rng(5), 2, 32, "gelu", True)
    x = graph_input("image", (1, 1, 8, 8))
    w, b = constant(build.normal(16, 16, scale=0.25)), constant(build.normal(16, scale=0.1))
    tokens = make(PatchEmbed(4), x, w, b, origin=("patch_embed",))
    tokens = build.block(tokens, "block0")
    shapes = (4, 8, 16), (4, 8), (4, 16, 8), (4, 16)
    shared = [constant(build.normal(*shape, scale=1 / math.sqrt(shape[-1]))) for shape in shapes]
    outputs = []
    for task in TASKS:
        router = constant(build.normal(4, 16)), constant(np.zeros(4, np.float32))
        outputs.append(_head(build, _block(build, tokens, router, shared, task), task))
    return Graph("tiny_experts", (x,), tuple(outputs), TASKS)


def _block(build: VitBuilder, x: Node, router: tuple[Node, Node], shared: list[Node], task: str) -> Node:
    norm = build.norm(x, f"{task}.norm")
    logits = make(Linear(), norm, *router, origin=(f"{task}.router",))
    return make(Add(), x, make(MoE(2), norm, logits, *shared, origin=(f"{task}.experts",)), origin=(f"{task}.residual",))


def _head(build: VitBuilder, x: Node, task: str) -> Node:
    return build.linear(make(ReduceMean((1,), keepdims=False), x, origin=(f"{task}.mean",)), 4, f"{task}.head")


def samples(graph: Graph) -> dict[str, Array]:
    """Images for every input; labels are in `labels`."""
    rng = np.random.default_rng(1)
    named = {node.op.name: node.shape for node in graph.inputs if isinstance(node.op, Input)}
    return {name: rng.standard_normal((SAMPLES, *shape[1:])).astype(np.float32) for name, shape in named.items()}


def labels() -> Array:
    """Every class of the head, in turn."""
    return np.arange(SAMPLES) % 4


def _split(graph: Graph) -> Graph:
    from edgewright.passes.learn.class_fusion import train_fusion
    from edgewright.passes.learn.class_pruning import PruningSchedule, PruningStage
    from edgewright.passes.learn.dataset import LearningData
    from edgewright.passes.splitting.split_classes import SplitClasses

    short = PruningStage(16, 16, 1e-3)
    schedule = PruningSchedule(short, short, short, short, batch=8, score_images=8, exact_images=8, exact=4)
    with patch.dict(train_fusion.__kwdefaults__, steps=20):  # how well it fuses is another test's business
        return SplitClasses(2, schedule=schedule).run(graph, LearningData(samples(graph), labels())).sub_models[0]


def _hash(graph: Graph) -> Graph:
    """The first layer that has softmax attention."""
    layer = sum(node.op.kind == "HashAttention" for node in graph.nodes())
    step = HashAttentionLayers(layers="0" if layer == 0 else "all", bits=4, supports=5, samples=samples(graph), recipe=None)
    return step(graph)[0]


def _select(graph: Graph) -> Graph:
    from edgewright.passes.experts.select_experts import SelectExperts

    return SelectExperts(task=TASKS[0])(graph)[0]


APPLY: dict[str, Callable[[Graph], Graph]] = {
    orders.EXACT: lambda graph: optimise(graph)[0],
    "SelectExperts": _select,
    "FuseBlocks": lambda graph: FuseBlocks(count=1, samples=samples(graph), epochs=1, batch=8)(graph)[0],
    "HashAttentionLayers": _hash,
    "SplitClasses": _split,
    "QuantiseGraph": lambda graph: quantise(graph, samples(graph), QuantiseOptions(method="minmax")).graph,
}


@cache
def after(name: str, with_experts: bool) -> Graph:
    """A model that this pass has run on; `with_experts`: the one of two tasks."""
    return APPLY[name](experts() if with_experts else plain())
