"""The test bench of the bundle: it runs a program on the shim, and in C++14 with a thread for each task as Vitis does; it
records tokens that replay, and finds what is wrong."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.cost import program_of
from edgewright.hw.emit import IMAGE
from edgewright.hw.hls_vectors import hls_vectors
from edgewright.hw.kernel.cpp import HLS_FOLDER, SHIM_FOLDER, to_cpp
from edgewright.hw.kernel.cpp_bench import hls_bench
from edgewright.hw.plan import Plan, plan
from edgewright.sim.csim import build_csim

from tests.hw.integer_models import random_vit

pytestmark = [pytest.mark.sim, pytest.mark.long]
THREADS = Path(__file__).with_name("threads")
CONFIG = EngineConfig(tokens=4, weight_tiles=64, softmax_keys=4, on_chip_words=1024)


@cache
def planned() -> Plan:
    return plan(random_vit(image=8, blocks=1), CONFIG)


@cache
def on_the_shim() -> Path:
    program = program_of(CONFIG)
    return build_csim(to_cpp(program), hls_bench(program), [SHIM_FOLDER, HLS_FOLDER], flags=["-O0", "-Wextra", "-Werror"])


@cache
def with_threads() -> Path:
    program = program_of(CONFIG)
    flags = ["-std=c++14", "-O0", "-DEW_AP_INT", "-pthread", "-w"]
    return build_csim(to_cpp(program), hls_bench(program), [THREADS, HLS_FOLDER], ap_int=True, flags=flags)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A bundle's hls folder, as far as the bench reads it."""
    vectors = tmp_path / "hls" / "vectors"
    (tmp_path / "hls" / "tokens").mkdir(parents=True)
    vectors.mkdir()
    (tmp_path / "memory").mkdir()
    (tmp_path / IMAGE).write_bytes(planned().external_image)
    for name, content in hls_vectors(planned()).items():
        (vectors / name).write_bytes(content)
    return tmp_path / "hls"


def run(program: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, timeout=300, check=False)


def test_a_program_runs_and_its_tokens_replay(folder: Path) -> None:
    done = run(on_the_shim(), "memory", folder / "vectors", folder / "tokens")
    assert done.returncode == 0 and "the memory is as expected" in done.stdout, done.stderr
    again = run(on_the_shim(), "replay", folder / "tokens")
    assert again.returncode == 0 and "tokens as expected" in again.stdout, again.stderr


@pytest.mark.skipif(importlib.util.find_spec("hls4ml") is None, reason="hls4ml, which has ap_int.h, is missing")
def test_with_a_thread_for_each_task_the_tokens_are_the_same(folder: Path) -> None:
    run(on_the_shim(), "memory", folder / "vectors", folder / "tokens")
    other = shutil.copytree(folder / "tokens", folder / "other")
    done = run(with_threads(), "memory", folder / "vectors", other)
    assert done.returncode == 0, done.stderr
    for file in (folder / "tokens").iterdir():
        assert (other / file.name).read_bytes() == file.read_bytes(), file.name
    again = run(with_threads(), "replay", other)
    assert again.returncode == 0, again.stderr


def test_what_is_wrong_is_found(folder: Path) -> None:
    vectors, tokens = folder / "vectors", folder / "tokens"
    outputs = vectors / "outputs.bin"
    right = outputs.read_bytes()
    outputs.write_bytes(bytes([right[0] ^ 1]) + right[1:])
    assert ", expected " in run(on_the_shim(), "memory", vectors, tokens).stderr
    outputs.write_bytes(right[:-1])
    assert "too short" in run(on_the_shim(), "memory", vectors, tokens).stderr
    outputs.write_bytes(right)
    text = (vectors / "program.txt").read_text()
    (vectors / "program.txt").write_text(text.replace("memory ", "memory 16 \nmemory ").replace("expect ", "expects ", 1))
    assert "unknown line" in run(on_the_shim(), "memory", vectors, tokens).stderr
    (vectors / "program.txt").write_text(text)
    assert run(on_the_shim(), "memory", vectors, tokens).returncode == 0
    words = tokens / "m_axis_results_words.tokens"
    content = words.read_bytes()
    words.write_bytes(content[:40] + bytes([content[40] ^ 4]) + content[41:])
    assert "results_words: token 2 is not the expected one" in run(on_the_shim(), "replay", tokens).stderr
    words.write_bytes(content + bytes(16))
    assert "nothing moves any more" in run(on_the_shim(), "replay", tokens).stderr
    assert run(on_the_shim(), "other").returncode == 2


def test_vectors_are_the_same_for_the_same_plan() -> None:
    assert hls_vectors(planned()) == hls_vectors(planned())
    first = hls_vectors(planned())["program.txt"].decode().splitlines()
    assert first[0].startswith("memory ") and first[1] == f"start {planned().program_address} {len(planned().steps)}"
