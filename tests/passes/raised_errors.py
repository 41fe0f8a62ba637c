"""The diagnostics that the source constructs, as patterns: what may be printed for each code."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
LAYERS = ("frontend", "sim", "hw", "targets", "passes")
CONSTRUCTORS = ("Diagnostic", "fail", "refuse", "_refuse")  # (code, message, at, because, help); others wrap one of them
PARTS = ("message", "at", "because", "help")
CODE = re.compile(r"[A-Z]\d{3}")
ANYTHING = "(?s:.*)"
_FIELD = re.compile(r"\\\{\w+\\\}")  # a name that str.format fills in
DEEPEST = 6  # names that stand for names

Names = dict[str, list[ast.expr | None]]  # what is assigned to a name in one scope; None: something unknown


@dataclass(frozen=True)
class Raised:
    """One place that constructs a diagnostic. patterns: for each part; a wrapper has only "message", of any argument."""

    place: str
    code: str
    patterns: Mapping[str, frozenset[str]]

    def prints(self, parts: Mapping[str, str]) -> bool:
        """Return whether these parts can be printed by this place; `at` comes from the model and is not compared."""
        return all(
            any(re.fullmatch(pattern, parts.get(part, "")) for pattern in patterns)
            for part, patterns in self.patterns.items()
            if part != "at"
        )


def raised_errors() -> dict[str, list[Raised]]:
    """Return the places that construct diagnostics, by code."""
    places: dict[str, list[Raised]] = defaultdict(list)
    for layer in LAYERS:
        for path in sorted((ROOT / layer).rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            for raised in _calls(tree, [_assigned(tree.body)], str(path.relative_to(ROOT))):
                places[raised.code].append(raised)
    return places


def _calls(node: ast.AST, scopes: Sequence[Names], path: str) -> Iterator[Raised]:
    if isinstance(node, ast.FunctionDef):
        arguments = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
        scopes = [{**{a.arg: [None] for a in arguments}, **_assigned(node.body)}, *scopes]
    if isinstance(node, ast.Call):
        for index, argument in enumerate(node.args):
            for code in _codes(argument, scopes):
                yield Raised(f"{path}:{node.lineno}", code, _patterns_of(node, index, scopes))
    for child in ast.iter_child_nodes(node):
        yield from _calls(child, scopes, path)


def _codes(node: ast.expr, scopes: Sequence[Names]) -> list[str]:
    if isinstance(node, ast.IfExp):
        return _codes(node.body, scopes) + _codes(node.orelse, scopes)
    if isinstance(node, ast.Name):
        values = next((scope[node.id] for scope in scopes if node.id in scope), [])
        return [code for value in values if value is not None for code in _codes(value, [])]
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and CODE.fullmatch(node.value):
        return [node.value]
    return []


def _patterns_of(call: ast.Call, index: int, scopes: Sequence[Names]) -> dict[str, frozenset[str]]:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    keywords = {"help" if k.arg == "hint" else k.arg: k.value for k in call.keywords}
    if name not in CONSTRUCTORS:
        arguments = [*call.args[:index], *call.args[index + 1 :], *keywords.values()]
        return {"message": frozenset().union(*(_patterns(argument, scopes) for argument in arguments))}
    positional = dict(zip(PARTS, call.args[index + 1 :], strict=False))
    given = {part: positional.get(part, keywords.get(part)) for part in PARTS}
    return {part: _patterns(value, scopes) if value else frozenset([""]) for part, value in given.items()}


def _patterns(node: ast.expr, scopes: Sequence[Names], depth: int = DEEPEST) -> frozenset[str]:
    """Return regular expressions of the texts that an expression can have."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return frozenset([_FIELD.sub(lambda _: ANYTHING, re.escape(node.value))])
    if isinstance(node, ast.JoinedStr):
        parts = (re.escape(str(v.value)) if isinstance(v, ast.Constant) else ANYTHING for v in node.values)
        return frozenset(["".join(parts)])
    if isinstance(node, ast.IfExp):
        return _patterns(node.body, scopes, depth) | _patterns(node.orelse, scopes, depth)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        starts, ends = _patterns(node.left, scopes, depth), _patterns(node.right, scopes, depth)
        return frozenset(start + end for start in starts for end in ends)
    if isinstance(node, ast.Name) and depth:
        values = next((scope[node.id] for scope in scopes if node.id in scope), [None])
        alternatives = (_patterns(v, scopes, depth - 1) if v is not None else frozenset([ANYTHING]) for v in values)
        return frozenset().union(*alternatives)
    return frozenset([ANYTHING])


def _assigned(body: Sequence[ast.stmt]) -> Names:
    """Return what the statements of one scope assign to names."""
    names: Names = defaultdict(list)
    for statement in body:
        for node in ast.walk(statement):
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    _bind(target, node.value, names)
            elif isinstance(node, ast.AnnAssign | ast.NamedExpr):
                _bind(node.target, node.value, names)
            elif isinstance(node, ast.For | ast.comprehension):
                _bind(node.target, None, names)
    return dict(names)


def _bind(target: ast.expr, value: ast.expr | None, names: Names) -> None:
    if isinstance(target, ast.Name):
        names[target.id].append(value)
    elif isinstance(target, ast.Tuple):
        elements = value.elts if isinstance(value, ast.Tuple) and len(value.elts) == len(target.elts) else None
        for i, element in enumerate(target.elts):
            _bind(element, elements[i] if elements else None, names)
