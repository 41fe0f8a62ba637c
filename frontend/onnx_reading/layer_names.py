"""Names of layers as the model's author knows them: PyTorch's exporter writes the path of the module into each node.

`pkg.torch.onnx.name_scopes` is a list such as ['', 'blocks.0', 'blocks.0.mlp', 'blocks.0.mlp.fc1', 'linear_2']: the modules
from the outermost to the innermost, then the call. Nodes of one call are one layer.
"""

from __future__ import annotations

import ast
from collections import defaultdict

import onnx_ir as ir
from edgewright.frontend.onnx_reading.checks import name_of

SCOPES = "pkg.torch.onnx.name_scopes"
LONGEST = 4096
_PRODUCTS = ("MatMul", "Gemm", "Conv", "ConvTranspose", "Einsum")
"""A call's last node of these is what its fused operator is called after; else its last node."""


def layer_names(graph: ir.Graph) -> dict[ir.Node, str]:
    """Return a name for each node whose file says where it comes from, each another: that of the module, followed by that of
    the call where the module makes several, and by the operator for all nodes of a call but its main one."""
    calls: dict[tuple[str, str], list[ir.Node]] = defaultdict(list)
    for node in graph:
        if (place := _place(node)) is not None:
            calls[place].append(node)
    in_module: dict[str, int] = defaultdict(int)
    for module, _ in calls:
        in_module[module] += 1
    placed = {node for nodes in calls.values() for node in nodes}
    taken = {name_of(node) for node in graph if node not in placed}
    names: dict[ir.Node, str] = {}
    for (module, call), nodes in calls.items():
        layer = module if module and in_module[module] == 1 else f"{module}.{call}" if module else call
        main = next((node for node in reversed(nodes) if node.op_type in _PRODUCTS), nodes[-1])
        for node in (main, *(node for node in nodes if node is not main)):
            names[node] = name = _free(layer if node is main else f"{layer}/{node.op_type}", taken)
            taken.add(name)
    return names


def _place(node: ir.Node) -> tuple[str, str] | None:
    """Return (path of the module, name of the call); None for a node without them."""
    text = node.metadata_props.get(SCOPES, "")
    if not text or len(text) > LONGEST:
        return None
    try:
        scopes = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
    if not isinstance(scopes, list) or not scopes or not all(isinstance(scope, str) for scope in scopes) or not scopes[-1]:
        return None
    return next((scope for scope in reversed(scopes[:-1]) if scope), ""), scopes[-1]


def _free(name: str, taken: set[str]) -> str:
    """Return the name, with a number behind it where it is taken."""
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}_{number}"
    return free
