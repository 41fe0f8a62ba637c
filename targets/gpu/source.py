"""Kernels of TIR -> one CUDA source text, by TVM's code generator; needs no GPU and no CUDA installation."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import numpy as np
import tvm
import tvm_ffi
from edgewright.targets.lowering.tir import tirx

# TVM's usual order also unrolls and shares subexpressions: nvcc does both, and the text stays small. Sharing
# subexpressions would also hide from TVM that an address is a multiple of four.
PASSES = ("StmtSimplify", "FlattenBuffer", "VectorizeLoop", "StmtSimplify", "RemoveNoOp", "LowerIntrin")
DEVICE_KERNEL = 2  # TVM's number for a function that is launched on a device
HEXADECIMAL = re.compile(r"(-?0x[0-9a-f.]+p[+-]\d+)(f?)(?:/\*[^*]*\*/)?")


def cuda_source(functions: Sequence[Any], names: Sequence[str], arch: str) -> str:
    """Return the text of all kernels, each `extern "C" __global__` under its name with one pointer per argument."""
    target = tvm.target.Target({"kind": "cuda", "arch": arch})
    # a device function from the start: splitting host from device would reorder the arguments
    attributes = {"target": target, "calling_conv": DEVICE_KERNEL, "tirx.is_global_func": True, "tirx.noalias": True}
    kernels = {}
    for name, function in zip(names, functions, strict=True):
        for key, value in attributes.items():
            function = function.with_attr(key, value)
        launch = ["blockIdx.x", "threadIdx.x"]
        kernels[name] = function.with_attr("tirx.kernel_launch_params", launch).with_attr("global_symbol", name)
    module = tvm.IRModule(kernels)
    for name in PASSES:
        module = getattr(tirx.transform, name)()(module)
    with _no_compilation():
        text = str(tvm.get_global_func("target.build.cuda")(module, target).inspect_source())
    text = text[text.index('extern "C" __global__') :]
    preamble = (files("edgewright.targets.gpu") / "runner" / "preamble.cuh").read_text()
    return preamble + HEXADECIMAL.sub(_decimal, text)


def _decimal(number: re.Match[str]) -> str:
    """Return a hexadecimal float, which C++ has only since 2017, as the shortest decimal of the same value."""
    value = float.fromhex(number[1])
    text = repr(value) if number[2] == "" else str(np.float32(value))
    return text + number[2]


class _no_compilation:
    """TVM's CUDA builder passes its text to a compiler that is registered by name; here nothing is compiled."""

    NAME = "tvm_callback_cuda_compile"

    def __enter__(self) -> None:
        self.before = tvm.get_global_func(self.NAME, allow_missing=True)
        tvm_ffi.register_global_func(self.NAME, lambda *_: b"\0", override=True)

    def __exit__(self, *_: object) -> None:
        if self.before is not None:
            tvm_ffi.register_global_func(self.NAME, self.before, override=True)
