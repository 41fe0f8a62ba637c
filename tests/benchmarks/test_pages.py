"""Tables in the documentation: renewed between their marks, and the README's figures are those of the full tables."""

from __future__ import annotations

import pytest

from benchmarks import headline, pages


def test_a_table_is_renewed_between_its_marks() -> None:
    text = "before\n<!-- bench-cpu -->\nold\n<!-- /bench-cpu -->\nafter\n"
    wanted = "before\n<!-- bench-cpu -->\nnew\n<!-- /bench-cpu -->\nafter\n"
    assert pages.replaced(text, "bench-cpu", "new") == wanted == pages.replaced(wanted, "bench-cpu", "new")
    assert pages.between(text, "bench-cpu") == "old"
    with pytest.raises(ValueError, match="bench-cpu"):
        pages.replaced("no marks", "bench-cpu", "new")
    with pytest.raises(ValueError, match="bench-cpu"):
        pages.between("no marks", "bench-cpu")


@pytest.mark.parametrize("name", pages.PAGES)
def test_every_page_has_its_marks(name: str) -> None:
    assert pages.table(name).startswith("|")


def test_the_readme_shows_the_figures_of_the_full_tables() -> None:
    """If this fails: `python -m benchmarks.headline`."""
    assert pages.table("headline") == headline.table()
