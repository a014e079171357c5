"""Masks for nothing: where background directions leave an image alone, or turn it the other way, is the object."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ganaug.devices import autocast, own_defaults
from ganaug.errors import EvaluationError
from ganaug.evaluation.arguments import check_counts, check_interval
from ganaug.images import signed_to_uint8
from ganaug.packs import DirectionPack


class PseudoMasks(NamedTuple):
    """Generated images ``(N, C, H, W)`` uint8, their masks ``(N, 1, H, W)`` uint8 (255 inside the object, 0 outside),
    and labels ``(N,)``, or None for an unconditional generator."""

    images: Tensor
    masks: Tensor
    labels: Tensor | None


@own_defaults
@torch.no_grad()
def pseudo_masks(
    pack: DirectionPack,
    direction: str | int | Sequence[str | int],
    count: int,
    *,
    shifts: int = 2,
    magnitudes: tuple[float, float] | None = None,
    threshold: float = 0.25,
    area: tuple[float, float] = (0.02, 0.5),
    batch_size: int = 250,
    max_draws: int = 20,
    seed: int = 0,
    precision: str = "bfloat16",
) -> PseudoMasks:
    """Draw images with masks of their object, by means of directions that change the background.

    Weakly-supervised segmentation as in Voynov & Babenko (ICML 2020), section 5, and beyond it: several shifts, along
    several directions at once. Each latent is drawn with ``shifts`` backgrounds; the object is where pixels do not
    follow the background (:func:`object_masks`). Two shifts along one direction are the paper's difference of two
    images. More shifts and directions give better masks: what a single direction happens to leave alone in the
    background, others change. Masks that cover too little or too much of the image are dropped, with their images.

    Args:
        direction: a name or an index of the pack, or several.
        count: images wanted.
        shifts: how many backgrounds each latent is drawn with. 2: both ends of the magnitudes; more: uniformly random
            between them, along each direction on its own.
        magnitudes: the two ends, in latent units; by default those of each direction's range.
        threshold: see :func:`object_masks`.
        area: smallest and largest share of the image that a mask may cover.
        max_draws: at most so many times ``count`` images are drawn.

    Returns:
        The images of the latents as they were drawn, unshifted, each with its mask.

    Raises:
        EvaluationError: a number out of range, no direction, fewer than two shifts, or fewer than ``count`` masks
            passed the area filter.
    """
    check_counts(count=count, batch_size=batch_size, max_draws=max_draws)
    check_interval(magnitudes, name="magnitudes")
    _check_filter(threshold, area)
    named = [direction] if isinstance(direction, str | int) else list(direction)
    if not named or isinstance(shifts, bool) or not isinstance(shifts, int) or shifts < 2:
        raise EvaluationError(f"at least one direction and two shifts are needed, not {len(named)} and {shifts!r}.")
    generator, indices = pack.generator, [pack.index(each) for each in named]
    along = pack.directions[indices].to(generator.device)
    low, high = torch.tensor([magnitudes or pack[index].range for index in indices]).T
    rng = torch.Generator().manual_seed(seed)
    images, masks, labels = [], [], []
    kept = drawn = 0
    while kept < count and drawn < max_draws * count:
        z, classes = generator.sample_latents(batch_size, rng=rng), generator.sample_labels(batch_size, rng=rng)
        where = low + (high - low) * torch.rand(shifts, batch_size, len(indices), generator=rng)
        if shifts == 2:
            where[0], where[1] = low, high
        with autocast(generator.device, precision):
            shown = generator(z, classes)
            shifted = [generator(z + each.to(z.device) @ along, classes).float() for each in where]
        found = object_masks(torch.stack(shifted), threshold=threshold)
        share = found.float().mean((1, 2, 3))
        good = (share >= area[0]) & (share <= area[1])
        images.append(signed_to_uint8(shown[good]).cpu())
        masks.append(found[good].to(torch.uint8).mul(255).cpu())
        if classes is not None:
            labels.append(classes[good].cpu())
        kept, drawn = kept + int(good.sum()), drawn + batch_size
    if kept < count:
        raise EvaluationError(
            f"{count} images were wanted, and of {drawn} drawn {kept} had a mask that covers between {area[0]:.0%} and "
            f"{area[1]:.0%} of them. Choose another direction, wider magnitudes, another threshold or area."
        )
    return PseudoMasks(
        torch.cat(images)[:count], torch.cat(masks)[:count], torch.cat(labels)[:count] if labels else None
    )


@own_defaults
def object_masks(shifted: Tensor, *, threshold: float = 0.25) -> Tensor:
    """Where the object is in images drawn with several backgrounds.

    The slope of each pixel on the background, whose value is the channel's median over the image, by least squares
    over the shifts and channels: 1 where a pixel follows the background, 0 where it stays, negative where it turns the
    other way. The object is where the slope is under the threshold. With two shifts of a grey image it is the pixel's
    difference over the median's.

    Args:
        shifted: ``(shifts, N, C, H, W)`` float, at least two shifts.
        threshold: the smallest slope of the background, less than 1.

    Returns:
        ``(N, 1, H, W)`` bool; nowhere True in images whose background stays as it is.

    Raises:
        EvaluationError: images of another shape or type, or of one shift.
    """
    if not isinstance(shifted, Tensor) or shifted.ndim != 5 or len(shifted) < 2 or not shifted.is_floating_point():
        got = f"{shifted.dtype} {tuple(shifted.shape)}" if isinstance(shifted, Tensor) else type(shifted).__name__
        raise EvaluationError(f"shifted should be float (shifts, N, C, H, W), two shifts or more; got {got}.")
    background = shifted.flatten(3).median(3).values[..., None, None]
    background = background - background.mean(0)
    together = ((shifted - shifted.mean(0)) * background).sum((0, 2))
    return (together < threshold * background.square().sum((0, 2)))[:, None]


def _check_filter(threshold: Any, area: Any) -> None:
    if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not -math.inf < threshold < 1:
        raise EvaluationError(f"threshold is the smallest slope of the background and less than 1, got {threshold!r}.")
    check_interval(area, name="area")
    if area is None or not 0 <= area[0] < area[1] <= 1:
        raise EvaluationError(f"area should be two shares of the image, 0 <= low < high <= 1; got {area!r:.80}.")
