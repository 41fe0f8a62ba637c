"""Structure of a model proto, checked before anything interprets it: opset, names, order, subgraphs, node validity.

Every check adds to one list, so that a user sees everything that is wrong at once.  `check_structure` also sorts nodes
topologically (ONNX requires it; some tools do not) and removes initialisers from the inputs (IR version 3 lists them).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import onnx
import onnx_ir as ir
from edgewright.passes.diagnostics import CompileError, Diagnostic

OLDEST_OPSET = 11
NEWEST_OPSET = 23
STANDARD_DOMAINS = ("", "ai.onnx")
_TP = onnx.TensorProto
_INPUT_TYPES = (_TP.FLOAT, _TP.INT64, _TP.INT32, _TP.INT16, _TP.INT8, _TP.UINT8, _TP.BOOL)
_LONGEST_NAME = 60_000  # bytes: an npz file allows 65,535 for the name of an array
_REEXPORT = "export the model again at an opset from 11 to 23"


def name_of(node: onnx.NodeProto | ir.Node) -> str:
    """Return the node's name; if it has none, that of its first output, or else its type."""
    outputs = node.output if isinstance(node, onnx.NodeProto) else [value.name for value in node.outputs]
    return str(node.name or next(iter(outputs), "") or node.op_type)


def place_of(node: onnx.NodeProto | ir.Node) -> str:
    """Return how messages refer to a node: `name_of` and its type."""
    return f"node {name_of(node)!r} ({node.op_type})"


def opset_of(model: onnx.ModelProto) -> int:
    """Return the version of the standard operators that the model imports; 0 if it imports none."""
    return max((entry.version for entry in model.opset_import if entry.domain in STANDARD_DOMAINS), default=0)


def replace_nodes(graph: onnx.GraphProto, nodes: Iterable[onnx.NodeProto]) -> None:
    """Replace the graph's nodes by copies of `nodes`, some of which may be nodes of the graph."""
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)


def _check_opset(model: onnx.ModelProto) -> list[Diagnostic]:
    versions = {entry.version for entry in model.opset_import if entry.domain in STANDARD_DOMAINS}
    if not versions:
        because = "a model must declare the ONNX opset that it uses"
        return [Diagnostic("N010", "no opset declared", "opset_import", because, _REEXPORT)]
    version = max(versions)
    if len(versions) > 1:
        because = f"versions {sorted(versions)} are all imported"
        return [Diagnostic("N010", "contradicting opsets", "opset_import", because, _REEXPORT)]
    if version < OLDEST_OPSET:
        because = f"opset {version} is older than {OLDEST_OPSET}, where operators had other meanings"
    elif version > NEWEST_OPSET:
        because = f"opset {version} is newer than {NEWEST_OPSET}, the newest that is supported"
    else:
        return []
    return [Diagnostic("N010", "opset not supported", f"opset {version}", because, _REEXPORT)]


def _has_subgraph(node: onnx.NodeProto) -> bool:
    return any(a.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS) for a in node.attribute)


def _has_external_tensor(node: onnx.NodeProto) -> bool:
    """Return whether one is left, which `checks_tensors` has then refused."""
    tensors = [tensor for a in node.attribute for tensor in (a.t, *a.tensors)]
    return any(tensor.data_location == _TP.EXTERNAL for tensor in tensors)


def _check_nodes(nodes: Iterable[onnx.NodeProto], local: set[tuple[str, str]]) -> list[Diagnostic]:
    """Check domains and subgraphs; `local` are the functions that the model defines."""
    refusals = []
    for node in nodes:
        at = place_of(node)
        if node.domain not in STANDARD_DOMAINS and (node.domain, node.op_type) not in local:
            message = f"operator {node.domain}.{node.op_type} is not a standard ONNX operator"
            because = f"the domain {node.domain!r} belongs to one runtime, and the model does not define it"
            help_text = "export from the training framework without that runtime's optimiser"
            refusals.append(Diagnostic("N013", message, at, because, help_text))
        if _has_subgraph(node):
            because = "control flow that depends on data cannot be planned for hardware"
            help_text = "export by tracing with example inputs, so that branches and loops are resolved"
            refusals.append(Diagnostic("N014", f"operator {node.op_type} has a subgraph", at, because, help_text))
    return refusals


def _repeated(names: Iterable[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]


def _invalid(message: str, at: str, because: str, help_text: str = "the file is damaged; export it again") -> Diagnostic:
    return Diagnostic("N011", message, at=at, because=because, help=help_text)


def _check_names(graph: onnx.GraphProto) -> list[Diagnostic]:
    """Check that every value has one definition, that every use has one, and that names can be used."""
    refusals = []
    inputs, weights, outputs = ([value.name for value in values] for values in (graph.input, graph.initializer, graph.output))
    results = [name for node in graph.node for name in node.output if name]
    for kind, names in (("input", inputs), ("weight", weights), ("node output", results)):
        for name in _repeated(names):
            refusals.append(_invalid(f"two definitions of {kind} {name!r}", f"tensor {name!r}", "names must be unique"))
    for name in sorted(set(results) & (set(inputs) | set(weights))):
        because = "a node's result has the name of an input or a weight"
        refusals.append(_invalid(f"two definitions of tensor {name!r}", f"tensor {name!r}", because))
    known = {*inputs, *weights, *results}
    for node in graph.node:
        for name in node.input:
            if name and name not in known:
                refusals.append(_invalid(f"tensor {name!r} is not defined", place_of(node), "nothing produces this input"))
        if not any(node.output):
            refusals.append(_invalid("node without an output", place_of(node), "its result cannot be used"))
    for name in outputs:
        if name not in known:
            refusals.append(_invalid(f"output {name!r} is not defined", "graph outputs", "no node produces it"))
    if not outputs:
        refusals.append(_invalid("model without outputs", "graph outputs", "there is nothing to compute"))
    for name in _repeated(outputs):
        refusals.append(_invalid(f"output {name!r} is listed twice", "graph outputs", "names must be unique"))
    for kind, name in [*(("input", name) for name in inputs), *(("output", name) for name in outputs)]:
        if "\0" in name or len(name.encode()) > _LONGEST_NAME:
            message, at = f"an {kind} whose name no data file can hold", f"{kind} {name[:60]!r}"
            reason = "it holds a NUL character" if "\0" in name else f"it has {len(name):,} characters"
            because = f"{reason}, and arrays in npz files are found by name"
            refusals.append(Diagnostic("N023", message, at, because, f"rename the {kind} and export the model again"))
    if not all([*inputs, *weights, *outputs]):
        refusals.append(_invalid("unnamed input, output or weight", "graph", "every one needs a name"))
    return refusals


def _sort(graph: onnx.GraphProto) -> list[Diagnostic]:
    """Sort nodes topologically (stable), or return a refusal that names one cycle. Names have to be unique."""
    producer = {name: i for i, node in enumerate(graph.node) for name in node.output if name}
    sources = [sorted({producer[n] for n in node.input if n in producer}) for node in graph.node]
    if all(source < i for i, needs in enumerate(sources) for source in needs):
        return []
    order: list[int] = []
    state = [0] * len(sources)  # 0 new, 1 being visited, 2 sorted
    for start in range(len(sources)):
        path, stack = [], [(start, 0)]
        while stack:
            i, position = stack.pop()
            if position == 0:
                if state[i] == 2:
                    continue
                state[i] = 1
                path.append(i)
            if position < len(sources[i]):
                stack.append((i, position + 1))
                needed = sources[i][position]
                if state[needed] == 1:
                    names = [place_of(graph.node[j]) for j in path[path.index(needed) :]]
                    shown = " -> ".join([*names[:6], *(["..."] if len(names) > 6 else []), names[0]])
                    return [_invalid("the graph has a cycle", shown, "a node depends on its own result")]
                if state[needed] == 0:
                    stack.append((needed, 0))
            else:
                state[i] = 2
                path.pop()
                order.append(i)
    replace_nodes(graph, (graph.node[i] for i in order))
    return []


def _check_validity(model: onnx.ModelProto) -> list[Diagnostic]:
    """Check each standard node against its schema: known at this opset, arity, attributes and their types."""
    context = onnx.checker.C.CheckerContext()
    context.ir_version = min(max(model.ir_version, 3), onnx.IR_VERSION)
    context.opset_imports = {entry.domain: entry.version for entry in model.opset_import}
    version = opset_of(model)
    refusals = []
    for node in model.graph.node:
        if node.domain not in STANDARD_DOMAINS:
            continue
        if not onnx.defs.has(node.op_type, version, ""):
            message = f"operator {node.op_type} does not exist in opset {version}"
            because = "the ONNX standard has no such operator at the opset that the model declares"
            refusals.append(Diagnostic("N015", message, place_of(node), because, _REEXPORT))
            continue
        if _has_subgraph(node) or _has_external_tensor(node):
            continue  # refused already: bodies are not checked, and the checker would open the files of external data
        try:
            onnx.checker.check_node(node, context)
        except Exception as error:  # ValidationError, and what its own text may raise
            text = str(error).split("\n")[0].strip()
            if "is deprecated in domain_version" in text:
                continue  # still defined at this opset: read, or refused by name
            refusals.append(_invalid(f"invalid {node.op_type} node", place_of(node), text))
    return refusals


def _drop_weights_from_inputs(graph: onnx.GraphProto) -> None:
    weights = {tensor.name for tensor in graph.initializer}
    for i in reversed([i for i, value in enumerate(graph.input) if value.name in weights]):
        del graph.input[i]


def dtype_name(data_type: int) -> str:
    """Return ONNX's name of an element type, or its number if there is none."""
    return str(_TP.DataType.Name(data_type)).lower() if data_type in _TP.DataType.values() else f"number {data_type}"


def _check_inputs(graph: onnx.GraphProto) -> list[Diagnostic]:
    refusals = []
    for value in graph.input:
        at, kind = f"input {value.name!r}", value.type.tensor_type.elem_type
        if not value.type.HasField("tensor_type"):
            because, help_text = "only dense tensors are read", "export with tensor inputs"
            refusals.append(Diagnostic("N006", "input is not a tensor", at, because, help_text))
        elif kind not in _INPUT_TYPES:
            message = f"input of element type {dtype_name(kind)} is not supported"
            because = "values are float32; ids, masks and pixels are int8 to int64, uint8 or bool"
            help_text = "export the model with float32 inputs and weights"
            refusals.append(Diagnostic("N006", message, at, because, help_text))
    if not graph.input:
        refusals.append(_invalid("model without inputs", "graph inputs", "it would compute a constant"))
    return refusals


def _type_passed_inputs(graph: onnx.GraphProto) -> None:
    """Give an output that is an input the type of the input: exporters may omit it, and one value has one type."""
    inputs = {value.name: value for value in graph.input}
    for output in graph.output:
        if output.name in inputs:
            output.type.CopyFrom(inputs[output.name].type)


def check_structure(model: onnx.ModelProto) -> None:
    """Check the structure of `model`, and sort its nodes in place.

    Errors (CompileError, exit 1), all of them together: N006 input types, N010 opset, N011 invalid or cyclic graph,
    N013 custom domain, N014 subgraph, N015 operator unknown at the model's opset, N023 a name that no npz file can hold.
    """
    _drop_weights_from_inputs(model.graph)
    _type_passed_inputs(model.graph)
    local = {(function.domain, function.name) for function in model.functions}
    wrong_opset = _check_opset(model)
    refusals = wrong_opset + _check_nodes(model.graph.node, local)
    for function in model.functions:
        refusals += _check_nodes(function.node, local)
    wrong_names = _check_names(model.graph)
    refusals += wrong_names + _check_inputs(model.graph)
    if not wrong_names:
        refusals += _sort(model.graph)
    if not wrong_opset:
        refusals += _check_validity(model)
    if refusals:
        raise CompileError(refusals)
