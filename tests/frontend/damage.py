"""Files as accidents and strangers leave them: bytes and structure changed at random, from a seed."""

from __future__ import annotations

import copy
import io
import json
import random
from typing import Any

import numpy as np

ODD: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    1,
    -1,
    3,
    2**31,
    2**63,
    -(2**63),
    10**30,
    10**4000,
    0.5,
    -0.0,
    1e308,
    "",
    "x",
    "\0",
    "../x",
    "/etc",
    "é\u202e",
    [],
    {},
    [[]],
    [0] * 1000,
    {"": 0},
    {"a": {"b": None}},
)


def bytes_changed(content: bytes, seed: int) -> bytes:
    """Cut short, overwritten, filled up, or something else altogether."""
    draw = random.Random(seed)
    at = draw.randrange(len(content) + 1)
    several = bytes(draw.randrange(256) for _ in range(draw.randint(1, 8)))
    choices = (
        content[:at],
        content[:at] + several + content[at + len(several) :],
        content[:at] + several + content[at:],
        content[:at] + content[at + 1 :],
        b"",
        b"\0" * len(content),
        b"\xff\xfe" + content,
        b"[" * 100_000,
        b"null",
        b"{}",
        b'{"a":' * 50_000,
        content * 2,
        several,
    )
    return draw.choice([one for one in choices if one != content])


def structure_changed(value: Any, seed: int) -> Any:
    """A copy of JSON's own types in which one place holds something odd, is gone, or is there twice."""
    draw = random.Random(seed)
    changed = {"": copy.deepcopy(value)}
    where: list[tuple[Any, Any]] = []
    stack: list[Any] = [changed]
    while stack:
        one = stack.pop()
        keys = list(one) if isinstance(one, dict) else list(range(min(len(one), 12)))
        for key in keys:
            where.append((one, key))
            if isinstance(one[key], (dict, list)):
                stack.append(one[key])
    holder, key = draw.choice(where)
    act = draw.randrange(8)
    if act == 0 and holder is not changed:
        del holder[key]
    elif act == 1 and isinstance(holder, dict) and holder is not changed:
        holder[f"{key}?"] = holder[key]
    elif act == 2 and isinstance(holder[key], (int, float)) and not isinstance(holder[key], bool):
        holder[key] += draw.choice((-1, 1))
    elif act == 3 and isinstance(holder, list):
        holder.insert(key, copy.deepcopy(holder[key]))
    else:
        holder[key] = draw.choice(ODD)
    return changed[""]


def json_changed(content: bytes, seed: int) -> bytes:
    """As `structure_changed`, of a JSON file."""
    return json.dumps(structure_changed(json.loads(content), seed)).encode()


def checkpoint_changed(content: bytes, seed: int) -> bytes:
    """As `structure_changed`, of the structure in a checkpoint, or one of its arrays; the archive itself stays right."""
    draw = random.Random(seed)
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        arrays = dict(archive)
    name = draw.choice(sorted(arrays))
    if name == "structure" or draw.random() < 0.7:
        text = json_changed(arrays["structure"].tobytes(), seed)
        arrays["structure"] = np.frombuffer(text, np.uint8)
    else:
        value = arrays[name]
        changes = (value[:0], value[..., None], value.astype(np.float64), value.astype("U8"), np.full_like(value, 127), None)
        change = draw.choice(changes)
        if change is None:
            del arrays[name]
        else:
            arrays[name] = change
    kept = io.BytesIO()
    np.savez(kept, **arrays)
    return kept.getvalue()
