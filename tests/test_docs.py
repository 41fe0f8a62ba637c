"""The documents that are read without building anything: links lead somewhere, and the README stays short."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").glob("*.md")])
WRITTEN = "generated/"  # by docs/generate.py, when the site is built
INCLUDED = re.compile(r"^```\{literalinclude\} (\S+)\n(.*?)^```", re.M | re.S)
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    links = [link for link in LINK.findall(page.read_text(encoding="utf-8")) if "://" not in link and WRITTEN not in link]
    assert not [link for link in links if not (page.parent / link).exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_included_text_is_there(page: Path) -> None:
    for file, options in INCLUDED.findall(page.read_text(encoding="utf-8")):
        included = (page.parent / file).read_text(encoding="utf-8")
        start, end = (re.search(rf':{option}: "(.*)"', options) for option in ("start-at", "end-before"))
        assert start is not None and end is not None
        assert end[1] in included.partition(start[1])[2], f"{file} has no text from {start[1]} to {end[1]}"


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 200
