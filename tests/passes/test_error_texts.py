"""Every code that is raised has a text in passes/errors, every text is of a code that is raised, and all have one form."""

from __future__ import annotations

import re

import pytest
from edgewright.passes import error_texts
from edgewright.passes.diagnostics import CompileError, Diagnostic, Exit

from tests.passes.raised_errors import LAYERS, ROOT, raised_errors

RAISED = raised_errors()
PROSE_WIDTH, EXAMPLE_WIDTH = 100, 240
FENCED = re.compile(r"^```(?:text|toml)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_codes_raised_are_codes_explained() -> None:
    raised: dict[str, str] = {}
    for layer in LAYERS:
        for path in (ROOT / layer).rglob("*.py"):
            for code in re.findall(r'"([A-Z]\d{3})"', path.read_text(encoding="utf-8")):
                raised.setdefault(code, str(path.relative_to(ROOT)))
    known = set(error_texts.codes())
    assert not {code: place for code, place in raised.items() if code not in known}, "raised, but without a text"
    assert not known - set(raised), "explained, but raised nowhere"


def test_the_folder_holds_nothing_else() -> None:
    assert all(re.fullmatch(r"[A-Z]\d{3}\.md", path.name) for path in error_texts.FOLDER.iterdir())


def test_each_code_means_one_thing() -> None:
    titles = [error_texts.read(code).title for code in error_texts.codes()]
    assert len(set(titles)) == len(titles)


@pytest.mark.parametrize("code", error_texts.codes())
def test_a_text_has_a_title_and_four_sections(code: str) -> None:
    source = (error_texts.FOLDER / f"{code}.md").read_text(encoding="utf-8")
    found = error_texts.read(code)
    assert source.startswith(f"# {code}: {found.title}\n\n## What happened\n") and source.endswith("\n")
    assert 10 < len(found.title) < 80 and not found.title.endswith(".")
    assert tuple(heading for heading, _ in found.sections) == error_texts.SECTIONS
    assert all(body.strip() for _, body in found.sections)
    example = dict(found.sections)["Example"]
    command, error, *rest = example.removeprefix("```text\n").removesuffix("\n```").split("\n")
    assert command.startswith(("$ ", ">>> ")) and error.startswith(f"error[{code}]: ")
    assert all(re.match(r"  (at|because|help) +\S", line) for line in rest)
    assert max(map(len, FENCED.sub("", source).split("\n"))) <= PROSE_WIDTH
    assert max(map(len, source.split("\n"))) <= EXAMPLE_WIDTH


@pytest.mark.parametrize("code", error_texts.codes())
def test_an_example_is_what_the_code_prints(code: str) -> None:
    """Message, reason and help of the example can all be printed by one of the places that raise the code."""
    source = (error_texts.FOLDER / f"{code}.md").read_text(encoding="utf-8")
    _, message, *rest = source.partition("```text\n")[2].partition("\n```")[0].split("\n")
    parts = {"message": message.removeprefix(f"error[{code}]: ")}
    parts |= {word: text for word, text in (line.split(maxsplit=1) for line in rest)}
    assert any(raised.prints(parts) for raised in RAISED[code]), RAISED[code]


def test_a_diagnostic_reads_like_a_compilers() -> None:
    found = Diagnostic("Q001", "Exp has no integer form", "/blocks.0/Exp", "reasons", "do this")
    assert str(found) == ("error[Q001]: Exp has no integer form\n  at /blocks.0/Exp\n  because reasons\n  help: do this")
    error = CompileError([found, found], Exit.MODEL)
    assert error.exit_code == 1
    assert len(error.diagnostics) == 2
