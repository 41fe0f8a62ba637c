"""Matrix products of numpy, one thread each."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np  # noqa: F401  # its BLAS has to be loaded before it can be found
from threadpoolctl import ThreadpoolController


def one_thread() -> Any:
    """Return a context in which BLAS uses one thread.

    The products of small transformers take microseconds, and waking threads for each costs more than they save: five times
    the whole calibration of DeiT-Tiny on two cores, and more when another process is busy.
    """
    return _controller().limit(limits=1, user_api="blas")


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()
