"""The client of TVM's RPC, as a process of its own: its calls have no time limit, but a process can be ended.

Reads a JSON job from standard input and writes profile.json and outputs/NAME.npy to the job's folder. Exit
codes: 0, or one of `Ending`, with a line of text on standard error.
"""

from __future__ import annotations

import ctypes
import enum
import json
import math
import os
import signal
import statistics
import sys
from pathlib import Path
from typing import Any

import numpy as np

_SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)


class Ending(enum.IntEnum):
    """Why a worker failed."""

    NO_SESSION = 11
    WRONG_ARCH = 12
    NOT_LOADED = 13
    FAILED = 14


def main() -> None:
    """Run one job."""
    job = json.load(sys.stdin)
    _follow(job["parent"])
    from tvm import rpc

    signal.alarm(max(1, math.ceil(job["connect_s"])))  # its default action ends us, even within TVM
    try:
        session = _session(rpc, job)
    except Exception as error:
        _give_up(Ending.NO_SESSION, error)
    signal.alarm(0)
    triple = _triple(session)
    if triple is not None and triple.split("-")[0] not in job["archs"]:
        _give_up(Ending.WRONG_ARCH, triple)
    try:
        session.upload(job["library"], target=job["remote_name"])
        library = session.load_module(job["remote_name"])
        entry = library[job["entry"]]
    except Exception as error:
        _give_up(Ending.NOT_LOADED, error)
    try:
        _measure(session, library, entry, job, triple)
        session.remove(job["remote_name"])
    except Exception as error:
        _give_up(Ending.FAILED, error)


def _follow(parent: int) -> None:
    """End when the process that waits for us ends, however it does."""
    ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, int(signal.SIGKILL))
    if os.getppid() != parent:
        raise SystemExit(int(Ending.FAILED))


def _session(rpc: Any, job: dict[str, Any]) -> Any:
    timeout = int(job["timeout_s"]) + 5
    if job["tracker"] is None:
        return rpc.connect(job["host"], job["port"], job["key"], session_timeout=timeout)
    tracker = rpc.connect_tracker(job["tracker"][0], job["tracker"][1])
    return tracker.request(job["key"], session_timeout=timeout, max_retry=2)


def _triple(session: Any) -> str | None:
    """Return the server's target triple if its TVM has LLVM."""
    try:
        return str(session.get_function("target.llvm_get_system_triple")())
    except Exception:
        return None


def _measure(session: Any, library: Any, entry: Any, job: dict[str, Any], triple: str | None) -> None:
    import tvm

    folder, device = Path(job["folder"]), session.cpu()
    weights = np.fromfile(job["weights"], np.uint8)
    blocks = [weights if weights.size else np.zeros(1, np.uint8), np.zeros(max(job["workspace_bytes"], 1), np.uint8)]
    inputs = [np.load(folder / name, allow_pickle=False) for name in job["inputs"]]
    outputs = [tvm.runtime.tensor(np.zeros(output["shape"], output["dtype"]), device=device) for output in job["outputs"]]
    operands = [*(tvm.runtime.tensor(array, device=device) for array in (*blocks, *inputs)), *outputs]
    most = int(session.get_function("runtime.NumThreads")())
    counts = job["threads"] or sorted({*(1 << i for i in range(most.bit_length()) if 1 << i < most), most})
    steps = job["steps"]
    runs = []
    for threads in counts:
        session.get_function("runtime.config_threadpool")(1, threads or most)
        for _ in range(job["warmup"]):
            entry(0, steps, *operands)
        once = library.time_evaluator(job["entry"], device, number=1)(0, steps, *operands).mean
        repeat = max(1, min(job["repeat"], int(job["seconds"] / max(once, 1e-9))))
        times = library.time_evaluator(job["entry"], device, number=1, repeat=repeat)(0, steps, *operands).results
        by_step = []
        if job["step_runs"]:
            timer = library.time_evaluator(job["entry"], device, number=1, repeat=job["step_runs"])
            by_step = [timer(i, i + 1, *operands).results for i in range(steps)]
        runs.append(
            {
                "threads": threads or most,
                "times_ns": [max(1, round(t * 1e9)) for t in times],
                "steps": [
                    {"median_ns": round(statistics.median(times) * 1e9), "min_ns": round(min(times) * 1e9)} for times in by_step
                ],
            }
        )
    entry(0, steps, *operands)
    (folder / "outputs").mkdir(exist_ok=True)
    for output, value in zip(job["outputs"], outputs, strict=True):
        np.save(folder / "outputs" / f"{output['identifier']}.npy", value.numpy(), allow_pickle=False)
    machine = {
        "name": "",
        "arch": (triple or "").split("-")[0],
        "kernel": "",
        "libc": "",
        "processors": most,
        "memory_bytes": 0,
    }
    answer = {"format": 1, "machine": machine, "before": {}, "runs": runs, "after": {}, "power": None}
    (folder / "profile.json").write_text(json.dumps(answer), encoding="utf-8")


def _give_up(why: Ending, error: object) -> None:
    print(" ".join(str(error).split())[-500:], file=sys.stderr)
    raise SystemExit(int(why))


if __name__ == "__main__":
    main()
