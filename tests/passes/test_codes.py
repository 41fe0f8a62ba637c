"""Every code this room raises is explained, and every explanation is of a code that is raised."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from edgewright.passes.codes import CODES
from edgewright.passes.diagnostics import CompileError, Diagnostic, Exit

ROOM = Path(__file__).parents[2] / "passes"


def test_codes_raised_are_codes_explained() -> None:
    raised = {
        code
        for path in ROOM.rglob("*.py")
        if path.name != "codes.py"
        for code in re.findall(r'"([A-Z]\d{3})"', path.read_text(encoding="utf-8"))
    }
    assert raised == set(CODES)


@pytest.mark.parametrize("code", CODES)
def test_an_explanation_has_a_title_and_a_text(code: str) -> None:
    title, _, body = CODES[code].partition("\n")
    assert 10 < len(title) < 80
    assert not title.endswith(".")
    assert len(body) > 80


def test_a_diagnostic_reads_like_a_compilers() -> None:
    found = Diagnostic("Q001", "Exp has no integer form", "/blocks.0/Exp", "reasons", "do this")
    assert str(found) == (
        "error[Q001]: Exp has no integer form\n  at /blocks.0/Exp\n  because reasons\n  help: do this"
    )
    error = CompileError([found, found], Exit.MODEL)
    assert error.exit_code == 1
    assert len(error.diagnostics) == 2
