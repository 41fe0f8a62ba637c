"""The printers' output for one small block is what it was, and two front ends take it."""

from __future__ import annotations

import pytest

from tests.hw.golden_block import errors_of, kept, printed


def test_the_printed_block_is_the_kept_one() -> None:
    """If a printer changed on purpose: `python -m tests.hw.golden_block`, and look at the difference."""
    assert printed() == kept()


def test_pyslang_and_gcc_take_the_kept_files() -> None:
    pytest.importorskip("pyslang")
    assert errors_of(kept()) == ""


def test_a_broken_file_is_noticed() -> None:
    pytest.importorskip("pyslang")
    name, text = next((name, text) for name, text in kept().items() if name.endswith(".sv"))
    assert errors_of({**kept(), name: text.replace("endmodule", "")}) != ""
