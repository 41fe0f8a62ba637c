"""Each part of the engine alone as printed HLS C++, on the tokens that small models send through it."""

from __future__ import annotations

import importlib.util

import pytest
from edgewright.hw.kernel import ir
from edgewright.sim.block_csim import run_block

from tests.hw.blocks.recorded import count, differences
from tests.hw.blocks.recordings import PARTS, inputs_of, outputs_of

pytestmark = pytest.mark.sim

EXACT = ("engine_norm_scale", "engine_norm_apply", "engine_softmax_exp")
"""Wide products, structs of vectors and shifts by data: what the two arithmetic back ends could see differently."""


def check(part: ir.Program, ap_int: bool) -> None:
    inputs, expected = inputs_of(part), outputs_of(part)
    empty = [name for name, tokens in (inputs | expected).items() if not count(tokens)]
    assert inputs and expected and not empty
    # plain: compiling takes longer than running; the whole engine runs optimised in tests/sim/test_networks_cpp.py
    found, _ = run_block(part, inputs, ap_int=ap_int, optimise=ap_int)
    assert not differences(expected, found)


@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS.keys())
def test_plain_integers(part: ir.Program) -> None:
    check(part, ap_int=False)


@pytest.mark.skipif(importlib.util.find_spec("hls4ml") is None, reason="hls4ml, which has ap_int.h, is missing")
@pytest.mark.parametrize("name", EXACT)
def test_ap_int(name: str) -> None:
    check(PARTS[name], ap_int=True)
