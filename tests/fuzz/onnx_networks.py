"""Random ONNX models in the spellings of exporters: products, norms, attention, masks, moves, in tokens and in maps."""

from __future__ import annotations

import math

import numpy as np
import onnx
from onnx import TensorProto, helper

from tests.fuzz.onnx_model import CHANNELS, MASK_LEVELS, SIDE, TOKENS, Model, Step, Value

# ---- products


def linear(m: Model, x: Value, outs: int = 0) -> Value:
    x = m.tokens(x)
    _, count, ins = x.shape
    outs = outs or int(m.rng.choice([CHANNELS, CHANNELS, 6, 12]))
    if m.chance(0.25):
        flat = m.reshape(x, count, ins)
        bias = [m.real(outs)] if m.chance(0.8) else []
        turned = m.chance(0.5)
        w = m.weight(outs, ins, ins=ins) if turned else m.weight(ins, outs, ins=ins)
        done = m("Gemm", flat, w, *bias, shape=(count, outs), transB=int(turned), alpha=float(m.rng.choice([1.0, 0.5])))
        return m.reshape(done, 1, count, outs)
    done = m("MatMul", x, m.weight(ins, outs, ins=ins), shape=(1, count, outs))
    if m.chance(0.2):
        return done
    added = m.real(*(1,) * int(m.rng.integers(0, 3)), outs)
    return m("Add", done, added) if m.chance(0.5) else m("Add", added, done, shape=done.shape)


def convolution(m: Model, x: Value) -> Value:
    x = m.maps(x)
    _, ins, height, width = x.shape
    kernel = int(m.rng.choice([1, 3, 3, 2]))
    stride, pad = int(m.rng.integers(1, 3)), int(m.rng.integers(0, 2))
    if min(height, width) + 2 * pad < kernel:
        return x
    groups = int(m.rng.choice([1, ins, 2 if ins % 2 == 0 else 1]))
    outs = ins if groups > 1 else CHANNELS
    size = [(n + 2 * pad - kernel) // stride + 1 for n in (height, width)]
    bias = [m.real(outs)] if m.chance(0.7) else []
    w = m.weight(outs, ins // groups, kernel, kernel, ins=ins // groups * kernel * kernel)
    places = {"group": groups, "strides": [stride] * 2, "pads": [pad] * 4, "kernel_shape": [kernel] * 2}
    done = m("Conv", x, w, *bias, shape=(1, outs, size[0], size[1]), **places)
    return batch_norm(m, done) if m.chance(0.3) else done


def transposed_convolution(m: Model, x: Value) -> Value:
    x = m.maps(x)
    _, ins, height, width = x.shape
    if max(height, width) > 2 * SIDE:
        return x
    w = m.weight(ins, CHANNELS, 2, 2, ins=ins)
    return m("ConvTranspose", x, w, m.real(CHANNELS), shape=(1, CHANNELS, 2 * height, 2 * width), strides=[2, 2])


def patches(m: Model, x: Value) -> Value:
    x = m.maps(x)
    _, ins, height, width = x.shape
    if height % 2 or width % 2:
        return x
    w = m.weight(CHANNELS, ins, 2, 2, ins=4 * ins)
    done = m("Conv", x, w, m.real(CHANNELS), shape=(1, CHANNELS, height // 2, width // 2), strides=[2, 2])
    return m.tokens(done)


def merged_patches(m: Model, x: Value) -> Value:
    x = m.maps(x)
    _, channels, height, width = x.shape
    if height % 2 or width % 2 or channels > 2 * CHANNELS:
        return x
    apart = m.reshape(m.transpose(x, 0, 2, 3, 1), 1, height // 2, 2, width // 2, 2, channels)
    return m.reshape(m.transpose(apart, 0, 1, 3, 4, 2, 5), 1, height * width // 4, 4 * channels)


def attention(m: Model, x: Value) -> Value:
    x = m.tokens(x)
    _, count, width = x.shape
    heads = 2 if width % 2 == 0 else 1
    dim = width // heads
    if m.chance(0.5):
        whole = linear(m, x, 3 * width)
        split = m.transpose(m.reshape(whole, 1, count, 3, heads, dim), 2, 0, 3, 1, 4)
        q, k, v = (m("Gather", split, m.given(np.array(i)), shape=split.shape[1:], axis=0) for i in range(3))
    else:
        q, k, v = (m.transpose(m.reshape(linear(m, x, width), 1, count, heads, dim), 0, 2, 1, 3) for _ in range(3))
    factor = 1 / math.sqrt(dim)
    if m.chance(0.3):
        q = m("Mul", q, m.given(factor))
        factor = 1.0
    scores = m("MatMul", q, m.transpose(k, 0, 1, 3, 2), shape=(1, heads, count, count))
    if factor != 1:
        scores = m("Mul", scores, m.given(factor)) if m.chance(0.5) else m("Div", scores, m.given(1 / factor))
    guard = m.chance(0.25)
    weights = m("Softmax", masked(m, scores, guard and m.chance(0.5)), axis=-1)
    if guard:
        weights = m("Where", m("IsNaN", weights), m.given(0.0), weights, shape=weights.shape)
    mixed = m.transpose(m("MatMul", weights, v, shape=(1, heads, count, dim)), 0, 2, 1, 3)
    return linear(m, m.reshape(mixed, 1, count, width), width)


def masked(m: Model, scores: Value, empty: bool) -> Value:
    """Scores (1, heads, N, N) with one of the masks that exporters write, or none; empty: causal ones leave the first
    query no key."""
    _, heads, count, _ = scores.shape
    kind = m.pick("none", "none", "positions", "causal added", "causal chosen", "input", "boolean", "lengths", "both")
    level = float(m.rng.choice(MASK_LEVELS))
    lower = np.tril(np.ones((count, count)), -1 if empty else 0)
    if kind == "positions":
        return m("Add", scores, m.real(heads, count, count))
    if kind == "causal chosen":
        if m.chance(0.5):
            return m("Where", m.given(lower > 0), scores, m.given(level), shape=scores.shape)
        return m("Where", m.given(lower == 0), m.given(level), scores, shape=scores.shape)
    if kind in ("causal added", "both"):
        scores = m("Add", scores, m.given(np.where(lower > 0, 0, level).reshape(1, 1, count, count)))
    if count != TOKENS or kind in ("none", "causal added"):
        return scores
    finite = max(level, -1e30)
    if kind == "boolean":
        bits = m("Unsqueeze", m.input("keep", TensorProto.BOOL, 1, TOKENS), m.ints(1, 2), shape=(1, 1, 1, TOKENS))
        return m("Where", bits, scores, m.given(level), shape=scores.shape)
    if kind == "lengths":
        length = m("Unsqueeze", m.input("lengths", TensorProto.INT64, 1), m.ints(1), shape=(1, 1))
        keep = m("Less", m.given(np.arange(TOKENS)[None]), length, shape=(1, TOKENS))
        keep = m("Unsqueeze", keep, m.ints(1, 2), shape=(1, 1, 1, TOKENS))
        return m("Where", keep, scores, m.given(level), shape=scores.shape)
    bits = m("Unsqueeze", m.input("mask", TensorProto.INT64, 1, TOKENS), m.ints(1, 2), shape=(1, 1, 1, TOKENS))
    number = m("Cast", bits, to=TensorProto.FLOAT)
    off = m("Sub", m.given(1.0), number, shape=number.shape)
    return m("Add", scores, m("Mul", off, m.given(finite)))


def embedded(m: Model, x: Value) -> Value:
    x = m.tokens(x)
    if x.shape[1] != TOKENS:
        return x
    ids = m.input("ids", TensorProto.INT64, 1, TOKENS)
    return m("Add", x, m("Gather", m.real(11, x.shape[2], middle=0.2), ids, axis=0, shape=x.shape))


# ---- element by element


def activation(m: Model, x: Value) -> Value:
    x = m.either(x)
    kind = m.pick("Relu", "Sigmoid", "Tanh", "HardSwish", "Erf", "gelu", "tanh gelu", "silu", "quick gelu", "relu6", "floor")
    if kind == "gelu":
        wave = m("Add", m("Erf", m("Div", x, m.given(math.sqrt(2)))), m.given(1.0))
        return m("Mul", m("Mul", x, wave), m.given(0.5))
    if kind == "tanh gelu":
        cube = m("Pow", x, m.given(3.0))
        inner = m("Mul", m("Add", x, m("Mul", cube, m.given(0.044715))), m.given(math.sqrt(2 / math.pi)))
        return m("Mul", m("Mul", m.given(0.5), x, shape=x.shape), m("Add", m("Tanh", inner), m.given(1.0)))
    if kind == "silu":
        return m("Mul", x, m("Sigmoid", x))
    if kind == "quick gelu":
        return m("Mul", x, m("Sigmoid", m("Mul", x, m.given(1.702))))
    if kind == "relu6":
        return m("Clip", x, m.given(0.0), m.given(6.0))
    if kind == "floor":
        return m("Add", m("Relu", x), m.given(float(m.rng.choice([1e-6, 1e-5, 1e-3]))))
    if kind == "HardSwish" and m.opset < 14:
        return m("Relu", x)
    return m(kind, x)


def with_constant(m: Model, x: Value) -> Value:
    """Of as many axes as x or fewer, some of them 1 long."""
    x = m.either(x)
    axes = [n if m.chance(0.6) else 1 for n in x.shape][int(m.rng.integers(0, len(x.shape))) :]
    kind = m.pick("Add", "Sub", "Mul", "Div")
    other = m.given(m.rng.uniform(0.5, 2, axes) * m.rng.choice([-1, 1], axes))
    if kind != "Div" and m.chance(0.4):
        return m(kind, other, x, shape=x.shape)
    return m(kind, x, other)


def with_itself(m: Model, x: Value) -> Value:
    x = m.either(x)
    kind = m.pick("Add", "Sub", "Mul", "gate")
    if kind == "gate":
        pooled = m.axes("ReduceMean", x, (2, 3) if len(x.shape) == 4 else (1,))
        return m("Mul", x, m("Sigmoid", pooled))
    return m(kind, x, m("Tanh", x))


def divided(m: Model, x: Value) -> Value:
    x = m.either(x)
    floor = m("Add", m("Relu", x), m.given(float(m.rng.choice([1e-5, 1e-2, 1.0]))))
    return m("Div", x, floor)


def batch_norm(m: Model, x: Value) -> Value:
    x = m.maps(x)
    size = x.shape[1]
    positive = m.given(m.rng.uniform(0.5, 2, size))
    return m("BatchNormalization", x, m.real(size, middle=1.0), m.real(size), m.real(size), positive, epsilon=1e-3)


# ---- moves and reductions


def cut(m: Model, x: Value) -> Value:
    x = m.either(x)
    axis = int(m.rng.integers(1, len(x.shape)))
    size = x.shape[axis]
    if size < 4:
        return x
    step = int(m.rng.choice([1, 1, 2]))
    start, stop = (0, size // 2) if step == 1 else (1, size)
    shape = tuple(len(range(start, stop, step)) if i == axis else n for i, n in enumerate(x.shape))
    sign = axis - len(x.shape) if m.chance(0.3) else axis
    return m("Slice", x, m.ints(start), m.ints(stop), m.ints(sign), m.ints(step), shape=shape)


def halves(m: Model, x: Value) -> Value:
    """Split and joined again in another order, or multiplied, as gated units do."""
    x = m.tokens(x)
    width = x.shape[2]
    if width % 2:
        return x
    part = (1, x.shape[1], width // 2)
    names = [f"s{len(m.nodes)}_{i}" for i in range(2)]
    m.nodes.append(helper.make_node("Split", [x.name, m.ints(width // 2, width // 2)], names, axis=-1))
    a, b = (Value(name, part) for name in names)
    if m.chance(0.5):
        return m("Mul", a, m("Sigmoid", b))
    return m("Concat", b, a, axis=2, shape=x.shape)


def joined(m: Model, x: Value) -> Value:
    x = m.either(x)
    axis = int(m.rng.integers(1, len(x.shape)))
    if m.chance(0.5):
        other: Value | str = m("Tanh", x)
        more = x.shape[axis]
    else:
        more = 1
        other = m.real(*(more if i == axis else n for i, n in enumerate(x.shape)))
    shape = tuple(n + more if i == axis else n for i, n in enumerate(x.shape))
    return m("Concat", *((x, other) if m.chance(0.5) else (other, x)), axis=axis, shape=shape)


def picked(m: Model, x: Value) -> Value:
    x = m.tokens(x)
    axis = int(m.rng.integers(1, 3))
    return m("Gather", x, m.given(m.rng.integers(0, x.shape[axis], x.shape[axis])), axis=axis)


def padded(m: Model, x: Value) -> Value:
    x = m.maps(x)
    _, channels, height, width = x.shape
    return m("Pad", x, m.ints(0, 0, 1, 0, 0, 0, 0, 1), shape=(1, channels, height + 1, width + 1))


def resized(m: Model, x: Value) -> Value:
    x = m.maps(x)
    _, channels, height, width = x.shape
    if max(height, width) > SIDE:
        return x
    mode = m.pick("nearest", "linear")
    ways = {"coordinate_transformation_mode": "asymmetric" if mode == "nearest" else m.pick("half_pixel", "align_corners")}
    if mode == "nearest":
        ways["nearest_mode"] = "floor"
    scales = m.given(np.array([1, 1, 2, 2], np.float32))
    return m("Resize", x, "", scales, shape=(1, channels, 2 * height, 2 * width), mode=mode, **ways)


def views(m: Model, x: Value) -> Value:
    x = m.tokens(x)
    _, count, width = x.shape
    kind = m.pick("split", "merge", "turn", "detour", "shuffle")
    if kind == "split" and width % 2 == 0:
        return m.reshape(x, 1, 2 * count, width // 2)
    if kind == "merge" and count % 2 == 0 and width <= 2 * CHANNELS:
        return m.reshape(x, 1, count // 2, 2 * width)
    if kind == "turn":
        return m.transpose(x, 0, 2, 1)
    if kind == "shuffle" and width % 2 == 0:
        return m.reshape(m.transpose(m.reshape(x, 1, count, 2, width // 2), 0, 1, 3, 2), 1, count, width)
    return m.reshape(m.reshape(x, count, 1, width), 1, count, width)


def means(m: Model, x: Value) -> Value:
    x = m.either(x)
    axis = int(m.rng.integers(1, len(x.shape)))
    mean = m.axes(m.pick("ReduceMean", "ReduceSum"), x, (axis - len(x.shape) if m.chance(0.5) else axis,))
    return m(m.pick("Sub", "Add"), x, mean)


def pooled(m: Model, x: Value) -> Value:
    x = m.maps(x)
    return m("Add", x, m("GlobalAveragePool", x, shape=(1, x.shape[1], 1, 1)))


def softmax(m: Model, x: Value) -> Value:
    x = m.either(x)
    return m("Softmax", x, axis=int(m.rng.integers(1, len(x.shape))))


def residual(m: Model, x: Value) -> Value:
    x = m.tokens(x)
    width = x.shape[2]
    branch = linear(m, activation(m, linear(m, NORMS[m.pick("layer norm", "rms norm")](m, x), 12)), width)
    return m(m.pick("Add", "Sub"), x, branch)


# ---- norms


def _width(m: Model, width: int) -> tuple[str, str]:
    return m.real(width, middle=1.0), m.real(width) if m.chance(0.6) else m.given(np.zeros(width))


def layer_norm(m: Model, x: Value) -> Value:
    x = m.tokens(x)
    gamma, beta = _width(m, x.shape[2])
    if m.opset < 17 or m.chance(0.3):
        return m("Add", m("Mul", _by_hand(m, x, (-1,)), gamma), beta)
    return m("LayerNormalization", x, gamma, *([beta] if m.chance(0.8) else []), axis=-1, epsilon=1e-5)


def layer_norm_of_maps(m: Model, x: Value) -> Value:
    last = m.transpose(m.maps(x), 0, 2, 3, 1)
    if m.opset >= 17:
        done = m("LayerNormalization", last, *_width(m, last.shape[3]), axis=-1, epsilon=1e-6)
    else:
        done = m("Mul", _by_hand(m, last, (-1,)), _width(m, last.shape[3])[0])
    return m.transpose(done, 0, 3, 1, 2)


def norm_of_maps(m: Model, x: Value) -> Value:
    """By hand over channels, pixels or all of a map."""
    x = m.maps(x)
    axes = ((1,), (2, 3), (1, 2, 3))[m.rng.integers(3)]
    channels = x.shape[1]
    return m("Add", m("Mul", _by_hand(m, x, axes), m.real(channels, 1, 1, middle=1.0)), m.real(channels, 1, 1))


def _by_hand(m: Model, x: Value, axes: tuple[int, ...]) -> Value:
    centred = m("Sub", x, m.axes("ReduceMean", x, axes))
    square = m("Pow", centred, m.given(2.0)) if m.chance(0.5) else m("Mul", centred, centred)
    variance = m.axes("ReduceMean", square, axes)
    return m("Div", centred, m("Sqrt", m("Add", variance, m.given(1e-5))))


def rms_norm(m: Model, x: Value) -> Value:
    x = m.tokens(x)
    mean = m.axes("ReduceMean", m("Pow", x, m.given(2.0)), (-1,))
    root = m("Sqrt", m("Add", mean, m.given(1e-6)))
    done = m("Mul", x, m("Reciprocal", root)) if m.chance(0.5) else m("Div", x, root)
    return m("Mul", m.real(x.shape[2], middle=1.0), done, shape=x.shape)


NORMS: dict[str, Step] = {
    "layer norm": layer_norm,
    "layer norm of maps": layer_norm_of_maps,
    "norm of maps": norm_of_maps,
    "rms norm": rms_norm,
}
STEPS: dict[str, Step] = {
    step.__name__: step
    for step in (
        linear,
        convolution,
        convolution,
        transposed_convolution,
        patches,
        merged_patches,
        attention,
        embedded,
        activation,
        with_constant,
        with_itself,
        divided,
        batch_norm,
        cut,
        halves,
        joined,
        picked,
        padded,
        resized,
        views,
        means,
        pooled,
        softmax,
        residual,
    )
}
FLOAT_ONLY = {"norm of maps", "divided", "batch_norm"}  # no integer form
SMALLEST, LARGEST = 3, 9


def finished(seed: int) -> tuple[Model, onnx.ModelProto]:
    """A random model, and its proto."""
    m = Model(seed)
    pool = [linear(m, Value("x", (1, TOKENS, CHANNELS)))]
    used = FLOAT_ONLY if m.chance(0.6) else set()
    for _ in range(int(m.rng.integers(SMALLEST, LARGEST + 1))):
        kinds = NORMS if m.chance(0.3) else STEPS
        choices = [kind for kind in kinds if kind not in used]
        kind = m.pick(*choices)
        used = used | ({kind} & {"attention", "embedded"})  # their inputs have names
        made = kinds[kind](m, pool[int(len(pool) * m.rng.random() ** 0.25)])
        others = [v for v in pool if v.shape == made.shape and v is not made]
        if others and m.chance(0.4):
            made = m("Add", made, others[m.rng.integers(len(others))])
        if math.prod(made.shape) <= 3000:
            pool.append(made)
    last = pool[-1] if m.chance(0.3) else linear(m, pool[-1])
    last = last if m.nodes and last.name == f"v{len(m.nodes) - 1}" else m("Identity", last)
    more = [pool[-2]] if len(pool) > 2 and m.chance(0.15) and pool[-2].name not in ("x", last.name) else []
    return m, m.proto(last, *more)
