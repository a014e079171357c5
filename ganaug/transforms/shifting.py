"""What LatentShift and its kornia twin share: which direction and how far, and the images that come of it."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ganaug.directions import DirectionPack, invert
from ganaug.errors import UserError

BLENDS = ("add", "replace")
OVERSHOOT = {torch.float16: 1e-2, torch.bfloat16: 1e-2}
"""How far resampling may overshoot [0, 1] by rounding; 1e-3 for other types."""
Magnitude = str | float | tuple[float, float]


class TransformError(UserError, ValueError):
    """Arguments or inputs that a transform can't take; the message says what came and what was expected."""


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
        self.indices = torch.tensor(_indices(pack, direction))
        self.low_high = torch.tensor([_interval(pack, int(index), magnitude) for index in self.indices])
        self.weights = None if weights is None else _weights(weights, len(self.indices))
        self.num_ops = _checked_num_ops(
            num_ops, self.indices if self.weights is None else self.indices[self.weights > 0]
        )

    def draw(self, count: int, *, rng: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Indices of directions, and magnitudes uniform over each one's interval.

        Both ``(count,)``; ``(count, num_ops)`` for more than one, all different within a row.
        """
        if self.num_ops > 1:
            weights = torch.ones(len(self.indices)) if self.weights is None else self.weights
            chosen = torch.multinomial(weights.expand(max(count, 1), -1), self.num_ops, generator=rng)[:count]
        elif len(self.indices) == 1:
            chosen = torch.zeros(count, dtype=torch.int64)
        elif self.weights is None:
            chosen = torch.randint(len(self.indices), (count,), generator=rng)
        else:
            chosen = torch.multinomial(self.weights, max(count, 1), replacement=True, generator=rng)[:count]
        low, high = self.low_high[chosen].unbind(-1)
        return self.indices[chosen], low + (high - low) * torch.rand(chosen.shape, generator=rng)

    def offsets(self, indices: Tensor, magnitudes: Tensor) -> Tensor:
        """What is added to latents, ``(count, latent_dim)``: the sum of each row that :meth:`draw` gave."""
        shifts = magnitudes[..., None] * self.pack.directions[indices]
        return shifts if indices.ndim == 1 else shifts.sum(1)


def check_probability(p: Any) -> float:
    """``p`` as a float; ``TransformError`` if it is no probability."""
    if isinstance(p, bool) or not isinstance(p, numbers.Real) or not 0 <= float(p) <= 1:
        raise TransformError(f"p is a probability and should be in [0, 1], got {p!r}.")
    return float(p)


def check_unit_range(images: Tensor) -> None:
    """``TransformError`` unless images are uint8, or float with values in [0, 1] up to rounding."""
    if images.dtype == torch.uint8:
        return
    if not images.is_floating_point():
        raise TransformError(f"images should be uint8 in [0, 255] or float in [0, 1], got {images.dtype}.")
    low, high = (bound.item() for bound in torch.aminmax(images.detach())) if images.numel() else (0.0, 0.0)
    slack = OVERSHOOT.get(images.dtype, 1e-3)
    if not (low >= -slack and high <= 1 + slack):
        raise TransformError(
            f"float images should be in [0, 1], got values from {low:.4g} to {high:.4g}. Place the transform before "
            "v2.Normalize; after a resampling or noise that overshoots, clamp them to [0, 1]."
        )


@torch.no_grad()
def sampled(
    pack: DirectionPack, latents: Tensor, offsets: Tensor, labels: Tensor, size: Sequence[int], device: torch.device
) -> Tensor:
    """G(z + offset, y) as float images ``(M, C, *size)`` in [0, 1]."""
    generator, _ = pack.networks(device)
    drawn = generator((latents + offsets).to(device), labels)
    return resized(((drawn.float() + 1) / 2).clamp(0, 1), size)


def inverted(
    pack: DirectionPack, images: Tensor, offsets: Tensor, labels: Tensor | None, latents: Tensor | None, *, blend: str
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Real images with the change that an offset of their latents makes, those latents, and the classes drawn.

    Args:
        images: ``(M, C, H, W)`` float32 in [0, 1].
        offsets: ``(M, latent_dim)``.
        labels: ``(M,)`` or None for the encoder to read.
        latents: ``(M, latent_dim)`` where they are known already, or None for the encoder to find.
        blend: ``"add"`` adds the change G(z + offset) - G(z) to the image; ``"replace"`` returns G(z + offset).
    """
    generator, _ = pack.networks(images.device)
    with torch.no_grad():
        if latents is None or (labels is None and generator.num_classes):
            seen = resized(images.detach(), (generator.image_size, generator.image_size)) * 2 - 1
            found, labels = invert(pack, seen, labels if generator.num_classes else None)
            latents = found if latents is None else latents
        latents = latents.to(images.device, torch.float32)
        labels = labels if generator.num_classes else None
        shifted = latents + offsets.to(images.device)
        if blend == "replace":
            drawn = (generator(shifted, labels).float() + 1) / 2
            return resized(drawn.clamp(0, 1), images.shape[-2:]), latents, labels
        both = None if labels is None else torch.cat([labels, labels])
        before, after = generator(torch.cat([latents, shifted]), both).float().chunk(2)
        change = resized((after - before) / 2, images.shape[-2:])
    return (images + change).clamp(0, 1), latents, labels


def resized(images: Tensor, size: Sequence[int]) -> Tensor:
    """Images ``(N, C, H, W)`` resampled bilinearly to ``size``, antialiased."""
    if tuple(images.shape[-2:]) == tuple(size):
        return images
    return F.interpolate(images, tuple(size), mode="bilinear", antialias=True)


def _indices(pack: DirectionPack, direction: str | int | Sequence[str | int]) -> list[int]:
    if isinstance(direction, str) and direction == "any":
        usable = pack.usable()
        if not usable:
            raise TransformError(f"no direction of pack {pack.name!r} keeps the label at any measured magnitude.")
        return usable
    if isinstance(direction, (str, numbers.Integral)):
        return [pack.index(direction)]
    if not isinstance(direction, Sequence) or not direction:
        raise TransformError(
            f'direction should be a name, an index, a non-empty list of them, or "any"; got {direction!r}.'
        )
    return [pack.index(one) for one in direction]


def _checked_num_ops(num_ops: int, indices: Tensor) -> int:
    most = len(indices.unique())
    if isinstance(num_ops, bool) or not isinstance(num_ops, numbers.Integral) or not 1 <= num_ops <= most:
        raise TransformError(
            "num_ops is how many different directions shift each image: a whole number from 1 to the number of "
            f"directions that are drawn from ({most} here), got {num_ops!r}."
        )
    if num_ops > 1 and most < len(indices):
        raise TransformError(
            f"with num_ops={num_ops} each direction is listed once, got a list with one twice (directions "
            f"{indices.tolist()}). Draw one more often with weights."
        )
    return int(num_ops)


def _weights(weights: Sequence[float], count: int) -> Tensor:
    if len(weights) != count or not all(_is_finite(w) and w >= 0 for w in weights) or not sum(weights) > 0:
        raise TransformError(
            f"weights should be {count} numbers, one for each direction, none negative and not all zero; "
            f"got {weights!r}."
        )
    return torch.tensor([float(weight) for weight in weights])


def _interval(pack: DirectionPack, index: int, magnitude: Magnitude) -> tuple[float, float]:
    if isinstance(magnitude, str):
        if magnitude == "safe":
            return pack.range_of(index)
    else:
        bounds = magnitude if isinstance(magnitude, (tuple, list)) else (magnitude, magnitude)
        if len(bounds) == 2 and all(map(_is_finite, bounds)) and bounds[0] <= bounds[1]:
            return float(bounds[0]), float(bounds[1])
    raise TransformError(
        f'magnitude should be "safe", a finite number, or (low, high) with low <= high; got {magnitude!r}.'
    )


def _is_finite(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)
