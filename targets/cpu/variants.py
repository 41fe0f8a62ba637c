"""The variants of the CPU kernels, one for each instruction set, as data: sources, flags and the geometry of panels."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Arch = Literal["x86_64", "aarch64"]


@dataclass(frozen=True)
class Variant:
    """One build of the kernels.

    features: what a processor must have, by the names of /proc/cpuinfo. sources: files of kernels/, compiled as one
    translation unit. cflags: for ziglang's clang. llvm_attrs: the same instruction set as the mattr of a TVM target.
    f32_mr x f32_nr and s8_mr x s8_nr: rows and columns of one accumulator tile. ka, kb: how many consecutive k are
    adjacent in an A and a B panel of bytes. a_bytes: the size of an element of the A panel, which is
    ceil(k / ka) * s8_mr * ka * a_bytes bytes long. s8_offset: what the A panel adds to int8 rows, u8_offset: what it
    subtracts from uint8 rows.
    """

    name: str
    arch: Arch
    features: tuple[str, ...]
    sources: tuple[str, ...]
    cflags: tuple[str, ...]
    llvm_attrs: tuple[str, ...]
    f32_mr: int
    f32_nr: int
    s8_mr: int
    s8_nr: int
    ka: int
    kb: int
    vector_bits: int
    s8_offset: int = 0
    u8_offset: int = 127
    a_bytes: int = 1

    @property
    def geometry(self) -> dict[str, int]:
        """The macros that tell the C sources the geometry of the panels."""
        return {
            "EW_F32_MR": self.f32_mr,
            "EW_F32_NR": self.f32_nr,
            "EW_S8_MR": self.s8_mr,
            "EW_S8_NR": self.s8_nr,
            "EW_KA": self.ka,
            "EW_KB": self.kb,
            "EW_S8_OFFSET": self.s8_offset,
            "EW_U8_OFFSET": self.u8_offset,
            "EW_VECTOR_BYTES": self.vector_bits // 8,
        }


_V3 = ("avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe")
_V4 = (*_V3, "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl")
_ATTRS_V3 = ("+avx", "+avx2", "+bmi", "+bmi2", "+f16c", "+fma", "+lzcnt", "+movbe", "+popcnt")
_ATTRS_V4 = (*_ATTRS_V3, "+avx512f", "+avx512bw", "+avx512cd", "+avx512dq", "+avx512vl")
_OWN = ("-DEW_OWN_GEMM_F32", "-DEW_OWN_GEMM_S8", "-DEW_OWN_DEPTHWISE")  # what other sources define instead of generic.c
_WIDE = ("-mprefer-vector-width=512", *_OWN)
_REST = ("softmax_s16.c", "layer_norm_rows.c", "layer_norm_wide.c")  # what no instruction set has a version of
_LAST = ("experts.c", "hashing.c", "hashing_s8.c")  # call the other kernels
_ROWS_512 = ("rows_avx512.c", "layer_norm_avx512.c", *_REST)
_PORTABLE = ("generic.c", "integers.c", *_REST, "floats.c", *_LAST)
_FLOATS = ("gemm_f32.c", "generic.c", "depthwise_f32.c", "depthwise_madd.c", "floats.c", *_LAST)
_NEON = ("neon_f32.c", "neon_requantise.c", "neon_rows.c", *_REST, "depthwise_f32.c", "depthwise_neon.c", "floats.c", *_LAST)
_NEON_DOT = ("neon_dot.c", *_NEON, "depthwise_quads.c")


def _tiles(f32: tuple[int, int], s8: tuple[int, int], k: tuple[int, int]) -> dict[str, int]:
    """Return the sizes of (rows, columns) of the accumulator tiles, and of k in (A, B), as fields of a Variant."""
    return dict(zip(("f32_mr", "f32_nr", "s8_mr", "s8_nr", "ka", "kb"), (*f32, *s8, *k), strict=True))


# For each architecture from the slowest to the fastest: `best` returns the last one that runs.
VARIANTS: tuple[Variant, ...] = (
    Variant(
        "generic_x86_64",
        "x86_64",
        features=(),
        sources=("gemm_s8_madd.c", "integers.c", *_REST, *_FLOATS),
        cflags=("-mcpu=x86_64", *_OWN),
        llvm_attrs=(),
        **_tiles(f32=(4, 8), s8=(4, 8), k=(2, 2)),
        vector_bits=128,
        a_bytes=2,
    ),
    Variant(
        "avx2",
        "x86_64",
        features=_V3,
        sources=("gemm_s8_madd.c", "rows_avx2.c", *_REST, *_FLOATS),
        cflags=("-mcpu=x86_64_v3", *_OWN),
        llvm_attrs=_ATTRS_V3,
        **_tiles(f32=(6, 16), s8=(6, 16), k=(2, 2)),
        vector_bits=256,
        a_bytes=2,
    ),
    Variant(
        "avx512",
        "x86_64",
        features=_V4,
        sources=("gemm_s8_madd.c", *_ROWS_512, *_FLOATS),
        cflags=("-mcpu=x86_64_v4", *_WIDE),
        llvm_attrs=_ATTRS_V4,
        **_tiles(f32=(12, 32), s8=(12, 32), k=(2, 2)),
        vector_bits=512,
        a_bytes=2,
    ),
    Variant(
        "avx512vnni",
        "x86_64",
        features=(*_V4, "avx512_vnni", "avx512vbmi"),
        sources=("gemm_s8_vnni.c", *_ROWS_512, *_FLOATS, "depthwise_quads.c"),
        cflags=("-mcpu=x86_64_v4+avx512vnni+avx512vbmi", *_WIDE),
        llvm_attrs=(*_ATTRS_V4, "+avx512vnni", "+avx512vbmi"),
        **_tiles(f32=(12, 32), s8=(12, 32), k=(4, 4)),
        s8_offset=128,
        u8_offset=0,
        vector_bits=512,
    ),
    Variant(
        "amx",
        "x86_64",
        features=(*_V4, "avx512_vnni", "avx512vbmi", "amx_tile", "amx_int8"),
        sources=("gemm_s8_amx.c", *_ROWS_512, *_FLOATS, "depthwise_quads.c"),
        cflags=("-mcpu=x86_64_v4+avx512vnni+avx512vbmi+amx_tile+amx_int8", *_WIDE),
        llvm_attrs=(*_ATTRS_V4, "+avx512vnni", "+avx512vbmi"),
        **_tiles(f32=(12, 32), s8=(32, 32), k=(64, 4)),
        vector_bits=512,
    ),
    Variant(
        "generic_aarch64",
        "aarch64",
        features=(),
        sources=_PORTABLE,
        cflags=("-mcpu=generic",),
        llvm_attrs=("+neon",),
        **_tiles(f32=(4, 8), s8=(4, 8), k=(1, 1)),
        vector_bits=128,
    ),
    Variant(
        "neon",
        "aarch64",
        features=("asimd",),
        sources=("neon_s8.c", *_NEON),
        cflags=("-mcpu=cortex_a72",),
        llvm_attrs=("+neon",),
        **_tiles(f32=(8, 8), s8=(8, 16), k=(2, 2)),
        vector_bits=128,
    ),
    Variant(
        "dotprod",
        "aarch64",
        features=("asimd", "asimddp"),
        sources=_NEON_DOT,
        cflags=("-mcpu=cortex_a76",),
        llvm_attrs=("+neon", "+dotprod"),
        **_tiles(f32=(8, 8), s8=(8, 8), k=(4, 4)),
        vector_bits=128,
    ),
    Variant(
        "i8mm",
        "aarch64",
        features=("asimd", "asimddp", "i8mm"),
        sources=_NEON_DOT,
        cflags=("-mcpu=cortex_a76+i8mm",),
        llvm_attrs=("+neon", "+dotprod", "+i8mm"),
        **_tiles(f32=(8, 8), s8=(8, 8), k=(8, 8)),
        vector_bits=128,
    ),
)


def variant(name: str) -> Variant:
    """Return the variant of that name; KeyError with the known names when there is none."""
    known = {variant.name: variant for variant in VARIANTS}
    if name not in known:
        raise KeyError(f"no variant '{name}': {', '.join(known)}")
    return known[name]


def best(arch: str, features: frozenset[str] | tuple[str, ...]) -> Variant:
    """Return the fastest variant that a processor with these features runs; KeyError for an unknown architecture."""
    return runnable(arch, features)[-1]


def runnable(arch: str, features: frozenset[str] | tuple[str, ...]) -> tuple[Variant, ...]:
    """Return all variants that a processor with these features runs, the fastest last; KeyError when there is none."""
    usable = tuple(variant for variant in VARIANTS if variant.arch == arch and set(variant.features) <= set(features))
    if not usable:
        raise KeyError(f"no variant for architecture '{arch}'")
    return usable


def host_arch() -> str:
    """Return the architecture of this machine as `Variant.arch` spells it."""
    machine = platform.machine().lower()
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(machine, machine)


def cpuinfo(path: Path = Path("/proc/cpuinfo")) -> dict[str, str]:
    """Return what /proc/cpuinfo says of the first processor, keys in lower case; empty if there is no such file."""
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return {}
    words = [line.partition(":") for line in lines]
    return {key.strip().lower(): value.strip() for key, _, value in reversed(words)}


def host_features(path: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """Return the features of the first processor in /proc/cpuinfo; empty where there is no such file."""
    about = cpuinfo(path)
    return frozenset((about.get("flags") or about.get("features") or "").split())
