"""The engine's instructions: a descriptor per fused operation, which holds one command for each unit of the engine.

A descriptor is ``WORDS`` memory words: the commands one after the other, each with its own encoding. Three sides work through
them on their own: constants, computed operands and activations. They pass a command on as it is, so that commands queue
independently and successive operations overlap. A quantity that several units need, such as the number of tokens, stands in
each of their commands; ``FIELDS`` gives it one name and one width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from edgewright.hw.kernel import Int, Struct, StructValue, Value, last, select, u, width
from edgewright.hw.kernel.types import WORD_BYTES

Loops = list[tuple[str, int | Callable[..., Any]]]
"""Loops of a process: name and bound."""
WORD_BITS = 8 * WORD_BYTES
WORDS = 20
"""Memory words per descriptor."""
WEIGHT_PORTS = 2
"""Ports that read constants side by side: a blob's words lie in turn in as many parts, one after the other."""

ADDRESS = u(40)
STRIDE = u(24)

FIELDS: dict[str, Int] = {
    # --- order: what each unit that reads memory waits for; see `sequencer.add_gate`
    "con_blocks": u(15),
    "con_first": u(12),
    "con_phase": u(8),
    "con_slope": u(17),
    "con_steps": u(12),
    "con_drain": u(12),
    "act_blocks": u(15),
    "act_first": u(12),
    "act_phase": u(8),
    "act_slope": u(17),
    "act_steps": u(12),
    "act_drain": u(12),
    "opd_blocks": u(15),
    "opd_first": u(12),
    "opd_phase": u(8),
    "opd_slope": u(17),
    "opd_steps": u(12),
    "opd_drain": u(12),
    "res_blocks": u(15),
    "res_first": u(12),
    "res_phase": u(8),
    "res_slope": u(17),
    "res_steps": u(12),
    "res_drain": u(12),
    "marks": u(12),  # completions that it gives
    "progress": u(1),  # one for each block of tokens (for each row of a copy) rather than one for all
    "final": u(1),
    # --- what the operation is
    "copy": u(1),  # words from one place to another, past the array
    "direct": u(1),  # rows past the array: as they are, summed over taps, or normalised
    "single": u(1),  # blocks of one token
    "in_runs": u(1),  # a block's results are one request
    "by_rows": u(1),  # results wait until the rows of their block are whole, and are stored row by row
    "run_words": u(12),  # of such a block
    "run_last": u(12),  # of the last one
    "attention": u(1),
    "computed": u(1),  # the array's second operand is no constant
    "norm": u(1),
    "ones": u(1),
    "patch": u(1),
    "norm_wide": u(1),  # normalised rows go past the array, in 16 bits
    "residual": u(1),  # a second operand
    "subtracted": u(1),  # it is taken from the result, rather than added to it
    "multiplied": u(1),  # the result is multiplied by it
    "rectified": u(1),  # results below 0 become 0
    "table": u(1),
    "out16": u(1),
    # --- constants. The blob holds: norm parameters, channel parameters, table, weight tiles, list of rows.
    # ``blob_beats``: of each part. Score biases, which operations share, are a blob of their own
    "blob_address": ADDRESS,
    "blob_beats": u(16),
    "const_tiles": u(12),
    "table_rows": u(5),
    "norm_entries": u(9),
    "param_entries": u(12),
    "bias_address": ADDRESS,
    "bias_beats": u(16),
    "bias_entries": u(12),
    "row_entries": u(12),
    # --- computed operands: keys and values; what a copy reads
    "leads": u(1),  # it brings the operands of ``opd_heads`` operations, itself and those that follow
    "opd_heads": u(8),
    "head_bytes": u(12),  # from one head's keys, or values, to the next's
    "head_tiles": u(12),
    "opd_column": u(24),  # bytes from one tile, or one plane of a copy, to the next
    "opd_beats": u(12),
    "opd_words": u(24),
    "key_address": ADDRESS,
    "value_address": ADDRESS,
    "key_pitch": STRIDE,
    "value_pitch": STRIDE,
    "n_keys": u(12),
    "last_keys": u(8),  # of the last block
    "key_depth": u(8),
    "value_blocks": u(12),
    "value_depth": u(8),
    # --- activations side
    "act_address": ADDRESS,
    "n_tokens": u(16),
    "last_tokens": u(6),  # of the last block
    "n_blocks": u(15),
    "listed": u(1),  # a list says where each token begins, rather than the grid
    "act_planes": u(12),
    "act_rows": u(14),
    "act_packed": u(1),  # all tokens of a block in one run
    "act_beats": u(14),
    "act_last": u(14),  # beats of the last block, if they are packed
    "grid_recip": u(24),
    "grid_width": u(12),
    "padded": u(1),  # taps outside of the value are read at ``pad_address``
    "pad_address": ADDRESS,
    "pad_top": u(4),
    "pad_left": u(4),
    "step_y": u(3),  # powers of two
    "step_x": u(3),
    "in_height": u(14),
    "in_width": u(14),
    "stride_row": STRIDE,
    "stride_col": STRIDE,
    "stride_plane": STRIDE,
    "stride_line": STRIDE,
    "act_words": u(24),
    "direct_tiles": u(24),  # rows of ``lanes`` channels that go past the array
    "direct_taps": u(14),  # that are added up for each of them
    "direct_wide": u(1),  # they are int16
    # --- LayerNorm
    "norm_row_words": u(9),
    "norm_n": u(12),
    "norm_eps": u(53),
    "norm_shift": u(6),
    # --- products: job 0 is a linear product or the scores, job 1 the values
    "n_jobs": u(15),
    "first_values": u(4),  # of attention: the first job of values
    "last_scores": u(15),  # the job of the last block's scores
    "outs0": u(12),
    "depth0": u(9),
    "outs1": u(12),
    "depth1": u(9),
    "base1": u(12),
    "straddle": u(1),
    # --- softmax
    "score_multiplier": u(17),
    "score_shift": u(6),
    "biased": u(1),
    "bias_shared": u(1),  # by all queries, so that there is one entry for each tile of keys
    "bias_kept": u(1),  # all biases of the operation stay, until those that keep them too have read them
    "bias_fresh": u(1),  # it is the first that reads them
    "bias_free": u(1),  # it is the last
    # --- epilogue and output
    "out_tiles": u(12),
    "zero_point": u(8),
    "res_multiplier": u(17),
    "res_shift": u(6),
    "res_address": ADDRESS,
    "res_pitch": STRIDE,  # bytes from one token, or one block of a packed residual, to the next
    "res_narrow": u(1),  # it is int8
    "res_packed": u(1),  # constants in the order in which they are added, a run for each block
    "res_beats": u(16),
    "res_last": u(16),  # beats of the last block
    "out_address": ADDRESS,
    "out_pitch": STRIDE,
    # --- windows, channel by channel
    "window": u(1),
    "win_height": u(10),  # of the map
    "win_width": u(10),
    "win_words": u(6),  # of a pixel
    "win_lines": u(11),  # that are walked: those of the map, and those below it that windows reach
    "win_line": u(11),  # words from a pixel to the one below
    "win_row": u(11),  # words of a line of the map
    "win_last": u(11),  # the line with the last pixel of the last window
    "win_end": u(11),  # words of it up to there
    "win_rows": u(10),  # of the output
    "win_cols": u(10),
    "win_lead": u(14),  # pixels up to the last one of the first window
    "win_turn": u(14),  # from a line's last window to the next one's first
    "win_stride_rows": u(3),
    "win_stride_cols": u(3),
    "win_kernel_rows": u(3),
    "win_kernel_cols": u(3),
    "win_down": u(3),  # the line of the first window's last pixel
    "win_across": u(3),  # its column
    "win_phases": u(3),
    "win_maximum": u(1),  # rather than a sum of products
    "win_missing": u(8),  # an i8 that stands for pixels outside of the map; for a maximum the least there is
}


def rows_of(tokens: int, *, single: bool = True) -> Callable[..., Any]:
    """Return the bound of a loop over the rows of a block of ``tokens``, inside a loop over the blocks. ``single``: whether the
    command may ask for blocks of one."""

    def rows(c: StructValue, j: Value, *_: Value) -> Value:
        whole = select(c.single, 1, tokens) if single else tokens
        count: Value = select(last(j), c.last_tokens, whole)
        return count

    return rows


def command(name: str, *fields: str) -> Struct:
    """Return the type of one unit's command."""
    return Struct(name, **{f: FIELDS[f] for f in fields})


Start = Struct("Start", addr=ADDRESS, count=u(16))
LoadIssue = command("LoadIssue", "copy")
LoadGate = command("LoadGate", "con_blocks", "con_first", "con_phase", "con_slope", "con_steps", "con_drain")
LoadAddresses = command("LoadAddresses", "blob_address", "blob_beats", "bias_address", "bias_beats")
LoadRoute = command("LoadRoute", "table_rows", "const_tiles", "norm_entries", "param_entries", "bias_entries", "row_entries")
LoadTiles = command("LoadTiles", "const_tiles")
LoadTable = command("LoadTable", "table_rows")
LoadNorm = command("LoadNorm", "norm_entries")
LoadParams = command("LoadParams", "param_entries")
LoadBiases = command("LoadBiases", "bias_entries")
LoadRows = command("LoadRows", "row_entries")
OperandIssue = command("OperandIssue", "leads", "copy")
OperandGate = command("OperandGate", "opd_blocks", "opd_first", "opd_phase", "opd_slope", "opd_steps", "opd_drain")
OperandAddresses = command(
    "OperandAddresses",
    "copy",
    "opd_heads",
    "head_bytes",
    "opd_column",
    "opd_beats",
    "key_address",
    "value_address",
    "key_pitch",
    "value_pitch",
    "value_blocks",
    "last_keys",
    "key_depth",
    "value_depth",
)
OperandRoute = command("OperandRoute", "copy", "opd_words")
OperandTiles = command(
    "OperandTiles",
    "opd_heads",
    "head_tiles",
    "n_keys",
    "last_keys",
    "key_depth",
    "value_blocks",
    "value_depth",
    "base1",
)
RunIssue = command(
    "RunIssue",
    "copy",
    "direct",
    "window",
    "win_maximum",
    "ones",
    "norm",
    "attention",
    "computed",
    "leads",
    "residual",
    "table",
    "by_rows",
)
Track = command("Track", "marks", "final")
FetchGate = command("FetchGate", "act_blocks", "act_first", "act_phase", "act_slope", "act_steps", "act_drain")
ResidualGate = command("ResidualGate", "res_blocks", "res_first", "res_phase", "res_slope", "res_steps", "res_drain")
Fetch = command(
    "Fetch",
    "act_address",
    "single",
    "last_tokens",
    "act_blocks",
    "listed",
    "act_planes",
    "act_rows",
    "act_packed",
    "act_beats",
    "act_last",
    "grid_recip",
    "grid_width",
    "padded",
    "pad_address",
    "pad_top",
    "pad_left",
    "step_y",
    "step_x",
    "in_height",
    "in_width",
    "stride_row",
    "stride_col",
    "stride_plane",
    "stride_line",
    "patch",
)
Route = command("Route", "act_words", "norm", "direct", "window")
Norm = command("Norm", "n_tokens", "norm_row_words", "norm_n", "norm_eps", "norm_shift", "direct", "norm_wide")
Direct = command("Direct", "direct_tiles", "direct_taps", "direct_wide", "norm")
WindowLines = command("WindowLines", "win_lines", "win_line", "win_row", "win_height", "win_last", "win_end")
Window = command(
    "Window",
    "win_rows",
    "win_cols",
    "win_words",
    "win_line",
    "win_lead",
    "win_turn",
    "win_stride_rows",
    "win_stride_cols",
    "win_phases",
    "win_height",
    "win_width",
    "win_kernel_rows",
    "win_kernel_cols",
    "win_down",
    "win_across",
    "win_maximum",
    "win_missing",
)
Fill = command(
    "Fill",
    "n_jobs",
    "first_values",
    "last_scores",
    "attention",
    "norm",
    "ones",
    "patch",
    "straddle",
    "last_tokens",
    "depth0",
    "depth1",
)
WeightFeed = command("WeightFeed", "window", "n_jobs", "outs0", "depth0")
OperandFeed = command(
    "OperandFeed",
    "opd_heads",
    "head_tiles",
    "n_jobs",
    "first_values",
    "last_scores",
    "attention",
    "outs0",
    "depth0",
    "outs1",
    "depth1",
    "base1",
)
OffsetFeed = command("OffsetFeed", "attention", "opd_heads", "head_tiles", "base1", "n_blocks", "out_tiles", "value_blocks")
Product = command(
    "Product", "n_jobs", "first_values", "last_scores", "computed", "attention", "outs0", "depth0", "outs1", "depth1"
)
Softmax = command(
    "Softmax",
    "n_blocks",
    "last_tokens",
    "outs0",
    "depth1",
    "out_tiles",
    "n_keys",
    "score_multiplier",
    "score_shift",
    "biased",
    "bias_shared",
    "bias_kept",
    "bias_fresh",
    "bias_free",
)
Finish = command(
    "Finish",
    "n_blocks",
    "single",
    "last_tokens",
    "direct",
    "window",
    "subtracted",
    "multiplied",
    "rectified",
    "out_tiles",
    "attention",
    "computed",
    "out16",
    "table",
    "residual",
    "zero_point",
    "res_multiplier",
    "res_shift",
    "by_rows",
)
Residual = command(
    "Residual",
    "n_blocks",
    "single",
    "last_tokens",
    "out_tiles",
    "res_address",
    "res_pitch",
    "res_narrow",
    "res_packed",
    "res_beats",
    "res_last",
)
Tabulate = command("Tabulate", "n_blocks", "single", "last_tokens", "out_tiles", "by_rows")
Turn = command("Turn", "n_blocks", "last_tokens", "out_tiles", "table")
Store = command(
    "Store",
    "copy",
    "table",
    "progress",
    "n_blocks",
    "single",
    "last_tokens",
    "out_tiles",
    "out16",
    "out_address",
    "out_pitch",
    "in_runs",
    "by_rows",
    "run_words",
    "run_last",
)


LOAD_UNITS = {
    "issue": LoadIssue,
    "gate": LoadGate,
    "addresses": LoadAddresses,
    "route": LoadRoute,
    "tiles": LoadTiles,
    "table": LoadTable,
    "norm": LoadNorm,
    "params": LoadParams,
    "biases": LoadBiases,
    "rows": LoadRows,
}
"""Commands of the constants' side, in the order of a descriptor."""
OPERAND_UNITS = {
    "issue": OperandIssue,
    "gate": OperandGate,
    "addresses": OperandAddresses,
    "route": OperandRoute,
    "tiles": OperandTiles,
}
"""Commands of the side that loads computed operands, which follow them."""
RUN_UNITS = {
    "issue": RunIssue,
    "track": Track,
    "fetch_gate": FetchGate,
    "residual_gate": ResidualGate,
    "fetch": Fetch,
    "route": Route,
    "norm": Norm,
    "direct": Direct,
    "window_lines": WindowLines,
    "window": Window,
    "fill": Fill,
    "weights": WeightFeed,
    "operands": OperandFeed,
    "offsets": OffsetFeed,
    "product": Product,
    "softmax": Softmax,
    "finish": Finish,
    "tabulate": Tabulate,
    "turn": Turn,
    "residual": Residual,
    "store": Store,
}
"""Commands of the activations side, which come last."""
ROLES = {
    "weights": (LoadRoute, LoadAddresses, LoadTiles, LoadTable, LoadNorm, LoadParams, LoadBiases, LoadRows, WeightFeed),
    "operands": (OperandRoute, OperandAddresses, OperandTiles, OperandFeed, OffsetFeed),
    "activations": (Route, Fetch, Direct),
    "windows": (Window, WindowLines),
    "LayerNorm": (Norm,),
    "tiles": (Fill,),
    "array": (Product,),
    "softmax": (Softmax,),
    "residual": (Residual,),
    "epilogue": (Finish,),
    "table": (Tabulate,),
    "store": (Store, Turn),
}
"""What a profile calls the units of the engine, by their commands; those with the first one do its work, the others help. A
process with none of these commands is part of the sequencer."""
Load = Struct("Load", **LOAD_UNITS)
Operands = Struct("Operands", **OPERAND_UNITS)
Run = Struct("Run", **RUN_UNITS)
SIDES = {"load": Load, "operands": Operands, "run": Run}
Operation = Struct("Operation", **SIDES)


def encode_command(kind: Struct, values: Mapping[str, int]) -> int:
    """Encode one unit's command, the first field in the lowest bits; ``values`` may hold quantities of other units too.

    Raises ``ValueError`` for a value that does not fit, which is an error of the planner.
    """
    packed = position = 0
    for name, _ in kind.fields:
        value, bits = int(values[name]), FIELDS[name].bits
        if not 0 <= value < 1 << bits:
            raise ValueError(f"descriptor field {name} = {value} does not fit {bits} bits")
        packed |= value << position
        position += bits
    return packed


def encode(values: Mapping[str, int]) -> bytes:
    """Encode a descriptor as the memory holds it (little endian, ``WORDS`` words).

    Raises ``ValueError`` for a missing or unknown field, or a value that does not fit: both are errors of the planner.
    """
    if set(values) != set(FIELDS):
        raise ValueError(f"descriptor fields differ: {sorted(set(values) ^ set(FIELDS))}")
    packed = position = 0
    for kind in (*LOAD_UNITS.values(), *OPERAND_UNITS.values(), *RUN_UNITS.values()):
        packed |= encode_command(kind, values) << position
        position += width(kind)
    return packed.to_bytes(WORDS * WORD_BYTES, "little")
