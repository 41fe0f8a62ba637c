"""Readers of normalisations."""

from __future__ import annotations

import math

import numpy as np
from edgewright.frontend.canonical.norm import normalised_over
from edgewright.frontend.onnx_reading.site import Results, Site, Unsupported, reads
from edgewright.passes.ir import Node
from edgewright.passes.ops import Add, BatchNormalization, LayerNormalization, Mul, RMSNormalization, value_of


@reads("BatchNormalization")
def read_batch_normalization(site: Site) -> Results:
    """Read BatchNormalization with stored statistics."""
    if site.integer("training_mode", 0):
        raise Unsupported("it computes batch statistics (training mode)", "export the model after model.eval()")
    site.only_first_output()
    return site.make(BatchNormalization(site.real("epsilon", 1e-5)), *(site.input(i) for i in range(5)))


_KINDS: dict[str, type[LayerNormalization | RMSNormalization]] = {
    kind.__name__: kind for kind in (LayerNormalization, RMSNormalization)
}


@reads(*_KINDS)
def read_normalization(site: Site) -> Results:
    """Read a normalisation over the last axis or several last axes; a missing bias is zero."""
    kind, x, gamma = _KINDS[site.node.op_type], site.input(0), site.input(1)
    axis, op = site.axis(site.integer("axis", -1), x.type.rank), kind(site.real("epsilon", 1e-5))
    site.only_first_output()
    if axis != x.type.rank - 1:
        scaled = site.make(Mul(), normalised_over(op, x, tuple(range(axis, x.type.rank)), None, None), gamma)
        return site.make(Add(), scaled, site.input(2)) if site.has(2) else scaled
    parameters = [gamma]
    if kind is LayerNormalization:
        parameters.append(site.input(2) if site.has(2) else site.value(np.zeros(x.shape[-1], np.float32)))
    return site.make(op, x, *(_widened(site, parameter, (x.shape[-1],)) for parameter in parameters))


def _widened(site: Site, parameter: Node, width: tuple[int]) -> Node:
    """Return a constant scale or bias of any shape as (width,)."""
    array = value_of(parameter)
    if array is None or parameter.shape == width:
        return parameter
    return site.value(np.broadcast_to(array.reshape(-1), width))


@reads("InstanceNormalization")
def read_instance_normalization(site: Site) -> Results:
    """Read InstanceNormalization, over all positions of each channel."""
    return _grouped(site, site.input(0).shape[1], per_group=False)


@reads("GroupNormalization")
def read_group_normalization(site: Site) -> Results:
    """Read GroupNormalization, over all positions of a group of channels; before opset 21 scale and bias are per group."""
    groups = site.integer("num_groups", 0)
    if groups < 1 or site.input(0).shape[1] % groups:
        raise Unsupported(f"{groups} groups do not divide {site.input(0).shape[1]} channels")
    return _grouped(site, groups, per_group=site.opset < 21)


def _grouped(site: Site, groups: int, per_group: bool) -> Node:
    """Return a LayerNormalization of (batch, groups, all other axes), then scale and bias of the channels."""
    x, scale, bias = (site.input(i) for i in range(3))
    if x.type.rank < 3:
        raise Unsupported(f"its operand {x.shape} has no positions")
    batch, channels, *places = x.shape
    rows = site.reshape(x, (batch, groups, channels // groups * math.prod(places)))
    normal = normalised_over(LayerNormalization(site.real("epsilon", 1e-5)), rows, (2,), None, None)
    result = site.reshape(normal, x.shape)
    for op, parameter, neutral in ((Mul(), scale, 1.0), (Add(), bias, 0.0)):
        known = value_of(parameter)
        if known is not None and np.all(known == neutral):
            continue
        if per_group and groups != channels:
            if known is None:
                raise Unsupported("its scale and bias are computed at run time")
            parameter = site.value(np.repeat(known.reshape(-1), channels // groups))
        result = site.make(op, result, site.reshape(parameter, (channels, *(1 for _ in places))))
    return result
