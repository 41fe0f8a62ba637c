"""The roofline: what it must hold for any work and board, and what it says of work whose time can be worked out by hand."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import msgspec
import pytest
from edgewright.targets import device, published
from edgewright.targets.cpu.variants import VARIANTS
from edgewright.targets.device import Device
from edgewright.targets.estimate import HIGH, INSTRUCTIONS, LABEL, LOW, Estimate, StepWork, estimate
from hypothesis import given
from hypothesis import strategies as st

ARM = ("rpi4", "rpi5", "jetson-nano", "jetson-xavier-nx", "jetson-orin-nano")
KINDS = ("Linear", "Linear+Gelu", "Linear+Requantise+Table", "Attention", "LayerNormalization", "DepthwiseConv", "Copy", "New")

boards = st.sampled_from(ARM).map(device.load)
works = st.builds(
    StepWork,
    st.just("w"),
    st.sampled_from(KINDS),
    st.integers(0, 10**9),
    st.integers(0, 10**8),
    st.integers(0, 10**8),
    st.integers(0, 10**7),
    st.sampled_from(("float32", "int8", "int16")),
    st.booleans(),
)
programs = st.lists(works, min_size=1, max_size=6)
threads_of = st.integers(1, 8)
factors = st.floats(1.0, 16.0)


def changed(board: Device, **fields: Any) -> Device:
    """The board with other figures of its processor."""
    assert board.cpu is not None
    top = {name: fields.pop(name) for name in ("clock_mhz",) if name in fields}
    return msgspec.structs.replace(board, cpu=msgspec.structs.replace(board.cpu, **fields), **top)


def no_later(a: Estimate, b: Estimate) -> bool:
    """Whether a ends no later than b at both ends, but for rounding."""
    return a.low_ms <= b.low_ms * (1 + 1e-9) and a.high_ms <= b.high_ms * (1 + 1e-9)


def product(macs: int, rows: int, dtype: str, kind: str = "Linear", **other: Any) -> StepWork:
    """A product of so many rows against a constant."""
    return StepWork("product", kind, macs, macs // rows * (4 if dtype == "float32" else 1), 0, 0, dtype, **other)


@given(programs, boards, threads_of)
def test_a_range_is_positive_and_adds_up(program: list[StepWork], board: Device, threads: int) -> None:
    found = estimate(program, board, threads)
    assert 0 < found.low_ms <= found.high_ms
    assert all(0 < step.low_us <= step.high_us for step in found.steps)
    assert sum(step.low_us for step in found.steps) == pytest.approx(found.low_ms * 1e3 - LOW.run_us)
    assert sum(step.high_us for step in found.steps) == pytest.approx(found.high_ms * 1e3 - HIGH.run_us)
    assert sum(found.limits.values()) == pytest.approx(1.0)
    assert {step.limit for step in found.steps} <= {name for name, share in found.limits.items() if share > 0}


@given(programs, boards, threads_of, st.integers(1, 10**9), st.integers(0, 5))
def test_more_products_take_no_less(program: list[StepWork], board: Device, threads: int, more: int, which: int) -> None:
    which %= len(program)
    one = program[which]
    grown = [*program[:which], dataclasses.replace(one, macs=one.macs + more), *program[which + 1 :]]
    assert no_later(estimate(program, board, threads), estimate(grown, board, threads))


@given(programs, boards, threads_of, st.sampled_from(("weight_bytes", "activation_bytes", "elements")), st.integers(1, 10**7))
def test_more_rows_and_activations_take_no_less(
    program: list[StepWork], board: Device, threads: int, field: str, more: int
) -> None:
    if field == "weight_bytes":  # with fewer products to each weight there are fewer blocks that read it
        program = [dataclasses.replace(work, macs=0) for work in program]
    grown = [dataclasses.replace(work, **{field: getattr(work, field) + more}) for work in program]
    assert no_later(estimate(program, board, threads), estimate(grown, board, threads))


@given(programs, boards, threads_of, factors)
def test_a_faster_clock_takes_no_longer(program: list[StepWork], board: Device, threads: int, factor: float) -> None:
    assert board.cpu is not None and board.clock_mhz is not None
    fast = changed(board, clock_mhz=board.clock_mhz * factor, clock_max_mhz=board.cpu.clock_max_mhz * factor)
    assert no_later(estimate(program, fast, threads), estimate(program, board, threads))


@given(programs, boards, threads_of, factors)
def test_quicker_memory_takes_no_longer(program: list[StepWork], board: Device, threads: int, factor: float) -> None:
    assert board.cpu is not None
    one, every = board.cpu.read_gb_per_s, board.cpu.read_all_gb_per_s
    quick = changed(board, read_gb_per_s=one * factor, read_all_gb_per_s=every * factor)
    assert no_later(estimate(program, quick, threads), estimate(program, board, threads))


@given(programs, boards, st.integers(1, 7), st.integers(1, 4))
def test_more_threads_take_no_longer(program: list[StepWork], board: Device, threads: int, more: int) -> None:
    assert no_later(estimate(program, board, threads + more), estimate(program, board, threads))


@pytest.mark.parametrize(
    ("name", "dtype", "macs_per_cycle"),
    [
        ("rpi4", "float32", 4),
        ("rpi4", "int8", 8),
        ("rpi5", "float32", 8),
        ("rpi5", "int8", 32),
        ("jetson-nano", "int8", 8),
        ("jetson-orin-nano", "int8", 32),
    ],
)
def test_products_that_fit_the_first_cache_run_at_the_peak_of_the_core(name: str, dtype: str, macs_per_cycle: int) -> None:
    board = device.load(name)
    assert board.cpu is not None and board.clock_mhz is not None
    macs = 10**9
    found = estimate([StepWork("product", "Linear", macs, 4_096, 0, 0, dtype)], board)
    assert found.low_ms == pytest.approx(macs / macs_per_cycle / 0.95 / board.cpu.clock_max_mhz / 1e3, rel=0.02)
    assert found.high_ms == pytest.approx(macs / macs_per_cycle / 0.50 / board.clock_mhz / 1e3, rel=0.02)
    assert found.steps[0].limit == "products"
    assert found.precision == ("fp32" if dtype == "float32" else "int8")


def test_weights_that_fit_no_cache_run_at_the_speed_of_memory() -> None:
    board = device.load("rpi4")
    macs = weights = 64 * 1024 * 1024
    found = estimate([product(macs, 1, "int8")], board, threads=4)
    assert found.steps[0].limit == "memory"
    assert found.low_ms == pytest.approx(weights / 5.5e6, rel=0.05)


def test_weights_are_read_again_for_each_block_of_rows() -> None:
    board = device.load("rpi4")
    once, often = (estimate([product(4 * 2**20 * rows, rows, "float32")], board, threads=4) for rows in (8, 80))
    assert once.steps[0].limit == often.steps[0].limit == "memory"
    assert often.high_ms > 8 * once.high_ms


def test_a_single_row_waits_for_its_sums() -> None:
    board = device.load("rpi5")
    macs = 10**8
    one, many = (estimate([StepWork("w", "Linear", macs, macs * 4 // rows, 0, 0, "float32")], board) for rows in (1, 8))
    assert one.low_ms > 3 * many.low_ms


def test_threads_stop_at_the_cores_and_small_steps_stay_on_one() -> None:
    board = device.load("rpi4")
    work = [product(10**9, 500_000, "float32")]
    times = [estimate(work, board, threads).low_ms for threads in (1, 2, 4, 8)]
    assert times[0] > 1.9 * times[1] > 3.6 * times[2] and times[2] == times[3]
    serial = [dataclasses.replace(work[0], parallel=False)]
    assert estimate(serial, board, 4).low_ms == estimate(serial, board, 1).low_ms
    small = [product(1000, 10, "float32")]
    assert estimate(small, board, 4).high_ms == estimate(small, board, 1).high_ms


def test_a_serial_share_limits_the_threads() -> None:
    board = device.load("rpi4")
    work = [product(10**9, 500_000, "float32")]
    one, four = estimate(work, board, 1), estimate(work, board, 4)
    assert one.low_ms / four.low_ms == pytest.approx(1 / (0.01 + 0.99 / 4), rel=0.01)
    assert one.high_ms / four.high_ms == pytest.approx(1 / (0.08 + 0.92 / 4), rel=0.01)


def moved(size: int) -> StepWork:
    """A step that does nothing but read and write."""
    return StepWork("moved", "Copy", 0, 0, size, 0, "float32")


def test_cores_that_share_a_cache_slow_each_other_down_at_worst() -> None:
    board = device.load("rpi4")
    assert board.cpu is not None and board.cpu.l2_cores == 4
    own = changed(board, l2_cores=1)
    shared, apart = (estimate([moved(500_000)], one, 4) for one in (board, own))
    assert shared.low_ms == apart.low_ms
    assert shared.high_ms - apart.high_ms > 0.010


def test_half_a_cache_may_be_taken() -> None:
    fits, half = (estimate([moved(size)], device.load("rpi4")) for size in (500_000, 700_000))
    assert half.low_ms < 1.5 * fits.low_ms
    assert half.high_ms > 2.5 * fits.high_ms


def test_a_model_that_fits_no_cache_reads_its_weights_from_memory() -> None:
    board = device.load("rpi4")
    layer = StepWork("layer", "Linear", 100_000, 100_000, 0, 0, "int8")
    one, many = estimate([layer], board), estimate([layer] * 50, board)
    assert many.steps[0].low_us == pytest.approx(100_000 / 4.5e3, rel=0.05)
    assert one.steps[0].low_us < many.steps[0].low_us


def test_what_is_not_longest_is_hidden_at_best_and_half_of_it_at_worst() -> None:
    board = device.load("rpi4")
    rows = StepWork("rows", "Gelu", 0, 0, 0, 10**6, "float32")
    work, both = moved(10**7), dataclasses.replace(rows, activation_bytes=10**7)
    (low_a, high_a), (low_b, high_b), (low, high) = (
        (found.low_us - LOW.step_us, found.high_us - HIGH.step_us)
        for found in (estimate([one], board).steps[0] for one in (work, rows, both))
    )
    assert low == pytest.approx(max(low_a, low_b))
    assert high == pytest.approx(max(high_a, high_b) + min(high_a, high_b) / 2)


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda one: one.name)
@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_every_variant_has_an_estimate(variant: Any, dtype: str) -> None:
    """On a processor that has every unit, so that what the variant uses decides."""
    board = changed(
        device.load("rpi5"), simd_bits=variant.vector_bits, issue_width=6, mma_per_cycle=2.0, tile_macs_per_cycle=1024.0
    )
    macs = 10**9
    found = estimate([StepWork("product", "Linear", macs, 4_096, 0, 0, dtype)], board, variant=variant.name)
    assert found.variant == variant.name
    macs_per_cycle = macs / (found.low_ms * 1e3 * 2400 * LOW.products)
    assert 1 <= macs_per_cycle <= 1024
    if variant.name != "generic_aarch64":
        assert macs_per_cycle >= variant.vector_bits / 32


def test_the_widest_unit_of_the_variant_decides() -> None:
    board = changed(device.load("rpi5"), mma_per_cycle=2.0)
    work = [StepWork("product", "Linear", 10**9, 4_096, 0, 0, "int8")]
    plain, neon, dot, mma = (
        estimate(work, board, variant=name).low_ms for name in ("generic_aarch64", "neon", "dotprod", "i8mm")
    )
    assert plain > 2 * neon > 2 * dot > 2 * mma


@pytest.mark.parametrize("kind", sorted(INSTRUCTIONS))
def test_rows_cost_by_their_operator(kind: str) -> None:
    board = device.load("rpi5")
    found = estimate([StepWork("rows", kind, 0, 0, 0, 10**6, "float32")], board)
    cycles = found.low_ms * 1e3 * 2400
    assert cycles == pytest.approx(1e6 * INSTRUCTIONS[kind][0] / min(4, 2 / 0.75), rel=0.02)
    assert found.steps[0].limit == "rows"


def test_an_estimate_is_data_that_says_what_it_is() -> None:
    found = estimate([product(1_258_000_000, 197, "int8", "Linear+Requantise")], device.load("rpi4"), threads=4)
    data = json.loads(json.dumps(dataclasses.asdict(found)))
    assert data["label"] == LABEL == "estimate, not a measurement"
    assert "95 %" in data["assumptions_low"] and "50 %" in data["assumptions_high"]
    assert data["device"] == "rpi4" and data["core"] == "Arm Cortex-A72" and data["threads"] == 4
    assert data["published"][0]["model"] == "ViT-tiny" and data["published"][0]["ms"] == 197
    assert data["published"][0]["macs_ratio"] == pytest.approx(1.0)


def test_the_words_are_the_numbers() -> None:
    for end in (LOW, HIGH):
        assert f"products at {end.products:.0%}".replace("%", " %") in end.text
        assert f"{end.serial:.0%}".replace("%", " %") + " of each step serial" in end.text
    assert f"{HIGH.memory:.0%}".replace("%", " %") + " of the memory" in HIGH.text
    assert HIGH.caches == HIGH.hidden == 0.5 and "half of each cache" in HIGH.text and "half of the transfers" in HIGH.text


def test_what_cannot_be_estimated_is_refused() -> None:
    work = product(1000, 10, "int8")
    with pytest.raises(ValueError, match="zcu104 has no CPU"):
        estimate([work], device.load("zcu104"))
    for works_, threads in (([], 1), ([work], 0)):
        with pytest.raises(ValueError, match="a step and a thread"):
            estimate(works_, device.load("rpi4"), threads)
    with pytest.raises(KeyError, match="no variant 'nein'"):
        estimate([work], device.load("rpi4"), variant="nein")
    with pytest.raises(ValueError, match="negative"):
        StepWork("w", "Linear", -1, 0, 0, 0, "int8")


def test_published_figures_name_board_source_and_difference() -> None:
    names = {one.name for one in device.list_devices()} | {"x86_64", "aarch64"}
    rows = published.table()
    assert len(rows) > 40
    for row in rows:
        assert row.board in names and row.macs > 10**6 and row.ms > 0 and row.differs and row.source and row.runtime
    assert {row.board for row in rows} >= set(ARM)


@given(st.sampled_from(ARM), st.integers(1, 10**12), st.integers(0, 6))
def test_the_nearest_models_come_first(board: str, macs: int, limit: int) -> None:
    found = published.nearest(board, macs, limit)
    distances = [max(one.macs_ratio, 1 / one.macs_ratio) for one in found]
    assert distances == sorted(distances) and len(found) <= limit
    assert all(distance <= published.FACTOR for distance in distances)
    on_board = [row for row in published.table() if row.board == board]
    near = [row for row in on_board if 1 / published.FACTOR <= row.macs / macs <= published.FACTOR]
    assert len(found) == min(limit, len(near))


def test_nothing_is_near_a_model_without_products() -> None:
    assert published.nearest("rpi4", 0) == ()
