"""The support table of the documentation is what the code says; what the examples need is in it."""

from __future__ import annotations

from pathlib import Path

from edgewright.hw.fuse import IMPLEMENTS

from tests import orders_table
from tests.hw.integer_models import random_vit
from tests.support_table import table

ROOT = Path(__file__).parents[1]
ORDERS = ROOT / "docs" / "techniques" / "overview.md"
SUPPORT = ROOT / "docs" / "reference" / "support.md"


def test_the_documentation_shows_the_table_of_today() -> None:
    """If this fails: put the output of `python -m tests.support_table` between the marks of docs/reference/support.md."""
    text = SUPPORT.read_text(encoding="utf-8")
    assert text.split("<!-- support -->")[1].split("<!-- /support -->")[0].strip() == table()


def test_the_documentation_shows_the_orders_of_today() -> None:
    """If this fails: put the output of `python -m tests.orders_table` between the marks of docs/techniques/overview.md."""
    text = ORDERS.read_text(encoding="utf-8")
    assert text.split("<!-- orders -->")[1].split("<!-- /orders -->")[0].strip() == orders_table.table()


def test_what_a_model_holds_is_implemented() -> None:
    for graph in (random_vit(), random_vit(pool=True)):
        assert {type(node.op) for node in graph.nodes()} <= set(IMPLEMENTS)
