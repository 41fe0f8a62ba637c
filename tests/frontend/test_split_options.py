"""What a split refuses before it reads anything, and what it leaves alone in its folder of checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest
from edgewright.frontend.splitting.model import SplitOptions
from edgewright.passes.diagnostics import CompileError
from edgewright.passes.splitting.split_classes import SplitClasses, kept_by_training


@pytest.mark.parametrize("epochs", [0.0, -1.0, float("nan"), float("inf"), 1e300])
def test_a_split_is_never_made_without_training(epochs: float) -> None:
    """The heads of sub-models and the fusion start from random values: untrained, the deployment answers at random."""
    with pytest.raises(CompileError) as caught:
        SplitOptions(epochs=epochs)
    assert (caught.value.diagnostics[0].code, caught.value.exit_code) == ("U027", 2)


def test_a_seed_below_zero() -> None:
    with pytest.raises(CompileError) as caught:
        SplitOptions(seed=-1)
    assert (caught.value.diagnostics[0].code, caught.value.exit_code) == ("U030", 2)


@pytest.mark.parametrize("run", [None, b"{", b"[]", b"\xff"])
def test_a_folder_of_somebody_else_s_is_no_training(run: bytes | None, tmp_path: Path) -> None:
    (tmp_path / "data.npz").write_bytes(b"mine")
    if run is not None:
        (tmp_path / "run.json").write_bytes(run)
    with pytest.raises(CompileError) as caught:
        SplitClasses(2, checkpoints=tmp_path)._begun(tmp_path / "run.json")
    assert (caught.value.diagnostics[0].code, caught.value.exit_code) == ("K008", 2)


def test_only_what_training_kept_is_cleaned_up(tmp_path: Path) -> None:
    ours = (
        "run.json",
        "answers.npy",
        "fusion.pt",
        "together.pt",
        "sub-model 1 of 2-0-channel.npz",
        "fusion.pt.12.partial",
        "sub-model 2 of 10-2-hidden.start.npz",
        "sub-model 1 of 2-1-head.pt",
    )
    for name in (*ours, "data.npz", "notes.txt", "my.pt"):
        (tmp_path / name).write_bytes(b"")
    assert {path.name for path in kept_by_training(tmp_path)} == set(ours)
