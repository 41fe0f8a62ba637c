"""Options as a table: a frozen dataclass whose fields carry what the command line, the Python signature, the check against
a target and the manifest need to know. A new option is one new field.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from edgewright.passes.diagnostics import CompileError, Diagnostic, Exit, fail

P = ParamSpec("P")
Table = TypeVar("Table")
Source = TypeVar("Source")
Result = TypeVar("Result")
Value = TypeVar("Value")
_SPEC = "option"
NESTED = {"nested": True}
"""The metadata of a field that holds another table, whose options stand beside the others on the command line."""


@dataclass(frozen=True, slots=True)
class OptionRefusal:
    """What is wrong with an option for a kind of target that does not take it; `{option}` and `{target}` are filled in."""

    code: str
    message: str
    because: str
    help: str

    def fail(self, option: str, target: str) -> None:
        """Raise the error (exit 2)."""
        texts = (self.message, self.because, self.help)
        message, because, help_text = (text.format(option=option, target=target) for text in texts)
        fail(self.code, message, option, because, help_text, Exit.USAGE)


NOT_TAKEN = OptionRefusal("U035", "'{target}' does not take {option}", "the option is for targets of another kind", "omit it")


@dataclass(frozen=True, slots=True)
class Spec:
    """One option. `flags`: its names on the command line, if not --NAME; `hidden`: it has none there; `kind`: its type there,
    if not the field's; `complete`: values that a shell offers for a beginning; `parser`: of one text there; `collect`: of all
    texts of a repeated option; `choices`: all of its values; `group`: heading in --help; `required`: on the command line;
    `targets`: kinds of target that take it, all if empty, with `refusal` for others; `stored`: whether it decides the content
    of a bundle and stands in its manifest."""

    help: str
    flags: tuple[str, ...] = ()
    hidden: bool = False
    kind: Any = None
    parser: Callable[[str], Any] | None = None
    collect: Callable[[list[str]], Any] | None = None
    metavar: str | None = None
    complete: Callable[[str], list[str]] | None = None
    group: str | None = None
    choices: tuple[str, ...] = ()
    required: bool = False
    targets: tuple[str, ...] = ()
    refusal: OptionRefusal = NOT_TAKEN
    stored: bool = False


def option(help: str, *flags: str, **spec: Any) -> dict[str, Spec]:
    """Return the metadata of a field; see `Spec`."""
    return {_SPEC: Spec(help, flags, **spec)}


def option_field(default: Value, help: str, *flags: str, **spec: Any) -> Value:
    """Return the field of an option with this default, for the body of a table; see `Spec`."""
    return field(default=default, metadata=option(help, *flags, **spec))


def specs(table: Any) -> Iterator[tuple[str, Spec]]:
    """Yield the options of a table by the names of their fields, without those of nested tables."""
    for entry in dataclasses.fields(table):
        if _SPEC in entry.metadata:
            yield entry.name, entry.metadata[_SPEC]


def tables(table: Any) -> Iterator[tuple[str, Any]]:
    """Yield the nested tables by the names of their fields."""
    for entry in dataclasses.fields(table):
        if entry.metadata == NESTED:
            yield entry.name, entry.default_factory


def flags(name: str, spec: Spec) -> tuple[str, ...]:
    """Return an option's names on the command line, the one for messages first."""
    return spec.flags or (f"--{name.replace('_', '-')}",)


def check_choices(options: Any) -> None:
    """CompileError U030 (exit 2) with the options that have no such value."""
    wrong = [
        Diagnostic(
            "U030",
            f"'{value}' is not a value of {flags(name, spec)[0]}",
            flags(name, spec)[0],
            f"there are {', '.join(spec.choices)}",
            "give one of them",
        )
        for name, spec in specs(options)
        if spec.choices and (value := getattr(options, name)) not in (None, *spec.choices)
    ]
    if wrong:
        raise CompileError(wrong, Exit.USAGE)


def check_targets(options: Any, kind: str, target: str) -> None:
    """CompileError (exit 2) for an option that this kind of target does not take."""
    defaults = type(options)()
    for name, spec in specs(options):
        if spec.targets and kind not in spec.targets and getattr(options, name) != getattr(defaults, name):
            spec.refusal.fail(flags(name, spec)[0], target)


def stored(options: Any) -> dict[str, Any]:
    """Return the options that decide the content of a bundle, as plain values."""
    return {name: getattr(options, name) for name, spec in specs(options) if spec.stored}


def with_options(
    table: Callable[P, Table],
) -> Callable[[Callable[[Source, Table], Result]], Callable[Concatenate[Source, P], Result]]:
    """Give a function of a source and a table the table's options as arguments, in its signature and in its docstring."""

    def decorated(function: Callable[[Source, Table], Result]) -> Callable[Concatenate[Source, P], Result]:
        @wraps(function)
        def entry(source: Source, *args: P.args, **kwargs: P.kwargs) -> Result:
            return function(source, table(*args, **kwargs))

        signature = inspect.signature(function)
        source, *_ = signature.parameters.values()
        parameters = [source, *inspect.signature(table).parameters.values()]
        entry.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        entry.__doc__ = f"{inspect.getdoc(function)}\n\n{_listed(table)}"
        return entry  # type: ignore[return-value]  # `wraps` takes the source for a keyword

    return decorated


def _listed(table: Any) -> str:
    lines = [f":param {name}: {spec.help}" for name, spec in specs(table)]
    return "\n".join([*lines, *(f":param {name}: {inspect.getdoc(nested)}" for name, nested in tables(table))])


def read(table: type[Table], texts: Mapping[str, Any]) -> Table:
    """Return a table with what the command line gave for its options and those of nested tables, by the fields' names."""
    values: dict[str, Any] = {name: read(nested, texts) for name, nested in tables(table)}
    for name, spec in specs(table):
        if not spec.hidden:
            values[name] = spec.collect(texts[name] or []) if spec.collect else texts[name]
    return table(**values)
