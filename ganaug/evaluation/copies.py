"""Whether a generator repeats its training images."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm.auto import tqdm

from ganaug.devices import own_defaults
from ganaug.errors import EvaluationError
from ganaug.folders import PATIENCE
from ganaug.streams import Images

SIDE = 8
"""Pixels on a side at which images are compared: a copy that lies a pixel off, or is noisy, remains one."""
NEIGHBOURS = 10
BLOCK = 8192
BATCH = 500
FLAT = 0.02
"""Standard deviation, of full scale, below which an image's contrast is not raised."""
CLOSE = 0.05
"""Share of held-out real images that count as close to a training image."""


class CopyCheck:
    """How close images lie to single training images.

    The closeness of an image is its distance to the nearest training image over the mean distance to the ten next: 1
    for one that is no closer to any of them, 0 for a copy. The ratio (Lowe, IJCV 2004; for copies of training images
    Carlini et al., "Extracting Training Data from Diffusion Models", USENIX Security 2023), and not the distance
    itself, because a blurred image is near to all others and a copy of none. Distances are Euclidean, of pixels: of
    images of 8 x 8, brightness and contrast made equal, as they are or mirrored, whichever is nearer. A judge's
    features would not do: it was trained on the training images, and they forget what tells two of a class apart.

    Which closeness is one of a copy is read off real images that were held out: that of the closest twentieth.

    Args:
        training: ``(N, C, H, W)`` uint8, 3 or more. 64 numbers of 2 bytes are kept for each and each channel.
        held_out: real images of the same kind that nothing was trained on.
        chosen: indices of those that are compared; all by default.
        show_progress: a bar while the training images are looked at, if that takes long.
    """

    @own_defaults
    def __init__(
        self, training: Images, held_out: Images, *, chosen: Tensor | None = None, show_progress: bool = False
    ) -> None:
        if len(training) < 3 or not len(held_out):
            raise EvaluationError(
                f"copies are looked for among 3 or more training images, with held-out ones beside them; got "
                f"{len(training)} and {len(held_out)}."
            )
        chosen = torch.arange(len(held_out)) if chosen is None else chosen
        self._training = kept = torch.empty(len(training), _described(training[:1]).shape[1], dtype=torch.half)
        with tqdm(None, "looking", len(training), leave=False, delay=PATIENCE, disable=not show_progress) as bar:
            for batch, rows in zip(training.split(BATCH), kept.split(BATCH), strict=True):
                rows[:] = _described(batch)
                bar.update(len(batch))
        self.real = torch.cat([self.closeness(held_out[rows]) for rows in chosen.split(BATCH)])
        self.limit = torch.quantile(self.real, CLOSE).item()

    @own_defaults
    def closeness(self, images: Tensor) -> Tensor:
        """Of images ``(N, C, H, W)`` uint8, ``(N,)``, in [0, 1]."""
        straight, mirrored = self._nearest(images), self._nearest(images.flip(-1))
        nearest = torch.where((mirrored[:, 0] < straight[:, 0])[:, None], mirrored, straight)
        return nearest[:, 0] / nearest[:, 1:].mean(1).clamp(min=1e-6)

    def copies(self, closeness: Tensor) -> float:
        """The share that is as close as a twentieth of the held-out real images."""
        return (closeness <= self.limit).double().mean().item()

    def _nearest(self, images: Tensor) -> Tensor:
        """Distances to the nearest training images ``(N, 11)``, in order; fewer where there are not as many."""
        described = _described(images)
        nearest = described.new_empty(len(images), 0)
        for block in self._training.split(BLOCK):
            found = torch.cat([nearest, torch.cdist(described, block.float())], dim=1)
            nearest = found.topk(min(NEIGHBOURS + 1, found.shape[1]), largest=False).values
        return nearest


def _described(images: Tensor) -> Tensor:
    """Images ``(N, C, H, W)`` uint8 as ``(N, C * 64)``, of mean 0 and standard deviation 1."""
    pixels = (F.adaptive_avg_pool2d(images.float() / 255, min(SIDE, *images.shape[2:]))).flatten(1)
    pixels = pixels - pixels.mean(1, keepdim=True)
    return pixels / pixels.std(1, keepdim=True).clamp(min=FLAT)
