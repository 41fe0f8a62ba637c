"""Mixtures of experts, however they were exported, become MoE: found by structure, read and proved by their values.

What lies between a router's logits L, the tokens x and a value y, and has activations of products of x inside, is a
candidate. Logits of 200 for one expert and 0 for the rest send a token to that expert with a gate of exactly 1 in every
published form of gating, and one-hot tokens and hidden units then give its weights column by column (times 2^40, so that
no bias rounds them). The candidate is a mixture when, on random tokens and logits, it has the values of one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from edgewright.frontend.onnx_reading.routing import Routed, Spread, leftovers
from edgewright.passes import ops
from edgewright.passes.diagnostics import CompileError, Diagnostic
from edgewright.passes.ir import Array, Graph, Node, Op, make, rebuild, topological
from edgewright.passes.ir.graph import moved
from edgewright.passes.ops.activations import ACTIVATIONS
from edgewright.passes.transform import Note, Pass

_SURE = np.float32(200.0)
_LARGE = np.float32(2.0**40)
_FORMS = "experts of two products with an activation between, gated by a softmax before or after the choice of the best K"
_TOLERANCE = 2e-4
_NAMES: dict[Op, str] = {op: name for name, op in ACTIVATIONS.items()}


class NotExperts(Exception):
    """A candidate that is not a mixture; the text says why."""


class NoExpert(NotExperts):
    """A router that chooses among more experts than there are."""


@dataclass(frozen=True, slots=True, eq=False)
class Hidden:
    """An activation inside a candidate. `token` (P,): whose token each index of axis `axis` is; the other axes joined are
    its units: `rows` (M,) one index for each token."""

    node: Node
    axis: int
    token: Array
    units: int

    def values(self, of_units: Array) -> Array:
        """Return (M, units) as the node's array."""
        others = [n for i, n in enumerate(self.node.shape) if i != self.axis]
        moved = of_units[self.token].reshape(len(self.token), *others)
        return np.ascontiguousarray(np.moveaxis(moved, 0, self.axis))

    def units_of(self, values: Array) -> Array:
        """Return the node's array as (M, units)."""
        flat: Array = np.moveaxis(values, self.axis, 0).reshape(len(self.token), -1)
        _, first = np.unique(self.token, return_index=True)
        return flat[first]


@dataclass(frozen=True, slots=True)
class FuseExperts(Pass):
    """Recognise mixtures of experts.

    Before: a router's TopK and everything between it and the sum of its experts. After: MoE; equal weights are one constant.
    Exact: within 2e-4 on random tokens and logits. Source: "Outrageously Large Neural Networks" (Shazeer et al., ICLR 2017).
    """

    def run(self, graph: Graph, note: Note) -> Graph:
        mixtures: dict[Node, tuple[ops.MoE, Node, Node, list[Array]]] = {}
        order = graph.nodes()
        descending = _last_uses(graph, order)
        for logits, starts in _routers(order).items():
            best: tuple[Node, ops.MoE, Node, list[Array]] | None = None
            for candidate in _merging(order, descending, starts):
                if best is not None and not _goes_on(best, candidate):
                    continue
                try:
                    best = (candidate, *read_candidate(candidate, logits, starts[0]))
                except NotExperts:
                    continue
            if best is not None:
                mixtures[best[0]] = (best[1], best[2], logits, best[3])
        if not mixtures:
            return graph
        note.count("mixtures", len(mixtures))
        shared: dict[bytes, Node] = {}
        done: dict[Node, Node] = {}

        def change(old: Node, operands: tuple[Node, ...]) -> Node:
            if old in mixtures:
                op, x, logits, weights = mixtures[old]
                done[old] = _mixture(old, op, done[x], done[logits], weights, shared)
            else:
                done[old] = moved(old, operands)
            return done[old]

        return rebuild(graph, change)


def _goes_on(best: tuple[Node, ops.MoE, Node, list[Array]], candidate: Node) -> bool:
    """Return whether a later value may be the whole of what `best` is a part of: experts side by side that are then added
    up, or a sum that is written as a mean times a number."""
    y, _, _, (_, _, w2, b2) = best
    if isinstance(candidate.op, ops.Mul) and y in candidate.inputs:
        return any(ops.scalar_of(operand) is not None for operand in candidate.inputs)
    experts, outs = b2.shape
    rows = w2.any(axis=2) | (b2 != 0)
    side_by_side = bool((rows.sum(axis=1) <= outs // experts).all()) and outs % experts == 0 and experts > 1
    return side_by_side and candidate.type.size * experts == y.type.size


def refuse_leftovers(graph: Graph) -> None:
    """Raise CompileError for routers that are left: E001, E002 or E004 where experts follow them, else why the reader refuses
    their operators."""
    order = graph.nodes()
    if not any(isinstance(node.op, Routed | Spread) for node in order):
        return
    refusals: list[Diagnostic] = []
    descending = _last_uses(graph, order)
    for logits, starts in _routers(order).items():
        reasons: list[NotExperts] = []
        for candidate in _merging(order, descending, starts):
            try:
                read_candidate(candidate, logits, starts[0])
            except NotExperts as error:
                reasons.append(error)
        reason = next((reason for reason in reversed(reasons) if str(reason)), None)
        if reason is not None:
            code = "E001" if isinstance(reason, NoExpert) else "E004"
            message = "a router does not match its experts" if code == "E001" else "a mixture of experts is not recognised"
            help_text = "export as many experts as the router has outputs" if code == "E001" else _FORMS
            refusals.append(Diagnostic(code, message, starts[0].name, str(reason), help_text))
    raise CompileError(refusals or leftovers(graph))


def _mixture(old: Node, op: ops.MoE, x: Node, logits: Node, weights: list[Array], shared: dict[bytes, Node]) -> Node:
    width, experts = weights[0].shape[2], weights[0].shape[0]
    origin = old.origin
    rows = x.type.size // width
    lead = x.shape[:2] if len(x.shape) == 3 else (1, rows)
    tokens = x if len(x.shape) == 3 else make(ops.Reshape((*lead, width)), x, origin=x.origin)
    scores = logits if logits.shape == (*lead, experts) else make(ops.Reshape((*lead, experts)), logits, origin=logits.origin)
    parts = []
    for name, array in zip(("w1", "b1", "w2", "b2"), weights, strict=True):
        key = repr(array.shape).encode() + array.tobytes()
        parts.append(shared.setdefault(key, ops.constant(array, tuple(f"{o}.{name}" for o in origin[:1]))))
    mixed = make(op, tokens, scores, *parts, origin=origin)
    return mixed if mixed.shape == old.shape else make(ops.Reshape(old.shape), mixed, origin=origin)


# ---- candidates


def _routers(order: list[Node]) -> dict[Node, list[Node]]:
    """Return the logits of every TopK, above a softmax and moves, with the TopK's results."""
    routers: dict[Node, list[Node]] = {}
    for node in order:
        if isinstance(node.op, Routed) and node.op.op_type == "TopK":
            logits = node.inputs[0]
            while isinstance(logits.op, ops.Softmax) or (
                isinstance(logits.op, ops.Reshape) and logits.inputs[0].shape[-1:] == logits.shape[-1:]
            ):
                logits = logits.inputs[0]
            routers.setdefault(logits, []).append(node)
    return routers


def _last_uses(graph: Graph, order: list[Node]) -> list[int]:
    """Return the position at which each node is read last; beyond the end for outputs."""
    position = {node: i for i, node in enumerate(order)}
    last = [-1] * len(order)
    for i, node in enumerate(order):
        for operand in node.inputs:
            last[position[operand]] = i
    for output in graph.outputs:
        last[position[output]] = len(order)
    return last


def _merging(order: list[Node], last: list[int], starts: list[Node]) -> Iterator[Node]:
    """Return the nodes through which everything that depends on `starts` goes, in order."""
    reached: set[Node] = set()
    open_until = -1
    for i, node in enumerate(order):
        if node in starts:
            reached.add(node)
        elif any(operand in reached for operand in node.inputs):
            reached.add(node)
            if open_until <= i and all(start in reached for start in starts):
                yield node
        else:
            continue
        open_until = max(open_until, last[i])


# ---- reading one


def read_candidate(y: Node, logits: Node, top_k: Node) -> tuple[ops.MoE, Node, list[Array]]:
    """Return the mixture that y computes from its tokens and the logits: the op, the tokens, w1, b1, w2, b2.

    NotExperts with the reason, empty where no activation lies inside.
    """
    experts, chosen = logits.shape[-1], top_k.shape[-1]
    tokens = logits.type.size // experts
    inside = _inside(y, logits)
    if not inside:
        raise NotExperts("")
    if len({node.op for node in inside}) != 1:
        raise NotExperts("experts have different activations")
    xs = {_tokens(node) for node in inside}
    if len(xs) != 1:
        raise NotExperts("what its experts read is not one value")
    (x,) = xs
    width = x.shape[-1] if x.shape else 1
    if x.type.size != tokens * width:
        raise NotExperts(f"its router has logits for {tokens} tokens, its experts read {x.shape}")
    if y.type.size % tokens:
        raise NotExperts(f"{y.shape} does not divide into {tokens} tokens")
    hidden = [_hidden(node, x, tokens) for node in inside]
    firsts = [_first(part, x, tokens) for part in hidden]
    weights = _by_expert(firsts, *_seconds(y, logits, hidden, tokens))
    scores = top_k.inputs[0]
    while isinstance(scores.op, ops.Reshape):
        scores = scores.inputs[0]
    op = _gating(y, x, logits, weights, chosen, _NAMES[inside[0].op], isinstance(scores.op, ops.Softmax))
    return op, x, weights


def _inside(y: Node, logits: Node) -> list[Node]:
    """Return the activations that y reads before anything but constants and the logits; NotExperts where it reads more."""
    from_logits: dict[Node, bool] = {logits: True}

    def depends(node: Node) -> bool:
        stack = [node]
        while stack:
            current = stack[-1]
            missing = [n for n in current.inputs if n not in from_logits] if current not in from_logits else []
            if missing:
                stack += missing
                continue
            from_logits.setdefault(current, any(from_logits[n] for n in current.inputs))
            stack.pop()
        return from_logits[node]

    activations: dict[Node, None] = {}
    seen: set[Node] = set()
    stack = [y]
    while stack:
        node = stack.pop()
        if node in seen or node is logits or isinstance(node.op, ops.Constant):
            continue
        seen.add(node)
        if node.op in _NAMES and not depends(node):
            activations[node] = None
            continue
        if not node.inputs:
            raise NotExperts("")
        stack += node.inputs
    return list(activations)


def _tokens(hidden: Node) -> Node:
    """Return the tokens that the product before an activation reads, before any moves."""
    node = hidden.inputs[0]
    for _ in range(16):
        computed = [n for n in node.inputs if not isinstance(n.op, ops.Constant)]
        if len(computed) != 1:
            break
        product = isinstance(node.op, ops.Linear | ops.MatMul) or (isinstance(node.op, Routed) and node.op.op_type == "Einsum")
        if not product and not isinstance(node.op, ops.Add | ops.Reshape | ops.Transpose):
            break
        node = computed[0]
        if product:
            while _moves_rows(node):
                node = node.inputs[0]
            return node
    raise NotExperts("an activation does not follow a product of tokens with weights")


def _moves_rows(node: Node) -> bool:
    """Return whether the node is a reshape that keeps the last axis, or rows picked by known indices."""
    if isinstance(node.op, ops.Reshape):
        return node.inputs[0].shape[-1:] == node.shape[-1:]
    return isinstance(node.op, ops.Gather) and node.op.axis == 0 and isinstance(node.inputs[1].op, ops.Constant)


def evaluate(target: Node, known: Mapping[Node, Array]) -> Array:
    """Return the value of a node from the known values of others; NotExperts where it depends on more than those."""
    values: dict[Node, Array] = dict(known)
    with np.errstate(all="ignore"):
        for node in topological([target], known)[len(known) :]:
            if not node.inputs and not isinstance(node.op, ops.Constant):
                raise NotExperts(f"it depends on {node.name}")
            values[node] = node.op.eval(*(values[operand] for operand in node.inputs))
    return values[target]


def _hidden(node: Node, x: Node, tokens: int) -> Hidden:
    """Find how an activation's axes hold tokens and units, from its response to multiples of one token."""
    before, rng = node.inputs[0], np.random.default_rng(0)
    direction = rng.normal(size=x.shape[-1]).astype(np.float32)

    def entered(factors: Array) -> Array:
        return evaluate(before, {x: (factors[:, None] * direction).astype(np.float32).reshape(x.shape)}).astype(np.float64)

    zero = entered(np.zeros(tokens))
    alike, numbered = entered(np.ones(tokens)) - zero, entered(np.arange(tokens)) - zero
    once_each = sorted(range(before.type.rank), key=lambda axis: before.shape[axis] != tokens)  # a single token fits any axis
    for axis in once_each:
        size = before.shape[axis]
        if size % tokens:
            continue
        a, b = (np.moveaxis(v, axis, 0).reshape(size, -1) for v in (alike, numbered))
        norm = (a * a).sum(axis=1)
        if not (norm > 0).all():
            continue
        number = np.rint((a * b).sum(axis=1) / norm)
        if np.allclose(b, number[:, None] * a, rtol=1e-3, atol=1e-3 * np.abs(b).max()):
            token = number.astype(np.int64)
            if set(token.tolist()) == set(range(tokens)):
                return Hidden(node, axis, token, before.type.size // size)
    raise NotExperts("hidden units do not belong to one token each")


def _first(hidden: Hidden, x: Node, tokens: int) -> tuple[Array, Array]:
    """Return w1 (units, d) and b1 (units,) of one activation."""
    before, width = hidden.node.inputs[0], x.shape[-1]
    bias = hidden.units_of(evaluate(before, {x: np.zeros(x.shape, np.float32)}))[0]
    columns = np.zeros((width, hidden.units), np.float32)
    for start in range(0, width, tokens):
        stop = min(start + tokens, width)
        probe = np.zeros((tokens, width), np.float32)
        probe[np.arange(stop - start), np.arange(start, stop)] = _LARGE
        responses = hidden.units_of(evaluate(before, {x: probe.reshape(x.shape)}))[: stop - start]
        columns[start:stop] = (responses - bias) / _LARGE
    return np.ascontiguousarray(columns.T), bias.astype(np.float32)


def _seconds(y: Node, logits: Node, hidden: list[Hidden], tokens: int) -> tuple[dict[int, Array], dict[int, Array], Array]:
    """Return for each expert its hidden units, counted over all activations, and w2 (o, units); b2 (N, o) of all."""
    experts, counts = logits.shape[-1], [part.units for part in hidden]
    units, outs = sum(counts), y.type.size // tokens

    def value(of_units: Array, sent: Array) -> Array:
        scores = np.zeros((tokens, experts), np.float32)
        scores[np.arange(tokens), sent] = _SURE
        known, start = {logits: scores.reshape(logits.shape)}, 0
        for part in hidden:
            known[part.node] = part.values(of_units[:, start : start + part.units])
            start += part.units
        return evaluate(y, known).reshape(tokens, outs)

    def probe(rows: Array, sent: Array) -> Array:
        """Return y of as many tokens as there are rows of units, each sent to an expert."""
        results = []
        for start in range(0, len(rows), tokens):
            part, goes = rows[start : start + tokens], sent[start : start + tokens]
            spare = tokens - len(part)
            values = value(np.pad(part, ((0, spare), (0, 0))), np.pad(goes, (0, spare)))
            results.append(values[: len(part)])
        return np.concatenate(results)

    every = np.arange(experts)
    b2 = probe(np.zeros((experts, units), np.float32), every)
    rng = np.random.default_rng(2)
    owned: list[list[Array]] = [[] for _ in range(experts)]
    for group in _groups(hidden, experts):
        rows = np.zeros((experts, units), np.float32)
        rows[:, group] = rng.uniform(1, 2, group.size)
        owners = np.flatnonzero((probe(rows, every) != b2).any(axis=1))
        if owners.size > 1 and group.size > 1:  # the group says nothing: each unit for itself
            for unit in group:
                rows = np.zeros((experts, units), np.float32)
                rows[:, unit] = _LARGE
                responds = np.flatnonzero((probe(rows, every) != b2).any(axis=1))
                if responds.size > 1:
                    raise NotExperts("experts share hidden units")
                if responds.size:
                    owned[responds[0]].append(np.array([unit]))
        elif owners.size > 1:
            raise NotExperts("experts share hidden units")
        elif owners.size:
            owned[owners[0]].append(group)
    mine = {e: np.concatenate(parts) if parts else np.zeros(0, np.int64) for e, parts in enumerate(owned)}
    pairs = [(expert, unit) for expert, members in mine.items() for unit in members.tolist()]
    if not pairs:
        raise NotExperts("nothing that it activates reaches its result")
    sent, which = (np.array(column) for column in zip(*pairs, strict=True))
    columns = np.zeros((len(pairs), outs), np.float32)
    step = max(tokens, (1 << 22) // units)
    for start in range(0, len(pairs), step):
        rows = np.zeros((len(pairs[start : start + step]), units), np.float32)
        rows[np.arange(len(rows)), which[start : start + step]] = _LARGE
        goes = sent[start : start + step]
        columns[start : start + step] = (probe(rows, goes) - b2[goes]) / _LARGE
    return mine, {e: columns[sent == e].T for e in range(experts)}, b2


def _groups(hidden: list[Hidden], experts: int) -> Iterator[Array]:
    """Return units that are likely one expert's: an activation's own, or one index of an axis as long as there are experts."""
    start = 0
    for part in hidden:
        shape = tuple(n for i, n in enumerate(part.node.shape) if i != part.axis)
        numbers = start + np.arange(part.units).reshape(shape)
        axis = shape.index(experts) if experts in shape and len(hidden) == 1 else None
        if axis is None:
            yield numbers.reshape(-1)
        else:
            yield from np.moveaxis(numbers, axis, 0).reshape(experts, -1)
        start += part.units


def _by_expert(firsts: list[tuple[Array, Array]], owned: dict[int, Array], seconds: dict[int, Array], b2: Array) -> list[Array]:
    """Return w1, b1, w2, b2 with the experts first; a narrower expert has units of zeros."""
    w1, b1 = (np.concatenate(parts) for parts in zip(*firsts, strict=True))
    missing = [e for e, members in owned.items() if not members.size and not b2[e].any()]
    if missing:
        raise NoExpert(f"its router has {len(b2)} logits, and there is no expert for {', '.join(map(str, missing))}")
    hidden = max(members.size for members in owned.values())
    result = [np.zeros((len(b2), hidden, w1.shape[1]), np.float32), np.zeros((len(b2), hidden), np.float32)]
    result += [np.zeros((len(b2), b2.shape[1], hidden), np.float32), b2]
    for expert, members in owned.items():
        result[0][expert, : members.size], result[1][expert, : members.size] = w1[members], b1[members]
        result[2][expert, :, : members.size] = seconds[expert]
    return result


def _gating(y: Node, x: Node, logits: Node, weights: list[Array], chosen: int, activation: str, before: bool) -> ops.MoE:
    """Return the form of gating that has y's values on random tokens and logits."""
    rng = np.random.default_rng(1)
    experts, width = weights[0].shape[0], x.shape[-1]
    tokens = x.type.size // width
    rows = rng.normal(size=(1, tokens, width)).astype(np.float32)
    scores = 2 * rng.normal(size=(1, tokens, experts)).astype(np.float32)
    values = evaluate(y, {x: rows.reshape(x.shape), logits: scores.reshape(logits.shape)}).reshape(tokens, -1)
    normalised = ops.MoE(chosen, "before", True, activation) if before else ops.MoE(chosen, "after", False, activation)
    for op in (ops.MoE(chosen, "before", False, activation), normalised):
        want = op.eval(rows, scores, *weights).reshape(tokens, -1)
        if np.allclose(values, want, rtol=_TOLERANCE, atol=_TOLERANCE * max(1e-6, float(np.abs(want).max()))):
            return op
    raise NotExperts("its gates are not a softmax before or after the choice of the best")
