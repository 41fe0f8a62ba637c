"""Inference engines, each in a process of its own that stays alive and runs on request, so that measurements interleave.

Every engine gets the settings that make it fastest on one stream of single images: all graph optimisations, static
shapes, its arena, its own option for the number of threads. What quantisation produces is cached, keyed by model, data,
versions and settings. The parent sends one JSON object a line and gets one back:

    {"do": "run", "count": 5}            ->  {"ns": [...]}      wall-clock time of each inference
    {"do": "outputs", "path": "o.npz"}   ->  {"count": 16}      outputs of the held-out samples, as array_0, array_1, ...

The end of its input ends the child.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.cpu_models import CALIBRATION, Arrays, split

if TYPE_CHECKING:
    from edgewright.targets.cpu.artifact import Artifact

ROOT = Path(__file__).parents[1]
Array = np.ndarray[Any, np.dtype[Any]]
Run = Callable[[Arrays], Sequence[Array]]
STARTING_SECONDS, RUNNING_SECONDS, PREPARING_SECONDS = 300.0, 300.0, 3000.0


class PeerFailed(Exception):
    """An engine cannot prepare, load or run a model; the text is the end of what it said."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a child does; `prepared` is the engine's own form of the model, where it has one."""

    engine: str
    model: str
    data: str
    inputs: list[str]
    threads: int = 1
    prepared: str = ""


@dataclass(frozen=True, slots=True)
class Engine:
    """`prepare` writes the engine's form of the model into a folder; it needs all `packages` and one of `features`."""

    label: str
    packages: tuple[str, ...]
    open: Callable[[Job], Run]
    prepare: Callable[[Job, Path], None] | None = None
    settings: str = ""
    features: tuple[str, ...] = ()


# onnxruntime


def _onnxruntime(job: Job) -> Run:
    import onnxruntime as ort  # type: ignore[import-untyped,unused-ignore]

    ort.set_default_logger_severity(3)
    options = ort.SessionOptions()
    options.intra_op_num_threads = job.threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.enable_cpu_mem_arena = options.enable_mem_pattern = True
    options.add_free_dimension_override_by_name("batch_size", 1)
    path = Path(job.prepared) / "model.onnx" if job.prepared else job.model
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda sample: session.run(None, sample)  # type: ignore[no-any-return,unused-ignore]


def _quantise_onnxruntime(job: Job, folder: Path) -> None:
    """Static, in the QDQ form: weights int8 by channel, activations uint8, which is the fastest pair on x86.

    All operators, which is fastest, but for a mask: one step between 0 and -3.4e38 would leave nothing of the scores.
    """
    from onnxruntime.quantization import (  # type: ignore[import-untyped,unused-ignore]
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    class Reader(CalibrationDataReader):  # type: ignore[misc,unused-ignore]
        """The calibration samples, one after another."""

        def __init__(self) -> None:
            self.samples = iter(_rows(split(Path(job.data), job.inputs)[0]))

        def get_next(self) -> Arrays | None:
            """The next sample, None after the last."""
            return next(self.samples, None)

    with tempfile.TemporaryDirectory() as scratch:
        kinds = ["MatMul", "Gemm", "Gather", "Conv"] if "attention_mask" in job.inputs else None
        quantize_static(
            _preprocessed(job, Path(scratch)),
            folder / "model.onnx",
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=kinds,
        )


def _preprocessed(job: Job, scratch: Path) -> Path:
    """The model as onnxruntime's quantisers want it: batch 1, shapes inferred, optimised."""
    import onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process  # type: ignore[import-untyped,unused-ignore]

    model = onnx.load(job.model)
    for value in (*model.graph.input, *model.graph.output):
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_param == "batch_size":
                dimension.dim_value = 1
    onnx.save(model, scratch / "fixed.onnx")
    quant_pre_process(str(scratch / "fixed.onnx"), str(scratch / "ready.onnx"), skip_symbolic_shape=True)
    model = onnx.load(scratch / "ready.onnx")
    del model.graph.value_info[:]  # the dynamic quantiser turns weights round and then finds their old shapes wrong
    onnx.save(model, scratch / "ready.onnx")
    return scratch / "ready.onnx"


def _quantise_onnxruntime_dynamic(job: Job, folder: Path) -> None:
    """What onnxruntime recommends for transformers: ranges are taken anew in each inference."""
    from onnxruntime.quantization import QuantType, quantize_dynamic  # type: ignore[import-untyped,unused-ignore]

    # Convolutions stay in float: onnxruntime's ConvInteger is slower than its float one.
    options: dict[str, Any] = {"op_types_to_quantize": ["MatMul", "Gemm", "Gather"], "per_channel": True}
    with tempfile.TemporaryDirectory() as scratch:
        ready = _preprocessed(job, Path(scratch))
        quantize_dynamic(ready, folder / "model.onnx", weight_type=QuantType.QInt8, **options)


# OpenVINO


def _read_openvino(job: Job) -> Any:
    """The model with the shapes of the samples."""
    import openvino  # type: ignore[import-not-found,import-untyped,unused-ignore]

    model = openvino.Core().read_model(job.model)
    sample = _rows(split(Path(job.data), job.inputs)[0])[0]
    model.reshape({name: array.shape for name, array in sample.items()})
    return model


def _openvino(precision: str | None) -> Callable[[Job], Run]:
    def start(job: Job) -> Run:
        import openvino  # type: ignore[import-not-found,import-untyped,unused-ignore]

        core = openvino.Core()
        settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": job.threads}
        if precision:
            settings["INFERENCE_PRECISION_HINT"] = precision
        model = core.read_model(Path(job.prepared) / "model.xml") if job.prepared else _read_openvino(job)
        request = core.compile_model(model, "CPU", settings).create_infer_request()
        return lambda sample: list(request.infer(sample, share_inputs=True, share_outputs=True).values())

    return start


def _quantise_openvino(job: Job, folder: Path) -> None:
    """The settings that were fastest on all models of this benchmark, of model type and preset."""
    import nncf  # type: ignore[import-not-found,import-untyped,unused-ignore]
    import openvino  # type: ignore[import-not-found,import-untyped,unused-ignore]

    # The default of 0.95 moves so much of MiniLM's and PVT's activations into the weights that little is right afterwards.
    smooth = nncf.AdvancedSmoothQuantParameters(matmul=0.5)
    model = nncf.quantize(
        _read_openvino(job),
        nncf.Dataset(_rows(split(Path(job.data), job.inputs)[0])),
        subset_size=CALIBRATION,
        model_type=nncf.ModelType.TRANSFORMER,
        preset=nncf.QuantizationPreset.PERFORMANCE,
        advanced_parameters=nncf.AdvancedQuantizationParameters(smooth_quant_alphas=smooth),
    )
    openvino.save_model(model, folder / "model.xml", compress_to_fp16=False)


# Edgewright


def _edgewright(job: Job) -> Run:
    from edgewright.targets.cpu.artifact import Artifact

    return real_outputs(Artifact.open(Path(job.prepared) / "artifact"), job.threads)


def real_outputs(artifact: Artifact, threads: int) -> Run:
    """One inference; integer outputs are turned into the numbers that they stand for, as the other engines return them."""
    from edgewright.targets.cpu.runtime import real

    run = artifact.runner(threads=threads)

    def infer(sample: Arrays) -> list[Array]:
        outputs = run(sample)
        return [real(tensor, outputs[tensor.name]) for tensor in artifact.manifest.outputs]

    return infer


def _compile(precision: str) -> Callable[[Job, Path], None]:
    def prepare(job: Job, folder: Path) -> None:
        command = [sys.executable, "-m", "edgewright.frontend.cli", "compile", job.model, "--target", "host"]
        command += ["--precision", precision, "--calibration", job.data, "-o", str(folder / "artifact")]
        start = time.perf_counter()
        done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=False)
        if done.returncode:
            raise PeerFailed(f"edgewright compile: {(done.stderr or done.stdout).strip()[-1500:]}")
        (folder / "compile_seconds.json").write_text(json.dumps(time.perf_counter() - start), encoding="utf-8")

    return prepare


_NNCF_SETTINGS = "TRANSFORMER, PERFORMANCE, smooth quant 0.5"
_ORT, _OPENVINO, _NNCF, _TVM = ("onnxruntime", "onnx"), ("openvino",), ("openvino", "nncf"), ("apache-tvm", "ziglang")
ENGINES = {
    "ort-f32": Engine("onnxruntime fp32", _ORT, _onnxruntime),
    "ort-int8": Engine("onnxruntime int8", _ORT, _onnxruntime, _quantise_onnxruntime, "QDQ u8s8 per channel, all but masks"),
    "ort-int8-dynamic": Engine("onnxruntime int8 dynamic", _ORT, _onnxruntime, _quantise_onnxruntime_dynamic, "s8 per channel"),
    "ov-f32": Engine("OpenVINO fp32", _OPENVINO, _openvino("f32")),
    "ov-bf16": Engine("OpenVINO bf16", _OPENVINO, _openvino("bf16"), features=("avx512_bf16", "amx_bf16")),
    "ov-int8": Engine("OpenVINO int8", _NNCF, _openvino(None), _quantise_openvino, _NNCF_SETTINGS),
    "ov-int8-f32": Engine("OpenVINO int8, rest fp32", _NNCF, _openvino("f32"), _quantise_openvino, _NNCF_SETTINGS),
    "ew-f32": Engine("Edgewright fp32", _TVM, _edgewright, _compile("fp32")),
    "ew-int8": Engine("Edgewright int8", _TVM, _edgewright, _compile("int8")),
}


def missing(engine: Engine, features: Sequence[str]) -> list[str]:
    """What the engine needs and is not here: packages, or a feature of the CPU."""
    packages = [name for name in engine.packages if not _version(name)]
    lacks = engine.features and not set(engine.features) & set(features)
    return packages + [" or ".join(engine.features)] * bool(lacks)


def versions(names: Sequence[str]) -> dict[str, str]:
    """Versions of the packages that the engines need."""
    packages = dict.fromkeys(package for name in names for package in ENGINES[name].packages)
    return {package: version for package in packages if (version := _version(package))}


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _rows(samples: Arrays) -> list[Arrays]:
    """One dictionary for each sample, with a leading axis of 1."""
    count = len(next(iter(samples.values())))
    return [{name: np.ascontiguousarray(array[i : i + 1]) for name, array in samples.items()} for i in range(count)]


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _compiler_digest() -> str:
    """Of all that `edgewright compile` consists of."""
    rooms = [ROOT / room for room in ("frontend", "hw", "targets", "passes")]
    kinds = (".py", ".toml", ".c", ".h")
    files = sorted(file for room in rooms for file in room.rglob("*") if file.suffix in kinds and file.is_file())
    return hashlib.sha256("".join(f"{f.relative_to(ROOT)} {_digest(f)}\n" for f in files).encode()).hexdigest()


def prepared(job: Job) -> Job:
    """The job with the engine's form of the model, made in a child when the cache has none; PeerFailed."""
    from edgewright.passes import cache

    engine = ENGINES[job.engine]
    if engine.prepare is None:
        return job
    parts = [engine.settings, engine.prepare.__qualname__, _digest(Path(job.model)), _digest(Path(job.data))]
    parts += [f"{name} {_version(name)}" for name in engine.packages]
    parts += [job.engine, _compiler_digest()] if job.engine.startswith("ew-") else []

    def make(folder: Path) -> None:
        command = [sys.executable, "-m", "benchmarks.cpu_peers", "prepare", json.dumps(asdict(job)), str(folder)]
        done = subprocess.run(command, cwd=ROOT, env=_environment(2), text=True, capture_output=True, check=False)
        if done.returncode:
            raise PeerFailed(f"{engine.label}: {done.stderr.strip()[-1500:]}")

    folder = cache.entry("bench_peers", cache.key({}, parts), make)
    return replace(job, prepared=str(folder))


def _environment(threads: int) -> dict[str, str]:
    paths = [str(ROOT / ".src"), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    fixed = {"OPENBLAS_NUM_THREADS": "1", "TVM_NUM_THREADS": str(threads), "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    return {**os.environ, **fixed}


def compile_seconds(job: Job) -> float | None:
    """How long Edgewright took for the prepared model of this job; None for the other engines."""
    path = Path(job.prepared) / "compile_seconds.json"
    return float(json.loads(path.read_text(encoding="utf-8"))) if job.prepared and path.is_file() else None


class Peer:
    """A live child. Every call raises PeerFailed when the child fails or takes too long, and the child is then gone."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.said = ""
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115
        command = [sys.executable, "-m", "benchmarks.cpu_peers", "serve", json.dumps(asdict(job))]
        pipe = subprocess.PIPE
        environment = _environment(job.threads)
        self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdin=pipe, stdout=pipe, stderr=self.log, text=True)
        self.answer(STARTING_SECONDS)

    def run(self, count: int) -> list[int]:
        """Nanoseconds of each of `count` inferences."""
        times: list[int] = self.ask({"do": "run", "count": count}, RUNNING_SECONDS)["ns"]
        return times

    def cpu_seconds(self) -> float:
        """Processor time of the child so far; 0 where /proc does not tell."""
        try:
            fields = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def outputs(self) -> list[Array]:
        """Each output for all held-out samples: (samples, ...)."""
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "outputs.npz"
            self.ask({"do": "outputs", "path": str(path)}, RUNNING_SECONDS)
            with np.load(path, allow_pickle=False) as file:
                return [file[f"array_{i}"] for i in range(len(file.files))]

    def ask(self, order: dict[str, Any], seconds: float) -> dict[str, Any]:
        """One order and its answer."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(order) + "\n")
            self.process.stdin.flush()
        except OSError:
            self.fail("ended")
        return self.answer(seconds)

    def answer(self, seconds: float) -> dict[str, Any]:
        """The child's next line; it writes whole lines, so that waiting for the first byte is enough."""
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], seconds)
        line = self.process.stdout.readline() if ready else ""
        if not line:
            self.fail("ended" if ready else f"gave no answer within {seconds:g} s")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def fail(self, reason: str) -> None:
        """Ends the child and raises."""
        self.close()
        raise PeerFailed(f"{ENGINES[self.job.engine].label} {reason}: {self.said}")

    def close(self) -> None:
        """Ends the child and waits for it; harmless when it is gone."""
        if self.log.closed:
            return
        for stream in (self.process.stdin, self.process.stdout):
            with suppress(OSError):  # what was not yet written finds nobody
                if stream is not None:
                    stream.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.seek(0)
        self.said = self.log.read().strip()[-1500:]
        self.log.close()


def serve(job: Job) -> None:
    """The child's loop. What libraries print to stdout goes to stderr: stdout carries answers alone."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    run = ENGINES[job.engine].open(job)
    samples = _rows(split(Path(job.data), job.inputs)[1])
    run(samples[0])
    print(json.dumps({"ready": True}), file=answers, flush=True)
    clock = time.perf_counter_ns
    for line in sys.stdin:
        order = json.loads(line)
        if order["do"] == "run":
            times = []
            for i in range(order["count"]):
                sample = samples[i % len(samples)]
                start = clock()
                run(sample)
                times.append(clock() - start)
            answer: dict[str, Any] = {"ns": times}
        else:
            columns = zip(*([np.array(value) for value in run(sample)] for sample in samples), strict=True)
            arrays: dict[str, Any] = {f"array_{i}": np.concatenate(column) for i, column in enumerate(columns)}
            np.savez(order["path"], **arrays)
            answer = {"count": len(samples)}
        print(json.dumps(answer), file=answers, flush=True)


def main(arguments: list[str]) -> int:
    """`prepare JOB FOLDER` or `serve JOB`, for the parent only."""
    job = Job(**json.loads(arguments[1]))
    if arguments[0] == "serve":
        serve(job)
        return 0
    try:
        prepare = ENGINES[job.engine].prepare
        assert prepare is not None
        prepare(job, Path(arguments[2]))
    except PeerFailed as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
