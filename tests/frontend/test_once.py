"""No command decodes a file, interprets a sample, quantises or plans twice."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnx
import pytest
from edgewright.frontend import build, cli, trial
from edgewright.frontend.cpu import target as cpu
from edgewright.frontend.fpga import bundle
from edgewright.frontend.fpga import target as fpga
from edgewright.frontend.onnx_reading import reader
from edgewright.frontend.onnx_writing.writer import write_float
from edgewright.frontend.samples import stores
from edgewright.passes.ir import checkpoint, interp
from typer.testing import CliRunner

from tests.models import tiny_vit

Seen: TypeAlias = Counter[tuple[Any, ...]]
COUNT = 40


@pytest.fixture(autouse=True)
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[Seen]:
    """What was done, by what it was done to; graphs are kept, so that none gets the identity of another."""
    counts: Seen = Counter()
    kept: list[Any] = []

    def watch(module: Any, name: str, key: Callable[..., tuple[Any, ...]]) -> None:
        original = getattr(module, name)

        def counted(*args: Any, **kwargs: Any) -> Any:
            kept.append(args)
            counts[(name, *key(*args))] += 1
            return original(*args, **kwargs)

        monkeypatch.setattr(module, name, counted)

    watch(reader, "load_checked", lambda source, *_: (str(source)[:200],))
    watch(checkpoint, "load", lambda path: (str(path),))
    watch(stores, "read_array", lambda archive, header, path: (str(path), header.entry))
    for module in (build, trial):
        watch(module, "quantise", lambda graph, *_: (id(graph),))
        watch(module, "optimise", lambda graph, *_: (id(graph),))
    watch(fpga, "predict_cycles", lambda planned, memory=None: (id(planned), memory))
    for module, name in ((fpga, "plan"), (fpga, "restore"), (bundle, "restore")):
        watch(module, name, lambda given, *_: (given if isinstance(given, bytes) else id(given),))
    evaluate = interp._evaluate

    def evaluated(graph: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        kept.append(graph)
        for i in range(max(len(value) for value in inputs.values())):
            sample = b"".join(np.ascontiguousarray(value[i : i + 1]).tobytes() for value in inputs.values())
            counts["interpret", id(graph), hashlib.sha256(sample).hexdigest()] += 1
        return evaluate(graph, inputs, *args, **kwargs)

    monkeypatch.setattr(interp, "_evaluate", evaluated)
    yield counts
    for cached in (trial.quantised_on_random, fpga._planned, cpu._refused):
        cached.cache_clear()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.onnx"
    onnx.save(write_float(tiny_vit(1, image=8, width=32, hidden=32, blocks=1, classes=4)), path)
    return path


def edge(*arguments: object) -> None:
    result = CliRunner().invoke(cli.app, [str(a) for a in arguments])
    assert result.exit_code == 0, result.output


def once(seen: Seen, *expected: str) -> None:
    """Each of these was done, nothing else was, and nothing twice to the same thing."""
    assert not {key: count for key, count in seen.items() if count > 1}
    assert {key[0] for key in seen} == set(expected)
    seen.clear()


def saved(tmp_path: Path, **arrays: Any) -> Path:
    rng = np.random.default_rng(0)
    images = rng.standard_normal((COUNT, 1, 8, 8)).astype(np.float32)
    np.savez(tmp_path / "data.npz", images=images, labels=rng.integers(0, 4, COUNT), **arrays)
    return tmp_path / "data.npz"


def test_compile(model: Path, tmp_path: Path, seen: Seen) -> None:
    """Only the images on which noise is measured run twice, through the float graph, whose ranges they gave: the values of all
    nodes are too many to keep from the first time. Accuracy is measured on others."""
    edge("compile", model, "--target", "zcu104", "--calibration", saved(tmp_path), "-o", tmp_path / "out")
    noise = {key for key, count in seen.items() if key[0] == "interpret" and count == 2}
    assert len(noise) == build.NOISE_IMAGES
    for key in noise:
        seen[key] -= 1
    once(seen, "load_checked", "read_array", "optimise", "quantise", "interpret", "plan", "predict_cycles")


def test_compile_from_a_stage(model: Path, tmp_path: Path, seen: Seen) -> None:
    out = tmp_path / "out"
    edge("compile", model, "--target", "zcu104", "--calibration", "random", "-o", out)
    seen.clear()
    edge("compile", model, "--target", "zcu104", "--calibration", "random", "--from", "plan", "-o", out)
    once(seen, "load", "plan", "predict_cycles", "interpret")
    edge("compile", model, "--target", "zcu104", "--calibration", "random", "--from", "emit", "-o", out)
    once(seen, "load", "restore", "interpret")


@pytest.mark.sim
def test_simulate(model: Path, tmp_path: Path, seen: Seen) -> None:
    out = tmp_path / "out"
    edge("compile", model, "--target", "zcu104", "--calibration", "random", "-o", out)
    seen.clear()
    edge("simulate", out, "--images", saved(tmp_path), "--samples", 2, "--hls")
    once(seen, "load", "read_array", "restore", "interpret")


@pytest.mark.tvm
def test_run_and_profile(model: Path, tmp_path: Path, seen: Seen) -> None:
    out, inputs = tmp_path / "out", saved(tmp_path)
    edge("compile", model, "--target", "host", "--calibration", "random", "-o", out)
    seen.clear()
    edge("run", out, "--input", inputs, "--check")
    once(seen, "load", "read_array", "interpret")
    edge("profile", out, "--input", inputs, "--repeat", 1, "--threads", 1)
    once(seen, "load", "read_array", "interpret")
    edge("profile", out, "--repeat", 1, "--threads", 1)
    once(seen, "load", "interpret")


@pytest.mark.tvm
def test_inspect(model: Path, seen: Seen) -> None:
    """Float code for CPUs keeps no mean, so that there are two optimised graphs for all boards together."""
    edge("inspect", model)
    assert seen.pop(("optimise", next(key[1] for key in seen if key[0] == "optimise"))) == 1
    once(seen, "load_checked", "quantise", "interpret", "plan", "predict_cycles")
