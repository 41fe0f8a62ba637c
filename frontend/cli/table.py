"""A command whose options are those of a table."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal

import typer
from edgewright.frontend.option_table import Spec, flags, read, specs, tables
from edgewright.frontend.options import BadText, input_shapes


def command(table: Any, run: Callable[..., None]) -> Callable[..., None]:
    """Return ``run(options, **others)`` as a function of the options' values and of its other parameters, as typer wants it."""

    def call(**texts: Any) -> None:
        others = {name: texts.pop(name) for name in other_parameters}
        try:
            options = read(table, texts)
        except BadText as error:
            raise typer.BadParameter(str(error)) from error
        run(options, **others)

    other_parameters = dict(list(inspect.signature(run, eval_str=True).parameters.items())[1:])
    named = [*parameters(table), *other_parameters.values()]
    keywords = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in named]
    call.__signature__ = inspect.Signature(keywords)  # type: ignore[attr-defined]
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in keywords}
    call.__doc__, call.__name__ = run.__doc__, run.__name__
    return call


def parameters(table: Any) -> Iterator[inspect.Parameter]:
    """Yield the options of a table and of its nested ones as parameters, in the order of the fields."""
    known, nested = dict(specs(table)), dict(tables(table))
    hints = typing.get_type_hints(table)
    for field in dataclasses.fields(table):
        if field.name in nested:
            yield from parameters(nested[field.name])
        elif (spec := known.get(field.name)) is not None and not spec.hidden:
            yield _parameter(field, spec, hints[field.name])


def _parameter(field: Any, spec: Spec, hint: Any) -> inspect.Parameter:
    kind, names = spec.kind or hint, flags(field.name, spec)
    if spec.choices:
        kind = Literal[spec.choices] if field.default is not None else Literal[spec.choices] | None
    info = typer.Option(
        *names,
        help=spec.help,
        metavar=spec.metavar,
        rich_help_panel=spec.group,
        autocompletion=spec.complete,
        parser=None if spec.parser is None else checked(spec.parser, names[0]),
    )
    nothing = spec.required or field.default is dataclasses.MISSING
    default = inspect.Parameter.empty if spec.required else None if nothing else field.default
    return inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, info])


def shapes_of(texts: list[str] | None) -> dict[str, tuple[int, ...]]:
    """Return what `--shape` gave, by the input's name; a usage error for another form."""
    shapes: dict[str, tuple[int, ...]] = checked(input_shapes, "--shape")(texts or [])
    return shapes


def checked(parser: Callable[[Any], Any], option: str) -> Callable[[Any], Any]:
    """Return a parser whose `BadText` is a usage error that names the option."""

    def parse(text: Any) -> Any:
        try:
            return parser(text)
        except BadText as error:
            raise typer.BadParameter(str(error), param_hint=option) from error

    parse.__name__ = parser.__name__
    return parse
