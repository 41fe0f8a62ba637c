"""Reports of DeiT-Tiny's shape, for an FPGA and for a CPU, with plausible figures: nothing in them was measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
from edgewright.frontend.report import report
from edgewright.passes.results import Report

TOKENS, WIDTH, HEADS, BLOCKS = 197, 192, 3, 12
ARRAY = 12 * 16 * 16


def schema() -> dict[str, Any]:
    """The JSON schema of report.json."""
    text = Path(report.__file__).with_name("report.schema.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def typed(data: dict[str, Any]) -> Report:
    """The report that a report.json holds."""
    return msgspec.convert(data, Report)


def operations(simulated: bool = True) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []

    def array_time(cycles: int) -> dict[str, Any]:
        first = sum(sum(op["array"]["cycles"].values()) for op in found)
        parts = {"busy": cycles * 3 // 4, "activations": cycles // 8, "operands": cycles // 10}
        parts["idle"] = cycles - sum(parts.values())
        return {"first": first + parts["idle"], "last": first + cycles - 1, "cycles": parts}

    def add(name: str, kind: str, macs: int, moved: int, utilisation: float) -> None:
        cycles = round(macs / ARRAY / utilisation)
        found.append(
            {
                "name": name,
                "kind": kind,
                "macs": macs,
                "bytes": moved,
                "cycles": {"predicted": round(cycles * 1.004), "simulated": cycles if simulated else None},
                "utilisation": macs / cycles / ARRAY,
                "array": array_time(round(cycles * 1.004)),
                "low_us": None,
                "high_us": None,
                "limit": None,
            }
        )

    add("patch_embed", "patch embedding", 196 * WIDTH * 768, 196 * 768 + WIDTH * 768, 0.81)
    for i in range(BLOCKS):
        add(f"blocks.{i}.attn.qkv", "normalise + linear", TOKENS * WIDTH * 3 * WIDTH, 3 * WIDTH * WIDTH, 0.78)
        add(f"blocks.{i}.attn", "attention", 2 * TOKENS * TOKENS * WIDTH, 2000, 0.52)
        add(f"blocks.{i}.attn.proj", "linear + residual", TOKENS * WIDTH * WIDTH, WIDTH * WIDTH, 0.7)
        add(f"blocks.{i}.mlp.fc1", "normalise + linear", TOKENS * 4 * WIDTH * WIDTH, 4 * WIDTH * WIDTH, 0.83)
        add(f"blocks.{i}.mlp.fc2", "linear + residual", TOKENS * 4 * WIDTH * WIDTH, 4 * WIDTH * WIDTH, 0.85)
    add("head", "normalise + linear", WIDTH * 1000, WIDTH * 1000, 0.02)
    return found


def stored(name: str, region: str, address: int, size: int, place: str, first: int, last: int) -> dict[str, Any]:
    """A value of the memory map."""
    data: dict[str, Any] = {"name": name, "region": region, "address": address, "bytes": size}
    return data | {"place": place, "first_cycle": first, "last_cycle": last}


def timeline(first: int, cycles: int, simulated: bool) -> dict[str, Any]:
    """Lanes of as many bins as there are, whose states change."""
    width = -(-cycles // 400)
    sizes = [min(width, cycles - start) for start in range(0, cycles, width)]

    def lane(name: str, kind: str, *states: str) -> dict[str, Any]:
        parts = {s: [size // (2 + (i + n) % 5) // len(states) for i, size in enumerate(sizes)] for n, s in enumerate(states)}
        return {"name": name, "kind": kind, "states": parts}

    lanes = [
        lane("weights", "unit", "busy", "completion", "memory", "room"),
        lane("array", "unit", "busy", "operands", "activations"),
        lane("epilogue", "unit", "busy", "weights", "input"),
        lane("results", "port", "busy", "memory"),
        *([lane("results", "simulated", "busy")] if simulated else []),
    ]
    return {"first_cycle": first, "bin_cycles": width, "cycles": cycles, "lanes": lanes}


def profile(ops: list[dict[str, Any]], cycles: int, simulated: bool) -> dict[str, Any]:
    """A profile in which the array's waits come from two places."""
    waits = {cause: sum(op["array"]["cycles"].get(cause, 0) for op in ops) for cause in ("activations", "operands")}
    reasons = [{"cause": "activations", "reason": "tiles", "cycles": waits["activations"]}]
    reasons.append({"cause": "operands", "reason": "completion", "cycles": waits["operands"]})
    timelines = [timeline(0, cycles, simulated), timeline(cycles // 3, cycles // 10, simulated)]
    return {"cycles": cycles, "timelines": timelines, "reasons": reasons}


def sample(simulated: bool = True, random: bool = False) -> dict[str, Any]:
    ops = operations(simulated)
    predicted = sum(op["cycles"]["predicted"] for op in ops)
    counted = sum(op["cycles"]["simulated"] for op in ops) if simulated else None
    macs = sum(op["macs"] for op in ops)
    estimate = "Yosys 0.70 estimate (synth_xilinx -family {}), one processing element scaled"
    layers = [
        {"name": f"blocks.{i}.{part}", "op": op, "sqnr_db": 38.0 - 1.1 * i - drop - 3 * ((i * 7 + drop) % 3)}
        for i in range(BLOCKS)
        for part, op, drop in (
            ("norm1", "LayerNormalization", 2),
            ("attn.qkv", "Linear", 0),
            ("attn", "Attention", 4),
            ("mlp.act", "Gelu", 9 if i == 9 else 3),
            ("mlp.fc2", "Linear", 1),
        )
    ]
    return {
        "schema_version": 1,
        "edgewright": "0.1.0",
        "model": "deit_tiny",
        "target": "zcu104",
        "part": "xczu7ev-ffvc1156-2-e",
        "precision": "int8",
        "calibration": {"kind": "random" if random else "data", "images": 64, "method": "percentile", "how": ""},
        "macs": macs,
        "macs_given": macs + 87_000_000,
        "parameters": 5_717_416,
        "accuracy": {"float": 0.7213, "int8": 0.7184, "images": 10_000, "outputs": []},
        "bit_exact": True if simulated else None,
        "images": 4 if simulated else 0,
        "tensors_compared": 4 * len(ops) if simulated else None,
        "mismatch": None,
        "cycles": {"predicted": predicted, "simulated": counted},
        "memory": {"name": "board", "text": "read latency 100, 48 bytes a cycle in all", "ideal_cycles": predicted},
        "clock_mhz": 300.0,
        "latency_ms": (counted or predicted) / 300e3,
        "resources": {
            "dsp": {"used": 1_652, "available": 1_728, "source": estimate.format("xcup")},
            "lut": {"used": 141_380, "available": 230_400, "source": estimate.format("xc7")},
            "ff": {"used": 188_210, "available": 460_800, "source": estimate.format("xc7")},
            "bram36": {"used": 204, "available": 312, "source": estimate.format("xcup")},
            "uram": {"used": 84, "available": 96, "source": "planner: memory map"},
        },
        "chains": [
            {
                "process": "fill",
                "ns": 3.31,
                "where": "jobs.py:34",
                "path": "counter j > last j > rows (jobs.py:24) > counter j",
            },
            {"process": "product", "ns": 2.9, "where": "gemm.py:42", "path": "sum (gemm.py:42) > a register"},
        ],
        "products_per_dsp_per_cycle": macs / (counted or predicted) / 1_652,
        "simulation": {
            "kcycles_per_s": 41.7 if simulated else None,
            "seconds": 4 * predicted / 41_700 if simulated else None,
            "build_seconds": 74.2 if simulated else None,
            "simulator": "Verilator 5.48.0, cocotb 2.1.0" if simulated else None,
        },
        "stages": [
            {"name": "read", "seconds": 1.93},
            {"name": "passes", "seconds": 21.4},
            {"name": "plan", "seconds": 0.71},
            {"name": "emit", "seconds": 6.02},
        ],
        "peak_memory_mib": 1_438.0,
        "layers": layers,
        "operations": ops,
        "memory_map": [
            stored("residual stream", "on-chip", 0, 75_648, "on chip", 4_000, predicted - 900),
            stored("Q, K, V", "on-chip", 75_648, 113_472, "on chip", 9_000, predicted // 2),
            stored("hidden", "on-chip", 75_648, 151_296, "on chip", predicted // 2 + 40, predicted - 4_000),
            stored("program", "program", 0x1000_0000, 24_576, "external", 0, predicted // 2),
            stored("input", "input", 0x1000_6000, 150_528, "external", 0, 12_000),
            stored("weights", "weights", 0x1002_B000, 5_652_480, "external", 0, predicted - 9_000),
            stored("output", "output", 0x1058_F000, 4_096, "external", predicted - 80, predicted),
            stored("a large value", "activation", 0x1059_0000, 300_000, "spilled", 30_000, 60_000),
        ],
        "memory_use": [
            {"name": "on chip", "bytes": 226_944, "live_bytes": 226_944, "capacity_bytes": 1 << 20},
            {"name": "external", "bytes": 0x59_0000 + 300_000, "live_bytes": 6_000_000, "capacity_bytes": 1 << 31},
        ],
        "roofline": {"macs_per_cycle": float(ARRAY), "bytes_per_cycle": 32.0},
        "profile": profile(ops, predicted, simulated),
        "latency": [],
        "published": [],
        "artifact": None,
        "changes": [],
        "notes": [],
    }


def steps(precision: str, estimated: bool) -> list[dict[str, Any]]:
    """The fused steps of a CPU build."""
    found = []
    size, tail = (1, "Requantise") if precision == "int8" else (4, "")

    def add(name: str, kind: str, macs: int, weights: int, elements: int, limit: str = "products") -> None:
        low = macs / 11e3 + elements / 2e3
        found.append(
            {
                "name": name,
                "kind": "+".join(part for part in kind.split("+") if part),
                "macs": macs,
                "bytes": size * (weights + 2 * elements),
                "cycles": {"predicted": None, "simulated": None},
                "utilisation": None,
                "array": None,
                "low_us": low if estimated else None,
                "high_us": 2.6 * low + 1.5 if estimated else None,
                "limit": limit if estimated else None,
            }
        )

    for i in range(BLOCKS):
        add(f"blocks.{i}.norm1", "LayerNormalization", 0, 2 * WIDTH, TOKENS * WIDTH, "rows")
        add(f"blocks.{i}.attn.qkv", f"Linear+{tail}", TOKENS * WIDTH * 3 * WIDTH, 3 * WIDTH * WIDTH, TOKENS * 3 * WIDTH)
        add(f"blocks.{i}.attn", f"Attention+{tail}", 2 * TOKENS * TOKENS * WIDTH, 0, HEADS * TOKENS * TOKENS)
        add(f"blocks.{i}.mlp.fc1", f"Linear+{tail}+Gelu", TOKENS * 4 * WIDTH * WIDTH, 4 * WIDTH * WIDTH, TOKENS * 4 * WIDTH)
        add(f"blocks.{i}.mlp.fc2", f"Linear+{tail}+Add", TOKENS * 4 * WIDTH * WIDTH, 4 * WIDTH * WIDTH, TOKENS * WIDTH)
    add("head", "Linear", WIDTH * 1000, WIDTH * 1000, 1000, "memory")
    return found


def sample_cpu(
    precision: str = "int8", *, estimated: bool = True, labelled: bool = True, random: bool = False, host: bool = False
) -> dict[str, Any]:
    """What a build for a CPU shows; `estimated`: whether its processor runs the kernels."""
    data = sample(simulated=False, random=random)
    integer = precision == "int8"
    ops = steps(precision, estimated)
    low, high = (sum(op[end] or 0.0 for op in ops) / 1e3 for end in ("low_us", "high_us"))
    nothing = {"used": None, "available": None, "source": None}
    published = {
        "runtime": "ncnn",
        "precision": "fp32",
        "macs": 1_814_000_000,
        "macs_ratio": 1.6,
        "differs": "1.8 GHz; a convolutional network",
        "source": "a benchmark's README",
    }
    return data | {
        "target": "host" if host else "rpi4",
        "part": "AMD Zen 4" if host else "bcm2711",
        "precision": precision,
        "calibration": data["calibration"] if integer else {"kind": None, "images": None, "method": None, "how": ""},
        "macs": sum(op["macs"] for op in ops),
        "macs_given": sum(op["macs"] for op in ops),
        "accuracy": {
            "float": 0.7213 if labelled else None,
            "int8": 0.7184 if labelled and integer else None,
            "images": 10_000 if labelled else None,
            "outputs": [],
        },
        "cycles": {"predicted": None, "simulated": None},
        "memory": None,
        "clock_mhz": 1_500.0,
        "latency_ms": None,
        "resources": {name: nothing for name in data["resources"]},
        "products_per_dsp_per_cycle": None,
        "layers": data["layers"] if integer else [],
        "operations": ops,
        "chains": [],
        "memory_map": [],
        "memory_use": [],
        "roofline": {"macs_per_cycle": None, "bytes_per_cycle": None},
        "profile": None,
        "latency": [
            {
                "threads": threads,
                "low_ms": low / threads**0.95,
                "high_ms": high / threads**0.7,
                "core": "Arm Cortex-A72",
                "limits": {"products": 0.93 - 0.05 * threads, "rows": 0.07, "memory": 0.05 * threads, "L3": 0.0},
                "assumptions_low": "products at 95 % of the core's peak",
                "assumptions_high": "products at 50 % of the core's peak; no throttling",
                "label": "estimate",
            }
            for threads in (1, 4)
            if estimated
        ],
        "published": [
            {"model": "ViT-tiny", "ms": 197, "threads": None, **published},
            {"model": "ResNet-18", "ms": 191.1, "threads": 1, **published},
            {"model": "ResNet-18", "ms": 123.12, "threads": 4, **published},
        ]
        if estimated
        else [],
        "artifact": {
            "variant": "neon",
            "arch": "aarch64",
            "features": ["asimd"],
            "library_bytes": 98_304,
            "weights_bytes": 5_800_000,
            "temporaries_bytes": 530_000,
        },
    }
