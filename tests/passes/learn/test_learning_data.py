"""Samples to learn from, their checks, progress lines, and what happens without torch: none of it needs torch."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from edgewright.passes.diagnostics import CompileError
from edgewright.passes.ir.types import Array
from edgewright.passes.learn.dataset import LearningData
from edgewright.passes.learn.progress import TimedLines, minutes

from tests.models import images, tiny_vit

X = np.arange(60).reshape(30, 2)


def codes(call: object, *arguments: object, **options: object) -> list[str]:
    with pytest.raises(CompileError) as caught:
        call(*arguments, **options)  # type: ignore[operator]
    assert caught.value.exit_code == 1
    return [d.code for d in caught.value.diagnostics]


def test_arrays_that_do_not_belong_together() -> None:
    assert codes(LearningData, {"x": X, "y": X[:3]}) == ["L002"]
    assert codes(LearningData, {"x": X}, np.zeros(29, int)) == ["L002"]
    assert codes(LearningData, {}) == codes(LearningData, {"x": X[:0]}) == codes(LearningData, {"x": np.float32(1)}) == ["L002"]


@pytest.mark.parametrize("labels", [np.full(30, 0.5), np.full(30, np.nan), np.full(30, "cat")])
def test_labels_that_are_no_whole_numbers(labels: Array) -> None:
    assert codes(LearningData, {"x": X}, labels) == ["L003"]


def test_labels_of_any_whole_type_become_int64() -> None:
    for dtype in (np.uint8, np.float32, bool, np.int16):
        found = LearningData({"x": X}, (np.arange(30) % 2).astype(dtype)).labels
        assert found is not None and found.dtype == np.int64 and found.tolist() == [0, 1] * 15


def test_checks_name_everything_at_once() -> None:
    graph = tiny_vit()
    labelled = LearningData({"image": images(graph, 30)}, np.arange(30) % 9 + 1)
    labelled.check(graph, 10, labelled=True)
    assert codes(labelled.check, graph, 9) == ["L004"]
    assert codes(labelled.check, graph, 10, every_class=True) == ["L005"]
    assert codes(LearningData({"x": X}).check, graph, labelled=True) == ["L010", "L007"]
    assert codes(LearningData({"image": X}).check, graph) == ["L010"]
    with pytest.raises(CompileError, match=r"1 of 10 classes have no sample\n  because no label is 0\n"):
        labelled.check(classes=10, every_class=True)
    with pytest.raises(
        CompileError, match=r"\[1, 9\], the model's head has 9 classes, 0 to 8\n  help: number the classes from 0"
    ):
        labelled.check(classes=9)
    with pytest.raises(CompileError, match=r"labels out of range\n  because they lie in \[-1, "):
        LearningData({"x": X}, np.arange(30) - 1).check(classes=40)


def test_the_digest_sees_names_labels_types_and_values() -> None:
    data = [
        LearningData({"x": X}),
        LearningData({"y": X}),
        LearningData({"x": X + 1}),
        LearningData({"x": X.astype(np.int32)}),
        LearningData({"x": X}, np.zeros(30, int)),
    ]
    assert len({d.digest for d in data}) == 5 and data[0].digest == LearningData({"x": X.copy()}).digest


def test_progress_lines_tell_the_time_left() -> None:
    said: list[str] = []
    now = 0.0
    tell = TimedLines(said.append, seconds=5, clock=lambda: now)
    for step in range(100, 201):  # resumed at 100: one second a step
        tell("fitting", step, 200)
        now += 1
    assert said[0] == "fitting 105 of 200, 1:35 left" and said[-1] == "fitting 200 of 200" and len(said) == 20
    assert minutes(3600 * 2 + 61) == "2:01:01" and minutes(59.9) == "0:59"


def test_without_torch_learning_is_a_clear_error_and_all_else_works() -> None:
    program = """
import importlib, pkgutil, sys
sys.modules["torch"] = None
import edgewright.passes.learn as learn
from edgewright.passes.diagnostics import CompileError
for module in pkgutil.iter_modules(learn.__path__):
    try:
        importlib.import_module(f"edgewright.passes.learn.{module.name}")
        print("imported", module.name)
    except CompileError as error:
        print("refused", module.name, error.exit_code, error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    imported, refused = (
        {line.split()[1] for line in done.stdout.splitlines() if line.startswith(w)} for w in ("imported", "refused")
    )
    assert imported >= {"dataset", "recipe", "progress"} and refused >= {"torch_graph", "fit", "losses", "measure"}
    assert done.stdout.count("2 error[L001]: torch is not installed\n") == len(refused)
    assert "help: pip install 'edgewright[train]'" in done.stdout
