"""What a direction changes, and where."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ganaug.devices import own_defaults
from ganaug.evaluation.judges import find_object, predict
from ganaug.generators import Generator


class Change(NamedTuple):
    """Averages over fresh latents, with magnitudes uniform over an interval.

    Attributes:
        label: share of shifted images that a classifier reads as their label.
        mask_iou: intersection over union of the object's masks before and after, averaged over the images.
        outside: mean absolute change of the pixels outside the object (outside both masks), as a share of full scale.
        inside: the same inside the object (inside both masks).
        classes: ``label`` of the images of each class.
    """

    label: float
    mask_iou: float
    outside: float
    inside: float
    classes: dict[int, float]


def shares(right: Tensor, labels: Tensor) -> dict[int, float]:
    """The share of True in ``right`` ``(N,)`` for each class of ``labels`` ``(N,)``, in order."""
    return {int(label): right[labels == label].float().mean().item() for label in labels.unique()}


@own_defaults
@torch.no_grad()
def measure_change(
    generator: Generator,
    direction: Tensor,
    interval: tuple[float, float],
    *,
    classifier: nn.Module,
    segmenter: nn.Module,
    samples: int = 1000,
    batch_size: int = 250,
    seed: int = 2,
) -> Change:
    """Shift fresh latents along a direction and compare the images before and after.

    Three figures tell a background direction from the rest: the label and the object's shape stay while the pixels
    outside it change.

    Args:
        direction: ``(latent_dim,)``, unit length.
        interval: ``(low, high)`` of the uniform magnitudes, in latent units.
        classifier: maps images in [-1, 1] to logits of the generator's classes.
        segmenter: maps images in [-1, 1] to logits of the object's mask.
    """
    rng = torch.Generator().manual_seed(seed)
    low, high = interval
    direction = direction.to(generator.device)
    rows, classes = [], []
    for start in range(0, samples, batch_size):
        count = min(batch_size, samples - start)
        latents, labels = generator.sample_latents(count, rng=rng), generator.sample_labels(count, rng=rng)
        magnitudes = (low + (high - low) * torch.rand(count, generator=rng)).to(generator.device)
        before = generator(latents, labels)
        after = generator(latents + magnitudes[:, None] * direction, labels)
        wanted = predict(classifier, before) if labels is None else labels.cpu()
        masks = find_object(segmenter, torch.cat([before, after])).chunk(2)
        both, either = masks[0] & masks[1], masks[0] | masks[1]
        difference = ((after - before).abs() / 2).mean(1, keepdim=True).cpu()
        classes.append(wanted)
        rows.append(
            torch.stack(
                [
                    (predict(classifier, after) == wanted).float(),
                    both.sum((1, 2, 3)) / either.sum((1, 2, 3)).clamp(min=1),
                    (difference * ~either).sum((1, 2, 3)) / (~either).sum((1, 2, 3)).clamp(min=1),
                    (difference * both).sum((1, 2, 3)) / both.sum((1, 2, 3)).clamp(min=1),
                ],
                dim=1,
            )
        )
    found = torch.cat(rows)
    label, mask_iou, outside, inside = found.mean(0).tolist()
    return Change(label, mask_iou, outside, inside, shares(found[:, 0], torch.cat(classes)))
