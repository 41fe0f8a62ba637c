"""The energy model against EcoFormer's published table, and what it says of models."""

from __future__ import annotations

import numpy as np
import pytest
from edgewright.passes.hashing.energy import WORTH, Arithmetic, hashed_attention, hashing_outlook
from edgewright.passes.ir.graph import make, rebuild
from edgewright.passes.ops import Attention, constant

from tests.models import tiny_vit
from tests.passes.hash_networks import NETWORKS, Network, arithmetic, softmax_attention


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
def test_the_published_table_within_3_percent(network: Network) -> None:
    found = arithmetic(network)
    assert found.multiplications / 1e9 == pytest.approx(network.multiplications, rel=0.03)
    assert found.additions / 1e9 == pytest.approx(network.additions, rel=0.03)
    assert found.energy_pj / 1e9 == pytest.approx(network.energy, rel=0.03)


def test_hashing_saves_73_percent_of_pvt_b0_with_full_attention() -> None:
    """EcoFormer's headline: against softmax over all 3,136 tokens of the first stage."""
    hashed, softmax = arithmetic(NETWORKS[0]), arithmetic(NETWORKS[0], hashed=False)
    assert 1 - hashed.energy_pj / softmax.energy_pj == pytest.approx(0.73, abs=0.01)


def test_energy_of_operations() -> None:
    assert Arithmetic(10, 100).energy_pj == pytest.approx(37 + 90)
    assert softmax_attention(5, 8, 2) == Arithmetic(2 * 5 * 5 * 8 + 2 * 5 * 5, 2 * 5 * 5 * 8)
    (gain,) = hashing_outlook(tiny_vit(0, width=32, heads=2)).gains
    assert gain.softmax == softmax_attention(17, 32, 2)
    assert hashed_attention(4, 6, 2, supports=3, bits=5).multiplications == 2 * (2 * 4 * 3 + 4 * 3 * 5 + 4 * 5 + 4) + 4 * 6


def test_it_does_not_pay_for_deit_tiny() -> None:
    """197 tokens of width 192: scores and their sums are about a seventh of the work."""
    graph = tiny_vit(0, image=224, patch=16, channels=3, width=192, heads=3, blocks=2, hidden=768)
    found = hashing_outlook(graph)
    assert not found.pays and 0.12 < found.bound < 0.16
    assert all(gain.saved_pj > 0 and gain.bound < WORTH for gain in found.gains)


def test_it_pays_for_long_sequences() -> None:
    graph = tiny_vit(0, image=56, patch=2, width=32, heads=2, blocks=2, hidden=64)
    found = hashing_outlook(graph)
    assert found.pays and all(gain.pays for gain in found.gains)
    assert 0.5 < found.saved < 1


def test_the_projection_of_keys_is_counted_where_there_is_one() -> None:
    for merged in (True, False):
        (gain,) = hashing_outlook(tiny_vit(0, merged_qkv=merged)).gains
        assert gain.keys == Arithmetic(17 * 32 * 32, 17 * 32 * 32)


def test_a_layer_with_a_bias_cannot_be_hashed_and_saves_nothing() -> None:
    graph = tiny_vit(0, image=56, patch=2, blocks=1)
    (layer,) = (node for node in graph.nodes() if isinstance(node.op, Attention))
    tokens = layer.shape[1]
    biased = make(layer.op, *layer.inputs, constant(np.full((1, 1, 1, 1), 0.5, np.float32)), origin=layer.origin)
    assert biased.shape == (1, tokens, 32)
    changed = rebuild(graph, lambda old, operands: biased if old is layer else None)
    found = hashing_outlook(changed)
    assert not found.pays and found.saved == 0 and found.gains[0].layer.obstacle is not None
