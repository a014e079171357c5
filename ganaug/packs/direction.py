"""One direction of a pack, and what may be said of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ganaug.errors import PackError

Range = tuple[float, float]

DEFAULT_RANGE: Range = (-6.0, 6.0)
NOWHERE: Range = (0.0, 0.0)
"""The safe range of a direction that was measured and keeps the label at no magnitude."""


@dataclass(eq=False)
class Direction:
    """A direction in latent space, with what is known of it.

    Attributes:
        index: its row in the pack's ``directions``.
        vector: ``(latent_dim,)`` float32, of unit length.
        name: what a person called it, or None.
        range: the magnitudes it was trained or looked at over, in latent units.
        safe_range: the magnitudes over which a held-out judge keeps reading the agreed share of what it reads
            unshifted; None while nobody has measured, ``(0.0, 0.0)`` where the label is kept nowhere.
        scores: figures measured along it.
    """

    index: int
    vector: Tensor
    name: str | None = None
    range: Range = DEFAULT_RANGE
    safe_range: Range | None = None
    scores: dict[str, float] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """``"17 background"``, or ``"17"`` where there is no name."""
        return str(self.index) if self.name is None else f"{self.index} {self.name}"

    @property
    def is_usable(self) -> bool:
        """Whether some magnitude may keep the label: there is a safe range, or nobody has measured one."""
        return self.safe_range != NOWHERE

    @property
    def reach(self) -> Range:
        """The safe range where it was measured, else the range the direction was trained over.

        Raises:
            PackError: the direction was measured and keeps the label nowhere.
        """
        if not self.is_usable:
            raise PackError(
                f"direction {self.name or self.index!r} changes the label at every magnitude that was measured. Give a "
                "magnitude yourself, or take another direction: pack.usable() lists those that keep the label."
            )
        return self.safe_range or self.range


def checked_directions(directions: Tensor) -> Tensor:
    """The directions on the CPU; ``PackError`` unless they are unit rows ``(K, latent_dim)`` of finite float32."""
    if directions.ndim != 2 or directions.dtype != torch.float32 or 0 in directions.shape:
        raise PackError(
            f"directions should be float32 of shape (K, latent_dim), got {directions.dtype} {tuple(directions.shape)}."
        )
    lengths = directions.norm(dim=1)
    if not torch.isfinite(lengths).all() or (lengths - 1).abs().max() > 1e-3:
        worst = int((lengths - 1).abs().nan_to_num(math.inf).argmax())
        raise PackError(f"directions should be unit rows; row {worst} has length {lengths[worst].item():.4g}.")
    return directions.detach().cpu().contiguous()


def checked_name(name: Any) -> str:
    """``PackError`` unless ``name`` can be a direction's."""
    is_plain = isinstance(name, str) and name.isprintable() and 1 <= len(name) <= 80 and name == name.strip()
    if not is_plain or name == "any" or name.isdecimal():
        raise PackError(
            f'a direction\'s name is 1 to 80 printable characters, not "any" (which means every direction) and not '
            f"a number (which is an index); got {name!r:.100}."
        )
    return str(name)


def checked_names(names: Mapping[Any, Any], count: int) -> dict[int, str]:
    """Names by index; ``PackError`` for what can't be a name, an index that is none, and two names of one direction."""
    named: dict[int, str] = {}
    for name, index in names.items():
        checked_name(name)
        if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < count:
            raise PackError(f"the name {name!r} should point to a direction from 0 to {count - 1}, got {index!r:.100}.")
        if index in named:
            raise PackError(
                f"one direction has one name, but {named[index]!r} and {name!r} point to direction {index}: keep one."
            )
        named[index] = name
    return named


def checked_ranges(ranges: Sequence[Any], count: int) -> list[Range]:
    """One range for each of ``count`` directions, or ``PackError``."""
    if len(ranges) != count:
        raise PackError(f"there should be one range for each of the {count} directions, got {len(ranges)}.")
    return [checked_range(interval, index) for index, interval in enumerate(ranges)]


def checked_safe_ranges(ranges: Sequence[Any], count: int) -> list[Range | None]:
    """As :func:`checked_ranges`; None is not measured, ``(0, 0)`` a direction that keeps the label nowhere."""
    if len(ranges) != count:
        raise PackError(
            f"there should be one safe range (or null) for each of the {count} directions, got {len(ranges)}."
        )
    return [checked_safe_range(interval, index) for index, interval in enumerate(ranges)]


def checked_safe_range(interval: Any, index: int) -> Range | None:
    """One entry of :func:`checked_safe_ranges`."""
    if interval is None:
        return None
    if isinstance(interval, (list, tuple)) and tuple(interval) == NOWHERE:
        return NOWHERE
    return checked_range(interval, index)


def checked_range(interval: Any, index: int) -> Range:
    """Two finite numbers around 0, as floats; ``PackError`` that names the direction otherwise."""
    numbers = list(interval) if isinstance(interval, (list, tuple)) else []
    if len(numbers) != 2 or not all(
        isinstance(n, (int, float)) and not isinstance(n, bool) and abs(n) < 1e6 for n in numbers
    ):
        raise PackError(
            f"the range of direction {index} should be two finite numbers [low, high], got {interval!r:.100}."
        )
    if not numbers[0] <= 0 <= numbers[1] or numbers[0] == numbers[1]:
        raise PackError(f"the range of direction {index} should be an interval around 0, got {numbers}.")
    return float(numbers[0]), float(numbers[1])
