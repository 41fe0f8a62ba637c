"""What a pass does stands in its docstring, in the same four parts for all."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
PARTS = ("Before", "After", "Exact", "Source")


def is_pass(node: ast.ClassDef) -> bool:
    """Return whether a class is a pass or a rule that can run, not one that others derive from."""
    bases = {base.id for base in node.bases if isinstance(base, ast.Name)}
    return bool(bases & {"Pass", "Rule"}) and node.name not in {"Pass", "Rule"}


def test_each_pass_says_what_it_does() -> None:
    missing = []
    for path in (path for layer in ("frontend", "targets", "passes") for path in sorted((ROOT / layer).rglob("*.py"))):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and is_pass(node):
                text = ast.get_docstring(node) or ""
                missing += [
                    f"{path.relative_to(ROOT)}: {node.name} has no '{part}:'" for part in PARTS if f"{part}:" not in text
                ]
    assert not missing, "complete the docstrings of these passes:\n" + "\n".join(missing)
