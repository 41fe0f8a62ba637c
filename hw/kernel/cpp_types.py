"""C++ spellings of the kernel language's types and names."""

from __future__ import annotations

from dataclasses import dataclass

from edgewright.hw.kernel.symbols import Symbols
from edgewright.hw.kernel.types import Array, Int, Struct, Type, elem_of

RESERVED = """
    alignas alignof and and_eq asm auto bitand bitor bool break case catch char char16_t char32_t class compl const
    const_cast constexpr continue decltype default delete do double dynamic_cast else enum explicit export extern false
    float for friend goto if inline int long mutable namespace new noexcept not not_eq nullptr operator or or_eq private
    protected public register reinterpret_cast return short signed sizeof static static_assert static_cast struct switch
    template this thread_local throw true try typedef typeid typename union unsigned using virtual void volatile wchar_t
    while xor xor_eq main stdin stdout stderr errno NULL EOF assert size_t
"""
SUPPORTED = """
    ew hls ap_int ap_uint Int UInt wrap_i wrap_u fit_i fit_u shl_i shl_u shr slice place bit_length min_of max_of abs_of
    clamp take_i take_u put packed unpack_i unpack_u pack dot check plain sim hls_thread_local n0 n1 n2 n3 n4 n5 n6 n7
"""
KEYWORDS = frozenset(RESERVED.split())
SUPPORT = frozenset(SUPPORTED.split())


class Names(Symbols):
    """The identifiers of one C++ scope and those around it."""

    def __init__(self, taken: frozenset[str] | set[str] = frozenset()) -> None:
        super().__init__(KEYWORDS | SUPPORT | taken)


def int_name(t: Int) -> str:
    return f"{'Int' if t.signed else 'UInt'}<{t.bits}>"


def suffix(t: Int) -> str:
    """Return the sign and template argument of a function, as in wrap_i<8>, fit_u<4>."""
    return f"{'i' if t.signed else 'u'}<{t.bits}>"


def field_name(name: str) -> str:
    return f"{name}_" if name in KEYWORDS else name


@dataclass(slots=True)
class TypeNames:
    """Names of the structs of one block, whose fields are numbers and such structs."""

    structs: dict[Struct, str]

    @classmethod
    def of(cls, types: list[Type], names: Names) -> TypeNames:
        structs: dict[Struct, str] = {}

        def visit(t: Type) -> None:
            if isinstance(t, Struct) and t not in structs:
                for _, part in t.fields:
                    visit(part)
                structs[t] = names.claim(t.name)

        for t in types:
            visit(t)
        return cls(structs)

    def token(self, t: Type) -> str:
        """Return the type of a token that is carried as it is: a number or a struct of numbers."""
        if isinstance(t, Struct):
            return self.structs[t]
        assert isinstance(t, Int)
        return int_name(t)

    def declarations(self) -> list[str]:
        out: list[str] = []
        for t, name in self.structs.items():
            out.append(f"struct {name} {{")
            for key, part in t.fields:
                out.append(f"  {self.token(part)} {field_name(key)};")
            out += ["};", ""]
        return out


def shape_note(t: Type) -> str:
    """Return a comment with the shape, if an array has more than one axis."""
    return f"  // {list(t.shape)}" if isinstance(t, Array) and len(t.shape) > 1 else ""


@dataclass(frozen=True, slots=True)
class CType:
    """The plain C++ type of an expression: its bits (0: limbs) and sign."""

    bits: int
    signed: bool

    def holds(self, t: Int) -> bool:
        return self.bits > 0 and Int(self.bits, self.signed).holds(t)


def storage(t: Int) -> CType:
    """Return the plain type that represents t."""
    for bits in (8, 16, 32, 64, 128):
        if t.bits <= bits:
            return CType(bits, t.signed)
    return CType(0, t.signed)


def promoted(c: CType) -> CType:
    return CType(32, True) if 0 < c.bits < 32 else c


def combined(a: CType, b: CType) -> CType:
    """Return the type of a + b by C++'s usual arithmetic conversions."""
    x, y = promoted(a), promoted(b)
    if x.bits == y.bits:
        return CType(x.bits, x.signed and y.signed)
    return x if x.bits > y.bits else y


__all__ = [
    "CType",
    "Names",
    "TypeNames",
    "combined",
    "elem_of",
    "field_name",
    "int_name",
    "promoted",
    "shape_note",
    "storage",
    "suffix",
]
