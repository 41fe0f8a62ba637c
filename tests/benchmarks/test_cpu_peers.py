"""Children that run inference: what they answer, and that none outlives a failure."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime as ort  # type: ignore[import-untyped,unused-ignore]
import pytest

from benchmarks import cpu_peers
from benchmarks.cpu_models import EXAMPLES, split
from benchmarks.cpu_peers import ENGINES, Engine, Job, Peer, PeerFailed, compile_seconds, missing, prepared

MODEL, DATA = EXAMPLES / "models" / "vit_digits.dynamo18.onnx", EXAMPLES / "data" / "digits.npz"
JOB = Job("ort-f32", str(MODEL), str(DATA), ["x"])


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEWRIGHT_CACHE", str(tmp_path / "cache"))


def gone(peer: Peer) -> bool:
    return peer.process.poll() is not None


def test_a_child_measures_and_returns_outputs() -> None:
    peer = Peer(JOB)
    try:
        times = peer.run(7)
        assert len(times) == 7 and all(0 < time_ns < 10**10 for time_ns in times)
        (outputs,) = peer.outputs()
        assert peer.cpu_seconds() > 0
    finally:
        peer.close()
    session = ort.InferenceSession(str(MODEL), providers=["CPUExecutionProvider"])
    samples = split(DATA, ["x"])[1]["x"]
    wanted = np.concatenate([session.run(None, {"x": samples[i : i + 1]})[0] for i in range(len(samples))])
    assert outputs.shape == wanted.shape and np.allclose(outputs, wanted, atol=1e-4)
    assert gone(peer)


def test_a_child_that_cannot_load_says_why(tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    with pytest.raises(PeerFailed, match=r"onnxruntime fp32 ended: (?s:.)*broken.onnx"):
        Peer(replace(JOB, model=str(broken)))


def test_a_child_that_is_killed_is_noticed() -> None:
    peer = Peer(JOB)
    os.kill(peer.process.pid, signal.SIGKILL)
    peer.process.wait()
    with pytest.raises(PeerFailed, match="onnxruntime fp32 ended"):
        peer.run(1)
    assert gone(peer)


def test_a_child_that_takes_too_long_is_ended() -> None:
    peer = Peer(JOB)
    with pytest.raises(PeerFailed, match=r"no answer within 0.2 s"):
        peer.ask({"do": "run", "count": 10**7}, 0.2)
    assert gone(peer)
    peer.close()


def test_quantised_models_are_cached_and_near_the_float_one() -> None:
    job = prepared(replace(JOB, engine="ort-int8"))
    model = Path(job.prepared) / "model.onnx"
    written = model.stat().st_mtime_ns
    assert prepared(replace(JOB, engine="ort-int8", threads=2)).prepared == job.prepared
    assert model.stat().st_mtime_ns == written
    found = []
    for one in (JOB, job):
        peer = Peer(one)
        found += peer.outputs()
        peer.close()
    assert not np.array_equal(found[0], found[1]) and (found[0].argmax(1) == found[1].argmax(1)).mean() >= 0.8


def test_other_settings_are_another_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    first = prepared(replace(JOB, engine="ort-int8-dynamic"))
    monkeypatch.setitem(ENGINES, "ort-int8-dynamic", replace(ENGINES["ort-int8-dynamic"], settings="others"))
    assert prepared(replace(JOB, engine="ort-int8-dynamic")).prepared != first.prepared


def test_a_failed_preparation_leaves_no_entry(tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    with pytest.raises(PeerFailed, match="onnxruntime int8"):
        prepared(replace(JOB, engine="ort-int8", model=str(broken)))
    assert [path for path in (tmp_path / "cache" / "bench_peers").iterdir() if path.is_dir()] == []


def test_engines_say_what_they_lack() -> None:
    engine = Engine(
        "odd", ("numpy", "no-such-package"), cpu_peers.ENGINES["ort-f32"].open, features=("avx512_bf16", "amx_bf16")
    )
    assert missing(engine, ["avx2"]) == ["no-such-package", "avx512_bf16 or amx_bf16"]
    assert missing(engine, ["amx_bf16"]) == ["no-such-package"]
    assert missing(ENGINES["ort-f32"], []) == []


def test_what_a_library_prints_does_not_reach_the_answers(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The child's own stdout is its stderr, whoever writes to it, Python or C."""
    script = (
        "import os, sys, dataclasses\n"
        "from benchmarks import cpu_peers as p\n"
        "def noisy(job):\n"
        "    run = p.ENGINES['ort-f32'].open(job)\n"
        "    def infer(sample):\n"
        "        print('hello'); os.write(1, b'there\\n')\n"
        "        return run(sample)\n"
        "    return infer\n"
        "p.ENGINES['noisy'] = dataclasses.replace(p.ENGINES['ort-f32'], open=noisy)\n"
        f"p.serve(p.Job('noisy', {str(MODEL)!r}, {str(DATA)!r}, ['x']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        input='{"do": "run", "count": 2}\n',
        capture_output=True,
        text=True,
        cwd=cpu_peers.ROOT,
        env=cpu_peers._environment(1),
        check=True,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [sorted(answer) for answer in answers] == [["ready"], ["ns"]]
    assert "hello" in done.stderr and "there" in done.stderr


def test_compile_time_is_read_where_it_was_written(tmp_path: Path) -> None:
    assert compile_seconds(JOB) is None and compile_seconds(replace(JOB, prepared=str(tmp_path))) is None
    (tmp_path / "compile_seconds.json").write_text("2.5", encoding="utf-8")
    assert compile_seconds(replace(JOB, prepared=str(tmp_path))) == 2.5


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["ov-f32", "ov-int8"])
def test_openvino_agrees(engine: str) -> None:
    pytest.importorskip("openvino")
    pytest.importorskip("nncf")
    found = []
    for job in (JOB, prepared(replace(JOB, engine=engine))):
        peer = Peer(job)
        found += peer.outputs()
        peer.close()
    assert (found[0].argmax(1) == found[1].argmax(1)).mean() >= 0.9
