"""Whether a change keeps the label, and how far it may go."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from ganaug.devices import autocast, own_defaults
from ganaug.errors import EvaluationError
from ganaug.evaluation.arguments import check_counts, check_positive, check_rate
from ganaug.evaluation.judges import predict
from ganaug.folders import PATIENCE
from ganaug.generators import Generator
from ganaug.images import uint8_to_signed
from ganaug.inversion import invert
from ganaug.packs import DirectionPack

BATCH = 50
"""Images that are drawn and read at once: no slower than more, and whoever stops early draws few in vain."""
Z = 1.645
"""Of a one-sided confidence of 95%."""


def wilson_lower_bound(hits: int, trials: int, *, z: float = Z) -> float:
    """Lower bound of a rate with 95% confidence, one-sided (Wilson, JASA 1927)."""
    rate = hits / trials
    centre = rate + z * z / (2 * trials)
    spread = z * math.sqrt((rate * (1 - rate) + z * z / (4 * trials)) / trials)
    return (centre - spread) / (1 + z * z / trials)


class InvertedImages(NamedTuple):
    """Real images ``(N, C, H, W)`` in [-1, 1] with labels ``(N,)``, their latents, and what G makes of those."""

    images: Tensor
    labels: Tensor
    latents: Tensor
    reconstructed: Tensor


@own_defaults
@torch.no_grad()
def invert_images(
    pack: DirectionPack, images: Tensor, labels: Tensor, *, batch_size: int = 250, precision: str = "bfloat16"
) -> InvertedImages:
    """Find the latents of real images ``(N, C, H, W)`` uint8 with labels ``(N,)``, and reconstruct them.

    Raises:
        PackError: the pack has no encoder.
    """
    latents, reconstructed = [], []
    device = pack.generator.device
    seen, labels = uint8_to_signed(images).to(device), labels.to(device)
    for batch, given in zip(seen.split(batch_size), labels.split(batch_size), strict=True):
        found, classes = invert(pack, batch, given)
        with autocast(device, precision):
            reconstructed.append(pack.generator(found, classes).float())
        latents.append(found)
    return InvertedImages(seen, labels, torch.cat(latents), torch.cat(reconstructed))


class ReadLabels:
    """How images are read after a shift, always of the same latents: fresh ones, or those of real images.

    Args:
        classifier: maps images in [-1, 1] to logits of the generator's classes.
        real: the first ``samples`` of these instead of fresh images; their own labels count.

    Attributes:
        wanted: ``(samples,)`` int64, the labels: the generator's for a class-conditional one; for an unconditional one
            what the classifier reads off the unshifted image, or those of the real images.
    """

    @own_defaults
    def __init__(
        self,
        generator: Generator,
        classifier: nn.Module,
        *,
        samples: int = 400,
        seed: int = 1,
        precision: str = "bfloat16",
        real: InvertedImages | None = None,
    ) -> None:
        self.generator, self.classifier, self.precision = generator, classifier, precision
        self.labels: Tensor | None
        if real is None:
            rng = torch.Generator().manual_seed(seed)
            self.latents, self.labels = (
                generator.sample_latents(samples, rng=rng),
                generator.sample_labels(samples, rng=rng),
            )
        else:
            real = InvertedImages(*(part[:samples] for part in real))
            self.latents, self.labels = real.latents, real.labels if generator.num_classes else None
        self.real = real
        nowhere = torch.zeros(generator.latent_dim)
        known = self.labels if real is None else real.labels
        self.wanted = self._read(nowhere, 0.0, self.all) if known is None else known.cpu()
        self.order = self.all
        self.unshifted = int(self.right(nowhere, 0.0).sum())
        """How many are read as their label without a shift."""

    @property
    def all(self) -> Tensor:
        return torch.arange(len(self.latents))

    def right(self, direction: Tensor, magnitude: float, rows: Tensor | None = None) -> Tensor:
        """Which images are read as their label, ``(samples,)`` bool; of some rows of them ``(len(rows),)``."""
        rows = self.all if rows is None else rows
        return self._read(direction, magnitude, rows) == self.wanted[rows]

    @torch.no_grad()
    def _read(self, direction: Tensor, magnitude: float, rows: Tensor) -> Tensor:
        step = magnitude * direction.to(self.generator.device)
        read = []
        for some in rows.split(BATCH):
            labels = None if self.labels is None else self.labels[some]
            with autocast(self.generator.device, self.precision):
                images = self.generator(self.latents[some] + step, labels).float()
            if self.real is not None:
                images = (self.real.images[some] + images - self.real.reconstructed[some]).clamp(-1, 1)
            read.append(predict(self.classifier, images, precision=self.precision))
        return torch.cat(read)

    def safe_range(
        self,
        direction: Tensor,
        *,
        rate: float = 0.95,
        max_magnitude: float = 6.0,
        scan: int = 4,
        tolerance: float = 0.2,
    ) -> tuple[float, float]:
        """Of one direction, see :func:`safe_ranges`."""
        needed = self.needed(rate)
        self.order = self.all  # what is found of a direction depends on no other
        low, high = (
            _reach(partial(self._keeps, direction, needed, sign), max_magnitude, scan, tolerance) for sign in (-1, 1)
        )
        return 0.0 - low, high

    def needed(self, rate: float) -> int:
        """How many images have to be read as their label, so that 95% confidence says that ``rate`` of those are which
        are read unshifted.

        Raises:
            EvaluationError: that can't be shown, as too few are read unshifted.
        """
        found = next((k for k in range(self.unshifted + 1) if _bound(k, self.unshifted) >= rate), None)
        if found is None:
            least = None if rate == 1 else math.ceil(rate * Z * Z / (1 - rate))
            more = "no number of them would do." if least is None else f"{least} would do: take more samples."
            raise EvaluationError(
                f"{self.unshifted} of {len(self.latents)} unshifted images are read as their label, too few to show "
                f"that a shift keeps a share of {rate} of them; {more} Or lower the rate."
            )
        return found

    def _keeps(self, direction: Tensor, needed: int, sign: int, distance: float) -> bool:
        """Whether enough images are read as their label. What was misread last is looked at first, and no more than it
        takes to know."""
        hits, seen, wrong = 0, 0, []
        for rows in self.order.split(BATCH):
            right = self.right(direction, sign * distance, rows)
            wrong.append(rows[~right])
            hits, seen = hits + int(right.sum()), seen + len(rows)
            if hits >= needed or hits + len(self.order) - seen < needed:
                break
        first = torch.cat(wrong)
        self.order = torch.cat([first, self.order[~torch.isin(self.order, first)]])
        return hits >= needed


def _bound(hits: int, trials: int) -> float:
    return wilson_lower_bound(hits, trials) if trials else 0.0


def _reach(keeps: Callable[[float], bool], farthest: float, scan: int, tolerance: float) -> float:
    """How far something is kept from 0 on: outward in ``scan`` steps, then between the last two by bisection."""
    reach, beyond = 0.0, farthest
    for k in range(1, scan + 1):
        beyond = farthest * k / scan
        if not keeps(beyond):
            break
        reach = beyond
    while beyond - reach > tolerance:
        middle = (reach + beyond) / 2
        reach, beyond = (middle, beyond) if keeps(middle) else (reach, middle)
    return reach


@own_defaults
def label_hits(
    generator: Generator,
    direction: Tensor,
    classifier: nn.Module,
    *,
    magnitudes: Sequence[float],
    samples: int = 400,
    seed: int = 1,
    precision: str = "bfloat16",
    real: InvertedImages | None = None,
) -> list[int]:
    """How many of ``samples`` shifted images are read as their label, for each magnitude.

    The label is the generator's for a class-conditional one, and what the classifier reads off the unshifted image
    for an unconditional one. Every magnitude shifts the same latents.

    Args:
        direction: ``(latent_dim,)``, unit length.
        magnitudes: in latent units.
        real: shift the first ``samples`` of these instead of fresh images; their own labels count.
    """
    labels = ReadLabels(generator, classifier, samples=samples, seed=seed, precision=precision, real=real)
    return [int(labels.right(direction, magnitude).sum()) for magnitude in magnitudes]


@own_defaults
def safe_ranges(
    generator: Generator,
    directions: Tensor,
    classifier: nn.Module,
    *,
    rate: float = 0.95,
    max_magnitude: float = 6.0,
    scan: int = 4,
    tolerance: float = 0.2,
    samples: int = 400,
    seed: int = 1,
    real: InvertedImages | None = None,
    show_progress: bool = True,
) -> list[tuple[float, float]]:
    """For each direction the interval of magnitudes around zero over which the label stays readable.

    A magnitude keeps the label where, with 95% confidence (Wilson's lower bound), ``rate`` of as many images are read
    as their label as are unshifted: what counts is what the shift loses, not what the classifier can't read anyway. The
    range is what every measured magnitude in it keeps. Measured is outwards in ``scan`` steps, both ways, up to the
    first that loses the label, and then between that one and the one before by bisection, until they are ``tolerance``
    apart; the inner one is the end. So a label that is lost and found again between two steps of the scan is not seen.
    Every magnitude shifts the same latents, and no more of them are drawn than it takes to know.

    Args:
        directions: ``(K, latent_dim)``, unit length.
        rate: share of the images read as their label unshifted that have to be kept, in (0, 1].
        max_magnitude: where the scan ends.
        scan: steps of the scan.
        tolerance: in latent units.
        real: make the change to these images, see :func:`label_hits`.

    Returns:
        ``(low, high)`` for each, ``(0, 0)`` where both directions lose the label within the tolerance.

    Raises:
        EvaluationError: numbers out of range, or too few images are read as their label to show that it is kept.
    """
    check_rate(rate)
    check_counts(scan=scan, samples=samples)
    check_positive(max_magnitude=max_magnitude, tolerance=tolerance)
    labels = ReadLabels(generator, classifier, samples=samples, seed=seed, real=real)
    find = partial(labels.safe_range, rate=rate, max_magnitude=max_magnitude, scan=scan, tolerance=tolerance)
    bar = tqdm(directions, "safe ranges", leave=False, delay=PATIENCE, disable=not show_progress)
    return [find(direction) for direction in bar]
