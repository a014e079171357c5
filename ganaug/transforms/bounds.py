"""Bounds of values that came from outside, read back from a device all at once."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ganaug.errors import TransformError
from ganaug.images import OVERSHOOT, check_kind

Refuse = Callable[[float, float], None]


class Bounds:
    """Checks that values lie within bounds.

    On the CPU a check is made where it is asked for. Values elsewhere are waited for once, by :meth:`settle`, however
    many checks were asked for; until then they should not be used where a wrong one does harm, as an index does.
    """

    def __init__(self) -> None:
        self._open: list[tuple[Tensor, float, float, Refuse]] = []

    def check(self, values: Tensor, least: float, most: float, refuse: Refuse) -> None:
        """Call ``refuse(low, high)``, which raises, unless all values lie in ``[least, most]``; NaN lies in none."""
        if not values.numel():
            return
        low, high = torch.aminmax(values.detach())
        if values.is_cpu:
            _check(low.item(), high.item(), least, most, refuse)
        else:
            self._open.append((torch.stack([low, high]).float(), least, most, refuse))

    def settle(self) -> None:
        """Make the checks that are still open."""
        still_open, self._open = self._open, []
        if still_open:
            found = torch.stack([bounds.to(still_open[0][0].device) for bounds, *_ in still_open]).tolist()
            for (low, high), (_, least, most, refuse) in zip(found, still_open, strict=True):
                _check(low, high, least, most, refuse)


def _check(low: float, high: float, least: float, most: float, refuse: Refuse) -> None:
    if not (least <= low and high <= most):
        refuse(low, high)


def check_images(images: Tensor, bounds: Bounds) -> None:
    """``TransformError``, at the latest when ``bounds`` are settled, unless images are uint8, or float in [0, 1] up to
    rounding."""
    check_kind(images)
    if images.dtype != torch.uint8:
        slack = OVERSHOOT[images.dtype]
        bounds.check(images, -slack, 1 + slack, _refuse_images)


def _refuse_images(low: float, high: float) -> None:
    raise TransformError(
        f"float images should be in [0, 1], got values from {low:.4g} to {high:.4g}. Place the transform before "
        "v2.Normalize; after a resampling or noise that overshoots, clamp them to [0, 1]."
    )
