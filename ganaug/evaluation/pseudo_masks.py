"""Masks for nothing: where a background direction leaves an image alone, or turns it the other way, is the object."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ganaug.directions import DirectionPack
from ganaug.evaluation.data import to_uint8
from ganaug.generators.precision import autocast


class PseudoMasks(NamedTuple):
    """Generated images ``(N, C, H, W)`` uint8, their masks ``(N, 1, H, W)`` uint8 (255 inside the object, 0 outside),
    and labels ``(N,)``, or None for an unconditional generator."""

    images: Tensor
    masks: Tensor
    labels: Tensor | None


@torch.no_grad()
def pseudo_masks(
    pack: DirectionPack,
    direction: str | int,
    count: int,
    *,
    magnitudes: tuple[float, float] | None = None,
    threshold: float = 0.25,
    area: tuple[float, float] = (0.02, 0.5),
    batch_size: int = 250,
    max_draws: int = 20,
    seed: int = 0,
    precision: str = "bfloat16",
) -> PseudoMasks:
    """Draw images with masks of their object, by means of a direction that changes the background.

    Weakly-supervised segmentation as in Voynov & Babenko (ICML 2020), section 5: G is drawn with each latent shifted
    to both ends, and the difference, averaged over channels, is thresholded. It is turned so that most of the image
    changes upwards; the object is where the change is less than ``threshold`` of the image's median change, the other
    way included. Masks that cover too little or too much of the image are dropped, with their images.

    Args:
        direction: a name or an index of the pack.
        count: images wanted.
        magnitudes: the two ends, in latent units; by default those of the direction's range.
        threshold: share of the median change.
        area: smallest and largest share of the image that a mask may cover.
        max_draws: at most so many times ``count`` images are drawn.

    Returns:
        Images at a magnitude uniform between the two ends, each with its mask.

    Raises:
        ValueError: fewer than ``count`` masks passed the area filter.
    """
    generator, index = pack.generator, pack.index(direction)
    low, high = pack.ranges[index] if magnitudes is None else magnitudes
    along = pack.directions[index].to(generator.device)
    rng = torch.Generator().manual_seed(seed)
    images, masks, labels = [], [], []
    kept = drawn = 0
    while kept < count and drawn < max_draws * count:
        z, classes = generator.sample_latents(batch_size, rng=rng), generator.sample_labels(batch_size, rng=rng)
        where = torch.empty(batch_size, 1).uniform_(low, high, generator=rng).to(generator.device)
        with autocast(generator.device, precision):
            ends = [generator(z + magnitude * along, classes).float() for magnitude in (low, high)]
            shown = generator(z + where * along, classes).float()
        found = object_masks(*ends, threshold=threshold)
        share = found.float().mean((1, 2, 3))
        good = (share >= area[0]) & (share <= area[1])
        images.append(to_uint8(shown[good]).cpu())
        masks.append(found[good].to(torch.uint8).mul(255).cpu())
        if classes is not None:
            labels.append(classes[good].cpu())
        kept, drawn = kept + int(good.sum()), drawn + batch_size
    if kept < count:
        raise ValueError(
            f"{count} images were wanted, and of {drawn} drawn {kept} had a mask that covers between {area[0]:.0%} and "
            f"{area[1]:.0%} of them. Choose another direction, wider magnitudes, another threshold or area."
        )
    return PseudoMasks(
        torch.cat(images)[:count], torch.cat(masks)[:count], torch.cat(labels)[:count] if labels else None
    )


def object_masks(first: Tensor, second: Tensor, *, threshold: float = 0.25) -> Tensor:
    """Where the object is, ``(N, 1, H, W)`` bool, given images ``(N, C, H, W)`` with two backgrounds."""
    change = (second - first).mean(1, keepdim=True)
    middle = change.flatten(1).median(1).values[:, None, None, None]
    return change * middle.sign() < threshold * middle.abs()
