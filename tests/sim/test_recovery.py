"""An engine that can always be stopped, asked and started again, at RTL, behind its registers, with a real program."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from edgewright.hw.blocks.operation import FIELDS, Operation, encode
from edgewright.hw.kernel import width
from edgewright.hw.registers import PORTS

from tests.sim.recovery import (
    ABORT,
    BUSY,
    BUSY_START,
    CLEAR,
    CONTROL,
    COUNT,
    DONE,
    ERRORS,
    FAILED,
    FORGET,
    FORGOT,
    INTERRUPT,
    LIMIT,
    NO_DESCRIPTORS,
    NO_PROGRESS,
    OVER_LIMIT,
    PATIENCE,
    START,
    STATUS,
    WATCHDOG,
    Script,
    good,
    simulator,
)

pytestmark = pytest.mark.sim
MEMORIES = ((24, 0.0), (70, 0.3))
"""Latency in cycles, and the probability that a channel pauses."""


def cycles_of_good(tmp_path: Path, latency: int, stall: float) -> int:
    script = Script(good())
    script.run_good("alone")
    return script.run(simulator(), latency=latency, stall=stall, folder=tmp_path)[0]


@pytest.mark.parametrize(("latency", "stall"), MEMORIES)
@pytest.mark.parametrize("how", ["abort", "abort and start", "reset", "reset with the memory"])
def test_a_program_is_stopped_anywhere(tmp_path: Path, how: str, latency: int, stall: float, trials: int = 12) -> None:
    total = cycles_of_good(tmp_path, latency, stall)
    rng = random.Random(f"{how} {latency}")
    script = Script(good())
    for trial in range(trials):
        at = rng.randrange(total + 40)
        what = f"trial {trial}, {how} after {at} cycles"
        script.start()
        script.do("d", at)
        if how == "abort":
            script.write(CONTROL, ABORT | CLEAR)
            script.measure(f"{what}: idle", "q", PATIENCE)
            script.read(f"{what}: status", STATUS, 0)
        elif how != "abort and start":
            script.do({"reset": "x", "reset with the memory": "y"}[how], rng.choice([0, 1, 30]))
        script.run_good(what, also=ABORT if how == "abort and start" else 0)
        script.read(f"{what}: errors", ERRORS, 0)
    script.run(simulator(), latency=latency, stall=stall, folder=tmp_path)


def test_a_reset_that_the_engine_cannot_know_to_be_the_memorys_too(tmp_path: Path) -> None:
    """Reads only are outstanding early in a program: they are given up after a while without an answer."""
    script = Script(good())
    script.start()
    script.do("d", 60)
    script.do("z", 4)
    script.run_good("after the reset")
    script.read("it was told", ERRORS, FORGOT)
    script.run(simulator(), latency=60, folder=tmp_path)


def test_a_memory_that_does_not_answer(tmp_path: Path) -> None:
    script = Script(good())
    script.write(WATCHDOG, 500)
    script.start()
    script.do("d", 100)
    script.do("s")
    script.measure("watchdog", "i", PATIENCE)
    script.read("status", STATUS, BUSY | FAILED)
    script.read("errors", ERRORS, NO_PROGRESS)
    script.write(CONTROL, ABORT | CLEAR)
    script.do("d", 300)
    script.read("waits for the memory", STATUS, 8)
    script.do("t")
    script.run_good("when it answers again")
    script.start()
    script.do("d", 100)
    script.do("s")
    script.write(CONTROL, FORGET)
    script.measure("forgotten", "q", 100)
    script.read("status", STATUS, 0)
    script.read("errors", ERRORS, FORGOT)
    script.do("y", 4)
    script.do("t")
    script.run_good("after a reset of the memory")
    script.run(simulator(), folder=tmp_path)


def test_starts(tmp_path: Path) -> None:
    script = Script(good())
    script.start(count=0)
    script.read("no descriptors", STATUS, FAILED)
    script.read("no descriptors", ERRORS, NO_DESCRIPTORS)
    script.measure("interrupt", "i", 10)
    script.write(CONTROL, INTERRUPT | CLEAR)
    script.read("cleared", STATUS, 0)
    script.start()
    script.do("d", 100)
    script.write(CONTROL, START | INTERRUPT)
    script.read("a second start", STATUS, BUSY)
    script.read("a second start", ERRORS, BUSY_START)
    script.measure("interrupt", "i", PATIENCE)
    script.read("status", STATUS, DONE)
    script.write(ERRORS, BUSY_START)
    script.read("cleared", ERRORS, 0)
    script.run_good("after it")
    script.run(simulator(), folder=tmp_path)


@pytest.mark.parametrize("kind", [2, 3])
def test_error_responses_are_told_and_cleared(tmp_path: Path, kind: int) -> None:
    rng = random.Random(kind)
    script = Script(good())
    steps = [step.fields for step in good().plan.steps]
    words = {"operands": sum(fields["opd_words"] for fields in steps)}
    words["residual"] = sum(2 * fields["n_tokens"] * fields["out_tiles"] for fields in steps if fields["residual"])
    # a write is answered once for a request, which a block of results is at least
    words["results"] = sum(f["n_blocks"] if f["in_runs"] else f["n_tokens"] * f["out_tiles"] for f in steps)
    for port, name in enumerate(PORTS):
        for beat in (1, rng.randint(2, 16), rng.randint(17, 60)):
            what = f"port {port}, beat {beat}"
            if beat > words.get(name, beat):
                continue  # the program passes fewer words there
            script.do("e", port, beat << 4 | kind)
            script.start()
            script.measure(f"{what}: interrupt", "i", PATIENCE)
            script.measure(f"{what}: idle", "q", PATIENCE)
            script.read(f"{what}: status", STATUS, DONE | FAILED)
            script.read(f"{what}: errors", ERRORS, 1 << port + 8 * (kind - 2))
            script.write(ERRORS, 0xFFFFFFFF)
            script.read(f"{what}: cleared", STATUS, DONE)
            script.run_good(what)
            script.read(f"{what}: errors", ERRORS, 0)
    script.run(simulator(), folder=tmp_path)


def test_counts_that_are_wrong(tmp_path: Path) -> None:
    script = Script(good())
    right = len(good().plan.steps)
    script.write(WATCHDOG, 2000)
    for count in (right + 1, right + 5, right - 1, 1):
        script.start(count)
        script.measure(f"{count}: interrupt", "i", PATIENCE)
        if count > right:
            script.measure(f"{count}: idle", "q", PATIENCE)
            script.read(f"{count}: status", STATUS, DONE)
        else:
            script.read(f"{count}: status", STATUS, BUSY | FAILED)
            script.read(f"{count}: errors", ERRORS, NO_PROGRESS)
            script.write(CONTROL, ABORT | CLEAR)
        script.run_good(f"after {count} of {right} descriptors")
    script.run(simulator(), folder=tmp_path, assertions=False)


def test_the_limit_on_cycles(tmp_path: Path) -> None:
    script = Script(good())
    script.write(LIMIT, 200)
    script.start()
    script.measure("interrupt", "i", 210)
    script.read("status", STATUS, BUSY | FAILED)
    script.read("errors", ERRORS, OVER_LIMIT)
    script.write(CONTROL, ABORT | CLEAR)
    script.write(LIMIT, 0)
    script.run_good("without it")
    script.run(simulator(), folder=tmp_path)


def corrupted(rng: random.Random) -> bytes:
    """The good program with random bits, or random values of whole fields, in one to three places."""
    steps = [dict(step.fields) for step in good().plan.steps]
    texts = [bytearray(encode(fields)) for fields in steps]
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(steps))
        if rng.random() < 0.5:
            name = rng.choice(list(FIELDS))
            steps[at][name] = rng.choice([0, 1, rng.getrandbits(FIELDS[name].bits), (1 << FIELDS[name].bits) - 1])
            texts[at] = bytearray(encode(steps[at]))
        else:
            bit = rng.randrange(width(Operation))
            texts[at][bit // 8] ^= 1 << bit % 8
    return b"".join(texts)


@pytest.mark.parametrize("seed", range(2))
def test_illegal_programs_end(tmp_path: Path, seed: int, trials: int = 15) -> None:
    """Done or an error in bounded time, never silence; then the good program at once."""
    rng = random.Random(seed)
    base = good().plan.memory_bytes + 0x10000 & ~0xFFF
    size = 256 * len(good().plan.steps)
    programs = {base + size * trial: corrupted(rng) for trial in range(trials)}
    script = Script(good())
    script.write(WATCHDOG, 1500)
    script.write(LIMIT, 8000)
    for address in programs:
        what = f"program at {address:#x}"
        script.do("l")
        script.start(program=address)
        script.measure(f"{what}: interrupt", "i", 10_000)
        script.do("r", STATUS)
        script.measured += 1
        script.write(CONTROL, ABORT | CLEAR)
        script.measure(f"{what}: idle", "q", PATIENCE)
        script.read(f"{what}: status", STATUS, 0)
        script.do("l")
        script.run_good(f"after the {what}")
        script.read(f"after the {what}: errors", ERRORS, 0)
    script.write(COUNT, 0)
    script.run(simulator(), image=programs, stall=0.1, seed=seed + 1, assertions=False, folder=tmp_path)
