"""For each property of each harness, a change of a cell that breaks it, or one for each form of the cell."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Mutant:
    """`old`, which stands once in the cells of the harness, becomes `new`; the property then fails within `steps` cycles."""

    name: str
    old: str
    new: str
    parameters: dict[str, int] = field(default_factory=dict)
    steps: int = 10


def both(name: str, old: str, new: str, parameters: dict[str, int] | None = None) -> tuple[Mutant, Mutant]:
    """Return the same change of a FIFO with a bypass and of one without."""
    given = parameters or {}
    return Mutant(name, old, new, given), Mutant(f"{name}, no bypass", old, new, given | STORED)


CREDITS = {"Credits": 1, "Depth": 2}
STORED = {"Bypass": 0, "Depth": 3}
PAST = "valid_q <= (Bypass && push) || fill_q != '0;"
UNBOUNDED = (
    "to_boundary = (BurstBits + 1)'(MaxBurst) - (BurstBits + 1)'(word_q[BurstBits-1:0]);",
    "to_boundary = (BurstBits + 1)'(MaxBurst);",
)
STUCK = (PAST, "valid_q <= (Bypass && push) || fill_q != '0 || valid_q;")
NEVER_EMPTY = ("ext_data_ready_i : busy_q && chip_q && left_q != '0;", "ext_data_ready_i : busy_q && chip_q;")
MARK_FIRST = "(!chip_q || left_q == '0)"

MUTANTS: dict[str, dict[str, Mutant | tuple[Mutant, ...]]] = {
    "fifo": {
        "p_order": both("reads where it writes", "out_q <= store[read_q]", "out_q <= store[write_q]"),
        "p_valid": (
            Mutant("a token pushed into an empty queue is lost", PAST, "valid_q <= fill_q != '0;"),
            Mutant("a token is offered before it is stored", PAST, "valid_q <= push || fill_q != '0;", STORED),
        ),
        "p_capacity": both("always ready", "in_ready_o = fill_q != FillWidth'(Slots)", "in_ready_o = 1'b1"),
        "p_stable": both("a token waits for no consumer", "= !valid_q || pop;", "= !valid_q || fill_q != '0;"),
        "p_no_loss": both("a credit for each push", "credit_q <= pop;", "credit_q <= pop || push;", CREDITS),
        "p_credits": both("a credit too many", "if (!rst_ni) credit_q <= 1'b0;", "if (!rst_ni) credit_q <= 1'b1;", CREDITS),
    },
    "pingpong": {
        "p_data": Mutant(
            "unwrapped base",
            "if (wr_commit_i) wr_base_q <= wr_base_q == Top ? '0 : wr_base_q + WordWidth'(Depth);",
            "if (wr_commit_i) wr_base_q <= wr_base_q + WordWidth'(Depth);",
            {"Banks": 3},
            12,
        ),
        "p_wr_ready": Mutant("a bank too many", "free_q    <= CountWidth'(Banks);", "free_q    <= CountWidth'(Banks + 1);"),
        "p_rd_ready": Mutant("full before it is committed", "full_q    <= '0;", "full_q    <= CountWidth'(1);"),
    },
    "ring": {
        "p_capacity": Mutant("a place too many", "free_q  <= CountWidth'(Depth);", "free_q  <= CountWidth'(Depth + 1);"),
        "p_wr_ready": Mutant("the last place stays empty", "wr_ready_o = free_q != '0;", "wr_ready_o = 32'(free_q) > 1;"),
        "p_rd_ready": Mutant("full from the start", "full_q  <= '0;", "full_q  <= CountWidth'(1);"),
        "p_stored": Mutant(
            "full before it is stored",
            "full_q <= full_q + CountWidth'(wr_valid_i)",
            "full_q <= full_q + CountWidth'(wr_acquire_i)",
        ),
        "p_order": Mutant(
            "the address behind the last", "word >= (CountWidth + 1)'(Depth)", "word > (CountWidth + 1)'(Depth)", steps=12
        ),
        "p_data": Mutant(
            "free when it is taken",
            "free_q <= free_q + CountWidth'(rd_release_i)",
            "free_q <= free_q + CountWidth'(rd_fresh_i)",
        ),
    },
    "delay_line": {
        "p_tap": Mutant(
            "a place too few", "LengthWidth'(at) + 1'b1 == length_i", "LengthWidth'(at) + 2'd2 == length_i", {"Block": 1}, 12
        ),
        "p_stay": Mutant("taps that do not wait", "if (shift_qq) taps_q    <= word_q;", "taps_q <= word_q;", {"Block": 1}, 12),
    },
    "axi_read_mover": {
        "p_ar_stable": Mutant(
            "AR is overwritten", "room_q >= (DepthBits + 1)'(burst) && (!m_axi_arvalid || m_axi_arready);", "1'b1;"
        ),
        "p_r_taken": Mutant("R waits", "assign m_axi_rready = 1'b1;", "assign m_axi_rready = data_ready_i;"),
        "p_ar_length": Mutant("one burst a request", "assign ends = left_q <= 16'(to_boundary);", "assign ends = 1'b1;"),
        "p_ar_block": Mutant("no boundary", *UNBOUNDED),
        "p_ar_4kib": Mutant("no 4 KiB boundary", *UNBOUNDED),
        "p_ar_kind": Mutant("fixed bursts", "m_axi_arburst = 2'b01;", "m_axi_arburst = 2'b00;"),
        "p_drained": Mutant("new bursts before old ones end", "busy_q && !stale_q && room_q", "busy_q && room_q"),
        "p_bounded": Mutant(
            "room + 1", "room_q <= (DepthBits + 1)'(Depth);", "room_q <= (DepthBits + 1)'(Depth + 1);", steps=12
        ),
        "p_address": Mutant("bursts overlap", "word_q <= word_q + WordWidth'(burst);", "word_q <= word_q + 1'b1;"),
        "p_order": Mutant("the newest word first", "data_data_o <= fifo[read_q[", "data_data_o <= fifo[write_q["),
        "p_count": Mutant("stale data", "take = m_axi_rvalid && !stale_q &&", "take = m_axi_rvalid &&"),
        "p_asked": Mutant(
            "a burst for no beats",
            "busy_q <= req_valid_i && req_data_i[AddrWidth+:16] != '0;",
            "busy_q <= req_valid_i;",
        ),
        "p_room": Mutant(
            "bursts without room", "room_q >= (DepthBits + 1)'(burst)", "room_q + 1'b1 >= (DepthBits + 1)'(burst)", steps=12
        ),
        "p_stable": Mutant(
            "a word waits for no consumer",
            "pop = write_q != read_q && (!data_valid_o || data_ready_i);",
            "pop = write_q != read_q;",
        ),
        "p_moves": Mutant(
            "stale for ever", "stale_q <= !rst_ni || (stale_q && bursts_q != '0);", "stale_q <= !rst_ni || stale_q;"
        ),
        "p_error": Mutant("stale errors", "(take && m_axi_rresp[1])", "(m_axi_rvalid && m_axi_rresp[1])"),
    },
    "axi_write_mover": {
        "p_aw_stable": Mutant("AW is overwritten", "(empty || !m_axi_awvalid || m_axi_awready);", "1'b1;"),
        "p_w_stable": Mutant("W is overwritten", "!sending.empty && (!m_axi_wvalid || m_axi_wready);", "!sending.empty;"),
        "p_aw_length": Mutant("one burst a request", "assign ends = left_q <= 16'(to_boundary);", "assign ends = 1'b1;"),
        "p_aw_block": Mutant("no boundary", *UNBOUNDED),
        "p_aw_4kib": Mutant("no 4 KiB boundary", *UNBOUNDED),
        "p_aw_kind": Mutant("fixed bursts", "m_axi_awburst = 2'b01;", "m_axi_awburst = 2'b00;"),
        "p_wlast": Mutant("early WLAST", "m_axi_wlast <= last;", "m_axi_wlast <= 1'b1;"),
        "p_w_offered": Mutant("data before its burst", "has_burst = sent_q != issued_q;", "has_burst = 1'b1;"),
        "p_w_data": Mutant("strobes of stale beats", "write_q <= !stale_q;", "write_q <= 1'b1;"),
        "p_w_taken": Mutant("a word is taken twice", "data_ready_o = has_room && !stale_q;", "data_ready_o = has_burst;"),
        "p_w_empty": Mutant("beats without data", "take = has_room && (data_valid_i || stale_q);", "take = has_room;"),
        "p_drained": Mutant("new bursts before old ones end", "busy_q && !stale_q && !full &&", "busy_q && !full &&"),
        "p_bounded": Mutant("room + 1", "busy_q && !stale_q && !full &&", "busy_q && !stale_q &&", {"Outstanding": 2}),
        "p_address": Mutant("bursts overlap", "word_q <= word_q + WordWidth'(burst);", "word_q <= word_q + 1'b1;"),
        "p_asked": Mutant(
            "a burst for a mark", "if (issue && !empty) m_axi_awvalid <= 1'b1;", "if (issue) m_axi_awvalid <= 1'b1;"
        ),
        "p_wanted": Mutant("data for a mark", "has_burst && !sending.empty && (", "has_burst && ("),
        "p_done": Mutant(
            "done before the response",
            "acknowledge = expecting && (acknowledging.empty || m_axi_bvalid);",
            "acknowledge = expecting;",
        ),
        "p_marks": Mutant("stale marks", "acknowledging.mark && !stale_q", "acknowledging.mark"),
        "p_stable": Mutant("a mark waits for no consumer", "8'(done_valid_o && done_ready_i);", "8'(done_valid_o);"),
        "p_moves": Mutant(
            "stale for ever",
            "stale_q <= !rst_ni || (stale_q && acknowledged_q != issued_q);",
            "stale_q <= !rst_ni || stale_q;",
            {"Outstanding": 2},
            12,
        ),
        "p_error": Mutant("stale errors", "m_axi_bresp[1] && !stale_q", "m_axi_bresp[1]"),
    },
    "axi_outstanding": {
        "p_owed": Mutant("answers to nothing count", "Width'(last_i && owed_o)", "Width'(last_i)"),
        "p_silent": Mutant("an address is silence", "silent_o = !owed_o && !address_valid_i;", "silent_o = !owed_o;"),
    },
    "axil_control": {
        "p_write_once": Mutant(
            "a response without its write", "if (write) s_axil_bvalid <= 1'b1;", "if (s_axil_awvalid) s_axil_bvalid <= 1'b1;"
        ),
        "p_read_once": Mutant(
            "a read is lost", "read = s_axil_arvalid && (!s_axil_rvalid || s_axil_rready);", "read = s_axil_arvalid;"
        ),
        "p_read_stable": Mutant(
            "a value is overwritten", "if (read) s_axil_rdata <= value;", "if (s_axil_arvalid) s_axil_rdata <= value;"
        ),
        "p_start": Mutant("a start of no descriptors", "(!busy_q || abort) && count_q != '0;", "(!busy_q || abort);"),
        "p_start_kept": Mutant("a start is lost", "!(start_ready_i && engine_rst_no) && !abort", "!start_ready_i && !abort"),
        "p_start_stable": Mutant(
            "a start follows its registers", "if (start) start_data_o <=", "if (start || start_q) start_data_o <="
        ),
        "p_busy": Mutant("busy after an abort", "(busy_q && !end_of_program && !abort)", "(busy_q && !end_of_program)"),
        "p_done": Mutant("done after a start", "&& !start && !clear;", "&& !clear;"),
        "p_interrupt": Mutant("an interrupt nobody asked for", "interrupt_q && (done_q || failed);", "(done_q || failed);"),
        "p_idle": Mutant("idle with outstanding bursts", "!busy_q && !stopping_q && silent_i;", "!busy_q && !stopping_q;"),
        "p_reset": Mutant("no reset after a program", "abort || end_of_program ||", "abort ||"),
        "p_no_reset": Mutant("a reset for a clear", "abort || end_of_program ||", "abort || clear || end_of_program ||"),
        "p_silence": Mutant("a short reset", "stopped = settled_q && silent_i;", "stopped = settled_q;"),
        "p_forget": Mutant(
            "patience ends when all is silent", "!forgetting_q && !silent_i && quiet_q", "!forgetting_q && quiet_q"
        ),
    },
    "hub_banks": {
        "p_one_each": Mutant(
            "two ports at one bank", "read_valid_i[p] && !chosen_valid[read_word_i[p][BankBits-1:0]]", "read_valid_i[p]"
        ),
        "p_none_idle": Mutant("only the first port", "p == (32'(first_q) + i) % NumRead", "p == 32'(first_q)"),
        "p_none_else": Mutant(
            "a port that does not ask",
            "read_valid_i[p] && !chosen_valid[read_word_i[p][BankBits-1:0]]",
            "!chosen_valid[read_word_i[p][BankBits-1:0]]",
        ),
        "p_no_starving": Mutant(
            "always the same port first", "first_q == PortBits'(NumRead - 1) ? '0 : first_q + 1'b1;", "'0;"
        ),
        "p_answers": Mutant("an answer for a port that lost", "read_valid_i[p] && read_ready_o[p]};", "read_valid_i[p]};"),
        "p_data": Mutant("the word of another bank", "data[bank_q[Latency-2]]", "data[bank_q[Latency-3]]"),
    },
    "hub_reader": {
        "p_order": Mutant("on-chip words first", "data_data_o = order_chip ?", "data_data_o = local_valid ?"),
        "p_count": Mutant("a word is given twice", *STUCK),
        "p_address": Mutant("every second word", "read_word_o <= read_word_o + 1'b1;", "read_word_o <= read_word_o + 2'd2;"),
        "p_read_count": Mutant("a word too many", "(read && left_q == 16'd1);", "(read && left_q == 16'd0);"),
        "p_room": Mutant("reads without room", "room_q - RoomBits'(read) +", "room_q +"),
        "p_passed": Mutant("all requests leave the chip", "order_ready && !on_chip && !empty;", "order_ready && !empty;"),
        "p_ext_stable": Mutant(
            "a request is withdrawn", "req_valid_i && order_ready && !on", "req_valid_i && data_ready_i && !on"
        ),
        "p_read_stable": Mutant("a read is withdrawn", "busy_q && room_q != '0;", "busy_q && room_q != '0 && data_ready_i;"),
        "p_stable": Mutant("a word is withdrawn", "(order_chip ? local_valid :", "(order_chip ? local_valid && !req_valid_i :"),
        "p_moves": Mutant("room is not given back", " + RoomBits'(local_valid && local_ready);", ";", {"Depth": 2}, 12),
    },
    "hub_writer": {
        "p_place": Mutant("words of 1 byte", "address_q + AddrWidth'(DataWidth / 8);", "address_q + 1'b1;"),
        "p_one_place": Mutant("on-chip words overtake", "owed_q == '0 && data_valid_i;", "data_valid_i;"),
        "p_wanted": Mutant("data that nobody asked for", *NEVER_EMPTY),
        "p_owed": Mutant(
            "data before its request", "data_valid_i && owed_q != '0;", "data_valid_i && (owed_q != '0 || (busy_q && !chip_q));"
        ),
        "p_passed": Mutant("a mark on every request", "{mark_q, left_q, address_q}", "{1'b1, left_q, address_q}"),
        "p_mark": Mutant("a mark before its words", MARK_FIRST, "(!chip_q || mark_q || left_q == '0)"),
        "p_accepts": Mutant("a mark is lost", "left_q == 16'd1 && !mark_q);", "left_q == 16'd1);"),
        "p_ext_stable": Mutant("a request is withdrawn", "busy_q && !owed_q[23] &&", "busy_q && !data_valid_i &&"),
        "p_data_stable": Mutant(
            "a word is withdrawn", "data_valid_i && owed_q != '0;", "data_valid_i && owed_q != '0 && !req_valid_i;"
        ),
        "p_moves": Mutant("a mark is kept", MARK_FIRST, "!chip_q"),
    },
    "memory_hub": {
        "p_order": Mutant(
            "the mover of another port", ".ext_data_data_i(ext_data_data_i[p])", ".ext_data_data_i(ext_data_data_i[0])"
        ),
        "p_count": Mutant("a word is given twice", *STUCK),
        "p_stable": Mutant("the consumer of another port", ".data_ready_i(data_ready_i[p])", ".data_ready_i(data_ready_i[0])"),
        "p_passed": Mutant("the requests of another port", ".req_data_i(req_data_i[p])", ".req_data_i(req_data_i[0])"),
        "p_ext_stable": Mutant(
            "a ready of another port", ".ext_req_ready_i(ext_req_ready_i[p])", ".ext_req_ready_i(ext_req_ready_i[0])"
        ),
        "p_old": Mutant("the answers of another port", ".answer_data_i(answer_data[p])", ".answer_data_i(answer_data[0])"),
        "p_new": Mutant("the word beside it", ".write_word_i(write_word)", ".write_word_i(~write_word)"),
        "p_chip": Mutant(
            "an external word is lost", "ext_data_ready_o = order_valid && !order_chip &&", "ext_data_ready_o = order_valid &&"
        ),
        "p_write_passed": Mutant("all requests leave the chip", MARK_FIRST, "1'b1"),
        "p_write_data": Mutant("other data", ".data_data_i(write_data_data_i)", ".data_data_i(~write_data_data_i)"),
        "p_write_wanted": Mutant("data that nobody asked for", *NEVER_EMPTY),
    },
}
