"""`make bench-cpu`: Edgewright's CPU code beside onnxruntime and OpenVINO, batch 1.

    python -m benchmarks.bench_cpu [--models deit_tiny,minilm] [--engines ort-f32,ew-int8] [--threads 1,2]
                                         [--rounds 20] [--docs] [--json FILE]

All engines of one model and thread count are alive at once and run in turns: in each round each gets one unmeasured
inference and then a short burst, in an order that changes from round to round, so that what else the machine does meets
all of them. A ratio is onnxruntime's fp32 median over the engine's median, over all rounds: more is faster. Its spread
are the quartiles of the same ratio taken within each round. Beside it stands how far the engine's outputs for held-out
samples are from onnxruntime's in fp32, so that nobody is fast by being wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from benchmarks import pages
from benchmarks.cpu_models import MODELS, CannotMake, data_path, model_path, split
from benchmarks.cpu_peers import ENGINES, Array, Job, Peer, PeerFailed, compile_seconds, missing, prepared, versions

ROOT = Path(__file__).parents[1]
OUTPUT = ROOT / "build" / "bench_cpu"
REFERENCE = "ort-f32"
NOISE_CORES = 0.15
BURST_NS = 60_000_000
BURST_MIN, BURST_MAX = 3, 200
_X86 = ("avx2", "fma", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_tile", "amx_int8", "amx_bf16")
FEATURES = (*_X86, "asimd", "asimddp", "i8mm")


@dataclass(frozen=True, slots=True)
class Figure:
    """One engine on one model: times in ms, ratios to the reference, agreement with the reference."""

    median_ms: float
    minimum_ms: float
    ratio: float
    ratio_quartiles: tuple[float, float]
    ratio_of_minima: float
    runs: int
    agreement: dict[str, float]


@dataclass(frozen=True, slots=True)
class Measured:
    """The engines that worked, Edgewright's compile times, why the others did not, and the cores others kept busy."""

    figures: dict[str, Figure]
    compile_seconds: dict[str, float]
    failures: dict[str, str]
    other_cores: float


Results = Mapping[int, Mapping[str, Mapping[str, Figure]]]  # by threads, model, engine


def agreement(reference: Sequence[Array], outputs: Sequence[Array], mask: Array | None = None) -> dict[str, float]:
    """How near outputs are to the reference's, both one array (samples, ...) for each output of the model.

    `max_difference` is absolute, `sqnr_db` the ratio of powers of reference and difference (infinite when equal, and nan
    for outputs that are not finite), `same_answer` the share of samples with the same largest element, for outputs
    (samples, classes). With a mask (samples, tokens) only the tokens where it is not 0 count, and `least_cosine` is of the
    mean over them, as sentence embeddings are made.
    """
    largest, signal, noise = 0.0, 0.0, 0.0
    measures: dict[str, float] = {}
    for wanted, output in zip(reference, outputs, strict=True):
        if wanted.shape != output.shape:
            raise PeerFailed(f"an output has shape {output.shape}, and the reference's has {wanted.shape}")
        if mask is not None and wanted.shape[: mask.ndim] == mask.shape:
            measures["least_cosine"] = min(measures.get("least_cosine", 1.0), _least_cosine(wanted, output, mask))
            wanted, output = wanted[mask != 0], output[mask != 0]
        elif wanted.ndim == 2 and wanted.shape[1] > 1:
            measures["same_answer"] = float((wanted.argmax(1) == output.argmax(1)).mean())
        exact, difference = wanted.astype(np.float64), output.astype(np.float64) - wanted
        largest = float(np.maximum(largest, np.abs(difference).max(initial=0.0)))  # keeps nan, as max() does not
        signal, noise = signal + float((exact**2).sum()), noise + float((difference**2).sum())
    with np.errstate(divide="ignore", invalid="ignore"):
        decibels = 10 * float(np.log10(np.float64(signal) / noise)) if noise else float("inf")
    return {"max_difference": largest, "sqnr_db": decibels, **measures}


def _least_cosine(wanted: Array, output: Array, mask: Array) -> float:
    """Of the means over the tokens that count, (samples, tokens, width), the smallest over the samples."""
    means = [np.einsum("stw,st->sw", array.astype(np.float64), mask != 0) for array in (wanted, output)]
    lengths = np.linalg.norm(means[0], axis=1) * np.linalg.norm(means[1], axis=1)
    return float(((means[0] * means[1]).sum(1) / np.maximum(lengths, 1e-30)).min())


def burst_length(nanoseconds: float) -> int:
    """Inferences that fill about 60 ms."""
    return max(BURST_MIN, min(BURST_MAX, round(BURST_NS / max(nanoseconds, 1.0))))


def _busy_seconds() -> float:
    """Processor time of the whole machine since it started; 0 where /proc does not tell."""
    try:
        fields = Path("/proc/stat").read_text(encoding="utf-8").split("\n", 1)[0].split()[1:]
    except OSError:
        return 0.0
    idle = int(fields[3]) + int(fields[4])
    return (sum(map(int, fields[:8])) - idle) / os.sysconf("SC_CLK_TCK")


class OtherLoad:
    """How many cores everything but these children and this process keeps busy, from when it is made."""

    def __init__(self, peers: Iterable[Peer]) -> None:
        self.peers = list(peers)
        self.start, self.before = time.monotonic(), self._used()

    def _used(self) -> float:
        return _busy_seconds() - time.process_time() - sum(peer.cpu_seconds() for peer in self.peers)

    def cores(self) -> float:
        """Mean number of cores since the start, at least 0."""
        return max(0.0, (self._used() - self.before) / max(time.monotonic() - self.start, 1e-9))


def interleaved(peers: Mapping[str, Peer], rounds: int) -> dict[str, list[list[int]]]:
    """Times in nanoseconds of each burst of each engine: every second round goes backwards."""
    lengths = {name: burst_length(statistics.median(peer.run(5))) for name, peer in peers.items()}
    bursts: dict[str, list[list[int]]] = {name: [] for name in peers}
    for turn in range(rounds):
        for name in list(peers)[:: -1 if turn % 2 else 1]:
            bursts[name].append(peers[name].run(1 + lengths[name])[1:])
            time.sleep(0.003)  # longer than idle threads of a pool keep spinning
    return bursts


def figures(bursts: Mapping[str, list[list[int]]], agreements: Mapping[str, dict[str, float]]) -> dict[str, Figure]:
    """Medians, minima and ratios to the reference, which has to be among them."""
    every = {name: [time_ns for burst in rounds for time_ns in burst] for name, rounds in bursts.items()}
    medians = {name: statistics.median(times) for name, times in every.items()}
    minima = {name: min(times) for name, times in every.items()}
    of_rounds = {name: [statistics.median(burst) for burst in rounds] for name, rounds in bursts.items()}
    result = {}
    for name in bursts:
        low, high = np.quantile(np.divide(of_rounds[REFERENCE], of_rounds[name]), (0.25, 0.75)).tolist()
        result[name] = Figure(
            median_ms=medians[name] / 1e6,
            minimum_ms=minima[name] / 1e6,
            ratio=medians[REFERENCE] / medians[name],
            ratio_quartiles=(low, high),
            ratio_of_minima=minima[REFERENCE] / minima[name],
            runs=len(every[name]),
            agreement=dict(agreements[name]),
        )
    return result


def model_inputs(path: Path) -> list[str]:
    """Names of the inputs that are not initialisers."""
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    held = {tensor.name for tensor in graph.initializer}
    return [value.name for value in graph.input if value.name not in held]


def measure(name: str, engines: Sequence[str], threads: int, rounds: int) -> Measured:
    """All engines on one model; CannotMake without the model."""
    model, data = model_path(MODELS[name]), data_path(MODELS[name])
    inputs = model_inputs(model)
    peers: dict[str, Peer] = {}
    agreements: dict[str, dict[str, float]] = {}
    failures: dict[str, str] = {}
    reference: list[Array] = []
    mask = split(data, inputs)[1].get("attention_mask")
    try:
        for engine in engines:
            print(f"{name}, {threads} thread{'s' * (threads > 1)}: {ENGINES[engine].label} …", file=sys.stderr, flush=True)
            try:
                peers[engine] = Peer(prepared(Job(engine, str(model), str(data), inputs, threads)))
                outputs = peers[engine].outputs()
                reference = reference or outputs
                agreements[engine] = agreement(reference, outputs, mask)
            except PeerFailed as error:
                failures[engine] = str(error)
                if engine in peers:
                    peers.pop(engine).close()
                if engine == REFERENCE:
                    return Measured({}, {}, failures, 0.0)
        load = OtherLoad(peers.values())
        bursts = interleaved(peers, rounds)
        compiled = {name: seconds for name, peer in peers.items() if (seconds := compile_seconds(peer.job)) is not None}
        return Measured(figures(bursts, agreements), compiled, failures, load.cores())
    finally:
        for peer in peers.values():
            peer.close()


def machine() -> dict[str, Any]:
    """The CPU's name and the features that the engines choose by, cores, load and Python."""
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").is_file() else ""
    lines = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}
    flags = (lines.get("flags") or lines.get("Features") or "").split()
    return {
        "cpu": lines.get("model name") or platform.processor() or platform.machine(),
        "family_model": f"{lines.get('cpu family', '?')}/{lines.get('model', '?')}",
        "features": [name for name in FEATURES if name in flags],
        "cores": os.cpu_count(),
        "load_at_start": os.getloadavg()[0],
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def cell(figure: Figure | None) -> str:
    """A ratio with its quartiles."""
    if figure is None:
        return "-"
    low, high = figure.ratio_quartiles
    return f"{figure.ratio:.2f} ({low:.2f}-{high:.2f})"


def table(results: Mapping[str, Mapping[str, Figure]], engines: Sequence[str]) -> str:
    """The terminal's table: a block for each model, a line for each engine."""
    lines = []
    title = f"{'median ms':>10}{'min ms':>10}{'ratio (quartiles)':>20}{'by minima':>11}{'max diff':>10}{'SQNR dB':>9}  agrees"
    for name, by_engine in results.items():
        lines.append(f"{name:27}{title}")
        for engine in engines:
            if figure := by_engine.get(engine):
                near = figure.agreement
                agrees = [f"same class {near['same_answer']:.0%}"] if "same_answer" in near else []
                agrees += [f"cosine >= {near['least_cosine']:.3f}"] if "least_cosine" in near else []
                lines.append(
                    f"  {ENGINES[engine].label:25}{figure.median_ms:10.3f}{figure.minimum_ms:10.3f}{cell(figure):>20}"
                    f"{figure.ratio_of_minima:11.2f}{near['max_difference']:10.2g}{near['sqnr_db']:9.1f}  {', '.join(agrees)}"
                )
    return "\n".join(lines)


def markdown(results: Results, engines: Sequence[str], where: Mapping[str, Any], noise: float) -> str:
    """The documentation's table: models down, engines across, onnxruntime's fp32 in ms and the rest as ratios to it.

    `noise`: cores that other processes kept busy, at most.
    """
    lines = []
    others = [engine for engine in engines if engine != REFERENCE]
    for threads, models in results.items():
        head = [f"{threads} thread{'s' * (threads > 1)}", "onnxruntime fp32, ms", *(ENGINES[name].label for name in others)]
        lines += ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
        for name, by_engine in models.items():
            if REFERENCE in by_engine:
                row = [name, f"{by_engine[REFERENCE].median_ms:.2f}", *(cell(by_engine.get(engine)) for engine in others)]
                lines.append("| " + " | ".join(row) + " |")
        lines.append("")
    packages = ", ".join(f"{package} {version}" for package, version in where["versions"].items())
    shared = f"; other processes kept up to {noise:.1f} cores busy" if noise > NOISE_CORES else ""
    lines.append(f"Measured on {where['cpu']} ({', '.join(where['features'])}), {where['cores']} cores; {packages}{shared}.")
    return "\n".join(lines)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="measure CPU engines beside each other")
    parser.add_argument("--models", default=",".join(MODELS), help="comma-separated (default: %(default)s)")
    parser.add_argument("--engines", default=",".join(ENGINES), help="comma-separated (default: %(default)s)")
    parser.add_argument("--threads", default="1,2", help="comma-separated (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=20, help="turns of each engine (default: %(default)s)")
    parser.add_argument("--docs", action="store_true", help="renew the table of docs/measured/cpus.md")
    parser.add_argument("--json", type=Path, default=OUTPUT / "results.json", help="where the figures go")
    options = parser.parse_args(arguments)
    for name, known in (("models", MODELS), ("engines", ENGINES)):
        chosen = list(dict.fromkeys(getattr(options, name).split(",")))
        if unknown := [word for word in chosen if word not in known]:
            parser.error(f"--{name}: {', '.join(unknown)} not among {', '.join(known)}")
        setattr(options, name, chosen)
    if not options.threads.replace(",", "").isdecimal() or options.rounds < 1:
        parser.error("--threads takes numbers like 1,2 and --rounds a positive number")
    options.threads = [int(count) for count in options.threads.split(",")]
    options.engines = [REFERENCE, *(engine for engine in options.engines if engine != REFERENCE)]
    return options


def main(arguments: list[str] | None = None) -> int:
    """Measure, print and write; 1 when a model or an engine that is installed failed."""
    options = _options(arguments)
    here = machine()
    engines = []
    for engine in options.engines:
        if lacking := missing(ENGINES[engine], here["features"]):
            print(f"{ENGINES[engine].label} left out: there is no {', '.join(lacking)}", file=sys.stderr)
        else:
            engines.append(engine)
    where = {**here, "versions": versions(engines)}
    if REFERENCE not in engines:
        return 1
    results: dict[int, dict[str, dict[str, Figure]]] = {}
    reasons: dict[str, str] = {}
    others: dict[str, float] = {}
    compiled: dict[str, float] = {}
    for threads in options.threads:
        results[threads] = {}
        for name in options.models:
            try:
                measured = measure(name, engines, threads, options.rounds)
            except (CannotMake, PeerFailed) as error:
                reasons[f"{name}, {threads}"] = str(error)
                print(f"{name}: {error}", file=sys.stderr)
                continue
            results[threads][name] = measured.figures
            others[f"{name}, {threads}"] = round(measured.other_cores, 2)
            for engine, reason in measured.failures.items():
                reasons[f"{name}, {threads}, {engine}"] = reason
                print(f"{name}: {reason}", file=sys.stderr)
            print(table({name: measured.figures}, engines))
            for engine, seconds in measured.compile_seconds.items():
                compiled[f"{name}, {engine}"] = round(seconds, 1)
                print(f"  {ENGINES[engine].label} compiled in {seconds:.1f} s")
            if measured.other_cores > NOISE_CORES:
                print(f"  other processes kept {measured.other_cores:.2f} cores busy meanwhile: measure again", flush=True)
        print(f"\n== {threads} thread{'s' * (threads > 1)}\n{table(results[threads], engines)}\n", flush=True)
        _write(options.json, results, reasons, {**where, "other_busy_cores": others, "compile_seconds": compiled})
    if options.docs and reasons:
        print("the documentation stays as it is: not everything could be measured", file=sys.stderr)
    elif options.docs:
        print(f"wrote {pages.put('bench-cpu', markdown(results, engines, where, max(others.values())))}", file=sys.stderr)
    return int(bool(reasons))


def _write(path: Path, results: Results, reasons: dict[str, str], where: dict[str, Any]) -> None:
    """All figures as JSON; infinite and undefined ones are null."""
    data = msgspec.to_builtins(results, str_keys=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {"machine": {**where, "load_at_end": os.getloadavg()[0]}, "threads": data, "failures": reasons}
    path.write_text(json.dumps(_finite(document), indent=1) + "\n", encoding="utf-8")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


if __name__ == "__main__":
    sys.exit(main())
