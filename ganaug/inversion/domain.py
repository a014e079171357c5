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
from ganaug.packs.domain import ENOUGH, EPSILON, Domain, described

LIMIT = 1.1
"""How far a figure may lie from the middle of its bounds, in half-widths."""

COMPONENTS = 128
VIEWS = 500
"""Images that each way of augmenting is tried on."""
DRAWS = 1000
"""Draws of 64 of them that the bounds are made of; a tenth of it for each class."""


@torch.no_grad()
def looked_at(pack: DirectionPack, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """How a pack's encoder sees images ``(N, C, H, W)``, uint8 or float in [0, 1], of any size, on the CPU; see
    :func:`ganaug.packs.domain.described`."""
    generator, encoder = pack.networks(images.device)
    if encoder is None:
        raise PackError(f"pack {pack.name!r} has no encoder. Train one: ganaug train-encoder {pack.name}.")
    size = (generator.image_size, generator.image_size)
    parts = [
        described(generator, encoder, unit_to_signed(resized(to_unit(part), size))) for part in images.split(ENOUGH)
    ]
    descriptions, errors, read = (torch.cat(each).cpu() for each in zip(*parts, strict=True))
    return descriptions, errors, read


def refuse_if_foreign(pack: DirectionPack, descriptions: Tensor, errors: Tensor) -> None:
    """``TransformError`` where images that look so, ``(N, D)`` and ``(N,)``, are not of the pack's own kind."""
    if pack.domain is None or not len(errors):
        return
    excess = pack.domain.excess(descriptions, errors).tolist()
    if max(map(abs, excess)) <= LIMIT:
        return
    kind, error, mean = (f"{each:+.1f}" for each in excess)
    raise TransformError(
        f"the images are not of the kind that pack {pack.name!r} is for: over {len(errors)} of them, how each looks to "
        f"its encoder is off by {kind}, how well it reconstructs them by {error}, and how they look on average by "
        f"{mean}, where its own images are off by at most {LIMIT}. Take a pack for such images (ganaug packs), or "
        "build one; check_domain=False (--no-check-domain) lets them pass."
    )


def check_domain(pack: DirectionPack, images: Tensor) -> None:
    """Refuse images that are not of the kind that a pack is for; nothing where the pack does not know its kind.

    Args:
        images: ``(N, C, H, W)``, uint8 or float in [0, 1], of any size; of several classes, 64 or more are best.

    Raises:
        TransformError: they are of another kind.
    """
    if pack.domain is not None and len(images):
        refuse_if_foreign(pack, *looked_at(pack, images)[:2])


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
    """What the pack's own images look like to its encoder: as they are, and flipped, cropped, moved, jittered,
    compressed and enlarged.

    Half of the images make the Gaussian, the other half the bounds: the figures of 1,000 draws of 64 images for each
    way of augmenting, and of 100 draws of images that are read as one class, for each class; and those of images that
    the generator draws.

    Args:
        images: real images ``(N, C, H, W)`` uint8 of the generator's size; None for images that the generator draws.

    Raises:
        PackError: the pack has no encoder.
    """
    rng = seeded(seed, 1)
    drawn = _drawn(pack, rng)
    own = drawn if images is None else images
    order = torch.randperm(len(own), generator=rng)
    fit, held_out = order.chunk(2) if len(own) > 1 else (order, order)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        views = [
            [looked_at(pack, view(own[_some(part, rng)])) for part in (fit, held_out)]
            for view in _views(pack.generator.channels, pack.generator.image_size)
        ]
    gaussian = _gaussian(torch.cat([first[0] for first, _ in views]))
    domain = Domain(*gaussian, bounds=torch.tensor([[-1.0, 1.0]] * 3))
    found = []
    for descriptions, errors, read in (*(held for _, held in views), looked_at(pack, drawn)):
        parts = [
            (torch.arange(len(read)), DRAWS),
            *(((read == y).nonzero()[:, 0], DRAWS // 10) for y in range(pack.num_classes)),
        ]
        for rows, draws in parts:
            if len(rows) >= ENOUGH // 4:
                for chosen in rows[torch.randint(len(rows), (draws, ENOUGH), generator=rng)]:
                    found.append(domain.figures(descriptions[chosen], errors[chosen]))
    figures = torch.stack(found)
    low, high = figures.min(0).values, figures.max(0).values
    return Domain(*gaussian, bounds=torch.stack([low, torch.maximum(high, low + EPSILON)], 1))


def _drawn(pack: DirectionPack, rng: torch.Generator) -> Tensor:
    generator = pack.generator
    drawn = []
    with torch.no_grad():
        for _ in range(max(1, 2 * VIEWS // 100)):
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
    for padding in sorted({1, max(1, size // 16), max(1, size // 8)}):
        yield each(v2.RandomCrop(size, padding=padding))
    yield each(v2.JPEG(75))
    yield v2.Compose([v2.Resize(3 * size // 4, antialias=True), v2.Resize(size, antialias=True)])
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
