"""Whether images may be mirrored: whether a classifier can tell which of them are (Lin et al., "Visual Chirality", CVPR
2020)."""

from __future__ import annotations

import torch

from ganaug.evaluation import predict, train_classifier
from ganaug.images import resized
from ganaug.streams import Images

TOLD = 0.6
"""Share of images told right from which on they have a right way round; guessing gives a half."""
SEEN, HELD_OUT = 4000, 1000
SIDE = 32


def handedness(
    training: Images, test: Images, *, steps: int = 150, seed: int = 0, device: torch.device | str = "cpu"
) -> float:
    """Share of mirrored and unmirrored test images that a small classifier tells apart: about 0.5 of photographs,
    above 0.8 of characters.

    Args:
        training, test: ``(N, C, H, W)`` uint8; at most 4,000 and 1,000 of them are looked at, at 32 pixels.
        steps: of the classifier.
    """
    rng = torch.Generator().manual_seed(seed)
    (images, mirrored), (new, new_mirrored) = (
        _both(each, most, rng) for each, most in ((training, SEEN), (test, HELD_OUT))
    )
    classifier = train_classifier(images, mirrored, steps=steps, seed=seed, device=device, show_progress=False)
    return (predict(classifier, new) == new_mirrored).float().mean().item()


def _both(images: Images, most: int, rng: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    chosen = images[torch.randperm(len(images), generator=rng)[:most]]
    small = resized(chosen.float(), (SIDE, SIDE)).round().clamp(0, 255).to(torch.uint8)
    return torch.cat([small, small.flip(-1)]), torch.arange(2).repeat_interleave(len(small))
