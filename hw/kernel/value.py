"""Values in the body of a process. Each operation makes one node of exact width."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

import numpy as np
from edgewright.hw.kernel import ir
from edgewright.hw.kernel.affine import fitted
from edgewright.hw.kernel.source import origin
from edgewright.hw.kernel.types import Array, Int, Leaf, Struct, Type, elem_of, leaf, of_range, shape_of, size_of, u, union

Operand = Any  # Value | int | bool | numpy integers: anything `as_value` takes


def make(op: ir.Op, args: Sequence[Value], type_: Leaf) -> Value:
    return Value(ir.Node(op, tuple(a.node for a in args), type_, origin()))


class Value:
    """An integer or array at one point of the body. Operators widen exactly; only wrap, sat, clamp and fit narrow."""

    __hash__ = None  # type: ignore[assignment]
    __array_ufunc__ = None

    def __init__(self, node: ir.Node) -> None:
        self.node = node

    @property
    def type(self) -> Leaf:
        assert not isinstance(self.node.type, Struct)
        return self.node.type

    @property
    def elem(self) -> Int:
        return elem_of(self.type)

    @property
    def shape(self) -> tuple[int, ...]:
        return shape_of(self.type)

    @property
    def bits(self) -> int:
        return self.elem.bits

    @property
    def signed(self) -> bool:
        return self.elem.signed

    def __repr__(self) -> str:
        return f"<{type(self.node.op).__name__} {self.type} at {self.node.where}>"

    def __bool__(self) -> NoReturn:
        raise TypeError(f"{self!r} is known only in hardware: use select(), & and | instead of if, and, or")

    def __iter__(self) -> Any:
        if not self.shape:
            raise TypeError(f"{self!r} is a scalar, it cannot be iterated")
        return (self[n] for n in range(self.shape[0]))

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError(f"{self!r} is a scalar, it has no length")
        return self.shape[0]

    def __add__(self, other: Operand) -> Value:
        return arithmetic(ir.Add(), self, other, lambda a, b: (a.low + b.low, a.high + b.high))

    def __radd__(self, other: Operand) -> Value:
        return as_value(other) + self

    def __sub__(self, other: Operand) -> Value:
        return arithmetic(ir.Sub(), self, other, lambda a, b: (a.low - b.high, a.high - b.low), signed=True)

    def __rsub__(self, other: Operand) -> Value:
        return as_value(other) - self

    def __mul__(self, other: Operand) -> Value:
        def corners(a: Int, b: Int) -> tuple[int, int]:
            products = [x * y for x in (a.low, a.high) for y in (b.low, b.high)]
            return min(products), max(products)

        return arithmetic(ir.Mul(), self, other, corners)

    def __rmul__(self, other: Operand) -> Value:
        return as_value(other) * self

    def __and__(self, other: Operand) -> Value:
        return arithmetic(ir.And(), self, other, spanned)

    def __rand__(self, other: Operand) -> Value:
        return as_value(other) & self

    def __or__(self, other: Operand) -> Value:
        return arithmetic(ir.Or(), self, other, spanned)

    def __ror__(self, other: Operand) -> Value:
        return as_value(other) | self

    def __xor__(self, other: Operand) -> Value:
        return arithmetic(ir.Xor(), self, other, spanned)

    def __rxor__(self, other: Operand) -> Value:
        return as_value(other) ^ self

    def __invert__(self) -> Value:
        return make(ir.Not(), (self,), self.type)

    def __neg__(self) -> Value:
        e = signed_range(-self.elem.high, -self.elem.low)
        return make(ir.Neg(), (self,), leaf(e, self.shape))

    def __eq__(self, other: Operand) -> Value:  # type: ignore[override]
        return compare("eq", self, other)

    def __ne__(self, other: Operand) -> Value:  # type: ignore[override]
        return compare("ne", self, other)

    def __lt__(self, other: Operand) -> Value:
        return compare("lt", self, other)

    def __le__(self, other: Operand) -> Value:
        return compare("le", self, other)

    def __gt__(self, other: Operand) -> Value:
        return compare("gt", self, other)

    def __ge__(self, other: Operand) -> Value:
        return compare("ge", self, other)

    def __lshift__(self, n: Operand) -> Value:
        return shl(self, n)

    def __rshift__(self, n: Operand) -> Value:
        return shr(self, n)

    def __getitem__(self, key: Any) -> Value:
        keys = key if isinstance(key, tuple) else (key,)
        if any(isinstance(k, Value) for k in keys):
            raise TypeError("the index is known only in hardware: use index(x, i)")
        positions = np.arange(size_of(self.shape)).reshape(self.shape)[key]
        return gather_view(self, positions)

    def reshape(self, *shape: int | tuple[int, ...]) -> Value:
        target = shape[0] if len(shape) == 1 and isinstance(shape[0], tuple) else shape
        return gather_view(self, np.arange(size_of(self.shape)).reshape(self.shape).reshape(target))

    def transpose(self, *axes: int) -> Value:
        positions = np.arange(size_of(self.shape)).reshape(self.shape)
        return gather_view(self, positions.transpose(*axes) if axes else positions.transpose())

    @property
    def T(self) -> Value:
        return self.transpose()

    def broadcast_to(self, shape: tuple[int, ...]) -> Value:
        return gather_view(self, np.broadcast_to(np.arange(size_of(self.shape)).reshape(self.shape), shape))

    def sum(self, axis: int | tuple[int, ...] | None = None) -> Value:
        return reduce("add", self, axis)

    def max(self, axis: int | tuple[int, ...] | None = None) -> Value:
        return reduce("max", self, axis)

    def min(self, axis: int | tuple[int, ...] | None = None) -> Value:
        return reduce("min", self, axis)

    def any(self, axis: int | tuple[int, ...] | None = None) -> Value:
        return reduce("or", self, axis)

    def all(self, axis: int | tuple[int, ...] | None = None) -> Value:
        return reduce("and", self, axis)


class StructValue:
    """Named values, as attributes: the result of p.read of a struct channel, or of `struct(...)`."""

    def __init__(self, fields: dict[str, Value | StructValue], name: str = "struct") -> None:
        self._fields = fields
        self._name = name

    def __getattr__(self, key: str) -> Any:
        try:
            return self.__dict__["_fields"][key]
        except KeyError:
            raise AttributeError(f"{self._name} has no field {key!r}, only {list(self._fields)}") from None

    def __repr__(self) -> str:
        return f"<{self._name} {self._fields}>"

    def _replace(self, **fields: Operand) -> StructValue:
        """Return a copy with some fields replaced."""
        for key in fields:
            if key not in self._fields:
                raise AttributeError(f"{self._name} has no field {key!r}, only {list(self._fields)}")
        return StructValue({**self._fields, **{k: as_part(v) for k, v in fields.items()}}, self._name)


def struct(**fields: Operand) -> StructValue:
    """Make a struct value for p.write and p.store; fields are matched by name with those of the channel or buffer."""
    return StructValue({k: as_part(v) for k, v in fields.items()})


def as_part(x: Operand) -> Any:
    return x if isinstance(x, StructValue) else as_value(x)


def as_value(x: Operand) -> Value:
    """Convert Python and numpy integers (and arrays of them) to constants of the narrowest type."""
    if isinstance(x, Value):
        return x
    if isinstance(x, StructValue):
        raise TypeError(f"{x!r} is a struct where an integer or array is wanted")
    if isinstance(x, (bool, int, np.integer, np.bool_)):
        return const(int(x), of_range(int(x), int(x)))
    if isinstance(x, np.ndarray):
        flat = [int(v) for v in x.flat]
        return const(x, leaf(of_range(min(flat), max(flat)), x.shape))
    raise TypeError(f"{x!r} ({type(x).__name__}) is not a hardware value")


def const(values: Any, type_: Leaf) -> Value:
    """Make a constant; `values` is an int or an array-like of the type's shape, each in the type's range."""
    array = np.array(values, dtype=object)
    if array.shape != shape_of(type_):
        if array.shape != ():
            raise TypeError(f"constant of shape {array.shape} for type {type_}")
        array = np.broadcast_to(array, shape_of(type_))
    flat = tuple(int(v) for v in array.flat)
    e = elem_of(type_)
    for v in flat:
        if not e.low <= v <= e.high:
            raise ValueError(f"constant {v} does not fit {e}")
    return make(ir.Const(flat), (), type_)


def broadcast(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        raise TypeError(f"shapes {' and '.join(map(str, shapes))} do not broadcast") from None


def signed_range(low: int, high: int) -> Int:
    """Like `of_range`, always signed."""
    e = of_range(low, high)
    return e if e.signed else Int(e.bits + 1, True)


def spanned(a: Int, b: Int) -> tuple[int, int]:
    return min(a.low, b.low), max(a.high, b.high)


def arithmetic(op: ir.Op, a: Value, other: Operand, span: Callable[[Int, Int], tuple[int, int]], signed: bool = False) -> Value:
    b = as_value(other)
    low, high = span(a.elem, b.elem)
    e = signed_range(low, high) if signed or a.signed or b.signed else of_range(low, high)
    return make(op, (a, b), leaf(e, broadcast(a.shape, b.shape)))


def compare(kind: ir.CompareKind, a: Value, other: Operand) -> Value:
    b = as_value(other)
    return make(ir.Compare(kind), (a, b), leaf(u(1), broadcast(a.shape, b.shape)))


def gather_view(x: Value, positions: Any) -> Value:
    """Return the elements of x at flat `positions`: one Strided where they are affine in the indices, else element by
    element."""
    positions = np.asarray(positions)
    if positions.size == 0:
        raise TypeError(f"empty part of {x.type}")
    op = fitted(positions)
    if op is not None:
        return make(op, (x,), leaf(x.elem, positions.shape))
    return stack([gather_view(x, p) for p in positions])


def select(c: Operand, a: Operand, b: Operand) -> Any:
    """Return a where c (u1), else b. Structs field by field. The type holds both."""
    if isinstance(a, StructValue) and isinstance(b, StructValue):
        return StructValue({k: select(c, v, getattr(b, k)) for k, v in a._fields.items()}, a._name)
    condition, x, y = as_value(c), as_value(a), as_value(b)
    if condition.elem != u(1):
        raise TypeError(f"the condition of a select is u1, not {condition.type}")
    shape = broadcast(condition.shape, x.shape, y.shape)
    return make(ir.Select(), (condition, x, y), leaf(union(x.elem, y.elem), shape))


def minimum(a: Operand, b: Operand) -> Value:
    x, y = as_value(a), as_value(b)
    (low_x, high_x), (low_y, high_y) = span_of(x), span_of(y)
    e = of_range(min(low_x, low_y), min(high_x, high_y))
    return make(ir.Min(), (x, y), leaf(e, broadcast(x.shape, y.shape)))


def maximum(a: Operand, b: Operand) -> Value:
    x, y = as_value(a), as_value(b)
    (low_x, high_x), (low_y, high_y) = span_of(x), span_of(y)
    e = of_range(max(low_x, low_y), max(high_x, high_y))
    return make(ir.Max(), (x, y), leaf(e, broadcast(x.shape, y.shape)))


def span_of(x: Value) -> tuple[int, int]:
    """Return the range of a value: exact for constants, else the type's."""
    if isinstance(x.node.op, ir.Const):
        return min(x.node.op.values), max(x.node.op.values)
    return x.elem.low, x.elem.high


def absolute(x: Operand) -> Value:
    v = as_value(x)
    return v if not v.signed else make(ir.Abs(), (v,), leaf(of_range(0, -v.elem.low), v.shape))


def shl(x: Operand, n: Operand, max_bits: int | None = None) -> Value:
    """Return x * 2^n. If n is a Value, the result has max_bits bits (default: enough for the largest n); more is an error."""
    v = as_value(x)
    if isinstance(n, (int, np.integer)):
        if n < 0:
            raise ValueError(f"shift by {n}")
        return v if n == 0 else make(ir.Shl(int(n)), (v,), leaf(Int(v.bits + int(n), v.signed), v.shape))
    amount = unsigned(as_value(n), "shift amount")
    bits = v.bits + amount.elem.high if max_bits is None else max_bits
    return make(ir.ShlBy(), (v, amount), leaf(Int(bits, v.signed), broadcast(v.shape, amount.shape)))


def shr(x: Operand, n: Operand) -> Value:
    """Return floor(x / 2^n). A constant n removes n bits from the type (at least one stays)."""
    v = as_value(x)
    if isinstance(n, (int, np.integer)):
        if n < 0:
            raise ValueError(f"shift by {n}")
        if n == 0:
            return v
        amount = min(int(n), v.bits if not v.signed else v.bits - 1)
        return make(ir.Shr(int(n)), (v,), leaf(Int(max(1, v.bits - amount), v.signed), v.shape))
    amount_value = unsigned(as_value(n), "shift amount")
    return make(ir.ShrBy(), (v, amount_value), leaf(v.elem, broadcast(v.shape, amount_value.shape)))


def round_shift(x: Operand, n: Operand) -> Value:
    """Return x for n = 0, else (x + 2^(n-1)) >> n: to nearest, ties towards +infinity; exact width, never wraps."""
    v = as_value(x)
    if isinstance(n, (int, np.integer)):
        if n == 0:
            return v
        half = v if n == 1 else shr(v, int(n) - 1)
        return shr(half + 1, 1)
    twice = shr(shl(v, 1), n) + 1
    return wrap(shr(twice, 1), v.elem)


def unsigned(x: Value, what: str) -> Value:
    if x.signed:
        raise TypeError(f"the {what} must be unsigned, not {x.type}: wrap or clamp it first")
    return x


def bit_length(x: Operand) -> Value:
    """Return the number of significant bits of an unsigned x, 0 for 0."""
    v = unsigned(as_value(x), "operand of bit_length")
    return make(ir.BitLength(), (v,), leaf(of_range(0, v.bits), v.shape))


def cast(mode: ir.CastMode, x: Operand, type_: Leaf) -> Value:
    v = as_value(x)
    if isinstance(type_, Array) and type_.shape != v.shape:
        raise TypeError(f"{mode} of {v.type} to {type_}: shapes differ")
    e = elem_of(type_)
    if e == v.elem:
        return v
    return make(ir.Cast("wrap" if e.holds(v.elem) else mode), (v,), leaf(e, v.shape))


def wrap(x: Operand, type_: Leaf) -> Value:
    """Convert x to another type by its low bits (exact where the type is wider). An element type applies to each element."""
    return cast("wrap", x, type_)


def sat(x: Operand, type_: Leaf) -> Value:
    """Clamp x to the range of the type."""
    return cast("sat", x, type_)


def fit(x: Operand, type_: Leaf) -> Value:
    """Convert x, asserting that it is in the range of the type."""
    return cast("fit", x, type_)


def clamp(x: Operand, low: int, high: int) -> Value:
    """Limit x to low..high (ints), in the narrowest type for that range."""
    if low > high:
        raise ValueError(f"clamp to the empty range {low}..{high}")
    v = as_value(x)
    e = of_range(min(max(v.elem.low, low), high), max(min(v.elem.high, high), low))
    return wrap(maximum(minimum(v, high), low), e)


def index(x: Value, i: Operand) -> Value:
    """Return x[i] along axis 0 for a Value i (a mux); a vector i of n gives n results. i must be in range."""
    if not x.shape:
        raise TypeError(f"{x!r} is a scalar, it cannot be indexed")
    if isinstance(i, (int, np.integer)):
        return x[int(i)]
    at = unsigned(as_value(i), "index")
    if len(at.shape) > 1:
        raise TypeError(f"an index is a scalar or vector, not {at.type}")
    return make(ir.Index(), (x, at), leaf(x.elem, at.shape + x.shape[1:]))


def concat(values: Iterable[Operand], axis: int = 0) -> Value:
    """Join arrays along an existing axis; element types are widened to one."""
    parts = [as_value(v) for v in values]
    if not parts or not parts[0].shape:
        raise TypeError("concat wants arrays (stack joins scalars)")
    e = union(*(p.elem for p in parts))
    axis = axis % len(parts[0].shape)
    rest = {p.shape[:axis] + p.shape[axis + 1 :] for p in parts}
    if len(rest) != 1 or len({len(p.shape) for p in parts}) != 1:
        raise TypeError(f"concat of {', '.join(str(p.type) for p in parts)} along axis {axis}")
    if len(parts) == 1:
        return parts[0]
    shape = list(parts[0].shape)
    shape[axis] = sum(p.shape[axis] for p in parts)
    return make(ir.Concat(axis), [wrap(p, e) for p in parts], leaf(e, tuple(shape)))


def stack(values: Iterable[Operand], axis: int = 0) -> Value:
    """Join values of one shape along a new axis; element types are widened to one."""
    parts = [as_value(v) for v in values]
    if not parts:
        raise TypeError("stack of nothing")
    rank = len(parts[0].shape) + 1
    axis = axis % rank
    return concat([p[(*([slice(None)] * axis), None)] for p in parts], axis)


def reduce(kind: ir.ReduceKind, x: Value, axis: int | tuple[int, ...] | None) -> Value:
    rank = len(x.shape)
    if rank == 0:
        raise TypeError(f"{x!r} is a scalar, there is nothing to reduce")
    axes = tuple(range(rank)) if axis is None else (axis,) if isinstance(axis, int) else axis
    if any(not -rank <= a < rank for a in axes):
        raise TypeError(f"axis {axis} of {x.type}")
    axes = tuple(sorted({a % rank for a in axes}))
    n = size_of(tuple(x.shape[a] for a in axes))
    e = x.elem
    if kind == "add":
        e = signed_range(n * e.low, n * e.high) if e.signed else of_range(0, n * e.high)
    shape = tuple(s for a, s in enumerate(x.shape) if a not in axes)
    return make(ir.Reduce(kind, axes), (x,), leaf(e, shape))


def cat_bits(*values: Operand) -> Value:
    """Join bit patterns elementwise, the first argument in the least significant bits; unsigned."""
    parts = [as_value(v) for v in values]
    shape = broadcast(*(p.shape for p in parts))
    return make(ir.CatBits(), parts, leaf(u(sum(p.bits for p in parts)), shape))


def bits(x: Operand, high: int, low: int) -> Value:
    """Return bits high..low of each element as an unsigned number."""
    v = as_value(x)
    if not 0 <= low <= high < v.bits:
        raise ValueError(f"bits {high}..{low} of {v.type}")
    return make(ir.Bits(high, low), (v,), leaf(u(high - low + 1), v.shape))


def reinterpret(x: Operand, type_: Type) -> Any:
    """Reinterpret the packed bits of x as another type of the same total width (structs too)."""
    from edgewright.hw.kernel.types import leaves, width

    v = as_value(x)
    if width(v.type) != width(type_):
        raise TypeError(f"reinterpret of {v.type} ({width(v.type)} bits) as {type_} ({width(type_)} bits)")
    if not isinstance(type_, Struct):
        return v if v.type == type_ else make(ir.Reinterpret(), (v,), type_)
    flat = reinterpret(v, u(width(type_)))
    parts = {path: reinterpret(bits(flat, at + width(t) - 1, at), t) for path, t, at in leaves(type_)}
    return nest(type_, parts)


def nest(type_: Struct, parts: dict[tuple[str, ...], Value], path: tuple[str, ...] = ()) -> StructValue:
    """Build the struct value from leaf values by path."""
    fields: dict[str, Value | StructValue] = {}
    for name, part in type_.fields:
        here = (*path, name)
        fields[name] = nest(part, parts, here) if isinstance(part, Struct) else parts[here]
    return StructValue(fields, type_.name)


def dot(a: Operand, w: Operand) -> Value:
    """Return the sum over K of a[T, K] * w[O, K], [T, O]; i8 operands within [-127, 127] (asserted). One node, so that printers
    can make two products with one multiplier."""
    x, y = as_value(a), as_value(w)
    if x.elem != Int(8, True) or y.elem != Int(8, True) or len(x.shape) != 2 or len(y.shape) != 2:
        raise TypeError(f"dot wants i8[T, K] and i8[O, K], not {x.type} and {y.type}")
    if x.shape[1] != y.shape[1]:
        raise TypeError(f"dot of {x.type} and {y.type}: the last axes differ")
    bound = 127 * 127 * x.shape[1]
    return make(ir.Dot(), (x, y), leaf(of_range(-bound, bound), (x.shape[0], y.shape[0])))


def multiply(a: Operand, b: Operand, luts: bool = False) -> Value:
    """Return a * b; `luts`: of two i8, made of LUTs where a DSP would do."""
    x, y = as_value(a), as_value(b)
    if not luts:
        return x * y
    if x.elem != Int(8, True) or y.elem != Int(8, True):
        raise TypeError(f"a product in LUTs is one of two i8, not of {x.type} and {y.type}")
    return make(ir.Mul(luts=True), (x, y), leaf(Int(16, True), broadcast(x.shape, y.shape)))


def first(counter: Value) -> Value:
    """Return u1: the loop is in its first iteration."""
    return make(ir.First(loop_of(counter)), (), u(1))


def last(counter: Value) -> Value:
    """Return u1: the loop is in its last iteration."""
    return make(ir.Last(loop_of(counter)), (), u(1))


def loop_of(counter: Value) -> int:
    if not isinstance(counter, Value) or not isinstance(counter.node.op, ir.Counter):
        raise TypeError(f"{counter!r} is not a loop variable")
    return counter.node.op.loop
