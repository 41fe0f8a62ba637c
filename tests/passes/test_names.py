"""Identifiers made from a model's names are safe everywhere, stable, and different for different names."""

from __future__ import annotations

import re

import pytest
from edgewright.passes.names import safe_identifier
from hypothesis import given
from hypothesis import strategies as st

SAFE = re.compile(r"[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*")
NAMES = st.one_of(st.text(), st.text(alphabet="ab_/.", max_size=6), st.from_regex(r"[a-z_]{1,5}_h[0-9a-f]{12}"))


@given(NAMES)
def test_safe_and_short(name: str) -> None:
    found = safe_identifier(name)
    assert SAFE.fullmatch(found) and len(found) <= 52
    assert safe_identifier(name) == found


@given(NAMES, NAMES)
def test_different_names_stay_different(a: str, b: str) -> None:
    assert (safe_identifier(a) == safe_identifier(b)) == (a == b)


@given(NAMES)
def test_a_result_is_not_mistaken_for_a_name(name: str) -> None:
    made = safe_identifier(name, prefix="")
    assert made == name or safe_identifier(made, prefix="") != made


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("conv2d", "n_conv2d"), ("module", "n_module"), ("a/b", "n_a_b_hc14cddc033f6"), ("", "n_x_he3b0c44298fc")],
)
def test_the_same_everywhere(name: str, wanted: str) -> None:
    assert safe_identifier(name) == wanted
