"""The engine: one configuration per board, programmed per model by descriptors.

program --> fetch --> commands for every process; gates
weights --> route --> ring of tiles, table, norm and channel parameters ----+
operands --> route --> tiles of keys and values ----------------------------+-- copies --> store
activations --> route --> (LayerNorm) --> tiles --> array --> epilogue --> (table) --> store --> results
                                           ^          |           ^
                                           +- softmax +        residual
"""

from __future__ import annotations

from edgewright.hw.blocks import operation as op
from edgewright.hw.blocks.activations import add_fetch_addresses, add_fill, add_route
from edgewright.hw.blocks.config import EngineConfig, address_bits
from edgewright.hw.blocks.direct import add_direct, direct_type, normed_type
from edgewright.hw.blocks.epilogue import add_epilogue, add_tabulate, result_type
from edgewright.hw.blocks.gemm import ACCUMULATOR, add_product
from edgewright.hw.blocks.layernorm import add_norm
from edgewright.hw.blocks.operands import (
    add_feed_offsets,
    add_feed_operands,
    add_fill_operands,
    add_operand_addresses,
    add_operand_route,
    offset_type,
    partial_type,
)
from edgewright.hw.blocks.sequencer import (
    add_fetch,
    add_gate,
    add_load_issue,
    add_operand_issue,
    add_run_issue,
    add_tracker,
)
from edgewright.hw.blocks.softmax import RowScale, add_softmax
from edgewright.hw.blocks.weights import (
    add_feed_weights,
    add_fill_biases,
    add_fill_norm,
    add_fill_params,
    add_fill_rows,
    add_fill_table,
    add_fill_tiles,
    add_load_addresses,
    add_load_route,
    bias_type,
    channel_type,
    list_type,
    norm_type,
    row_type,
    table_rows,
    table_type,
)
from edgewright.hw.blocks.window import add_window, rows_type, taps_type
from edgewright.hw.blocks.writer import add_residual, add_store, add_turn
from edgewright.hw.kernel import Block, Request, i, u
from edgewright.hw.kernel.ir import Channel
from edgewright.hw.kernel.types import Type

WORD = u(op.WORD_BITS)
WEIGHTS = tuple(f"weights_{port}" for port in range(op.WEIGHT_PORTS))
READERS = ("program", *WEIGHTS, "operands", "activations", "residual")
"""AXI masters that read, in the order of their error bits; ``results`` comes last."""


def build(cfg: EngineConfig) -> Block:
    """Build the whole engine. Streams: ``start`` (address and length of a program) in, ``finished`` out; seven AXI masters."""
    b = Block("engine")
    start = b.input("start", op.Start)
    finished = b.output("finished", u(1))

    requests = {name: b.channel(f"{name}_requests", Request, depth=4) for name in ("program", *WEIGHTS, "results")}
    requests |= {name: b.channel(f"{name}_requests", Request, depth=32) for name in ("operands", "activations", "residual")}
    words = {name: b.channel(f"{name}_read", WORD, depth=4) for name in READERS}
    words["results"] = b.channel("results_words", WORD, depth=32)
    done = b.channel("done", u(1), depth=2)
    hub = cfg.on_chip_words > 0
    if hub:
        b.on_chip_memory(cfg.on_chip_words, cfg.on_chip_banks)
    for name in READERS:
        b.axi_read(
            name,
            requests[name],
            words[name],
            hub=hub and name not in ("program", *WEIGHTS),
            ahead=cfg.read_ahead * (2 if name in (*WEIGHTS, "operands") else 1),
        )
    b.axi_write("results", requests["results"], words["results"], done, hub=hub)
    done_constants, done_operands, done_fetch, done_residual, done_track = b.fork(done, 5, depth=cfg.completions)

    def commands(name: str, kind: Type, depth: int = 2) -> Channel:
        return b.channel(f"{name}_cmd", kind, depth=depth)

    sides = {side: commands(side, kind, depth=24) for side, kind in op.SIDES.items()}
    add_fetch(b, start, words["program"], requests["program"], **sides)

    go = {name: b.channel(f"{name}_go", u(1), depth=2) for name in ("constants", "operands", "activations", "residual")}
    load = {
        "gate": commands("load_gate", op.LoadGate),
        "addresses": commands("load_addresses", op.LoadAddresses),
        "route": commands("load_route", op.LoadRoute),
        "tiles": commands("fill_tiles", op.LoadTiles),
        "table": commands("fill_table", op.LoadTable),
        "norm": commands("fill_norm", op.LoadNorm),
        "params": commands("fill_params", op.LoadParams),
        "biases": commands("fill_biases", op.LoadBiases),
        "rows": commands("fill_rows", op.LoadRows),
    }
    add_load_issue(b, sides["load"], **load)

    tile = i(8)[cfg.outs, cfg.ins]
    weight_tiles = b.ring("weight_tiles", tile, depth=cfg.weight_tiles, window=cfg.weight_window, style="ultra")
    table = b.buffer("table", table_type(cfg), depth=table_rows(cfg), banks=cfg.table_banks)
    norm_params = b.buffer("norm_params", norm_type(cfg), depth=cfg.norm_width // cfg.norm_lanes, banks=cfg.norm_banks)
    params = b.ring("channel_params", channel_type(cfg), depth=cfg.param_tiles, window=cfg.param_window, style="block")
    biases = b.ring("score_biases", bias_type(cfg), depth=cfg.bias_entries, window=cfg.bias_window, style="block")
    listed_depth = cfg.list_entries // list_type(cfg).shape[0]
    listed = b.ring("listed_rows", list_type(cfg), depth=listed_depth, window=1, style="block")
    routed = {
        name: b.channel(f"{name}_words", WORD[op.WEIGHT_PORTS], depth=8)
        for name in ("tile", "table", "norm_param", "param", "bias", "list")
    }
    add_gate(b, "load_gate", "con", load["gate"], done_constants, go["constants"])
    add_load_addresses(b, load["addresses"], go["constants"], [requests[name] for name in WEIGHTS])
    add_load_route(
        b,
        cfg,
        load["route"],
        [words[name] for name in WEIGHTS],
        tiles=routed["tile"],
        table=routed["table"],
        norm=routed["norm_param"],
        params=routed["param"],
        biases=routed["bias"],
        rows=routed["list"],
    )
    add_fill_tiles(b, cfg, load["tiles"], routed["tile"], weight_tiles)
    add_fill_table(b, cfg, load["table"], routed["table"], table)
    add_fill_norm(b, cfg, load["norm"], routed["norm_param"], norm_params)
    add_fill_params(b, cfg, load["params"], routed["param"], params)
    add_fill_biases(b, cfg, load["biases"], routed["bias"], biases)
    add_fill_rows(b, cfg, load["rows"], routed["list"], listed)

    operand_gate = commands("operand_gate", op.OperandGate)
    operand_addresses = commands("operand_addresses", op.OperandAddresses)
    operand_route = commands("operand_route", op.OperandRoute)
    fill_operands = commands("fill_operands", op.OperandTiles)
    operand_tiles = b.buffer("operand_tiles", tile, depth=cfg.operand_tiles, banks=cfg.operand_banks, style="block")
    partials = b.buffer("value_sums", partial_type(cfg), depth=cfg.value_sums, banks=cfg.operand_banks)
    add_operand_issue(
        b, sides["operands"], gate=operand_gate, addresses=operand_addresses, route=operand_route, tiles=fill_operands
    )
    add_gate(b, "operand_gate", "opd", operand_gate, done_operands, go["operands"])
    add_operand_addresses(b, cfg, operand_addresses, go["operands"], requests["operands"])
    operand_words, copied = (b.channel(name, WORD, depth=8) for name in ("operand_words", "copied_words"))
    add_operand_route(b, operand_route, words["operands"], operands=operand_words, copied=copied)
    add_fill_operands(b, cfg, fill_operands, operand_words, operand_tiles, partials)

    fetch = commands("fetch", op.Fetch)
    route = commands("route", op.Route)
    norms = [commands(f"norm_{part}", op.Norm) for part in ("stats", "scale", "apply")]
    direct = commands("direct", op.Direct)
    windows = [commands("window_lines", op.WindowLines), commands("window", op.Window)] if cfg.window_words else []
    fill = commands("fill", op.Fill)
    feeds = {
        "weights": commands("feed_weights", op.WeightFeed),
        "operands": commands("feed_operands", op.OperandFeed),
        "offsets": commands("feed_offsets", op.OffsetFeed),
    }
    product = commands("product", op.Product)
    softmaxes = [commands(f"softmax_{part}", op.Softmax) for part in ("max", "exp", "recip")]
    finish = commands("finish", op.Finish)
    tabulate = commands("tabulate", op.Tabulate)
    turns = [commands(f"turn_{part}", op.Turn) for part in ("in", "out")]
    residuals = [commands(f"residual_{part}", op.Residual) for part in ("addresses", "rows")]
    stores = [commands(f"store_{part}", op.Store) for part in ("addresses", "words")]
    track = commands("track", op.Track)
    fetch_gate, residual_gate = commands("fetch_gate", op.FetchGate), commands("residual_gate", op.ResidualGate)
    add_tracker(b, track, done_track, finished)
    add_gate(b, "fetch_gate", "act", fetch_gate, done_fetch, go["activations"])
    add_gate(b, "residual_gate", "res", residual_gate, done_residual, go["residual"])
    add_run_issue(
        b,
        sides["run"],
        track=track,
        fetch_gate=fetch_gate,
        residual_gate=residual_gate,
        fetch=fetch,
        route=route,
        norms=norms,
        direct=direct,
        windows=windows,
        fill=fill,
        **feeds,
        product=product,
        softmaxes=softmaxes,
        finish=finish,
        tabulate=tabulate,
        turns=turns,
        residuals=residuals,
        stores=stores,
    )

    tile_words = b.channel("token_words", WORD, depth=8)
    direct_words = b.channel("direct_words", WORD, depth=8)
    map_words, window_taps, window_rows = None, None, None
    if cfg.window_words:
        map_words = b.channel("map_words", WORD, depth=8)
        window_taps = b.channel("window_taps", taps_type(cfg), depth=2)
        window_rows = b.channel("window_values", rows_type(cfg), depth=4)
        add_window(b, cfg, windows, map_words, window_taps, window_rows)
    norm_words = b.channel("norm_words", WORD, depth=8)
    line_offsets = b.channel("line_offsets", u(address_bits(cfg.word_bytes)), depth=64)
    normed = b.channel("normed_rows", row_type(cfg), depth=8)
    passed = b.channel("passed_rows", normed_type(cfg), depth=4)
    direct_rows = b.channel("direct_values", direct_type(cfg), depth=4)
    attention_tiles = b.channel("attention_tiles", i(8)[cfg.tokens, cfg.ins], depth=16, slack=2)
    row_scales = b.channel("row_scales", RowScale, depth=64)
    scores = b.channel("scores", ACCUMULATOR[cfg.tokens, cfg.outs], depth=4, slack=4)
    sums = b.channel("sums", ACCUMULATOR[cfg.tokens, cfg.outs], depth=4, slack=4)
    tiles = b.buffer("activation_tiles", i(8)[cfg.tokens, cfg.ins], depth=cfg.activation_tiles, banks=cfg.activation_banks)
    add_fetch_addresses(b, cfg, fetch, go["activations"], requests["activations"], line_offsets, listed)
    add_route(b, route, words["activations"], norm=norm_words, tiles=tile_words, direct=direct_words, window=map_words)
    add_norm(b, norms, norm_words, norm_params, normed, passed, cfg=cfg)
    add_direct(b, cfg, direct, direct_words, passed, direct_rows)
    add_fill(b, cfg, fill, words=tile_words, offsets=line_offsets, normed=normed, weights=attention_tiles, tiles=tiles)
    fed = {name: b.channel(f"fed_{name}", tile, depth=2) for name in ("weights", "operands")}
    fed_offsets = b.channel("fed_offsets", offset_type(cfg), depth=2)
    add_feed_weights(b, feeds["weights"], weight_tiles, fed["weights"], window_taps)
    add_feed_operands(b, feeds["operands"], operand_tiles, fed["operands"])
    add_feed_offsets(b, cfg, feeds["offsets"], partials, fed_offsets)
    add_product(b, cfg, product, tiles, weights=fed["weights"], operands=fed["operands"], scores=scores, sums=sums)
    add_softmax(b, cfg, softmaxes, scores, biases, attention_tiles, row_scales)

    residual_rows = b.ring("residual_values", result_type(cfg), depth=cfg.residual_rows, window=1, style="block")
    results = b.ring("result_values", result_type(cfg), depth=cfg.result_rows, window=1, style="ultra")
    add_residual(b, cfg, residuals, go["residual"], requests["residual"], words["residual"], residual_rows)
    entries = b.channel("table_entries", u(8)[cfg.lanes], depth=4)
    tabled = b.ring("tabled_values", row_type(cfg), depth=cfg.result_rows, window=1, style="ultra")
    past = direct_rows, window_rows
    unturned = b.channel("unturned_values", result_type(cfg), depth=2)
    unturned_table = b.channel("unturned_entries", row_type(cfg), depth=2)
    turned = b.buffer("turned_values", result_type(cfg), depth=cfg.turned_rows, banks=2, style="block")
    ordered = b.channel("rows_in_order", result_type(cfg), depth=2)
    add_epilogue(b, cfg, finish, sums, *past, row_scales, params, fed_offsets, residual_rows, results, unturned, entries)
    add_tabulate(b, cfg, tabulate, entries, table, tabled, unturned_table)
    add_turn(b, cfg, turns, unturned, unturned_table, turned, ordered)
    add_store(
        b,
        cfg,
        stores,
        results=results,
        tabled=tabled,
        ordered=ordered,
        copied=copied,
        requests=requests["results"],
        words=words["results"],
    )
    return b
