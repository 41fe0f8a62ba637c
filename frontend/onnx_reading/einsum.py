"""The reader of Einsum: as sums, transposes and batched products, so that idioms in it are recognised like any others."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgewright.frontend.onnx_reading.site import Results, Site, Unsupported, reads
from edgewright.passes.ir import Node
from edgewright.passes.ops import MatMul, Mul, ReduceMean, value_of

_LARGEST_RESULT, _LARGEST_WORK = 1 << 26, 1 << 33
Labels = tuple[str, ...]  # one for each axis; those of an ellipsis are numbers from the last axis on


@dataclass(frozen=True, slots=True)
class _Term:
    """A value whose axes have labels."""

    node: Node
    labels: Labels

    def size(self, label: str) -> int:
        return self.node.shape[self.labels.index(label)]


@reads("Einsum")
def read_einsum(site: Site) -> Results:
    """Read Einsum by contracting operands from left to right; a label twice in one operand (a diagonal) is refused."""
    equation = site.node.attributes["equation"].as_string().replace(" ", "")
    left, arrow, right = equation.partition("->")
    written = left.split(",")
    if len(written) != len(site.operands):
        raise Unsupported(f"its equation {equation!r} is not for {len(site.operands)} operands")
    terms = [_labelled(site.input(i), text, equation) for i, text in enumerate(written)]
    result = _result(terms, right if arrow else None, equation)
    _check_size(terms, result)
    first, *rest = terms
    for i, term in enumerate(rest):
        needed = {*result, *(label for later in rest[i + 1 :] for label in later.labels)}
        first = _joined(site, first, term, needed, result)
    summed = _summed(site, first, set(result))
    missing = [label for label in result if label not in summed.labels]
    if missing:
        raise Unsupported(f"its equation {equation!r} has axes that no operand has")
    return _ordered(site, summed, result).node


def _labelled(node: Node, text: str, equation: str) -> _Term:
    before, dots, after = text.partition("...")
    unlabelled = node.type.rank - len(before) - len(after)
    if unlabelled < 0 or (unlabelled and not dots) or not (before + after + "a").isalpha():
        raise Unsupported(f"its equation {equation!r} does not fit an operand {node.shape}")
    labels = (*before, *(str(unlabelled - i) for i in range(unlabelled)), *after)
    if len(set(labels)) != len(labels):
        raise Unsupported(f"its equation {equation!r} takes a diagonal")
    return _Term(node, labels)


def _check_size(terms: list[_Term], result: Labels) -> None:
    """Refuse results that are too large, and contractions of constants, which are computed now, that take too long."""
    sizes: dict[str, int] = {}
    for term in terms:
        for label, n in zip(term.labels, term.node.shape, strict=True):
            sizes[label] = max(n, sizes.get(label, 1))
    elements, products = math.prod(sizes.get(label, 1) for label in result), math.prod(sizes.values())
    if elements > _LARGEST_RESULT or (products > _LARGEST_WORK and all(value_of(term.node) is not None for term in terms)):
        raise Unsupported(f"its result has {elements:,} elements of {products:,} products")


def _result(terms: list[_Term], written: str | None, equation: str) -> Labels:
    """Return the result's labels: as written, or those that occur once, in alphabetical order."""
    known = [label for term in terms for label in term.labels]
    dots = sorted({label for label in known if label.isdigit()}, key=int, reverse=True)
    if written is None:
        return (*dots, *sorted(label for label in set(known) if known.count(label) == 1 and not label.isdigit()))
    before, ellipsis, after = written.partition("...")
    labels = (*before, *(dots if ellipsis else ()), *after)
    if len(set(labels)) != len(labels) or not set(labels) <= set(known):
        raise Unsupported(f"its equation {equation!r} has a result that does not follow from its operands")
    return labels


def _summed(site: Site, term: _Term, needed: set[str]) -> _Term:
    """Return the term summed over the axes that are not needed any more."""
    axes = tuple(i for i, label in enumerate(term.labels) if label not in needed)
    if not axes:
        return term
    mean = site.make(ReduceMean(axes, False), term.node)
    count = math.prod(term.node.shape[i] for i in axes)
    total = mean if count == 1 else site.make(Mul(), mean, site.scalar(count))
    return _Term(total, tuple(label for label in term.labels if label in needed))


def _ordered(site: Site, term: _Term, labels: Labels) -> _Term:
    perm = tuple(term.labels.index(label) for label in labels)
    return term if perm == tuple(range(len(perm))) else _Term(site.transpose(term.node, *perm), labels)


def _joined(site: Site, a: _Term, b: _Term, needed: set[str], result: Labels) -> _Term:
    """Return the product of two terms, summed over the axes that both have and nothing else needs."""
    both = [label for label in a.labels if label in b.labels]
    for label in both:
        if a.size(label) != b.size(label) and 1 not in (a.size(label), b.size(label)):
            raise Unsupported(f"its operands {a.node.shape} and {b.node.shape} differ in size")
    a = _summed(site, a, needed | set(b.labels))
    b = _summed(site, b, needed | set(a.labels))
    inner = [label for label in both if label not in needed]
    for label in inner:
        if a.size(label) != b.size(label):
            raise Unsupported(f"it sums over an axis that is {a.size(label)} and {b.size(label)} long")
    batch = [label for label in both if label in needed]
    if value_of(a.node) is not None and value_of(b.node) is None and not batch:
        a, b = b, a  # weights to the right
    order = [label for label in result if label in batch] + [label for label in batch if label not in result]
    left = [label for label in a.labels if label not in both]
    right = [label for label in b.labels if label not in both]
    if not inner:
        return _multiplied(site, a, b, (*order, *left, *right))
    by_a, by_b = [label for label in a.labels if label in inner], [label for label in b.labels if label in inner]
    inner = by_a if value_of(a.node) is None else by_b  # the computed side is not transposed
    x = _ordered(site, a, (*order, *left, *inner)).node
    y = _ordered(site, b, (*order, *inner, *right)).node
    lead, width = len(order), math.prod(a.size(label) for label in inner)
    ends = tuple(a.size(label) for label in left), tuple(b.size(label) for label in right)
    plain = not order and len(inner) == 1 and value_of(y) is not None and x.type.rank >= 2
    if not plain:  # (batch axes, rows, inner) and (batch axes, inner, columns)
        x = site.reshape(x, (*x.shape[:lead], math.prod(ends[0]), width))
    y = site.reshape(y, (*y.shape[:lead], width, math.prod(ends[1])))
    product = site.make(MatMul(), x, y)
    shape = (*product.shape[:lead], *ends[0], *ends[1])
    return _Term(site.reshape(product, shape), (*order, *left, *right))


def _multiplied(site: Site, a: _Term, b: _Term, labels: Labels) -> _Term:
    """Return the elementwise product, with axes of 1 for labels that a side lacks."""
    sides = []
    for term in (a, b):
        node = _ordered(site, term, tuple(label for label in labels if label in term.labels)).node
        shape = tuple(term.size(label) if label in term.labels else 1 for label in labels)
        sides.append(site.reshape(node, shape))
    return _Term(site.make(Mul(), *sides), labels)
