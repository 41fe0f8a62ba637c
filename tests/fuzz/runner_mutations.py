"""Damaged model.txt, weights.bin and .npy files for edgewright-run under AddressSanitizer and UBSan.

`python -m tests.fuzz.runner_mutations --count 2400`. Every run has to end with status 0 and the right outputs, or with 1 or 2
and one line that says why; a sanitizer that speaks up is a failure. Half of the changed descriptions get the size and digest
that belong to them, so that what is behind that check is reached too.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import os
import random
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from edgewright.passes import cache
from edgewright.targets.cpu.artifact import Artifact, identifier
from edgewright.targets.cpu.devices import runner_process
from edgewright.targets.cpu.runner_files import PROGRAM, sources

from tests.targets.cpu.made_artifacts import artifact, expected, sample

SANITIZERS = "-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -O1 -g"
OPTIONS = {"ASAN_OPTIONS": "detect_leaks=1:allocator_may_return_null=1:exitcode=77", "UBSAN_OPTIONS": "exitcode=77"}
NUMBERS = (
    "0",
    "1",
    "-1",
    "7",
    "256",
    "65536",
    str(2**31 - 1),
    str(2**31),
    str(2**40),
    str(2**62),
    str(2**63),
    "9" * 40,
    "1e9",
    "nan",
    "0x10",
    "",
    "x",
)
TOKENS = (
    "input",
    "output",
    "step",
    "counts",
    "features",
    "arch",
    "weights",
    "library",
    "workspace",
    "int8",
    "float64",
    "bool",
    "..",
    "a/b",
    "%n%s",
    "\x00",
    "\x1b[2J",
    "é",
    " ",
    "\n",
    "x" * 200,
    "x" * 5000,
)


@functools.cache
def missing() -> str:
    """What a sanitised runner needs and this machine lacks."""
    return ", ".join(tool for tool in ("make", "gcc", "g++") if shutil.which(tool) is None)


@functools.cache
def sanitised_runner() -> Path:
    """edgewright-run of the shipped sources and Makefile with both sanitizers."""
    texts = sources()
    version = subprocess.run(["gcc", "--version"], capture_output=True, text=True, check=True).stdout

    def make(folder: Path) -> None:
        for name, text in texts.items():
            (folder / name).write_text(text)
        flags = [f"CFLAGS={SANITIZERS}", f"CXXFLAGS={SANITIZERS}", f"LDFLAGS={SANITIZERS}"]
        subprocess.run(["make", "-s", "-C", str(folder), "CC=gcc", "CXX=g++", *flags], check=True)

    return cache.entry("runner-sanitised", cache.key(texts, [version, SANITIZERS]), make) / PROGRAM


def changed_bytes(content: bytes, draw: random.Random) -> bytes:
    """Cut off, with bits turned, bytes overwritten, a part doubled or removed, or garbage."""
    data = bytearray(content)
    how, at = draw.randrange(6), draw.randrange(max(len(data), 1))
    if how == 0:
        return bytes(data[:at])
    if how == 1:
        for _ in range(draw.choice((1, 1, 1, 4))):
            data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    elif how == 2:
        data[at : at + 8] = draw.randbytes(8)
    elif how == 3:
        data[at:at] = data[at : at + draw.randrange(1, 200)]
    elif how == 4:
        del data[at : at + draw.randrange(1, 200)]
    else:
        return draw.randbytes(draw.randrange(200))
    return bytes(data)


def changed_text(body: str, draw: random.Random) -> str:
    """One to three words or lines changed."""
    for _ in range(draw.choice((1, 1, 2, 3))):
        lines = body.split("\n")
        i = draw.randrange(len(lines))
        words = lines[i].split(" ")
        how = draw.randrange(7)
        if how == 0:
            words[draw.randrange(len(words))] = draw.choice(NUMBERS)
        elif how == 1:
            words[draw.randrange(len(words))] = draw.choice(TOKENS)
        elif how == 2:
            words.insert(draw.randrange(len(words) + 1), draw.choice(NUMBERS + TOKENS))
        elif how == 3:
            del words[draw.randrange(len(words))]
        lines[i] = " ".join(words)
        if how == 4:
            del lines[i]
        elif how == 5:
            lines.insert(draw.randrange(len(lines) + 1), lines[i])
        elif how == 6:
            j = draw.randrange(len(lines))
            lines[i], lines[j] = lines[j], lines[i]
        body = "\n".join(lines)
    return body


def sealed(body: bytes) -> bytes:
    """model.txt of these lines, with the size and digest that belong to them."""
    return f"edgewright-model 2 {len(body)} {hashlib.sha256(body).hexdigest()}\n".encode() + body


@dataclass(frozen=True, slots=True)
class Bench:
    """An artifact's copy with its inputs, one file of which is changed at a time."""

    of: Artifact
    folder: Path

    @classmethod
    def laid_out(cls, folder: Path) -> Bench:
        of = artifact()
        for name in ("model.txt", "model.so", "weights.bin"):
            shutil.copyfile(of.directory / name, folder / name)
        for name, content in runner_process.input_files(of, sample(of)).items():
            (folder / name).write_bytes(content)
        return cls(of, folder)

    def mutate(self, draw: random.Random) -> tuple[str, bytes]:
        """(file name, its new content)."""
        kind = draw.choice(("text", "text", "text", "model.txt", "weights.bin", "weights.bin", "npy", "npy", "model.so"))
        name = {"text": "model.txt", "npy": f"{identifier(self.of.manifest.inputs[0])}.npy"}.get(kind, kind)
        content = (self.folder / name).read_bytes()
        if kind == "text":
            return name, sealed(changed_text(content.split(b"\n", 1)[1].decode(), draw).encode())
        if kind == "npy":  # mostly its header
            start = draw.choice((128, 128, len(content)))
            return name, changed_bytes(content[:start], draw) + content[start:]
        if kind == "weights.bin" and draw.random() < 0.5:  # the size stays
            data = bytearray(content)
            data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
            return name, bytes(data)
        return name, changed_bytes(content, draw)

    def run(self, runner: Path, out: Path) -> subprocess.CompletedProcess[bytes]:
        fixed = ["setarch", os.uname().machine, "-R"] if shutil.which("setarch") else []  # gcc 12's ASan wants it
        words = [*fixed, str(runner), str(self.folder), "--warmup", "0", "--output", str(out)]
        for one in self.of.manifest.inputs:
            words += ["--input", f"{identifier(one)}={self.folder}/{identifier(one)}.npy"]
        return subprocess.run(words, capture_output=True, timeout=120, env={**os.environ, **OPTIONS})

    def wrong(self, runner: Path, changed: str) -> str:
        """What a run did that it must not do, or nothing."""
        with tempfile.TemporaryDirectory() as scratch:
            done = self.run(runner, Path(scratch) / "out")
            said = done.stderr.decode(errors="replace")
            if done.returncode in (1, 2):
                line = re.fullmatch(r"edgewright-run: (artifact|cpu|input|memory): [^\x00-\x1f\x7f]+\n", said)
                return "" if line else f"exit {done.returncode}: {said[:3000]}"
            if done.returncode != 0 or said:
                return f"exit {done.returncode}: {said[:3000]}"
            if changed.endswith(".npy"):
                return ""  # other values are other answers
            found = [np.load(path) for path in (Path(scratch) / "out").iterdir()]
            (want,) = expected(self.of).values()
            return "" if len(found) == 1 and np.array_equal(found[0], want) else "exit 0 with wrong outputs"


def mutations(count: int, first: int = 0) -> list[str]:
    """Failures of `count` runs with their seeds."""
    runner, failures = sanitised_runner(), []
    with tempfile.TemporaryDirectory(prefix="edgewright-mutations-") as scratch:
        bench = Bench.laid_out(Path(scratch))
        for seed in range(first, first + count):
            name, content = bench.mutate(random.Random(seed))
            whole = (bench.folder / name).read_bytes()
            (bench.folder / name).write_bytes(content)
            if wrong := bench.wrong(runner, name):
                failures.append(f"seed {seed}, {name}: {wrong}")
            (bench.folder / name).write_bytes(whole)
        if wrong := bench.wrong(runner, "nothing"):
            failures.append(f"unchanged: {wrong}")
    return failures


def main(words: Sequence[str] | None = None) -> None:
    """Prints failures; exit status 1 when there are any."""
    parser = argparse.ArgumentParser(description="damaged files for edgewright-run under sanitizers")
    parser.add_argument("--count", type=int, default=2400)
    parser.add_argument("--seed", type=int, default=0, help="the first one")
    options = parser.parse_args(words)
    failures = mutations(options.count, options.seed)
    print("\n".join([*failures, f"{options.count} runs, {len(failures)} wrong"]))
    raise SystemExit(bool(failures))


if __name__ == "__main__":
    main()
