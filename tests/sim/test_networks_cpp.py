"""Trained networks, whole, in the engine's HLS C++: every stored word is the interpreter's."""

from __future__ import annotations

import pytest
from edgewright.sim.network_cpp import simulate_cpp

from tests.sim.test_networks import VARIANTS, compiled, images

pytestmark = pytest.mark.sim


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", ["digits", "fashion"])
def test_trained_networks_are_bit_exact(name: str, variant: str) -> None:
    planned = compiled(name, variant)
    found = simulate_cpp(planned, images(name, 2))
    assert [str(c.mismatch) for c in found if not c.exact] == []
    assert all(c.integers > 10_000 and c.tensors == len(planned.steps) for c in found)


@pytest.mark.parametrize("name", ["digits", "fashion"])
def test_streams_that_hold_what_they_do_in_hardware_do_not_block_each_other(name: str) -> None:
    (found,) = simulate_cpp(compiled(name, "dynamo18"), images(name, 1), bounded=True)
    assert found.mismatch is None and found.integers > 10_000


def test_with_the_vendor_s_integer_types() -> None:
    (found,) = simulate_cpp(compiled("digits", "dynamo18"), images("digits", 1), ap_int=True)
    assert found.mismatch is None and found.integers > 10_000
