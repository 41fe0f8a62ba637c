"""Passes that fold constants leave them where float32 cannot hold the result; the values stay finite."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from edgewright.passes.exact.float32_range import fits_float32
from edgewright.passes.exact.fold_norm_affine import FoldNormAffine
from edgewright.passes.exact.fold_scales import FoldScales
from edgewright.passes.exact.fuse_linears import FuseLinears
from edgewright.passes.exact.scale_into_query import ScaleIntoQuery
from edgewright.passes.ir.graph import Node, make
from edgewright.passes.ops import Attention, Div, LayerNormalization, Linear, Mul, constant, graph_input
from edgewright.passes.transform import Pass

from tests.passes.test_exact_fusions import graph_of, leaves_alone


@pytest.mark.parametrize(
    ("values", "fits"),
    [
        ([1.0, 2.0**96], True),
        ([1.0, 3.4e38], False),  # finite, and its product with 2 is not
        ([np.inf], False),
        ([np.nan], False),
        ([1.0, 1e-42], True),  # nothing beside 1
        ([1e-40, 1.3e-42], False),  # a tenth of a percent of it is lost
        ([1e-30, 1e-43], True),
        ([0.0, 0.0], True),
        ([1e-50], False),
        ([], True),
    ],
)
def test_what_fits(values: list[float], fits: bool) -> None:
    assert fits_float32(np.array(values)) == fits


def filled(value: float, *shape: int) -> Node:
    return constant(np.full(shape, value, np.float32))


def product(x: Node, weight: float, outs: int = 4) -> Node:
    return make(Linear(), x, filled(weight, outs, x.shape[-1]), filled(0.0, outs))


def scaled_product(x: Node) -> Node:
    return make(Mul(), product(x, 1e-30), filled(1e-12, 4))


def divided_product(x: Node) -> Node:
    return make(Div(), product(x, 1e30), filled(1e-12, 4))


def scaled_norm(x: Node) -> Node:
    return product(make(LayerNormalization(), x, filled(1e-30, 4), filled(0.0, 4)), 1e-12)


def norm_with_offset(x: Node) -> Node:
    """(x - 0.9) 3.4e38 is finite for x = 1.5; in 3.4e38 x - 3.06e38 the product is not."""
    weight = constant(np.array([[3.4e38, 0, 0, 0]], np.float32))
    return make(Linear(), make(LayerNormalization(), x, filled(1.0, 4), filled(-0.9, 4)), weight, filled(0.0, 1))


def two_products(x: Node) -> Node:
    return product(product(x, 1e-25, 8), 1e-20, 2)


def scaled_query(x: Node) -> Node:
    q, k, v = product(x, 1e-20), product(x, 1e20), product(x, 1.0)
    return make(Attention(1, 1e-25), q, k, v)


@pytest.mark.parametrize(
    ("step", "network"),
    [
        (FoldScales(), scaled_product),
        (FoldScales(), divided_product),
        (FoldNormAffine(), scaled_norm),
        (FoldNormAffine(), norm_with_offset),
        (FuseLinears(), two_products),
        (ScaleIntoQuery(), scaled_query),
    ],
)
def test_a_fold_that_does_not_fit_is_left_alone(step: Pass, network: Callable[[Node], Node]) -> None:
    x = graph_input("x", (1, 3, 4))
    leaves_alone(step, graph_of([x], network(x)))
