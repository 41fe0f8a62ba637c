"""Interpreted products use one thread, and only they."""

from __future__ import annotations

from edgewright.passes.blas import one_thread
from edgewright.passes.ir import interp
from edgewright.passes.ir.graph import Node
from edgewright.passes.ir.types import Array
from threadpoolctl import threadpool_info, threadpool_limits

from tests.models import images, tiny_vit


def blas_threads() -> set[int]:
    """Of numpy's own BLAS: other tests may have loaded another one."""
    return {one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas" and "numpy" in one["filepath"]}


def test_one_thread_inside_and_as_many_as_before_outside() -> None:
    graph = tiny_vit(0, image=8, width=16, hidden=16, blocks=1, classes=4)
    seen: set[int] = set()

    def see(node: Node, value: Array) -> None:
        seen.update(blas_threads() if node.op.kind == "Attention" else set())

    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        interp.visit(graph, {"image": images(graph, 1)}, see)
        assert seen <= {1} and blas_threads() == before
        with one_thread():
            assert blas_threads() <= {1}
        assert blas_threads() == before
