"""The arithmetic and the printing of the CPU benchmark, and one whole run."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import bench_cpu
from benchmarks.bench_cpu import (
    Figure,
    OtherLoad,
    agreement,
    burst_length,
    figures,
    interleaved,
    markdown,
    table,
)
from benchmarks.cpu_peers import PeerFailed


def test_equal_outputs_agree() -> None:
    outputs = [np.random.default_rng(0).standard_normal((4, 10)).astype(np.float32)]
    assert agreement(outputs, outputs) == {"max_difference": 0.0, "sqnr_db": math.inf, "same_answer": 1.0}


def test_a_tenth_of_noise_is_twenty_decibels() -> None:
    reference = [np.full((4, 1, 5), 2.0, np.float32)]
    found = agreement(reference, [reference[0] * np.float32(1.1)])
    assert found == {"max_difference": pytest.approx(0.2, rel=1e-5), "sqnr_db": pytest.approx(20, abs=1e-4)}


def test_wrong_classes_are_counted() -> None:
    reference, outputs = np.eye(4, dtype=np.float32), np.eye(4, dtype=np.float32)
    outputs[1] = outputs[0]
    assert agreement([reference], [outputs])["same_answer"] == 0.75


def test_padding_does_not_count_but_tokens_do() -> None:
    rng = np.random.default_rng(1)
    reference = rng.standard_normal((3, 6, 8)).astype(np.float32)
    mask = np.array([[1, 1, 1, 0, 0, 0], [1] * 6, [1, 0, 0, 0, 0, 0]])
    outputs = np.where(mask[:, :, None] == 0, np.float32(1e9), reference)
    assert agreement([reference], [outputs], mask) == {
        "max_difference": 0.0,
        "sqnr_db": math.inf,
        "least_cosine": pytest.approx(1.0),
    }
    outputs[2, 0] *= -1
    assert agreement([reference], [outputs], mask)["least_cosine"] == pytest.approx(-1.0)


def test_outputs_that_are_not_numbers_are_seen() -> None:
    reference, outputs = np.ones((2, 3), np.float32), np.ones((2, 3), np.float32)
    outputs[1, 2] = np.nan
    found = agreement([reference], [outputs])
    assert math.isnan(found["max_difference"]) and math.isnan(found["sqnr_db"])


def test_outputs_of_another_shape_are_refused() -> None:
    with pytest.raises(PeerFailed, match="shape"):
        agreement([np.zeros((2, 3))], [np.zeros((2, 4))])


def test_ratios_are_of_medians_and_quartiles_of_rounds() -> None:
    bursts = {
        "ort-f32": [[100, 100, 100], [200, 200, 200], [100, 100, 100]],
        "ov-f32": [[50, 51, 50], [50, 50, 50], [25, 25, 20]],
    }
    found = figures(bursts, {"ort-f32": {}, "ov-f32": {"max_difference": 1.0}})
    assert found["ort-f32"].ratio == 1 and found["ort-f32"].ratio_quartiles == (1, 1)
    figure = found["ov-f32"]
    assert (figure.ratio, figure.runs, figure.agreement) == (100 / 50, 9, {"max_difference": 1.0})
    assert figure.ratio_quartiles == (3.0, 4.0)  # of 2, 4, 4
    assert (figure.minimum_ms, figure.ratio_of_minima) == (20e-6, 5.0)


@given(st.floats(0, 1e12))
def test_bursts_have_bounds(nanoseconds: float) -> None:
    assert bench_cpu.BURST_MIN <= burst_length(nanoseconds) <= bench_cpu.BURST_MAX
    assert burst_length(10e6) == 6


class FakePeer:
    """Answers with the number of the inference, and notes who ran when."""

    def __init__(self, name: str, log: list[tuple[str, int]]) -> None:
        self.name, self.log, self.done = name, log, 0

    def run(self, count: int) -> list[int]:
        self.log.append((self.name, count))
        self.done += count
        return list(range(self.done - count, self.done))

    def cpu_seconds(self) -> float:
        return 0.0


def test_engines_take_turns_and_warm_up_unmeasured() -> None:
    log: list[tuple[str, int]] = []
    peers: dict[str, Any] = {name: FakePeer(name, log) for name in "abc"}
    bursts = interleaved(peers, 3)
    assert [name for name, _ in log[3:]] == list("abccbaabc")
    length = bench_cpu.BURST_MAX  # these inferences take a few nanoseconds
    assert bursts["a"][0] == list(range(6, 6 + length)) and all(len(burst) == length for burst in bursts["b"])


def test_other_load_is_a_number_of_cores() -> None:
    assert 0 <= OtherLoad([]).cores() < 4096


FIGURE = Figure(1.5, 1.4, 2.0, (1.9, 2.1), 2.05, 60, {"max_difference": 0.1, "sqnr_db": 30.0, "same_answer": 0.9})
WHERE = {"cpu": "Some CPU", "features": ["avx2"], "cores": 2, "versions": {"onnxruntime": "1.2"}}


def test_the_tables_show_every_figure() -> None:
    text = table({"deit_tiny": {"ort-f32": FIGURE, "ov-int8": FIGURE}}, ["ort-f32", "ov-f32", "ov-int8"])
    assert "2.00 (1.90-2.10)" in text and "same class 90%" in text and len(text.splitlines()) == 3
    lines = markdown({2: {"deit_tiny": {"ort-f32": FIGURE}}}, ["ort-f32", "ov-int8"], WHERE, 0.0).splitlines()
    assert lines[0] == "| 2 threads | onnxruntime fp32, ms | OpenVINO int8 |"
    assert lines[2] == "| deit_tiny | 1.50 | - |"
    assert lines[-1] == "Measured on Some CPU (avx2), 2 cores; onnxruntime 1.2."
    assert "up to 0.9 cores" in markdown({}, ["ort-f32"], WHERE, 0.9)


@pytest.mark.parametrize("wrong", [["--models", "nothing"], ["--engines", "nothing"], ["--threads", "x"], ["--rounds", "0"]])
def test_wrong_options_are_usage_errors(wrong: list[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        bench_cpu.main(wrong)
    assert exit_.value.code == 2


def test_a_whole_run_writes_what_it_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEWRIGHT_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "deep" / "results.json"
    code = bench_cpu.main(
        ["--models", "fashion", "--engines", "ort-int8-dynamic", "--threads", "1", "--rounds", "2", "--json", str(path)]
    )
    assert code == 0 and "onnxruntime int8 dynamic" in capsys.readouterr().out
    data = json.loads(path.read_text(encoding="utf-8"))
    found = data["threads"]["1"]["fashion"]
    assert set(found) == {"ort-f32", "ort-int8-dynamic"} and found["ort-f32"]["ratio"] == 1
    assert found["ort-f32"]["agreement"]["sqnr_db"] is None and found["ort-int8-dynamic"]["agreement"]["sqnr_db"] > 20
    assert data["failures"] == {} and "onnxruntime" in data["machine"]["versions"]
