"""Count the memories that the bound arrays, blocks and streams of a text take on an UltraScale+ device.

A block RAM of 36 Kb is 512 x 72 to 4,096 x 9 (UG573, chapter 1), an UltraRAM 4,096 x 72 (chapter 2)."""

from __future__ import annotations

from collections import Counter

from tests.hw.hls_rules.intervals import block_of
from tests.hw.hls_rules.source import Design, size, split

SHAPES = ((512, 72), (1024, 36), (2048, 18), (4096, 9))


def block_rams(bits: int, depth: int) -> int:
    return min(-(-bits // wide) * -(-depth // deep) for deep, wide in SHAPES)


def ultra_rams(bits: int, depth: int) -> int:
    return -(-bits // 72) * -(-depth // 4096)


def memories(design: Design) -> Counter[str]:
    """Return the block RAMs ("bram") and UltraRAMs ("uram") of a design."""
    found: Counter[str] = Counter()
    for function in design.functions.values():
        variables = {v.name: v for v in function.variables()}
        for pragma in function.pragmas():
            v = variables.get(pragma.settings.get("variable", "")) if pragma.kind == "BIND_STORAGE" else None
            if v is None:
                continue
            banks = 1
            if v.type.startswith("hls::stream<"):
                word, count = split(v.type[12:-1])
                depth = int(count)
            elif v.type.startswith("hls::stream_of_blocks<"):
                block, held = split(v.type[22:-1])
                word, extents = block_of(block)
                depth, banks = size(extents), int(held)
            else:
                word, depth = v.type, size(v.extents)
            made = pragma.settings.get("impl", "")
            if made == "bram":
                found[made] += banks * block_rams(design.width(word), depth)
            elif made == "uram":
                found[made] += banks * ultra_rams(design.width(word), depth)
    return found
