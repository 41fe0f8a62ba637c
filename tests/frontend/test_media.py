"""Folders, lists and tables of samples: what is found, how it is labelled, and how it is refused."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from edgewright.frontend.reshaping.resume import data_digest
from edgewright.frontend.samples.calibrating import load_calibration
from edgewright.frontend.samples.data import ARRAY_NAMES, load_samples
from edgewright.frontend.samples.labelled import load_material
from edgewright.frontend.samples.preprocess import Preprocess, Sound
from edgewright.frontend.samples.readings import kept_files, kept_reading, load_classes, reading_of
from edgewright.frontend.samples.stores import DataSource, Reading, open_store
from edgewright.passes.diagnostics import CompileError, Exit
from edgewright.passes.ir import Array, Graph, make
from edgewright.passes.ops import Linear, Reshape, constant, graph_input

from tests.frontend.sample_files import class_folders, only, picture, pixels, sound

SHAPES = {"x": (1, 1, 4, 4)}
RULE = Preprocess(mean=0.0, std=1.0, scale=1.0)
ANIMALS = ("ant", "bee", "cat")


def classifier(classes: int = 3) -> Graph:
    """Each class has a weight of its own for the mean of the pixels."""
    x = graph_input("x", (1, 1, 4, 4))
    weights = np.random.default_rng(0).normal(size=(classes, 16)).astype(np.float32)
    out = make(Linear(), make(Reshape((1, 16)), x), constant(weights), constant(np.zeros(classes, np.float32)))
    return Graph("classifier", (x,), (out,), ("logits",))


def read(source: DataSource, reading: Reading | None = None, **shapes: tuple[int, ...]) -> tuple[Array, Array | None]:
    samples = load_samples(source, shapes or SHAPES, reading=reading or Reading(RULE))
    return next(iter(samples.inputs.values())), samples.labels


def refusal(source: DataSource, reading: Reading | None = None, **shapes: tuple[int, ...]) -> tuple[str, str]:
    with pytest.raises(CompileError) as caught:
        read(source, reading, **shapes)
    found = only(caught.value)
    assert found.help
    return found.code, found.because


def test_folders_of_classes_are_labelled_by_their_names_in_order(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "set", ("cat", "ant", "bee"), 2)
    (folder / ".DS_Store").write_text("")
    (folder / "ant" / "notes.txt").write_text("ignored: neither a picture nor a sound")
    values, labels = read(folder, Reading(RULE, class_count=3))
    assert labels is not None and labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert np.array_equal(values[4, 0], pixels(4, 4, 1, seed=0)) and np.array_equal(values[1, 0], pixels(4, 4, 1, seed=101))
    with open_store(folder, SHAPES, reading=Reading(RULE)) as store:
        assert store.classes == ANIMALS and store.titles is not None and store.titles[:2] == ("0.png", "1.png")
        assert any("0 ant, 1 bee, 2 cat" in note for note in store.notes) and any("pixel" in note for note in store.notes)
        assert np.array_equal(store.read("x", np.array([4])), values[4:5])


def test_the_order_of_the_classes_is_the_model_s_where_it_is_given(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "set", ("cat", "ant"), 1)
    assert refusal(folder, Reading(RULE, class_count=3))[0] == "D018"
    _, labels = read(folder, Reading(RULE, ("bee", "cat", "ant"), 3))
    assert labels is not None and labels.tolist() == [2, 1]
    assert refusal(folder, Reading(RULE, ("bee", "cat", "dog"), 3)) == (
        "D018",
        "the classes are bee, cat, dog, and ant is none of them",
    )
    numbered = class_folders(tmp_path / "numbers", ("0", "2"), 1)
    _, labels = read(numbered, Reading(RULE, ANIMALS, 3))
    assert labels is not None and labels.tolist() == [0, 2]


def test_a_few_samples_are_the_first_or_some_of_every_class(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "set", ANIMALS, 4)
    for spread, labels in ((False, [0, 0, 0]), (True, [0, 1, 2])):
        few = load_samples(folder, SHAPES, reading=Reading(RULE), most=3, spread=spread)
        assert few.labels is not None and few.labels.tolist() == labels and few.titles is not None
        for row, label, title in zip(few.inputs["x"], labels, few.titles, strict=True):
            assert np.array_equal(row[0], pixels(4, 4, 1, seed=100 * label + int(title.removesuffix(".png"))))


def test_a_name_that_two_classes_have_says_nothing(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "set", ("crane",), 1)
    assert refusal(folder, Reading(RULE, ("crane", "bee", "crane"), 3)) == ("D018", "two classes of the model are called crane")


def test_passes_learn_from_folders_and_know_them_again(tmp_path: Path) -> None:
    folder, graph = class_folders(tmp_path / "set", ANIMALS, 8), classifier()
    material = load_material(folder, graph, reading=reading_of(graph, RULE))
    assert (material.learn.count, material.measure.count, material.classes) == (18, 6, ANIMALS)
    assert material.notes and set(material.learn.targets) == {"labels"}
    before = data_digest(folder, RULE)
    assert before == data_digest(folder, RULE) != data_digest(folder, Preprocess(mean=0.5, std=1.0)) != data_digest(folder)
    (folder / "ant" / "0.png").rename(folder / "bee" / "9.png")
    assert data_digest(folder, RULE) != before
    values = np.arange(3.0)
    assert data_digest(values) == data_digest({"": values}) != data_digest(values.astype(np.float32))


def test_flat_folders_and_single_files_of_every_kind_have_no_labels(tmp_path: Path) -> None:
    for i, name in enumerate(("b.png", "a.webp", "C.PNG")):
        picture(tmp_path / "flat" / name, pixels(4, 4, 1, seed=i))
    values, labels = read(tmp_path / "flat")
    assert labels is None and np.array_equal(values[0, 0], pixels(4, 4, 1, seed=2)) and len(values) == 3
    values, _ = read(picture(tmp_path / "one.jpg", np.full((4, 4), 77, np.uint8)))
    assert values.shape == (1, 1, 4, 4) and abs(float(values.mean()) - 77) < 1


def test_lists_of_files_with_and_without_classes(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "my pictures", ANIMALS, 1)
    plain = tmp_path / "plain.txt"
    plain.write_text("# a comment\nmy pictures/cat/0.png\n\nmy pictures/ant/0.png\n")
    values, labels = read(plain)
    assert labels is None and np.array_equal(values[0, 0], pixels(4, 4, 1, seed=200))
    numbers = tmp_path / "numbers.txt"
    numbers.write_text("my pictures/cat/0.png 7\nmy pictures/ant/0.png 3\n")
    assert (found := read(numbers)[1]) is not None and found.tolist() == [7, 3]
    named = tmp_path / "named.lst"
    named.write_text("my pictures/cat/0.png\tcat\nmy pictures/ant/0.png\tant\n")
    assert (found := read(named, Reading(RULE, ANIMALS, 3))[1]) is not None and found.tolist() == [2, 0]
    for text, code in (
        ("", "D016"),
        ("my pictures/cat/0.png\nmy pictures/ant/0.png 3\n", "D018"),
        ("absent.png\n", "D001"),
        ("notes.doc\n", "D017"),
    ):
        plain.write_text(text)
        assert refusal(plain)[0] == code, text
    plain.write_bytes(b"\xff\xfe\x00")
    assert refusal(plain)[0] == "D001"
    assert folder.is_dir()


def _both(folder: Path) -> None:
    class_folders(folder, ("ant",), 1)
    picture(folder / "a.png", pixels(4, 4, 1))


def _two_kinds(folder: Path) -> None:
    picture(folder / "a.png", pixels(4, 4, 1))
    sound(folder / "b.wav", np.zeros(4))


@pytest.mark.parametrize(
    ("build", "code", "because"),
    [
        (lambda folder: folder.mkdir(), "D016", "holds no file"),
        (_both, "D016", "both files and folders"),
        (_two_kinds, "D016", "1 sounds and 1 pictures"),
        (lambda folder: class_folders(folder / "train", ("ant", "bee"), 1), "D016", "hold folders, not files"),
        (lambda folder: (class_folders(folder, ("ant",), 1), (folder / "bee").mkdir()), "D016", "bee"),
        (lambda folder: picture(folder / "a.bmp", pixels(4, 4, 1)), "D017", ".bmp"),
        (lambda folder: picture(folder / "a.png", pixels(4, 5, 1)), "D015", "4 x 5"),
        (lambda folder: (folder.mkdir(), (folder / "a.png").write_bytes(b"no picture")), "D014", "neither PNG"),
    ],
)
def test_folders_that_cannot_be_used(build: Callable[[Path], object], code: str, because: str, tmp_path: Path) -> None:
    build(tmp_path / "set")
    found = refusal(tmp_path / "set")
    assert found[0] == code and because in found[1]


def test_paths_that_cannot_be_used(tmp_path: Path) -> None:
    assert (
        refusal(tmp_path / "absent.png")[0] == refusal(tmp_path / "absent")[0] == refusal(tmp_path / "absent.npy")[0] == "D001"
    )
    (tmp_path / "data.csv").write_text("1,2\n")
    with pytest.raises(CompileError) as caught:
        read(tmp_path / "data.csv")
    assert (only(caught.value).code, caught.value.exit_code) == ("D017", Exit.USAGE)
    os.mkfifo(tmp_path / "pipe.png")
    os.mkfifo(tmp_path / "pipe.csv")
    assert refusal(tmp_path / "pipe.png")[0] == refusal(tmp_path / "pipe.csv")[0] == "D001"
    one = picture(tmp_path / "one.png", pixels(4, 4, 1))
    assert refusal(one, Reading())[0] == "D011"
    assert refusal(one, Reading(RULE), ids=(1, 4))[0] == "D005"


def test_a_folder_of_sounds(tmp_path: Path) -> None:
    for i, name in enumerate(ANIMALS):
        sound(tmp_path / "set" / name / "a.wav", np.full(8, i / 4))
    rule = Reading(Preprocess(sound=Sound(rate=16000)), class_count=3)
    values, labels = read(tmp_path / "set", rule, wave=(1, 8))
    assert (
        labels is not None and labels.tolist() == [0, 1, 2] and np.allclose(values, np.array([[0], [0.25], [0.5]]), atol=1e-4)
    )
    assert refusal(tmp_path / "set", Reading(), wave=(1, 8))[0] == "D011"


def test_npy_files_and_arrays_and_pixels_in_them(tmp_path: Path) -> None:
    source = np.stack([pixels(4, 4, 1, seed=i) for i in range(3)])[:, None]
    np.save(tmp_path / "a.npy", source)
    np.savez(tmp_path / "a.npz", images=source, labels=np.arange(3))
    halved = Reading(Preprocess(mean=0.0, std=1.0, scale=0.5))
    for given in (tmp_path / "a.npy", tmp_path / "a.npz", source, {"images": source}, {"x": source}, source[:, 0]):
        assert np.array_equal(read(given, halved)[0], source * np.float32(0.5))
        assert refusal(given, Reading())[0] == ("D011" if given is not source[:, 0] else "D005")
    with open_store(tmp_path / "a.npz", SHAPES, reading=halved, named=ARRAY_NAMES) as store:
        assert any("uint8" in note and "pixel" in note for note in store.notes)
    floats = source.astype(np.float32)
    assert np.array_equal(read(floats, halved)[0], floats)  # taken as normalised
    np.save(tmp_path / "b.npy", np.array([{}], object), allow_pickle=True)
    assert refusal(tmp_path / "b.npy")[0] == "D003"
    (tmp_path / "a.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:-3])
    assert refusal(tmp_path / "a.npy")[0] == "D002"


def test_tables_as_hugging_face_writes_them(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    source = [pixels(4, 4, 1, seed=i) for i in range(3)]
    content = [picture(tmp_path / f"{i}.png", array).read_bytes() for i, array in enumerate(source)]
    table = arrow.table(
        {"image": [{"bytes": c, "path": "a.png"} for c in content], "label": [2, 0, 1], "text": ["a", "b", "c"]}
    )
    features = {"info": {"features": {"label": {"names": list(ANIMALS)}}}}
    parquet.write_table(table.replace_schema_metadata({"huggingface": json.dumps(features)}), tmp_path / "a.parquet")
    values, labels = read(tmp_path / "a.parquet")
    assert np.array_equal(values[:, 0], np.stack(source)) and labels is not None and labels.tolist() == [2, 0, 1]
    with open_store(tmp_path / "a.parquet", SHAPES, reading=Reading(RULE)) as store:
        assert store.classes == ANIMALS
        assert np.array_equal(store.read("x", np.array([2])), values[2:])
    assert refusal(tmp_path / "a.parquet", Reading())[0] == "D011"
    rows = np.arange(24, dtype=np.float32).reshape(3, 2, 4)
    parquet.write_table(
        arrow.table({"x": rows.tolist(), "labels": [0, 1, 2], "ragged": [[1], [2, 3], []]}), tmp_path / "b.parquet"
    )
    values, labels = read(tmp_path / "b.parquet", Reading(), x=(1, 2, 4))
    assert np.array_equal(values, rows) and labels is not None and labels.tolist() == [0, 1, 2]
    (tmp_path / "c.parquet").write_bytes(b"PAR1 and no more")
    assert refusal(tmp_path / "c.parquet")[0] == "D002"


def test_tables_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    (tmp_path / "a.parquet").write_bytes(b"")
    assert refusal(tmp_path / "a.parquet")[0] == "D019"


def test_only_what_was_drawn_is_decoded(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "set", ANIMALS, 10)
    graph = classifier()
    first = load_calibration(folder, graph, 6, 0, reading_of(graph, RULE), most=6)
    for broken in sorted(folder.rglob("*.png")):
        used = any(
            np.array_equal(
                np.asarray(row[0], np.uint8), pixels(4, 4, 1, seed=100 * ANIMALS.index(broken.parent.name) + int(broken.stem))
            )
            for part in (first.samples.inputs, first.measure.inputs if first.measure else {})
            for row in part["x"]
        )
        if not used:
            broken.write_bytes(b"broken")
    again = load_calibration(folder, graph, 6, 0, reading_of(graph, RULE), most=6)
    assert np.array_equal(first.samples.inputs["x"], again.samples.inputs["x"])
    with pytest.raises(CompileError):
        load_calibration(folder, graph, 15, 0, reading_of(graph, RULE))


def test_names_of_classes(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_text("ant\nbee\ncat\n\n")
    assert load_classes(path) == ANIMALS
    for value in (
        list(ANIMALS),
        {"id2label": {"0": "ant", "1": "bee", "2": "cat"}, "model_type": "vit"},
        {"pretrained_cfg": {"label_names": list(ANIMALS)}},
    ):
        (tmp_path / "config.json").write_text(json.dumps(value))
        assert load_classes(tmp_path / "config.json") == ANIMALS
    reading = reading_of(classifier(), RULE, path)
    assert (reading.classes, reading.class_count) == (ANIMALS, 3)
    kept = kept_files(reading, reading.classes)
    for name, content in kept.items():
        (tmp_path / name).write_bytes(content)
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in kept.items()}
    assert kept_reading(tmp_path, hashes) == reading
    (tmp_path / "labels.txt").write_text("ant\nbee\ndog\n")
    with pytest.raises(CompileError) as changed:
        kept_reading(tmp_path, hashes)
    assert only(changed.value).code == "U023"
    for text, name in (
        ("ant\n\ncat\n", "a.txt"),
        ("", "a.txt"),
        ("ant\nbee\n", "a.txt"),
        ('{"0": "ant", "2": "b"}', "a.json"),
        ("[1]", "a.json"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(CompileError) as caught:
            reading_of(classifier(), RULE, tmp_path / name)
        assert (only(caught.value).code, caught.value.exit_code) == ("D018", Exit.USAGE)
