"""The vectors of the HLS test bench: what a host writes, and outputs that the engine's processes then leave in memory."""

from __future__ import annotations

import numpy as np
import pytest
from edgewright.frontend.trial import quantised_on_random
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.cost import predict_cycles
from edgewright.hw.hls_vectors import hls_vectors
from edgewright.hw.memory import WORD_BYTES
from edgewright.hw.plan import Plan, plan
from edgewright.hw.stored_plan import restore, store
from edgewright.passes.ir.graph import Graph
from edgewright.passes.ops import Gelu, Transpose, graph_input
from edgewright.passes.pipeline import optimise, quantise

from tests.hw.breadth_models import NETWORKS, named
from tests.hw.interpreted import write_log
from tests.mixed_models import Layers, samples, text_network

CONFIG = EngineConfig(tokens=6, outs=32, weight_tiles=1024, softmax_keys=8, operand_tiles=256, on_chip_words=4096)


def series() -> Graph:
    """A forecast whose tokens are the 5 columns of its input, and whose output has them as columns again."""
    layers = Layers(0)
    x = graph_input("x", (1, 24, 5))
    turned = named(Transpose((0, 2, 1)), x, name="turned")
    hidden = named(Gelu(), layers.linear(turned, 32, "up"), name="gelu")
    y = named(Transpose((0, 2, 1)), layers.linear(hidden, 12, "down"), name="back")
    return Graph("series", (x,), (y,), ("y",))


def planned(name: str) -> Plan:
    if name == "text":
        float_graph = text_network()
        return plan(quantise(optimise(float_graph)[0], samples(float_graph, 8)).graph, CONFIG)
    return plan(quantised_on_random(series() if name == "series" else NETWORKS[name]()), CONFIG)


def memory_after(made: Plan, writes: dict[int, bytes]) -> bytes:
    """Run a program on what the host writes, by address; all of memory."""
    memory = np.zeros(-(-made.memory_bytes // WORD_BYTES) * WORD_BYTES, np.uint8)
    memory[: len(made.image)] = np.frombuffer(made.image, np.uint8)
    for address, content in writes.items():
        memory[address : address + len(content)] = np.frombuffer(content, np.uint8)
    log = write_log(made, writes)
    memory.reshape(-1, WORD_BYTES)[log.addresses // WORD_BYTES] = log.words
    return memory.tobytes()


@pytest.mark.long
@pytest.mark.parametrize("name", ["series", "text", *NETWORKS])
def test_the_engine_leaves_the_outputs_of_the_vectors(name: str) -> None:
    made = planned(name)
    files = hls_vectors(made)
    lines = [line.split() for line in files["program.txt"].decode().splitlines()]
    writes = {int(line[1]): files[line[2]] for line in lines if line[0] == "load" and line[2] in files}
    assert len(writes) == len(files) - 2  # but for the program and the outputs
    memory, at = memory_after(made, writes), 0
    for address, size in ((int(line[1]), int(line[2])) for line in lines if line[0] == "expect"):
        assert memory[address : address + size] == files["outputs.bin"][at : at + size]
        at += size
    assert at == len(files["outputs.bin"]) > 0


@pytest.mark.long
@pytest.mark.parametrize("name", ["series", "text", *NETWORKS])
def test_a_plan_that_was_stored_has_the_same_vectors(name: str) -> None:
    """The order of inputs, padded heads, rows of padding and strips are values that only the engine has."""
    made = planned(name)
    cycles = predict_cycles(made)
    content = store(made, cycles)
    again, same = restore(content, made.graph, CONFIG, made.external_image)
    assert same == cycles and store(again, same) == content
    assert hls_vectors(again) == hls_vectors(made)
    assert [step.fields for step in again.steps] == [step.fields for step in made.steps]
