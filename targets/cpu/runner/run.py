"""Runs a compiled model in Python on TVM's runtime. Needs numpy and apache-tvm, nothing of Edgewright.

python run.py FOLDER --input NAME=x.npy ... [--output FOLDER] [--threads N] [--repeat N]
Like every loader of native code, it executes what is in the folder: the hashes detect damage, not malice.
"""

import argparse
import hashlib
import json
import os
import platform
import statistics
import sys
import time
from pathlib import Path


def main():
    """Run the model: exit status 0, or 1 with one line that says what does not fit."""
    parser = argparse.ArgumentParser(description="Runs a compiled model on TVM's runtime.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--input", action="append", default=[], metavar="NAME=FILE.npy")
    parser.add_argument("--output", type=Path, help="folder for the outputs, as NAME.npy")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--repeat", type=int, default=1)
    arguments = parser.parse_args()
    manifest = checked_manifest(arguments.folder)
    os.environ["TVM_NUM_THREADS"] = str(arguments.threads)  # read as the library loads
    import numpy as np
    import tvm

    paths = dict(text.split("=", 1) for text in arguments.input if "=" in text)
    inputs = []
    for tensor in manifest["inputs"]:
        path = paths.get(tensor["name"]) or refuse(f"--input {tensor['name']}=FILE.npy is missing")
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)  # what a header claims is not allocated
        except Exception as error:  # numpy raises many kinds
            refuse(f"input {tensor['name']}: {path} is not an .npy file: {error}")
        inputs.append(tvm.runtime.tensor(checked(array, tensor, manifest)))
    if unknown := set(paths) - {tensor["name"] for tensor in manifest["inputs"]}:
        refuse(f"the model has no input {', '.join(sorted(unknown))}")
    entry = tvm.runtime.load_module(str(arguments.folder / "model.so"))[manifest["entry"]]
    weights = np.fromfile(arguments.folder / "weights.bin", np.uint8)
    workspace = np.zeros(max(manifest["workspace_bytes"], 1), np.uint8)
    blocks = [tvm.runtime.tensor(block if block.size else np.zeros(1, np.uint8)) for block in (weights, workspace)]
    outputs = [tvm.runtime.tensor(np.zeros(tensor["shape"], tensor["dtype"])) for tensor in manifest["outputs"]]
    times = []
    for _ in range(arguments.repeat):
        started = time.perf_counter()
        entry(0, len(manifest["steps"]), *blocks, *inputs, *outputs)
        times.append(time.perf_counter() - started)
    print(f"{arguments.threads} threads: median {statistics.median(times) * 1e3:.3f} ms")
    for i, (tensor, value) in enumerate(zip(manifest["outputs"], outputs, strict=True)):
        array = value.numpy()
        meaning = f", stands for {tensor['scale']} * (integer - {tensor['zero_point']})" if tensor["scale"] else ""
        print(f"output {tensor['name']}: {array.dtype} {array.shape}{meaning}")
        if arguments.output:
            arguments.output.mkdir(parents=True, exist_ok=True)
            plain = tensor["name"] if tensor["name"].replace("_", "").isalnum() else f"output_{i}"
            np.save(arguments.output / f"{plain}.npy", array)


def checked_manifest(folder):
    """Return manifest.json, if every file is as the compiler wrote it and this machine has the right architecture."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text())
        changed = [name for name, digest in manifest["files"].items() if sha256(folder / name) != digest]
        arch = manifest["arch"]
        described = None if changed else description(manifest, folder)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        refuse(f"{folder} is not a compiled CPU model: {error!r}")
    if changed:
        refuse(f"not as the compiler wrote it: {', '.join(changed)}")
    first, *lines = (folder / "model.txt").read_text().splitlines()
    if first.split()[:2] != ["edgewright-model", "2"]:
        refuse("model.txt has another format than 2: compile the model again")
    if [without_name(line) for line in lines] != described:
        refuse("not as the compiler wrote it: manifest.json, which describes another model than model.txt")
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine())
    if machine != arch:
        refuse(f"the model is for {arch}, this machine is {machine}")
    cpuinfo = Path("/proc/cpuinfo")
    for line in cpuinfo.read_text().splitlines() if cpuinfo.exists() else ():
        label, _, value = line.partition(":")
        if label.strip() in ("flags", "Features"):
            if missing := set(manifest["features"]) - set(value.split()):
                refuse(f"this processor lacks {', '.join(sorted(missing))}")
            break
    return manifest


def description(manifest, folder):
    """Return the lines of model.txt that follow from the manifest, without the names of inputs and outputs."""
    inputs, outputs, steps = (manifest[key] for key in ("inputs", "outputs", "steps"))
    lines = [f"counts {len(inputs)} {len(outputs)} {len(steps)}", f"arch {manifest['arch']}"]
    lines.append(" ".join(["features", *manifest["features"]]))
    for label, name in (("library", "model.so"), ("weights", "weights.bin")):
        lines.append(f"{label} {(folder / name).stat().st_size} {manifest['files'][name]}")
    lines.append(f"workspace {manifest['workspace_bytes']}")
    for role, tensors in (("input", inputs), ("output", outputs)):
        for tensor in tensors:
            more = tensor["range"] or [] if role == "input" else [repr(tensor["scale"] or 0), tensor["zero_point"]]
            lines.append(" ".join(map(str, [role, tensor["dtype"], len(tensor["shape"]), *tensor["shape"], *more])))
    return [*lines, *(f"step {step['macs']} {step['bytes']} {step['kind']}" for step in steps)]


def without_name(line):
    """Return the line of an input or output without its second word."""
    words = line.split(" ")
    return " ".join(words[:1] + words[2:]) if words[0] in ("input", "output") else line


def checked(array, tensor, manifest):
    """Return the array if the model takes it."""
    if list(array.shape) != list(tensor["shape"]) or str(array.dtype) != tensor["dtype"]:
        expected = f"{tensor['dtype']} {tuple(tensor['shape'])}"
        refuse(f"input {tensor['name']} is {array.dtype} {array.shape}, the model takes {expected}")
    if tensor["range"] and array.size and not (array.min() >= tensor["range"][0] and array.max() <= tensor["range"][1]):
        refuse(f"input {tensor['name']} holds {array.min()} to {array.max()}, the model takes {tensor['range']}")
    if manifest["precision"] != "fp32" and array.dtype.kind == "f" and not abs(array).max() < float("inf"):
        refuse(f"input {tensor['name']} holds nan or infinity, which an integer model has no values for")
    return array.copy(order="C")


def sha256(path):
    """Return the hash of a file in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def refuse(reason):
    """End with one line."""
    print(f"error: {reason}", file=sys.stderr)
    raise SystemExit(1)


if __name__ == "__main__":
    main()
