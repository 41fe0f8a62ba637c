"""Hash functions learned from calibration samples: kernelised, supervised by the model's own attention, bit by bit.

Source: EcoFormer (arXiv 2209.09004), section 3.2, on Supervised Hashing with Kernels (Liu et al., CVPR 2012), sections 3.2
and 3.3. Arrays are numpy's; everything drawn comes from the seed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from edgewright.passes.ir import Array
from edgewright.passes.ops.hashing import NORM_FLOOR
from edgewright.passes.ops.numeric import float32

TOKENS = 256  # of a sample, at most: pairs of them are compared
STEPS = 60  # of gradient descent for each bit
STEP = 0.03  # its first moves, in mean magnitudes of the coefficients
PAIRS = 10  # most and least similar tokens of each, where similarity comes from directions
MARGIN = 1.0  # root mean square of what bits are the signs of: gradients pass where it is below 1


@dataclass(frozen=True, slots=True, eq=False)
class HashFunctions:
    """Of one layer, as the operands of HashCodes."""

    anchors: Array
    coefficients: Array
    threshold: Array
    sigma: float


def learn_hashing(
    u: Array, scores: tuple[Array, Array] | None, heads: int, bits: int, supports: int, seed: int
) -> HashFunctions:
    """Hash functions of u (samples, tokens, H dk).

    scores: queries and keys whose products, centred for each query, are the similarities that codes have to have; None:
    +1 for the ten nearest directions of u, -1 for the ten farthest, as the released code has it.
    ValueError when there are fewer tokens than supports.
    """
    samples, tokens, _ = u.shape
    if samples * tokens < supports:
        raise ValueError(f"{samples * tokens} tokens for {supports} supports")
    rng = np.random.default_rng(seed)
    directions = _directions(u, heads)
    anchors = _anchors(directions, supports, rng)
    distances = np.stack([_distances(x, a) for x, a in zip(directions, anchors, strict=True)])
    sigma = max(float(distances.mean()), 1e-6)
    chosen = rng.permutation(tokens)[:TOKENS]
    if scores is None:
        pairs = [_extremes(x @ x.swapaxes(1, 2)) for x in directions[:, :, chosen]]
    else:
        q, k = (_by_head(x[:, chosen], heads) for x in scores)
        pairs = [_centred(a @ b.swapaxes(1, 2)) for a, b in zip(q, k, strict=True)]
    kernels = np.exp(distances / (-2 * sigma))
    centres = kernels.mean(axis=(1, 2))
    by_head = zip(kernels, centres, pairs, strict=True)
    coefficients = np.stack([_bits((kernel - centre)[:, chosen], similar, bits) for kernel, centre, similar in by_head])
    threshold = np.einsum("hrm,hm->hr", coefficients, centres)
    return HashFunctions(float32(anchors), float32(coefficients), float32(threshold), sigma)


def _by_head(x: Array, heads: int) -> Array:
    """Rearrange (samples, tokens, H d) to (H, samples, tokens, d)."""
    split = np.asarray(x, np.float64).reshape(*x.shape[:2], heads, -1)
    return np.ascontiguousarray(split.transpose(2, 0, 1, 3))


def _directions(u: Array, heads: int) -> Array:
    split = _by_head(u, heads)
    return np.asarray(split / np.sqrt(np.square(split).sum(axis=-1, keepdims=True) + NORM_FLOOR))


def _anchors(directions: Array, supports: int, rng: np.random.Generator) -> Array:
    """Return random tokens of the first sample, and of as many more as it takes."""
    heads, _, tokens, width = directions.shape
    among = -(-supports // tokens) * tokens
    picked = rng.permutation(among)[:supports]
    return directions.reshape(heads, -1, width)[:, picked]


def _distances(x: Array, anchors: Array) -> Array:
    squares = np.square(x).sum(axis=-1, keepdims=True) + np.square(anchors).sum(axis=-1)
    return np.asarray(np.maximum(squares - 2 * (x @ anchors.T), 0))


def _extremes(products: Array) -> Array:
    """+1 at the largest of each row, -1 at the smallest, 0 elsewhere."""
    count = max(1, min(PAIRS, products.shape[-1] // 2))
    order = np.argsort(products, axis=-1, kind="stable")
    signs = np.zeros_like(products)
    np.put_along_axis(signs, order[..., :count], -1.0, -1)
    np.put_along_axis(signs, order[..., -count:], 1.0, -1)
    return (signs + signs.swapaxes(-1, -2)) / 2


def _centred(products: Array) -> Array:
    """Return scores less their mean for each query, which a softmax does not see; symmetric, and clipped at two
    deviations."""
    centred = products - products.mean(axis=-1, keepdims=True)
    symmetric = (centred + centred.swapaxes(-1, -2)) / 2
    return np.asarray(np.clip(symmetric / max(2 * float(symmetric.std()), 1e-12), -1.0, 1.0))


def _bits(kernel: Array, similar: Array, bits: int) -> Array:
    """Coefficients (bits, m) that make |B B^T - bits similar|^2 small, one bit after the other, B the signs of
    kernel (samples, tokens, m) times them."""
    supports = kernel.shape[-1]
    flat = kernel.reshape(-1, supports)
    spread = flat.T @ flat / len(flat)
    root = np.linalg.inv(np.linalg.cholesky(spread + 1e-6 * max(np.trace(spread), 1e-12) / supports * np.eye(supports)))
    rest = bits * similar
    coefficients = np.zeros((bits, supports))
    for bit in range(bits):
        pulled = (kernel.swapaxes(1, 2) @ (rest @ kernel)).sum(axis=0)
        _, vectors = np.linalg.eigh(root @ pulled @ root.T)
        start = _upright(root.T @ vectors[:, -1])  # what the signs relaxed to reals would take
        best = _descend(kernel, rest, start)
        coefficients[bit] = best * (MARGIN / max(float(np.sqrt(np.square(flat @ best).mean())), 1e-12))
        signs = _signs(kernel, best)
        rest = rest - signs[:, :, None] * signs[:, None, :]
    return coefficients


def _upright(vector: Array) -> Array:
    """Return eigenvectors with a fixed sign: the largest entry of each becomes positive."""
    return np.asarray(vector * np.sign(vector[np.argmax(np.abs(vector))] or 1.0))


def _signs(kernel: Array, a: Array) -> Array:
    return np.where(kernel @ a >= 0, 1.0, -1.0)


def _value(rest: Array, y: Array) -> float:
    return float(np.einsum("st,stu,su->", y, rest, y, optimize=True))


def _descend(kernel: Array, rest: Array, start: Array) -> Array:
    """Return the best signs seen while y' rest y grows, y = 2 sigmoid(kernel a) - 1, from a start of margins around 1."""
    a = start.copy()
    best, most = start, _value(rest, _signs(kernel, start))
    first, second = np.zeros_like(a), np.zeros_like(a)
    size = float(np.abs(start).mean())
    for step in range(1, STEPS + 1):
        y = np.tanh(kernel @ a / 2)
        toward = (rest @ y[..., None])[..., 0] * (1 - y * y)
        slope = np.einsum("st,stm->m", toward, kernel)
        first, second = 0.9 * first + 0.1 * slope, 0.99 * second + 0.01 * slope * slope
        a += STEP * size * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.99**step)) + 1e-30)
        if step % 10 == 0:
            value = _value(rest, _signs(kernel, a))
            if value > most:
                best, most = a.copy(), value
    return best


def shared_projection(x: Array, query: tuple[Array, Array], key: tuple[Array, Array], heads: int) -> tuple[Array, Array]:
    """Return (weight (H dk, in), bias) of u with u_i u_j near the symmetric part of the scores (Wq x_i + bq) (Wk x_j + bk).

    Least squares over the inputs x (..., in): the dk largest positive eigenvalues of that part for each head, in the
    metric of the second moments of x and 1.
    """
    flat = np.asarray(x, np.float64).reshape(-1, x.shape[-1])
    moments = np.ones((flat.shape[1] + 1, flat.shape[1] + 1))
    moments[:-1, :-1] = flat.T @ flat / len(flat)
    moments[:-1, -1] = moments[-1, :-1] = flat.mean(axis=0)
    values, axes = np.linalg.eigh(moments)
    values = np.maximum(values, 1e-9 * float(values[-1]))
    root, inverse = (axes * np.sqrt(values)) @ axes.T, (axes / np.sqrt(values)) @ axes.T
    wq, wk = (_affine(*part).reshape(heads, -1, flat.shape[1] + 1) for part in (query, key))
    by_head = []
    for a, b in zip(wq, wk, strict=True):
        form = root @ (a.T @ b + b.T @ a) @ root / 2
        strength, directions = np.linalg.eigh(form)
        lengths = np.sqrt(np.maximum(strength[-len(a) :], 0.0))
        by_head.append(np.array([s * _upright(v) for s, v in zip(lengths, directions[:, -len(a) :].T, strict=True)]) @ inverse)
    whole = np.concatenate(by_head).astype(np.float32)
    return whole[:, :-1], whole[:, -1]


def _affine(weight: Array, bias: Array) -> Array:
    return np.concatenate([np.asarray(weight, np.float64), np.asarray(bias, np.float64)[:, None]], axis=1)
