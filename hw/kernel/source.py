"""The Python source of a process: which line made a node, what the statement there says, which local variable holds a value."""

from __future__ import annotations

import ast
import linecache
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from types import CodeType, FrameType
from typing import Any

LANGUAGE = "edgewright.hw.kernel."
PACKAGE = "edgewright."
FROM = " from "
LONGEST = 100
"""Characters of a statement that a comment quotes."""


def run(function: Callable[..., Any], *args: Any) -> Any:
    """Call a function of a process: its frame is the outermost one that `origin` looks at."""
    return function(*args)


def foreign(frame: FrameType) -> bool:
    """Return whether a frame is of the code that describes a block, not of this language."""
    return not frame.f_globals.get("__name__", "").startswith(LANGUAGE)


def origin() -> str:
    """Return file:line of the nearest caller outside this package; where a function of the process called that one,
    "file.py:12 from process.py:34" with the line of the process itself."""
    nearest: FrameType | None = None
    own: FrameType | None = None
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and (nearest is None or frame.f_code is not run.__code__):  # a fork's process is of the language
        if foreign(frame):
            nearest = nearest or frame
            if own is None or not belongs(own.f_code, frame.f_code):
                own = frame
        frame = frame.f_back
    if nearest is None or own is None:
        return ""
    return line_of(nearest) if frame is None or own is nearest else f"{line_of(nearest)}{FROM}{line_of(own)}"


def belongs(inner: CodeType, outer: CodeType) -> bool:
    """Return whether code is of a comprehension, generator or lambda in other code, whose lines say more than their user's."""
    return inner.co_name.startswith("<") and inner.co_filename == outer.co_filename


def line_of(frame: FrameType) -> str:
    """Return file:line of what a frame does."""
    return f"{name_of(frame.f_code)}:{frame.f_lineno}"


def own_line(where: str) -> str:
    """Return the line of the process itself of what `origin` gave."""
    return where.rpartition(FROM)[2]


def place_of(function: Callable[..., Any]) -> str:
    """Return file:line of a function: of this package the file from its folder on, else its name; never an absolute path."""
    code, module = getattr(function, "__code__", None), getattr(function, "__module__", None) or ""
    if code is None:  # an object that can be called
        return ""
    file = f"{module.removeprefix(PACKAGE).replace('.', '/')}.py" if module.startswith(PACKAGE) else name_of(code)
    return f"{file}:{code.co_firstlineno}"


def name_of(code: CodeType) -> str:
    """Return the name of the file that code comes from."""
    return code.co_filename.rsplit("/", 1)[-1]


# statements ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement of a process: where it begins, "file.py:12", and its text in one line."""

    where: str
    text: str


def statements(function: Callable[..., Any]) -> dict[str, Statement]:
    """Return by line ("file.py:12") the statements of a function's file; nothing where there is no source."""
    code = getattr(function, "__code__", None)
    return {} if code is None else statements_of(code.co_filename)


@lru_cache
def statements_of(path: str) -> dict[str, Statement]:
    """Return the statements of a file by line."""
    lines = linecache.getlines(path)
    try:
        tree = ast.parse("".join(lines))
    except SyntaxError:  # not Python, such as a cell of a notebook with magic
        return {}
    file = path.rsplit("/", 1)[-1]
    found = {f"{file}:{at}": Statement(f"{file}:{at}", one_line(line)) for at, line in enumerate(lines, 1)}
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt) and not hasattr(node, "body"):
            first, last = node.lineno, node.end_lineno or node.lineno
            text = lines[first - 1].encode()[node.col_offset : node.end_col_offset].decode()
            statement = Statement(f"{file}:{first}", one_line(text if last == first else ast.unparse(node)))
            found.update((f"{file}:{at}", statement) for at in range(first, last + 1))
    return found


def one_line(text: str) -> str:
    """Return text as a comment quotes it: ASCII, in one line, shortened."""
    line = " ".join(text.split()).encode("ascii", "replace").decode()
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 4].rstrip()} ..."


# names ---------------------------------------------------------------------------------------------------------------


def watched(
    body: Callable[..., Any], args: tuple[Any, ...], kinds: tuple[type, ...], enter: Callable[[Any, int, str, bool], None]
) -> None:
    """Run the body; call `enter(value, depth, name, parameter)` for the local variables, of `kinds`, of each function outside
    the language that runs in it: as it returns, and as it calls the language, so that a variable that is assigned again is
    seen before.

    `depth`: 0 for the body, more for functions that it calls; `parameter`: whether the variable is a parameter of those."""
    reached: dict[FrameType, tuple[int, int]] = {}  # line and instruction at which a function's variables were last seen

    def look(frame: FrameType) -> None:
        code, depth = frame.f_code, depth_of(frame)
        parameters = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount] if depth else ()
        for key, value in frame.f_locals.items():
            if isinstance(value, kinds) and key not in code.co_freevars:
                clean = "_".join(part for part in key.split("_") if part)
                if clean and clean[0].isalpha() and clean.isascii():
                    enter(value, depth, clean, key in parameters)

    def watch(frame: FrameType, event: str, _: Any) -> None:
        if event == "return" and describes(frame):
            reached.pop(frame, None)
            look(frame)
        elif event == "call" and (outer := frame.f_back) is not None and describes(outer) and not foreign(frame):
            line, instruction = reached.get(outer, (0, 0))
            reached[outer] = outer.f_lineno, outer.f_lasti
            if outer.f_lineno != line or outer.f_lasti <= instruction:
                look(outer)

    with profiled_by(watch):
        run(body, *args)


def describes(frame: FrameType) -> bool:
    """Return whether a frame is of a function, with variables of its own, that describes a block."""
    return foreign(frame) and not frame.f_code.co_name.startswith("<")


def depth_of(frame: FrameType) -> int:
    """Return how many functions outside the language are between a frame and the process."""
    depth, outer = 0, frame.f_back
    while outer is not None and outer.f_code is not run.__code__:
        depth += foreign(outer)
        outer = outer.f_back
    return depth


@contextmanager
def profiled_by(watch: Callable[[FrameType, str, Any], None]) -> Iterator[None]:
    """Run the body under another profile function; restore the previous one, if any, afterwards.

    A profiler in C (`cProfile`) appears as an object that `sys.setprofile` does not accept: it is disabled and enabled
    again."""
    before = sys.getprofile()
    if before is None or callable(before):
        sys.setprofile(watch)
        try:
            yield
        finally:
            sys.setprofile(before)
    else:
        before.disable()
        sys.setprofile(watch)
        try:
            yield
        finally:
            sys.setprofile(None)
            before.enable()
