"""`--json` and `--quiet`, which every command that computes something has."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

_JSON = Annotated[
    bool, typer.Option("--json", help="Print the result as JSON on stdout, and nothing else.", rich_help_panel="Output")
]
_QUIET = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.", rich_help_panel="Output")]
_KEYWORD = inspect.Parameter.KEYWORD_ONLY


def answering(run: Callable[..., None]) -> Callable[..., None]:
    """Return a command with `--json` and `--quiet` besides its own parameters, as typer wants it."""

    def call(*, json: bool, quiet: bool, **values: Any) -> None:
        from edgewright.frontend.report.mode import answer, printing
        from edgewright.passes.diagnostics import CompileError

        with printing("json" if json else "quiet" if quiet else "text"):
            try:
                run(**values)
            except CompileError as error:
                refused = {"errors": error.diagnostics, "exit_code": int(error.exit_code)}
                answer(lambda: refused)
                raise

    own = [entry.replace(kind=_KEYWORD) for entry in inspect.signature(run, eval_str=True).parameters.values()]
    added = [
        inspect.Parameter(name, _KEYWORD, default=False, annotation=kind) for name, kind in (("json", _JSON), ("quiet", _QUIET))
    ]
    call.__signature__ = inspect.Signature([*own, *added])  # type: ignore[attr-defined]
    call.__annotations__ = {entry.name: entry.annotation for entry in (*own, *added)}
    call.__doc__, call.__name__ = run.__doc__, run.__name__
    return call
