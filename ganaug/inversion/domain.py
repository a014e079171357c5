"""Whether images are of the kind that a pack is for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torchvision.transforms import v2

from ganaug.draws import seeded
from ganaug.errors import PackError, TransformError
from ganaug.folders import fitted, open_image
from ganaug.images import resized, signed_to_uint8, to_unit, unit_to_signed
from ganaug.packs import DirectionPack
from ganaug.packs.domain import ENOUGH, Domain, described

LIMITS = (1.05, 1.1)
"""How far the mean of either figure may lie from the middle of its bounds, in half-widths."""

COMPONENTS = 128
VIEWS = 500
"""Images that each way of augmenting is tried on."""


@torch.no_grad()
def figures_of(pack: DirectionPack, images: Tensor) -> Tensor:
    """``(N, 2)`` figures of images ``(N, C, H, W)``, uint8 or float in [0, 1], of any size; see :class:`Domain`."""
    if pack.domain is None:
        raise PackError(f"pack {pack.name!r} says nothing of the images it is for. Train its encoder again.")
    return pack.domain.figures(*_described(pack, images)[:2])


def _described(pack: DirectionPack, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    generator, encoder = pack.networks(images.device)
    if encoder is None:
        raise PackError(f"pack {pack.name!r} has no encoder. Train one: ganaug train-encoder PACK.")
    size = (generator.image_size, generator.image_size)
    parts = [
        described(generator, encoder, unit_to_signed(resized(to_unit(part), size))) for part in images.split(ENOUGH)
    ]
    descriptions, errors, read = (torch.cat(each).cpu() for each in zip(*parts, strict=True))
    return descriptions, errors, read


def refuse_if_foreign(pack: DirectionPack, figures: Tensor) -> None:
    """``TransformError`` where the figures ``(N, 2)`` of N images are not those of the pack's own kind of images."""
    if pack.domain is None or not len(figures):
        return
    excess = pack.domain.excess(figures).tolist()
    if all(abs(each) <= limit for each, limit in zip(excess, LIMITS, strict=True)):
        return
    kind, error = (f"{each:+.1f} (at most {limit})" for each, limit in zip(excess, LIMITS, strict=True))
    raise TransformError(
        f"the images are not of the kind that pack {pack.name!r} is for: over {len(figures)} of them, how they look to "
        f"its encoder is off by {kind}, and how well it reconstructs them by {error}, in half-widths of what its own "
        "images have. Take a pack for such images (ganaug packs), or build one; check_domain=False (--no-check-domain) "
        "lets them pass."
    )


def check_domain(pack: DirectionPack, images: Tensor) -> None:
    """Refuse images that are not of the kind that a pack is for; nothing where the pack does not know its kind.

    Args:
        images: ``(N, C, H, W)``, uint8 or float in [0, 1], of any size; of several classes, 64 or more are best.

    Raises:
        TransformError: they are of another kind.
    """
    if pack.domain is not None and len(images):
        refuse_if_foreign(pack, figures_of(pack, images))


def check_domain_of_files(
    pack: DirectionPack, files: Sequence[str | Path], *, device: torch.device | str = "cpu"
) -> None:
    """:func:`check_domain` of image files, 64 of them at random."""
    if pack.domain is None or not files:
        return
    chosen = torch.randperm(len(files), generator=seeded(0))[:ENOUGH].tolist()
    generator = pack.generator
    images = [
        fitted(open_image(files[index], channels=generator.channels), generator.image_size, crop=False)
        for index in chosen
    ]
    check_domain(pack, torch.stack(images).to(device))


# -- what a pack's own images look like -----------------------------------------------------------------------------


def fit_domain(pack: DirectionPack, images: Tensor | None, *, seed: int = 0) -> Domain:
    """What the pack's own images look like to its encoder, as they are and flipped, cropped, moved and jittered.

    Half of the images make the Gaussian, the other half the bounds: for each way of augmenting the means over 1,000
    draws of 64 images, and over 100 draws of images that are read as one class, for each class.

    Args:
        images: real images ``(N, C, H, W)`` uint8 of the generator's size; None for images that the generator draws.

    Raises:
        PackError: the pack has no encoder.
    """
    rng = seeded(seed, 1)
    own = _drawn(pack, rng) if images is None else images
    order = torch.randperm(len(own), generator=rng)
    fit, held_out = order.chunk(2) if len(own) > 1 else (order, order)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        views = [
            [_described(pack, view(own[_some(part, rng)])) for part in (fit, held_out)]
            for view in _views(pack.generator.channels, pack.generator.image_size)
        ]
    gaussian = _gaussian(torch.cat([first[0] for first, _ in views]))
    domain = Domain(*gaussian, bounds=torch.tensor([[-1.0, 1.0]] * 2))
    means = []
    for _, (descriptions, errors, read) in views:
        figures = domain.figures(descriptions, errors)
        parts = [(figures, 1000), *((figures[read == label], 100) for label in range(pack.num_classes))]
        for part, draws in parts:
            if len(part) >= ENOUGH // 4:
                means.append(part[torch.randint(len(part), (draws, ENOUGH), generator=rng)].mean(1))
    found = torch.cat(means)
    low, high = found.min(0).values, found.max(0).values
    bounds = torch.stack([low, torch.maximum(high, low + 1e-3)], 1)
    return Domain(*gaussian, bounds=bounds)


def _drawn(pack: DirectionPack, rng: torch.Generator) -> Tensor:
    generator = pack.generator
    drawn = []
    with torch.no_grad():
        for _ in range(2 * VIEWS // 100):
            latents, labels = generator.sample_latents(100, rng=rng), generator.sample_labels(100, rng=rng)
            drawn.append(signed_to_uint8(generator(latents, labels)).cpu())
    return torch.cat(drawn)


def _some(indices: Tensor, rng: torch.Generator) -> Tensor:
    if len(indices) >= VIEWS:
        return indices[torch.randperm(len(indices), generator=rng)[:VIEWS]]
    return indices[torch.randint(len(indices), (VIEWS,), generator=rng)]


def _views(channels: int, size: int) -> Iterator[Callable[[Tensor], Tensor]]:
    """What pipelines do to images before a LatentShift."""
    colours = (0.4, 0.4, 0.4, 0.1) if channels == 3 else (0.4, 0.4)
    flip, crop, jitter = (
        v2.RandomHorizontalFlip(),
        v2.RandomResizedCrop(size, scale=(0.6, 1.0), antialias=True),
        v2.ColorJitter(*colours),
    )

    def each(view: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        return lambda images: torch.stack([view(image) for image in images])

    yield lambda images: images
    yield v2.RandomHorizontalFlip(1.0)
    yield each(crop)
    yield each(v2.RandomCrop(size, padding=max(1, size // 8)))
    yield each(jitter)
    yield each(v2.Compose([flip, crop, jitter]))


def _gaussian(descriptions: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Mean, scale, components, variances and the rest's variance of descriptions ``(N, D)``; see :class:`Domain`."""
    mean, scale = descriptions.mean(0), descriptions.std(0) + 1e-3
    standard = (descriptions - mean) / scale
    size, kept = standard.shape[1], min(COMPONENTS, standard.shape[1] // 2, len(standard) // 4)
    variances, axes = torch.linalg.eigh(standard.T @ standard / len(standard))
    variances, axes = variances.flip(0)[:kept].clamp(min=1e-6), axes.flip(1)[:, :kept].contiguous()
    rest = ((standard.square().sum() / len(standard) - variances.sum()) / (size - kept)).clamp(min=1e-6)
    return mean, scale, axes, variances, rest.reshape(1)
