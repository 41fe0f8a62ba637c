"""Structure of a model proto, checked before anything interprets it: opset, names, order, subgraphs, node validity.

Every check adds to one list, so that a user sees all that is wrong at once.  `check_structure` also puts nodes in
topological order (ONNX asks for it; some tools forget) and drops initialisers from the inputs (IR version 3 style).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import onnx
from edgewright.passes.diagnostics import CompileError, Diagnostic

OLDEST_OPSET = 11
NEWEST_OPSET = 23
STANDARD_DOMAINS = ("", "ai.onnx")
_TP = onnx.TensorProto
_INPUT_TYPES = (_TP.FLOAT, _TP.INT64, _TP.INT32, _TP.INT16, _TP.INT8, _TP.UINT8, _TP.BOOL)
_LONGEST_NAME = 60_000  # bytes: an array in an npz file has a name of 65,535 at most
_REEXPORT = "export the model again at an opset from 11 to 23"


def place_of(node: onnx.NodeProto) -> str:
    """How messages name a node: its name, else its first output, and always its type."""
    name = node.name or next(iter(node.output), "") or "(unnamed)"
    return f"node {name!r} ({node.op_type})"


def _check_opset(model: onnx.ModelProto) -> list[Diagnostic]:
    versions = {entry.version for entry in model.opset_import if entry.domain in STANDARD_DOMAINS}
    if not versions:
        return [Diagnostic("N010", "no opset declared", "opset_import", "a model must say which ONNX opset it uses", _REEXPORT)]
    version = max(versions)
    if len(versions) > 1:
        because = f"versions {sorted(versions)} are all imported"
        return [Diagnostic("N010", "contradicting opsets", "opset_import", because, _REEXPORT)]
    if version < OLDEST_OPSET:
        because = f"opset {version} is older than {OLDEST_OPSET}, where operators had other meanings"
    elif version > NEWEST_OPSET:
        because = f"opset {version} is newer than {NEWEST_OPSET}, the newest that is understood"
    else:
        return []
    return [Diagnostic("N010", "opset not supported", f"opset {version}", because, _REEXPORT)]


def _has_subgraph(node: onnx.NodeProto) -> bool:
    return any(a.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS) for a in node.attribute)


def _has_external_tensor(node: onnx.NodeProto) -> bool:
    """After `checks_tensors` only where that was refused."""
    tensors = [tensor for a in node.attribute for tensor in (a.t, *a.tensors)]
    return any(tensor.data_location == _TP.EXTERNAL for tensor in tensors)


def _check_nodes(nodes: Iterable[onnx.NodeProto], local: set[tuple[str, str]]) -> list[Diagnostic]:
    """Domains and subgraphs."""
    found = []
    for node in nodes:
        if node.domain not in STANDARD_DOMAINS and (node.domain, node.op_type) not in local:
            found.append(
                Diagnostic(
                    "N013",
                    f"operator {node.domain}.{node.op_type} is not a standard ONNX operator",
                    at=place_of(node),
                    because=f"the domain {node.domain!r} belongs to one runtime, and the model does not define it",
                    help="export from the training framework without that runtime's optimiser",
                )
            )
        if _has_subgraph(node):
            found.append(
                Diagnostic(
                    "N014",
                    f"operator {node.op_type} carries a subgraph",
                    at=place_of(node),
                    because="control flow that depends on data cannot be planned for hardware",
                    help="export by tracing with example inputs, so that branches and loops are resolved",
                )
            )
    return found


def _repeated(names: Iterable[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]


def _invalid(message: str, at: str, because: str, help_text: str = "the file is damaged; export it again") -> Diagnostic:
    return Diagnostic("N011", message, at=at, because=because, help=help_text)


def _check_names(graph: onnx.GraphProto) -> list[Diagnostic]:
    """Every value has one definition, every use has a definition."""
    found = []
    inputs, weights = [i.name for i in graph.input], [t.name for t in graph.initializer]
    results = [name for node in graph.node for name in node.output if name]
    for kind, names in (("input", inputs), ("weight", weights), ("node output", results)):
        for name in _repeated(names):
            found.append(_invalid(f"two definitions of {kind} {name!r}", f"tensor {name!r}", "names must be unique"))
    for name in sorted(set(results) & (set(inputs) | set(weights))):
        because = "a node's result has the name of an input or a weight"
        found.append(_invalid(f"two definitions of tensor {name!r}", f"tensor {name!r}", because))
    known = {*inputs, *weights, *results}
    for node in graph.node:
        for name in node.input:
            if name and name not in known:
                found.append(_invalid(f"tensor {name!r} is not defined", place_of(node), "nothing produces this input"))
        if not any(node.output):
            found.append(_invalid("node without an output", place_of(node), "its result cannot be used"))
    for output in graph.output:
        if output.name not in known:
            found.append(_invalid(f"output {output.name!r} is not defined", "graph outputs", "no node produces it"))
    if not graph.output:
        found.append(_invalid("model without outputs", "graph outputs", "there is nothing to compute"))
    for name in _repeated(o.name for o in graph.output):
        found.append(_invalid(f"output {name!r} is listed twice", "graph outputs", "names must be unique"))
    for kind, given in (("input", inputs), ("output", [o.name for o in graph.output])):
        for name in given:
            if "\0" in name or len(name.encode()) > _LONGEST_NAME:
                because = "it holds a NUL character" if "\0" in name else f"it has {len(name):,} characters"
                found.append(
                    Diagnostic(
                        "N023",
                        f"an {kind} whose name no data file can hold",
                        at=f"{kind} {name[:60]!r}",
                        because=f"{because}, and arrays in npz files are found by name",
                        help=f"rename the {kind} and export the model again",
                    )
                )
    if any(not name for name in [*inputs, *weights, *(o.name for o in graph.output)]):
        found.append(_invalid("unnamed input, output or weight", "graph", "every one needs a name"))
    return found


def _sort(graph: onnx.GraphProto) -> list[Diagnostic]:
    """Put nodes in topological order (stable); names one cycle when there is none. Needs unique names."""
    producer = {name: i for i, node in enumerate(graph.node) for name in node.output if name}
    sources = [sorted({producer[n] for n in node.input if n in producer}) for node in graph.node]
    if all(source < i for i, needs in enumerate(sources) for source in needs):
        return []
    order: list[int] = []
    state = [0] * len(sources)  # 0 new, 1 being visited, 2 placed
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
    nodes = [onnx.NodeProto() for _ in order]
    for copy, i in zip(nodes, order, strict=True):
        copy.CopyFrom(graph.node[i])
    del graph.node[:]
    graph.node.extend(nodes)
    return []


def _check_validity(model: onnx.ModelProto) -> list[Diagnostic]:
    """Each standard node against its schema: known at this opset, arity, attributes and their types."""
    context = onnx.checker.C.CheckerContext()
    context.ir_version = min(max(model.ir_version, 3), onnx.IR_VERSION)
    context.opset_imports = {entry.domain: entry.version for entry in model.opset_import}
    version = next(e.version for e in model.opset_import if e.domain in STANDARD_DOMAINS)
    found = []
    for node in model.graph.node:
        if node.domain not in STANDARD_DOMAINS:
            continue
        if not onnx.defs.has(node.op_type, "") or not _exists_at(node.op_type, version):
            found.append(
                Diagnostic(
                    "N015",
                    f"operator {node.op_type} does not exist in opset {version}",
                    at=place_of(node),
                    because="the ONNX standard has no such operator at the opset that the model declares",
                    help=_REEXPORT,
                )
            )
            continue
        if _has_subgraph(node) or _has_external_tensor(node):
            continue  # refused already; a body is nobody's business then, and for data the checker would open files
        try:
            onnx.checker.check_node(node, context)
        except Exception as error:  # ValidationError, and what its own text may raise
            text = str(error).split("\n")[0].strip()
            if "is deprecated in domain_version" in text:
                continue  # its meaning at this opset stands: read, or refused by name
            found.append(_invalid(f"invalid {node.op_type} node", place_of(node), text))
    return found


def _exists_at(op_type: str, version: int) -> bool:
    try:
        onnx.defs.get_schema(op_type, version, "")
    except onnx.defs.SchemaError:
        return False
    return True


def _drop_weights_from_inputs(graph: onnx.GraphProto) -> None:
    weights = {tensor.name for tensor in graph.initializer}
    kept = [value for value in graph.input if value.name not in weights]
    if len(kept) != len(graph.input):
        copies = []
        for value in kept:
            copies.append(onnx.ValueInfoProto())
            copies[-1].CopyFrom(value)
        del graph.input[:]
        graph.input.extend(copies)


def _check_inputs(graph: onnx.GraphProto) -> list[Diagnostic]:
    found = []
    for value in graph.input:
        at = f"input {value.name!r}"
        if not value.type.HasField("tensor_type"):
            found.append(
                Diagnostic("N006", "input is not a tensor", at, "only dense tensors are read", "export with tensor inputs")
            )
            continue
        kind = value.type.tensor_type.elem_type
        if kind not in _INPUT_TYPES:
            name = _TP.DataType.Name(kind).lower() if kind in _TP.DataType.values() else kind
            found.append(
                Diagnostic(
                    "N006",
                    f"input of element type {name} is not supported",
                    at=at,
                    because="values are float32; ids, masks and pixels are int8 to int64, uint8 or bool",
                    help="export the model with float32 inputs and weights",
                )
            )
    if not graph.input:
        found.append(_invalid("model without inputs", "graph inputs", "it would compute a constant"))
    return found


def _type_passed_inputs(graph: onnx.GraphProto) -> None:
    """An output that is an input has its type: exporters may leave it out, and one value has one type."""
    inputs = {value.name: value for value in graph.input}
    for output in graph.output:
        if output.name in inputs:
            output.type.CopyFrom(inputs[output.name].type)


def check_structure(model: onnx.ModelProto) -> None:
    """Check all of the above on `model`, in place.

    Errors (CompileError, exit 1), all found at once: N006 input types, N010 opset, N011 invalid or cyclic graph,
    N013 custom domain, N014 subgraph, N015 operator unknown at the model's opset, N023 a name that cannot be kept.
    """
    _drop_weights_from_inputs(model.graph)
    _type_passed_inputs(model.graph)
    local = {(function.domain, function.name) for function in model.functions}
    found = _check_opset(model)
    found += _check_nodes(model.graph.node, local)
    for function in model.functions:
        found += _check_nodes(function.node, local)
    names = _check_names(model.graph)
    found += names + _check_inputs(model.graph)
    if not names:
        found += _sort(model.graph)
    if not any(d.code == "N010" for d in found):
        found += _check_validity(model)
    if found:
        raise CompileError(found, 1)
