"""Tables in the documentation that benchmarks write: between `<!-- NAME -->` and `<!-- /NAME -->` of a page."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[1]
MEASURED = ROOT / "docs" / "measured"
PAGES = {
    "bench": MEASURED / "fpga.md",
    "architectures": MEASURED / "architectures.md",
    "bench-cpu": MEASURED / "cpus.md",
    "instructions": MEASURED / "cpus.md",
    "bench-passes": MEASURED / "passes.md",
    "numerics": ROOT / "docs" / "how" / "integers.md",
    "headline": ROOT / "README.md",
}


def replaced(text: str, name: str, table: str) -> str:
    """The text of a page with another table between the marks; ValueError without them."""
    before, _, after = _parts(text, name)
    return f"{before}<!-- {name} -->\n{table.rstrip()}\n<!-- /{name} -->{after}"


def between(text: str, name: str) -> str:
    """What stands between the marks; ValueError without them."""
    return _parts(text, name)[1].strip()


def _parts(text: str, name: str) -> tuple[str, str, str]:
    """What stands before, between and after the marks."""
    before, mark, rest = text.partition(f"<!-- {name} -->\n")
    table, end, after = rest.partition(f"<!-- /{name} -->")
    if not mark or not end:
        raise ValueError(f"there is no <!-- {name} --> with its <!-- /{name} -->")
    return before, table, after


def table(name: str) -> str:
    """A table as its page has it."""
    return between(PAGES[name].read_text(encoding="utf-8"), name)


def put(name: str, table: str) -> Path:
    """Renew a table in its page."""
    page = PAGES[name]
    page.write_text(replaced(page.read_text(encoding="utf-8"), name, table), encoding="utf-8")
    return page
