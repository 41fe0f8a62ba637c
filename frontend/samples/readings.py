"""What a user said about the data: `--preprocess` and `--labels`, checked against the model; and what a bundle keeps of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgewright.frontend.samples.preprocess import FILE, Preprocess, load_preprocess
from edgewright.frontend.samples.scores import classes_of
from edgewright.frontend.samples.stores import Reading
from edgewright.passes.diagnostics import Exit, fail
from edgewright.passes.documents import Unreadable, parse_json, read_bytes
from edgewright.passes.ir import Graph
from edgewright.passes.manifest import check_files
from edgewright.passes.names import plain

CLASSES_FILE = "labels.txt"
"""The names of the classes in a bundle, one a line."""
LARGEST_FILE = 16 << 20


def reading_of(
    graph: Graph, preprocess: str | Path | Preprocess | None = None, labels: str | Path | Sequence[str] | None = None
) -> Reading:
    """Return how data is read for a model. CompileError: D012 for the preprocess file, D018 for names of classes that cannot
    be read or are not as many as the model's classes (exit 2)."""
    rule = load_preprocess(preprocess) if isinstance(preprocess, str | Path) else preprocess
    classes = load_classes(labels) if isinstance(labels, str | Path) else None if labels is None else tuple(labels)
    counts = {count for node in graph.outputs if (count := classes_of(node.shape)) is not None}
    if classes is not None and len(classes) not in counts:
        place = plain(labels) if isinstance(labels, str | Path) else "labels"
        has = " or ".join(map(str, sorted(counts))) or "no"
        because = f"it names {len(classes):,} classes, and the model has {has}"
        help_text = "give a file with one class a line, in the order of the model's outputs, and nothing else"
        fail("D018", "labels do not match the classes", place, because, help_text, Exit.USAGE)
    count = len(classes) if classes is not None else next(iter(counts)) if len(counts) == 1 else None
    return Reading(rule, classes, count)


def load_classes(path: str | Path) -> tuple[str, ...]:
    """Return names of classes in the model's order: one a line, a JSON list, or the id2label of a transformers config.json.

    CompileError D018 (exit 2) for anything else."""
    path = Path(path)
    try:
        content = read_bytes(path, LARGEST_FILE)
        if path.suffix.lower() == ".json":
            return _from_json(parse_json(content, object))
        names = tuple(line.strip() for line in content.decode().splitlines())
        while names and not names[-1]:
            names = names[:-1]
        if not names or not all(names):
            raise Unreadable("it has an empty line" if names else "it is empty")
        return names
    except (Unreadable, UnicodeDecodeError) as error:
        help_text = "give a text file with one class a line, a JSON list, or a config.json with id2label"
        fail("D018", "the names of the classes cannot be read", plain(path), plain(error)[:200], help_text, Exit.USAGE)


def _from_json(value: Any) -> tuple[str, ...]:
    names = value
    if isinstance(value, dict):  # transformers, timm
        timm = value.get("pretrained_cfg")
        kept = timm.get("label_names") if isinstance(timm, dict) else None
        names = value.get("id2label", value.get("label_names", kept or value))
    if isinstance(names, dict):
        if set(names) != {str(i) for i in range(len(names))}:
            raise Unreadable("its classes are not numbered from 0")
        names = [names[str(i)] for i in range(len(names))]
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):
        raise Unreadable("it is neither a list of names, nor has it id2label or label_names")
    return tuple(names)


def kept_files(reading: Reading, classes: Sequence[str] | None) -> dict[str, bytes]:
    """Return the files that keep how data is read, and the names of classes, with a bundle."""
    files = {} if reading.preprocess is None else {FILE: reading.preprocess.content()}
    if classes and all(plain(name).strip() for name in classes):
        files[CLASSES_FILE] = "".join(f"{plain(name)}\n" for name in classes).encode()
    return files


def kept_reading(folder: Path, files: Mapping[str, str]) -> Reading:
    """Return how data is read for the model of a bundle; `files`: hashes by name, as its manifest lists them. CompileError U023
    for a file that was changed."""
    check_files(folder, {name: files[name] for name in (FILE, CLASSES_FILE) if name in files})
    rule = load_preprocess(folder / FILE) if FILE in files else None
    classes = load_classes(folder / CLASSES_FILE) if CLASSES_FILE in files else None
    return Reading(rule, classes, None if classes is None else len(classes))
