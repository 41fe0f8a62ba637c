"""How long a model takes on a CPU board that is not available: a roofline, as a range. An estimate, not a measurement.

For each step of a program, in seconds on one core:

    products  max(instructions / issue width, multiply-adds / what their unit completes per cycle) / efficiency / clock
    rows      instructions of the elementwise and row work / what the core completes per cycle / efficiency / clock
    L2, L3,   bytes from the level that holds them / its bandwidth. Weights are read once for each block of rows, the
    memory    first time from where the whole model fits, then from where this step's weights fit; activations once.
    overhead  the call, and waking the other threads

The optimistic end is the longest of computing (products and rows) and of the transfers from each level, the pessimistic one
adds half of the rest. Instructions of products follow from the register tile of the micro-kernels, those of rows from
counts under emulation (benchmarks/arm_instructions.py). Threads divide all but a serial share (Amdahl) and share the
memory; a step runs on as many of them as is best. The assumptions of both ends are LOW and HIGH and are part of every
estimate.

Source: Williams, Waterman and Patterson, Roofline: An Insightful Visual Performance Model (CACM 52, 2009); Amdahl 1967.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgewright.passes.ir.facts import ONE_OPERATION, Instructions
from edgewright.passes.ops.groups import OPERATORS
from edgewright.passes.results import Published
from edgewright.targets.cpu.variants import Variant
from edgewright.targets.cpu.variants import variant as variant_named
from edgewright.targets.device import HOST, Cpu, Device
from edgewright.targets.published import nearest

LABEL = "estimate, not a measurement"
LATENCY_CYCLES = 4  # from one multiply-add to the next on the same register (Cortex-A72 3, A76 and Zen 4 4 cycles)


@dataclass(frozen=True, slots=True)
class StepWork:
    """The work of one step. `kind`: names of operators joined by +, the main one first.
    `weight_bytes`: constants it reads, `activation_bytes`: everything else it reads and writes. `elements`: how many values
    pass through each of the operators of `kind` (for Attention: scores). `dtype`: of the products' operands.
    `parallel`: whether threads share it."""

    name: str
    kind: str
    macs: int
    weight_bytes: int
    activation_bytes: int
    elements: int
    dtype: str
    parallel: bool = True

    def __post_init__(self) -> None:
        if min(self.macs, self.weight_bytes, self.activation_bytes, self.elements) < 0:
            raise ValueError(f"{self.name}: work cannot be negative")


@dataclass(frozen=True, slots=True)
class Assumptions:
    """One end of the range. `products`, `rows`: share of what the core could complete. `highest_clock`: the highest one,
    otherwise the one that all cores sustain. `l2`, `l3`: vectors per cycle and core. `memory`: share of the bandwidth in
    the board file. `caches`: share of each cache that is available. `contended`: whether cores compete for a
    cache that they share. `serial`: share of a step that one thread does alone. `hidden`: share of what does not take
    longest that is overlapped by what does. `text`: the same in words."""

    products: float
    rows: float
    highest_clock: bool
    l2: float
    l3: float
    memory: float
    caches: float
    contended: bool
    serial: float
    step_us: float
    wake_us: float
    run_us: float
    hidden: float
    text: str


LOW = Assumptions(
    products=0.95,
    rows=1.0,
    highest_clock=True,
    l2=1.0,
    l3=0.5,
    memory=1.0,
    caches=1.0,
    contended=False,
    serial=0.01,
    step_us=0.1,
    wake_us=1.0,
    run_us=1.0,
    hidden=1.0,
    text="products at 95 % of the core's peak, the highest clock, all caches free, transfers hidden by computing, "
    "1 % of each step serial",
)
HIGH = Assumptions(
    products=0.5,
    rows=0.4,
    highest_clock=False,
    l2=0.5,
    l3=0.25,
    memory=0.7,
    caches=0.5,
    contended=True,
    serial=0.08,
    step_us=1.5,
    wake_us=8.0,
    run_us=30.0,
    hidden=0.5,
    text="products at 50 % of the core's peak, the clock that all cores sustain, half of each cache, 70 % of the memory "
    "bandwidth, half of the transfers hidden, 8 % of each step serial; no throttling, nothing else running",
)

# Instructions per element on vectors of 128 bits: (float32, integers). Counted for the NEON kernels under emulation where
# there is a kernel (benchmarks/arm_instructions.py, 22 November 2026), otherwise load, operations and store. Those of an
# operator are facts of the operator; here are those of steps that are not operators.
INSTRUCTIONS: dict[str, Instructions] = {
    **{op.__name__: op.facts.instructions for op in OPERATORS if op.facts.instructions is not None},
    "Route": (82.0, 91.0),
    "Experts": (15.0, 8.6),
    "HashSums": (7.3, 5.0),
    "PackKeysValues": (1.0, 0.6),
    "PackMatrix": (1.0, 0.6),
    "Copy": (0.5, 0.25),
    "Pad": (0.5, 0.25),
}
OTHER = ONE_OPERATION  # of an unknown kind
DEPTHWISE = (0.75, 0.40)  # per multiply-add, counted as above; there is no reuse that a tile could exploit
PORTABLE = (0.88, 1.26)  # generic.c as Clang compiles it for aarch64: per multiply-add, counted as above
PORTABLE_ROWS = 2.0  # and how many times as many instructions its rows take
VECTOR_SHARE = 0.75  # of the instructions of rows; the others are loads, stores and counters


@dataclass(frozen=True, slots=True)
class StepEstimate:
    """`limit`: what takes longest, both ends added: products, rows, L2, L3, memory or overhead."""

    name: str
    kind: str
    macs: int
    low_us: float
    high_us: float
    limit: str


@dataclass(frozen=True, slots=True)
class Estimate:
    """A latency between `low_ms` and `high_ms`, with its assumptions. `limits`: the share of the middle of the range
    that steps with that limit take. `published`: what others measured on such a board with models of similar size."""

    label: str
    device: str
    core: str
    variant: str
    precision: str
    threads: int
    macs: int
    low_ms: float
    high_ms: float
    assumptions_low: str
    assumptions_high: str
    limits: dict[str, float]
    steps: tuple[StepEstimate, ...]
    published: tuple[Published, ...]


def estimate(works: Sequence[StepWork], device: Device, threads: int = 1, variant: str | None = None) -> Estimate:
    """Return the range for one inference. `variant`: other micro-kernels than the board's. ValueError without works, without a
    thread, and for a device without a known CPU."""
    if device.cpu is None or device.clock_mhz is None:
        raise ValueError(f"{device.name} has no CPU to estimate for")
    if threads < 1 or not works:
        raise ValueError("an estimate needs a step and a thread")
    kernels = variant_named(variant or device.cpu.variant)
    resident = sum(work.weight_bytes for work in works) + max(work.activation_bytes for work in works)
    low, high = (_End(device.cpu, device.clock_mhz, kernels, end, resident, threads) for end in (LOW, HIGH))
    rows, shares = [], {name: 0.0 for name in ("products", "rows", "L2", "L3", "memory", "overhead")}
    for work in works:
        (low_s, low_terms), (high_s, high_terms) = low.step(work), high.step(work)
        limit = max(low_terms, key=lambda name: low_terms[name] + high_terms[name])
        rows.append(StepEstimate(work.name, work.kind, work.macs, low_s * 1e6, high_s * 1e6, limit))
        shares[limit] += (low_s + high_s) / 2
    total = sum(shares.values())
    integer = any(work.macs and work.dtype != "float32" for work in works)
    macs = sum(work.macs for work in works)
    return Estimate(
        label=LABEL,
        device=device.name,
        core=device.cpu.core,
        variant=kernels.name,
        precision="int8" if integer else "fp32",
        threads=threads,
        macs=macs,
        low_ms=(sum(r.low_us for r in rows) + LOW.run_us) / 1e3,
        high_ms=(sum(r.high_us for r in rows) + HIGH.run_us) / 1e3,
        assumptions_low=LOW.text,
        assumptions_high=HIGH.text,
        limits={name: share / total for name, share in shares.items()},
        steps=tuple(rows),
        published=nearest(kernels.arch if device.name == HOST else device.name, macs),
    )


class _End:
    """One end of the range on one processor. `resident`: bytes that a whole inference touches."""

    def __init__(self, cpu: Cpu, clock_mhz: float, variant: Variant, assumed: Assumptions, resident: int, threads: int) -> None:
        self.cpu, self.variant, self.assumed, self.resident = cpu, variant, assumed, resident
        self.hertz = (cpu.clock_max_mhz if assumed.highest_clock else clock_mhz) * 1e6
        self.bits = min(cpu.simd_bits, variant.vector_bits)
        self.threads = min(threads, cpu.cores)
        self.portable = "generic.c" in variant.sources and variant.arch == "aarch64" and not variant.features

    def step(self, work: StepWork) -> tuple[float, dict[str, float]]:
        """Return (seconds, its terms), on the best number of threads."""
        counts = range(1, self.threads + 1) if work.parallel else (1,)
        return min((self._on(work, count) for count in counts), key=lambda timed: timed[0])

    def _on(self, work: StepWork, threads: int) -> tuple[float, dict[str, float]]:
        assumed = self.assumed
        slowest = assumed.serial + (1 - assumed.serial) / threads
        terms = {
            "products": self._products(work) / assumed.products / self.hertz * slowest,
            "rows": self._rows(work) / assumed.rows / self.hertz * slowest,
            **self._transfers(work, threads),
            "overhead": (assumed.step_us + (assumed.wake_us if threads > 1 else 0.0)) / 1e6,
        }
        computing = terms["products"] + terms["rows"]
        parts = [computing, terms["L2"], terms["L3"], terms["memory"]]
        seconds = max(parts) + (sum(parts) - max(parts)) * (1 - assumed.hidden)
        return seconds + terms["overhead"], terms

    def _products(self, work: StepWork) -> float:
        """Return the cycles of the products on one core."""
        integer = work.dtype != "float32"
        if not work.macs:
            return 0.0
        wide = 128 / self.bits
        if work.kind.startswith("Depthwise"):
            return work.macs * DEPTHWISE[integer] * wide / self._row_rate()
        if self.portable:
            return work.macs * PORTABLE[integer] / self.cpu.issue_width
        per_instruction, per_cycle = self._unit(integer)
        mr, nr = (self.variant.s8_mr, self.variant.s8_nr) if integer else (self.variant.f32_mr, self.variant.f32_nr)
        m = max(1.0, min(float(mr), self._block_rows(work)))
        lanes = self.bits / 32
        accumulators = m * nr / lanes
        depth = per_instruction / lanes  # how many k an instruction of the tile takes at once
        instructions = accumulators + nr / lanes + (m if self.variant.arch == "x86_64" else m / 4)
        if depth == 2:  # widening products: their sums are separate instructions, and NEON has to broadcast the rows
            instructions += accumulators / (1 if self.variant.arch == "x86_64" else 2) + m
        per_mac = instructions / (m * nr * depth)
        waiting = max(1.0, LATENCY_CYCLES * min(per_cycle, 2.0) / accumulators)
        return max(work.macs * per_mac / self.cpu.issue_width, work.macs / (per_instruction * per_cycle) * waiting)

    def _unit(self, integer: bool) -> tuple[float, float]:
        """Return (products per instruction, instructions per cycle) of the widest unit that the variant uses."""
        cpu, features = self.cpu, set(self.variant.features)
        if not integer:
            return self.bits / 32, cpu.fma_per_cycle
        if "amx_int8" in features and cpu.tile_macs_per_cycle:
            return self.bits / 8, cpu.tile_macs_per_cycle * 8 / self.bits
        if "i8mm" in features and cpu.mma_per_cycle:
            return self.bits / 4, cpu.mma_per_cycle
        if features & {"asimddp", "avx512_vnni"} and cpu.dot_per_cycle:
            return self.bits / 8, cpu.dot_per_cycle
        return self.bits / 16, cpu.mull_per_cycle

    def _block_rows(self, work: StepWork) -> float:
        """Return the rows of the left operand; infinitely many where the right one is not a constant."""
        item = 4 if work.dtype == "float32" else 1
        return work.macs * item / work.weight_bytes if work.weight_bytes else float("inf")

    def _rows(self, work: StepWork) -> float:
        """Return the cycles of the elementwise and row work on one core."""
        integer = work.dtype != "float32"
        each = sum(INSTRUCTIONS.get(kind.removeprefix("Depthwise"), OTHER)[integer] for kind in work.kind.split("+"))
        times = PORTABLE_ROWS if self.portable else 1.0
        return work.elements * each * times * 128 / self.bits / self._row_rate()

    def _row_rate(self) -> float:
        return min(self.cpu.issue_width, self.cpu.vector_per_cycle / VECTOR_SHARE)

    def _transfers(self, work: StepWork, threads: int) -> dict[str, float]:
        """Return the seconds for the transfers from each level; the first cache is as fast as the core."""
        cpu, assumed = self.cpu, self.assumed
        vector = self.bits / 8 * self.hertz
        memory = min(threads * cpu.read_gb_per_s, cpu.read_all_gb_per_s) * assumed.memory * 1e9
        second, third = threads, float(threads)
        if assumed.contended:  # cores that share an L2 get as much as one of them, and all cores half of the sum of their L3
            second, third = -(-threads // cpu.l2_cores), max(1.0, threads / 2)
        speed = {"memory": memory, "L3": max(vector * assumed.l3 * third, memory)}
        speed["L2"] = max(vector * assumed.l2 * second, speed["L3"])
        levels = ["", "L2", "L3", "memory"]
        moved = dict.fromkeys(levels, 0.0)
        own_level = self._level(work.weight_bytes)
        first = max(own_level, self._level(self.resident), key=levels.index)
        mr = self.variant.f32_mr if work.dtype == "float32" else self.variant.s8_mr
        again = max(0.0, self._block_rows(work) / mr - 1) if work.weight_bytes and work.macs else 0.0
        moved[first] += work.weight_bytes
        moved[own_level] += work.weight_bytes * again
        moved[self._level(work.activation_bytes)] += work.activation_bytes
        return {level: moved[level] / speed[level] for level in levels[1:]}

    def _level(self, size: int) -> str:
        """Return the smallest level that holds this many bytes; "" is the first cache."""
        held = {"": self.cpu.l1d_kib, "L2": self.cpu.l2_kib, "L3": self.cpu.l3_kib}
        return next((level for level, kib in held.items() if size <= kib * 1024 * self.assumed.caches), "memory")
