"""The settings of a training run: everything but the data and the module."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Recipe:
    """epochs over the data in batches; rate: the highest learning rate, reached after warmup_epochs, then half a cosine
    down to a hundredth of it.

    weight_decay acts on matrices alone; clip bounds the norm of all gradients together (0: no bound); ema averages the
    weights over steps with this factor (0: off). steps_max ends training, schedule included, after as many steps.
    """

    epochs: int
    batch: int
    rate: float
    warmup_epochs: float = 0.5
    weight_decay: float = 0.05
    clip: float = 1.0
    ema: float = 0.0
    seed: int = 0
    steps_max: int | None = None

    def __post_init__(self) -> None:
        if min(self.epochs, self.batch) < 1 or not self.rate > 0:
            raise ValueError(f"{self.epochs} epochs of batches of {self.batch} at rate {self.rate}")
        if not 0 <= self.ema < 1 or self.clip < 0 or self.weight_decay < 0 or self.warmup_epochs < 0 or self.seed < 0:
            raise ValueError(f"a negative setting, or an average that never moves: {self}")
        if self.steps_max is not None and self.steps_max < 1:
            raise ValueError(f"steps_max {self.steps_max} is less than 1")

    @classmethod
    def of_steps(cls, steps: int, samples: int, batch: int, rate: float, **settings: Any) -> Recipe:
        """Return the recipe of so many steps over so many samples; warmup_epochs and the rest as fields."""
        return cls(-(-steps // max(1, samples // batch)), min(batch, samples), rate, steps_max=steps, **settings)

    def steps_per_epoch(self, samples: int) -> int:
        """Return whole batches in so many samples; one smaller batch where there are too few for one."""
        return max(1, samples // self.batch)

    def steps(self, samples: int) -> int:
        """Steps of the whole run."""
        steps = self.epochs * self.steps_per_epoch(samples)
        return steps if self.steps_max is None else min(steps, self.steps_max)

    def rate_at(self, step: int, samples: int) -> float:
        """Return the learning rate of a step, as a share of `rate`."""
        steps = self.steps(samples)
        warmup = min(round(self.warmup_epochs * self.steps_per_epoch(samples)), steps // 2)
        if step < warmup:
            return (step + 1) / warmup
        progress = (step - warmup) / max(1, steps - warmup)
        return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress))
