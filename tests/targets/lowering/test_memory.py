"""The workspace's layout: what lives at the same time does not share bytes, and little is wasted."""

from __future__ import annotations

from edgewright.targets.lowering.memory import ALIGN_BYTES, Life, aligned, place
from edgewright.targets.lowering.view import Space, TensorStorage
from hypothesis import given
from hypothesis import strategies as st

STORAGES = st.builds(
    TensorStorage, st.just(Space.WORK), st.sampled_from(["int8", "int16", "int32", "float32"]), st.integers(1, 999)
)
LIVES = st.lists(
    st.builds(lambda one, first, length: Life(one, first, first + length), STORAGES, st.integers(0, 12), st.integers(0, 5)),
    max_size=25,
)


def together(a: Life, b: Life) -> bool:
    return a.first <= b.last and b.first <= a.last


@given(LIVES)
def test_storages_alive_together_do_not_overlap(lives: list[Life]) -> None:
    offsets, peak = place(lives)
    assert set(offsets) == {life.storage for life in lives}
    for i, a in enumerate(lives):
        begin, end = offsets[a.storage], offsets[a.storage] + a.storage.size_bytes
        assert begin % ALIGN_BYTES == 0 and begin >= 0 and end <= peak
        for b in lives[:i]:
            if together(a, b):
                assert end <= offsets[b.storage] or offsets[b.storage] + b.storage.size_bytes <= begin


@given(LIVES)
def test_peak_lies_between_the_most_alive_at_once_and_the_sum(lives: list[Life]) -> None:
    _, peak = place(lives)
    sizes = [aligned(life.storage.size_bytes) for life in lives]
    busiest = max((sum(s for s, a in zip(sizes, lives, strict=True) if a.first <= t <= a.last) for t in range(20)), default=0)
    assert busiest <= peak <= sum(sizes)


@given(LIVES)
def test_the_same_lives_get_the_same_places(lives: list[Life]) -> None:
    first, peak = place(lives)
    copies = [Life(TensorStorage(a.storage.space, a.storage.dtype, a.storage.elements), a.first, a.last) for a in lives]
    second, again = place(copies)
    assert peak == again
    assert [first[a.storage] for a in lives] == [second[b.storage] for b in copies]


def test_bytes_are_shared_where_lives_end() -> None:
    chain = [Life(TensorStorage(Space.WORK, "float32", 100), i, i + 1) for i in range(10)]
    assert place(chain)[1] == 2 * aligned(400)
    assert place([]) == ({}, 0)


def test_sizes_are_whole_cache_lines() -> None:
    assert [aligned(n) for n in (0, 1, 64, 65, 128)] == [64, 64, 64, 128, 128]
