"""Mixtures of experts as torch's exporters leave them, in the spellings that models use, and the multi-task example."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
from edgewright.frontend.onnx_reading.reader import read_model
from edgewright.passes.ops import MoE

from tests.frontend.test_reader_experts import agrees, mixtures

pytestmark = pytest.mark.train
EXPERTS, TOP_K, WIDTH, HIDDEN, TOKENS = 5, 2, 8, 12, 7
RENORMALISED = MoE(TOP_K, "before", True)
SPELLINGS = {
    "scatter": MoE(TOP_K),  # a mask by scattering gates, a loop over experts
    "one_hot": MoE(TOP_K, "after"),  # a mask by one-hot, stacked weights and einsum
    "compare": RENORMALISED,  # gates by comparing with the chosen ones
    "threshold": MoE(TOP_K, "after"),  # -inf below the K-th logit, experts stacked
    "where": MoE(TOP_K),  # where(one_hot), rows picked, index_add
    "nonzero": MoE(TOP_K),  # nonzero(any), rows picked, rows added in place
}


def layer(spelling: str, seed: int = 0) -> Any:
    """A torch module of one mixture of experts behind a norm."""
    import torch
    from torch import Tensor, nn
    from torch.nn import functional

    class Experts(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.router = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, EXPERTS)
            shapes = ((EXPERTS, HIDDEN, WIDTH), (EXPERTS, HIDDEN), (EXPERTS, WIDTH, HIDDEN), (EXPERTS, WIDTH))
            self.w1, self.b1, self.w2, self.b2 = (nn.Parameter(torch.randn(shape) / 3) for shape in shapes)

        def expert(self, e: int, x: Tensor) -> Tensor:
            hidden = functional.gelu(functional.linear(x, self.w1[e], self.b1[e]))
            return functional.linear(hidden, self.w2[e], self.b2[e])

        def forward(self, x: Tensor) -> Tensor:
            flat = self.norm(x).reshape(-1, WIDTH)
            mixed: Tensor = getattr(self, spelling)(flat, self.router(flat))
            return x + mixed.reshape(x.shape)

        def scatter(self, x: Tensor, logits: Tensor) -> Tensor:
            gates, chosen = logits.softmax(-1).topk(TOP_K, dim=-1)
            mask = torch.zeros_like(logits).scatter(-1, chosen, gates)
            out = torch.zeros_like(x)
            for e in range(EXPERTS):
                out = out + mask[:, e : e + 1] * self.expert(e, x)
            return out

        def one_hot(self, x: Tensor, logits: Tensor) -> Tensor:
            gates, chosen = logits.topk(TOP_K, dim=-1)
            mask = (functional.one_hot(chosen, EXPERTS).to(x.dtype) * gates.softmax(-1).unsqueeze(-1)).sum(1)
            hidden = functional.gelu(torch.einsum("td,nhd->tnh", x, self.w1) + self.b1)
            return torch.einsum("tno,tn->to", torch.einsum("tnh,noh->tno", hidden, self.w2) + self.b2, mask)

        def compare(self, x: Tensor, logits: Tensor) -> Tensor:
            gates, chosen = logits.softmax(-1).topk(TOP_K, dim=-1)
            gates = gates / gates.sum(-1, keepdim=True)
            out = torch.zeros_like(x)
            for e in range(EXPERTS):
                out = out + (gates * (chosen == e)).sum(-1, keepdim=True) * self.expert(e, x)
            return out

        def threshold(self, x: Tensor, logits: Tensor) -> Tensor:
            least = logits.topk(TOP_K, dim=-1).values[..., -1:]
            gates = logits.masked_fill(logits < least, float("-inf")).softmax(-1)
            return (gates.unsqueeze(-1) * torch.stack([self.expert(e, x) for e in range(EXPERTS)], -2)).sum(-2)

        def where(self, x: Tensor, logits: Tensor) -> Tensor:
            gates, chosen = logits.softmax(-1).topk(TOP_K, dim=-1)
            mask, out = functional.one_hot(chosen, EXPERTS).permute(2, 1, 0), torch.zeros_like(x)
            for e in range(EXPERTS):
                place, token = torch.where(mask[e])
                out.index_add_(0, token, self.expert(e, x[token]) * gates[token, place, None])
            return out

        def nonzero(self, x: Tensor, logits: Tensor) -> Tensor:
            gates, chosen = logits.softmax(-1).topk(TOP_K, dim=-1)
            out = torch.zeros_like(x)
            for e in range(EXPERTS):
                hit = chosen == e
                rows = hit.any(-1).nonzero().squeeze(-1)
                out[rows] += self.expert(e, x[rows]) * (gates * hit).sum(-1)[rows].unsqueeze(-1)
            return out

    torch.manual_seed(seed)
    torch.set_num_threads(1)
    return Experts().eval()


def export(module: Any, example: Any, path: Path, exporter: str, names: tuple[str, ...] = ("y",)) -> None:
    import torch

    dynamo: dict[str, Any] = {"dynamo": True, "opset_version": 18, "external_data": False, "verbose": False}
    settings = dynamo if exporter == "dynamo" else {"dynamo": False, "opset_version": 17}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (example,), path, input_names=["x"], output_names=list(names), **settings)


CASES = [(spelling, "torchscript") for spelling in SPELLINGS] + [(name, "dynamo") for name in ("scatter", "one_hot", "where")]


@pytest.mark.parametrize(("spelling", "exporter"), CASES)
def test_spellings(spelling: str, exporter: str, tmp_path: Path) -> None:
    import torch

    path = tmp_path / "experts.onnx"
    export(layer(spelling), torch.zeros(1, TOKENS, WIDTH), path, exporter)
    graph = read_model(path)
    assert mixtures(graph) == [SPELLINGS[spelling]]
    kinds = [node.op.kind for node in graph.nodes() if node.op.kind not in ("Constant", "Reshape")]
    assert sorted(kinds) == ["Add", "Input", "LayerNormalization", "Linear", "MoE"]
    agrees(path, graph)


@pytest.mark.parametrize("spelling", ["scatter", "where"])
def test_a_single_token(spelling: str, tmp_path: Path) -> None:
    import torch

    path = tmp_path / "experts.onnx"
    export(layer(spelling), torch.zeros(1, 1, WIDTH), path, "torchscript")
    graph = read_model(path)
    assert mixtures(graph) == [SPELLINGS[spelling]]
    agrees(path, graph)


def test_the_multi_task_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One router per task: each task's layers are MoE, and all tasks share the experts."""
    import torch

    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "examples"))
    import moe  # type: ignore[import-not-found]

    torch.manual_seed(0)
    config = moe.MultiTaskConfig(image=12, patch=4, width=16, heads=1, experts=4, top_k=2)
    network = moe.MultiTaskViT(config, False).eval()
    for experts in network.expert_layers:
        experts.dense = True
    path = tmp_path / "moe.onnx"
    export(network, torch.zeros(1, 1, 12, 12), path, "dynamo", config.tasks)
    graph = read_model(path)
    assert mixtures(graph) == [MoE(2)] * 6 and graph.output_names == config.tasks
    assert len({node.inputs[2] for node in graph.nodes() if isinstance(node.op, MoE)}) == 2
    agrees(path, graph)
