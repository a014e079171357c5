"""Which direction and how far."""

from __future__ import annotations

import math
import numbers
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ganaug.errors import TransformError, listed
from ganaug.packs import DirectionPack
from ganaug.settings import FARTHEST

SLACK = 1e-4
"""Of ranges that were rounded on their way through float32."""

BLENDS = ("add", "replace")


Magnitude = str | float | tuple[float, float]


class Choice:
    """Directions to draw from, how many for each image, their weights, and the interval of magnitudes of each."""

    def __init__(
        self,
        pack: DirectionPack,
        direction: str | int | Sequence[str | int],
        *,
        num_ops: int = 1,
        weights: Sequence[float] | None = None,
        magnitude: Magnitude = "safe",
    ) -> None:
        self.pack = pack
        self.indices = torch.tensor(_indices(pack, direction), device="cpu")
        _warn_of_magnitudes(pack, self.indices.tolist(), direction, magnitude)
        intervals = [_interval(pack, int(index), magnitude) for index in self.indices]
        self.low_high = torch.tensor(intervals, device="cpu", dtype=torch.float32)
        self.weights = None if weights is None else _weights(weights, len(self.indices))
        self.num_ops = _checked_num_ops(
            num_ops, self.indices if self.weights is None else self.indices[self.weights > 0]
        )

    def draw(self, count: int, *, rng: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Indices of directions, and magnitudes uniform over each one's interval.

        Both ``(count,)``; ``(count, num_ops)`` for more than one, all different within a row.
        """
        if self.num_ops > 1:
            weights = torch.ones_like(self.low_high[:, 0]) if self.weights is None else self.weights
            chosen = torch.multinomial(weights.expand(max(count, 1), -1), self.num_ops, generator=rng)[:count]
        elif len(self.indices) == 1:
            chosen = torch.zeros(count, device="cpu", dtype=torch.int64)
        elif self.weights is None:
            chosen = torch.randint(len(self.indices), (count,), generator=rng, device="cpu")
        else:
            chosen = torch.multinomial(self.weights, max(count, 1), replacement=True, generator=rng)[:count]
        low, high = self.low_high[chosen].unbind(-1)
        share = torch.rand(chosen.shape, generator=rng, device="cpu", dtype=torch.float32)
        return self.indices[chosen], low + (high - low) * share


def check_probability(p: Any) -> float:
    """``p`` as a float; ``TransformError`` if it is no probability."""
    if isinstance(p, bool) or not isinstance(p, numbers.Real) or not 0 <= float(p) <= 1:
        raise TransformError(f"p is a probability and should be in [0, 1], got {p!r}.")
    return float(p)


def _indices(pack: DirectionPack, direction: str | int | Sequence[str | int]) -> list[int]:
    if isinstance(direction, str) and direction == "any":
        usable = pack.usable()
        if not usable:
            raise TransformError(f"no direction of pack {pack.name!r} keeps the label at any measured magnitude.")
        return [each.index for each in usable]
    if isinstance(direction, (str, numbers.Integral)):
        return [pack.index(direction)]
    if not isinstance(direction, Sequence) or not direction:
        raise TransformError(
            f'direction should be a name, an index, a non-empty list of them, or "any"; got {direction!r}.'
        )
    indices = [pack.index(one) for one in direction]
    if twice := [str(one) for one, index in zip(direction, indices, strict=True) if indices.count(index) > 1]:
        raise TransformError(
            f"direction lists one direction more than once: {', '.join(map(repr, twice))}. List each once; "
            "weights=[...] draw one more often."
        )
    return indices


def _checked_num_ops(num_ops: int, indices: Tensor) -> int:
    most = len(indices.unique())
    if isinstance(num_ops, bool) or not isinstance(num_ops, numbers.Integral) or not 1 <= num_ops <= most:
        raise TransformError(
            "num_ops is how many different directions shift each image: a whole number from 1 to the number of "
            f"directions that are drawn from ({most} here), got {num_ops!r}."
        )
    return int(num_ops)


def _weights(weights: Sequence[float], count: int) -> Tensor:
    if len(weights) != count or not all(_is_finite(w) and w >= 0 for w in weights) or not sum(weights) > 0:
        raise TransformError(
            f"weights should be {count} numbers, one for each direction, none negative and not all zero; "
            f"got {weights!r}."
        )
    shares = torch.tensor(
        [float(weight) / float(max(weights)) for weight in weights], device="cpu", dtype=torch.float64
    )
    return shares.float()


def _interval(pack: DirectionPack, index: int, magnitude: Magnitude) -> tuple[float, float]:
    if isinstance(magnitude, str):
        if magnitude == "safe":
            return pack[index].reach
    else:
        bounds = magnitude if isinstance(magnitude, (tuple, list)) else (magnitude, magnitude)
        if len(bounds) == 2 and all(map(_is_finite, bounds)) and -FARTHEST <= bounds[0] <= bounds[1] <= FARTHEST:
            return float(bounds[0]), float(bounds[1])
    raise TransformError(
        f'magnitude should be "safe", a number, or (low, high) with low <= high, within {-FARTHEST:g} to {FARTHEST:g}; '
        f"got {magnitude!r:.80}."
    )


def _warn_of_magnitudes(pack: DirectionPack, indices: list[int], direction: Any, magnitude: Magnitude) -> None:
    """Warn where "safe" or "any" would mean what nobody has measured, or magnitudes go beyond a direction's range."""
    if not pack.is_measured and (magnitude == "safe" or direction == "any"):
        asked = " and ".join(name for name, given in (("any", direction), ("safe", magnitude)) if given == name)
        warnings.warn(
            f"nobody has measured the safe ranges of pack {pack.name!r}, so {asked!r} promises nothing about labels: "
            "all directions count, over all of their ranges. Measure: ganaug evaluate PACK --images IMAGES "
            "--measure-ranges --write.",
            stacklevel=5,  # the line that made the transform
        )
    beyond = []
    for index in indices:
        (low, high), (least, most) = _interval(pack, index, magnitude), pack[index].range
        if low < least - SLACK or high > most + SLACK:
            beyond.append(f"{pack[index].label} ({least:g} to {most:g})")
    if beyond:
        warnings.warn(
            f"magnitude={magnitude!r} goes beyond the ranges that these directions of pack {pack.name!r} were found "
            f"over: {listed(beyond)}. Images there may be no images.",
            stacklevel=5,  # the line that made the transform
        )


def _is_finite(value: Any) -> bool:
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond all floats
        return False
