"""Mutated models, in processes of their own with limits: `python -m tests.fuzz.mutated_models --count 5000 --seed 0`.

Every file has to give onnxruntime's values, or one clear error, within 20 s of processor time and 2 GB. Faults are kept
as files (--keep FOLDER), and grouped by what happened. Model i of a seed is always the same: --only I repeats it here.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time
from collections import Counter
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

from tests.fuzz.mutation_bases import BASES, base_bytes
from tests.fuzz.mutation_checks import Verdict, check
from tests.fuzz.mutations import mutated

CPU_SECONDS = 20
MEMORY_BYTES = 2 << 30
_WALL_SECONDS = 300


def case(seed: int, index: int) -> tuple[bytes, str]:
    """Model `index` of a seed."""
    base = index % len(BASES)
    data, done = mutated(base_bytes(base), seed * 1_000_003 + index)
    return data, f"base {base}: {done}"


def _work(pipe: Connection, seed: int, first: int, last: int) -> None:
    check(base_bytes(0))  # imports and caches are not the model's
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_BYTES, used + MEMORY_BYTES))
    for index in range(first, last):
        verdict = check(case(seed, index)[0])
        if verdict.seconds > CPU_SECONDS:
            verdict = Verdict("fault", f"{verdict.where}: {verdict.seconds:.0f} s of processor time", verdict.seconds)
        pipe.send((index, verdict))
    pipe.send(None)


def run(seed: int, first: int, last: int) -> Iterator[tuple[int, Verdict]]:
    """Verdicts of models first <= i < last; a process that dies or hangs is a fault of its model."""
    context = multiprocessing.get_context("spawn")
    while first < last:
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs, seed, first, last), daemon=True)
        process.start()
        theirs.close()
        started = False
        try:
            while True:
                if not ours.poll(_WALL_SECONDS * (1 if started else 4)):
                    yield first, Verdict("fault", "no end", _WALL_SECONDS)
                    first += 1
                    break
                message = ours.recv()
                if message is None:
                    first = last
                    break
                started = True
                yield message
                first = message[0] + 1
        except EOFError:
            yield first, Verdict("fault", "the process died")
            first += 1
        finally:
            process.kill()
            process.join()


def main() -> int:
    """1 when there were faults."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--only", type=int, help="check one model in this process")
    parser.add_argument("--keep", type=Path, help="a folder for the files of faults")
    options = parser.parse_args()
    if options.only is not None:
        data, done = case(options.seed, options.only)
        print(done, check(data))
        return 0
    kinds: Counter[str] = Counter()
    faults: dict[str, list[int]] = {}
    slowest, began = (0.0, 0), time.monotonic()
    for index, verdict in run(options.seed, options.first, options.first + options.count):
        kinds[verdict.kind] += 1
        kinds["compared with onnxruntime"] += verdict.compared
        kinds["decided by rounding alone"] += verdict.undecided
        slowest = max(slowest, (verdict.seconds, index))
        if verdict.kind == "fault":
            faults.setdefault(verdict.where, []).append(index)
            data, done = case(options.seed, index)
            print(f"{index}: {verdict.where} [{done}]", flush=True)
            if options.keep is not None:
                options.keep.mkdir(parents=True, exist_ok=True)
                (options.keep / f"{options.seed}_{index}.onnx").write_bytes(data)
    share = kinds["compared with onnxruntime"] / max(1, options.count)
    print(f"{share:.0%} compared with onnxruntime: {dict(kinds)}")
    print(f"{time.monotonic() - began:.0f} s, slowest {slowest[0]:.1f} s (model {slowest[1]})")
    for where, found in sorted(faults.items(), key=lambda item: -len(item[1])):
        print(f"{len(found):4} x {where}: {found[:6]}")
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
