"""Each rule finds what breaks it, and nothing else, in the smallest text that does."""

from __future__ import annotations

import re

import pytest

from tests.hw.hls_rules.intervals import intervals
from tests.hw.hls_rules.rules import RULES, VERSIONS, check
from tests.hw.hls_rules.source import parse
from tests.hw.hls_rules.storage import block_rams, memories, ultra_rams

HEAD = """#define AP_INT_MAX_W 4096
#include <ap_int.h>
#define HLS_TASK_ALLOW_NON_STREAM_ARGS
#include <hls_task.h>
struct Pair {
  UInt<8> low;
  UInt<24> high[4];
};
"""
ALLOWED = "#define HLS_TASK_ALLOW_NON_STREAM_ARGS\n"
WIDER = HEAD.replace("MAX_W 4096", "MAX_W 8192")
PASS = """void pass(hls::stream<UInt<8>>& x, hls::stream<UInt<8>>& y) {
#pragma HLS PIPELINE II=1 style=frp
  const UInt<8> token = x.read();
  y.write(token);
}
"""
BLOCKS = """void give(hls::stream<UInt<8>>& x, hls::stream_of_blocks<UInt<8>[16], 2>& rows) {
  hls::write_lock<UInt<8>[16]> bank(rows);
  give_k:
  for (UInt<5> k = 0; k < 16; ++k) {
#pragma HLS PIPELINE II=1
    bank[int(k)] = x.read();
  }
}
void take(hls::stream<UInt<8>>& y, hls::stream_of_blocks<UInt<8>[16], 2>& rows) {
  hls::read_lock<UInt<8>[16]> bank(rows);
  take_k:
  for (UInt<5> k = 0; k < 16; ++k) {
#pragma HLS PIPELINE II=1
    y.write(bank[int(k)]);
  }
}
"""


def passing(text: str) -> str:
    """Return PASS with other statements instead of its last one."""
    return PASS.replace("y.write(token);", text)


def unrolled(condition: str, text: str = "") -> str:
    return passing(f"for (int n = 0; {condition}; ++n) {{\n#pragma HLS UNROLL\n    {text}\n  }}\n  y.write(token);")


def top(inside: str = "", x: str = "hls::stream<UInt<8>>&", called: str = "pass", more: str = "") -> str:
    """Return a top function with one task, and two more on each stream z or rows that it declares."""
    for name in re.findall(r"^  hls_thread_local .*> (z|rows)\b", inside, re.MULTILINE):
        more += f");\n  hls_thread_local hls::task give_{name}(give_some, {name});\n"
        more += f"  hls_thread_local hls::task take_{name}(take_some, {name}"
    return f"""void top({x} x, hls::stream<UInt<8>>& y) {{
#pragma HLS INTERFACE mode=ap_ctrl_none port=return
#pragma HLS INTERFACE mode=axis port=x
#pragma HLS INTERFACE mode=axis port=y
{inside}
  hls_thread_local hls::task one(processes::{called}, x, y{more});
}}
"""


ROWS = "  hls_thread_local hls::stream_of_blocks<UInt<8>[16], 2> rows;"
BLOCK_TOP = """void top(hls::stream<UInt<8>>& x, hls::stream<UInt<8>>& y) {
#pragma HLS INTERFACE mode=ap_ctrl_none port=return
#pragma HLS INTERFACE mode=axis port=x
#pragma HLS INTERFACE mode=axis port=y
  hls_thread_local hls::stream_of_blocks<UInt<8>[16], 2> rows;
#pragma HLS BIND_STORAGE variable=rows type=ram_s2p impl=lutram
  hls_thread_local hls::task one(give, x, rows);
  hls_thread_local hls::task two(take, y, rows);
}
"""
RIGHT = {
    "stream": HEAD + PASS + top(),
    "blocks": HEAD + BLOCKS + BLOCK_TOP,
    "comments and initialisers": HEAD + "// void f(\nstatic const UInt<8> t[2] = {1,\n  2};  // {\n" + PASS + top(),
}
WRONG = {
    "word-width": [
        WIDER + PASS + top('  hls_thread_local hls::stream<UInt<4100>, 2> z("z");'),
        HEAD + PASS + top('  hls_thread_local hls::stream<Vec<Int<27>, 192>, 2> z("z");'),
        HEAD.replace("MAX_W 4096", "MAX_W 8192")
        + BLOCKS
        + BLOCK_TOP.replace("UInt<8>[16], 2> rows", "UInt<5184>[16], 2> rows"),
    ],
    "reshaped-blocks": [
        HEAD + BLOCKS + BLOCK_TOP.replace("BIND_STORAGE variable=rows type=ram_s2p impl=lutram", pragma)
        for pragma in ("ARRAY_RESHAPE variable=rows type=complete dim=2", "ARRAY_PARTITION variable=rows type=complete")
    ],
    "block-elements": [
        HEAD + PASS + top(ROWS.replace("UInt<8>[16]", "Pair[16]")),
        HEAD + PASS + top(ROWS.replace("[16]", "[16][4]")),
        HEAD
        + PASS.replace("II=1 style=frp", "II=1\n  static Pair window[8];\n#pragma HLS AGGREGATE variable=window compact=bit")
        + top(),
    ],
    "asked-interval": [
        HEAD + BLOCKS.replace("y.write(bank[int(k)]);", "y.write(bank[int(k)] + bank[int(k + 1)]);") + BLOCK_TOP,
        HEAD + BLOCKS.replace("bank[int(k)] = x.read();", "bank[int(k)] = x.read();\n    bank[int(k + 1)] = 0;") + BLOCK_TOP,
        HEAD + passing("y.write(token);\n  y.write(token);") + top(),
        HEAD + unrolled("n < 3", "y.write(token);") + top(),
    ],
    "bound-storage": [
        HEAD + PASS + top('  hls_thread_local hls::stream<UInt<8>, 4096> z("z");'),
        HEAD + PASS + top("  hls_thread_local hls::stream_of_blocks<UInt<64>[1024], 2> z;"),
    ],
    "task-arguments": [
        RIGHT["stream"].replace("UInt<8>>& y) {", "UInt<8>>& y, int n) {").replace("x, y);", "x, y, 3);").replace(ALLOWED, "")
    ],
    "task-header": [RIGHT["stream"].replace(ALLOWED, "#include <hls_stream.h>\n")],
    "integer-width": [
        HEAD.replace("#define AP_INT_MAX_W 4096\n", "") + PASS.replace("UInt<8> token", "UInt<1025> token") + top(),
        HEAD + PASS.replace("UInt<8> token", "UInt<4097> token") + top(),
    ],
    "port-words": [
        HEAD + PASS + top(x="hls::stream<Pair>&"),
        HEAD + PASS + top(x="hls::stream<UInt<57>>&"),
    ],
    "unrolled-trips": [
        HEAD + unrolled("n < token") + top(),
        HEAD + unrolled("n < 8 && n < k") + top(),
    ],
    "pipeline-style": [HEAD + BLOCKS.replace("II=1", "II=1 style=frp", 1) + BLOCK_TOP],
    "nested-locks": [
        HEAD + BLOCKS.replace("  take_k:", "  hls::read_lock<UInt<8>[16]> other(rows);\n  take_k:") + BLOCK_TOP,
    ],
    "stream-ends": [
        HEAD + PASS + top('  hls_thread_local hls::stream<UInt<8>, 2> w("w");'),
        HEAD
        + BLOCKS
        + BLOCK_TOP.replace("two(take, y, rows)", "two(take, y, rows);\n  hls_thread_local hls::task three(take, y, rows)"),
    ],
    "local-arrays": [HEAD + passing("UInt<8> z[4];\n  y.write(token);") + top()],
    "pragmas": [
        HEAD + PASS.replace("style=frp", "style=frp rewind") + top(),
        HEAD + PASS + top(ROWS + "\n#pragma HLS BIND_STORAGE variable=rows type=ram_3p impl=bram"),
        HEAD + PASS + top(ROWS + "\n#pragma HLS BIND_STORAGE variable=row type=ram_2p impl=bram"),
        HEAD + PASS + top("#pragma HLS STREAMING variable=x"),
        HEAD + PASS + top("#pragma HLS BIND_OP variable=x op=mul impl=luts"),
        HEAD + PASS + top("#pragma HLS DEPENDENCE variable=x type=outer direction=RAW distance=3 dependent=true"),
        "static const UInt<16> powers[256] = {0, 1};\n"
        + HEAD
        + passing("#pragma HLS BIND_STORAGE variable=powers type=rom_np impl=lutram\n  y.write(token + powers[int(token)]);")
        + top(),
    ],
}
BOTH = {
    "memory-ports": """void move(UInt<128>* memory, hls::stream<UInt<8>>& y) {
#pragma HLS PIPELINE II=1
  y.write(0);
}
void top(UInt<128>* memory, hls::stream<UInt<8>>& y) {
#pragma HLS INTERFACE mode=m_axi port=memory bundle=m offset=off
#pragma HLS INTERFACE mode=axis port=y
  hls_thread_local hls::task one(move, memory, y);
}
""",
    "table-readers": passing(
        "static const UInt<16> powers[256] = {0, 1};\n  UInt<16> z[8];\n#pragma HLS ARRAY_PARTITION variable=z type=complete\n"
        "  for (int n = 0; n < 8; ++n) {\n#pragma HLS UNROLL\n    const UInt<8> at = token + n;\n"
        "    z[n] = powers[int(at)];\n  }\n  y.write(token);",
    )
    + top(),
}
"""Texts that break another rule too."""


@pytest.mark.parametrize("text", RIGHT.values(), ids=RIGHT.keys())
def test_nothing_is_found_where_nothing_is_wrong(text: str) -> None:
    assert check(parse(text)) == []


@pytest.mark.parametrize(
    ("rule", "text"),
    [(rule, text) for rule, texts in WRONG.items() for text in texts],
    ids=[f"{rule}-{n}" for rule, texts in WRONG.items() for n in range(len(texts))],
)
def test_a_broken_rule_is_found_alone(rule: str, text: str) -> None:
    found = check(parse(text))
    assert {f.rule for f in found} == {rule}, found
    assert all(0 < f.line <= text.count("\n") for f in found)


@pytest.mark.parametrize(("rule", "text"), BOTH.items(), ids=BOTH.keys())
def test_a_broken_rule_is_found(rule: str, text: str) -> None:
    assert rule in {f.rule for f in check(parse(HEAD + text))}


def test_every_rule_has_an_example_and_a_source() -> None:
    assert {r.name for r in RULES} == WRONG.keys() | BOTH.keys()
    assert all(r.source for r in RULES) and VERSIONS[0] == "2023.2"


def test_the_interval_is_derived_from_ports() -> None:
    def derived(text: str) -> list[int]:
        return [found.derived for found in intervals(parse(HEAD + text))]

    six = "y.write(bank[int(k)]" + "".join(f" + bank[int(k + {n})]" for n in range(1, 6)) + ");"
    text = BLOCKS.replace("y.write(bank[int(k)]);", six)
    assert derived(text + BLOCK_TOP) == [1, 6]
    assert derived(text + BLOCK_TOP.replace("ram_s2p", "ram_2p")) == [1, 3]
    assert derived(text + BLOCK_TOP.replace("ram_s2p", "ram_1wnr")) == [1, 1]
    assert derived(BOTH["table-readers"]) == [4]
    bound = BOTH["table-readers"].replace(
        "{0, 1};", "{0, 1};\n#pragma HLS BIND_STORAGE variable=powers type=rom_np impl=lutram"
    )
    assert derived(bound) == [1]
    pairs = BLOCKS.replace("UInt<8>[16]", "Pair[16]")
    assert derived(pairs + BLOCK_TOP.replace("ram_s2p", "ram_2p")) == [2, 2]


def test_memories_are_counted() -> None:
    assert block_rams(72, 512) == 1 and block_rams(73, 512) == 2 and block_rams(9, 4096) == 1 and block_rams(128, 256) == 2
    assert ultra_rams(2048, 4096) == 29 and ultra_rams(72, 4097) == 2
    text = top(ROWS + "\n#pragma HLS BIND_STORAGE variable=rows type=ram_s2p impl=bram")
    assert memories(parse(HEAD + PASS + text)) == {"bram": 2}
    text = top(
        '  hls_thread_local hls::stream<UInt<2048>, 8192> z("z");\n#pragma HLS BIND_STORAGE variable=z type=fifo impl=uram'
    )
    assert memories(parse(HEAD + PASS + text)) == {"uram": 58}


def test_what_cannot_be_read_is_refused() -> None:
    with pytest.raises(ValueError, match="not closed"):
        parse("void f() {\n")
    with pytest.raises(ValueError, match="closes nothing"):
        parse("}\n")
    with pytest.raises(ValueError, match="width"):
        parse("").width("Unknown")
