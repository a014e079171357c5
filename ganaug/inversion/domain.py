"""Whether images are of the kind that a pack is for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from pathlib import Path

import torch
from torch import Tensor
from torchvision.transforms import v2

from ganaug.devices import running_in
from ganaug.draws import seeded
from ganaug.errors import PackError, TransformError
from ganaug.folders import fitted, open_image
from ganaug.images import resized, signed_to_uint8, to_unit, unit_to_signed
from ganaug.packs import DirectionPack
from ganaug.packs.domain import ENOUGH, EPSILON, FIGURES, Domain, described, taken_together
from ganaug.streams import Images

LIMIT = 1.1
"""How far a figure may lie from the middle of its bounds, in half-widths."""

COMPONENTS = 128
VIEWS = 500
"""Images that each way of augmenting is tried on for the Gaussian; twice as many for the bounds."""
DRAWS = 1000
"""Draws of 64 of them that the bounds are made of; a tenth of it for each group, a fiftieth for each pair of groups."""
GROUPS = 10
"""Groups of images that look alike, where the encoder reads no classes, or more than so many."""
ALIKE = 80
"""Images in such a group."""


@torch.no_grad()
def looked_at(pack: DirectionPack, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """How a pack's encoder sees images ``(N, C, H, W)``, uint8 or float in [0, 1], of any size, on the CPU; see
    :func:`ganaug.packs.domain.described`."""
    generator, encoder = pack.networks(images.device)
    if encoder is None:
        raise PackError(f"pack {pack.name!r} has no encoder. Train one: ganaug train-encoder {pack.name}.")
    size = (generator.image_size, generator.image_size)
    with running_in("float32", images.device):  # as bounds are measured, whatever the caller's autocast says
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
    kind, error, mean = (f"{each:+.1f}" for each in excess[:FIGURES])
    together = max(excess[FIGURES:], key=abs, default=0.0)
    raise TransformError(
        f"the images are not of the kind that pack {pack.name!r} is for: over {len(errors)} of them, how each looks to "
        f"its encoder is off by {kind}, how well it reconstructs them by {error}, how they look on average by {mean}, "
        f"and two of these together by {together:+.1f}, where its own images are off by at most {LIMIT}. Take a pack "
        "for such images (ganaug packs), or build one; check_domain=False (--no-check-domain) lets them pass."
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


def fit_domain(pack: DirectionPack, images: Images | None, *, seed: int = 0) -> Domain:
    """What the pack's own images look like to its encoder: as they are, and flipped, cropped, moved, jittered,
    compressed and enlarged.

    Half of the images make the Gaussian, the other half the bounds: the figures of 1,000 draws of 64 images for each
    way of augmenting, and of draws of images of one class or of two, as folders are read in order: as the encoder reads
    them before they are augmented. Where it reads none, images that look alike to it take the place of classes. So too
    those of images that the generator draws.

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
    held_out = own[_some(held_out, 2 * VIEWS, rng)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        views = [
            (_seen(pack, own[_some(fit, VIEWS, rng)], view), _seen(pack, held_out, view))
            for view in _views(pack.generator.channels, pack.generator.image_size)
        ]
    gaussian = _gaussian(torch.cat([first[0] for first, _ in views]))
    domain = Domain(*gaussian, bounds=torch.tensor([[-1.0, 1.0]] * FIGURES))
    of_drawn = looked_at(pack, drawn[-2 * VIEWS :])
    found = []
    for seen, looks in ((views[0][1], [held for _, held in views]), (of_drawn, [of_drawn])):
        parts = _parts(domain, pack.num_classes, seen[0], seen[2], rng)
        for descriptions, errors, _ in looks:
            for rows, draws in parts:
                for _ in range(draws):
                    chosen = _some(rows, ENOUGH, rng)
                    found.append(domain.figures(descriptions[chosen], errors[chosen]))
    figures = torch.stack(found)
    bounds = _bounds(figures)
    together = taken_together((figures - bounds.mean(1)) / (bounds.diff(dim=1)[:, 0] / 2))
    return Domain(*gaussian, bounds=torch.cat([bounds, _bounds(together)]))


def _seen(pack: DirectionPack, images: Tensor, view: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """:func:`looked_at` of images in a view, some at a time."""
    parts = [looked_at(pack, view(part)) for part in images.split(ENOUGH)]
    descriptions, errors, read = (torch.cat(each) for each in zip(*parts, strict=True))
    return descriptions, errors, read


def _bounds(figures: Tensor) -> Tensor:
    """The lowest and the highest ``(F, 2)`` of figures ``(N, F)``; the lowest less a tenth of the width, since images
    of another kind are seldom more typical, or reconstructed better."""
    low, high = figures.min(0).values, figures.max(0).values
    high = torch.maximum(high, low + EPSILON)
    return torch.stack([low - (high - low) / 10, high], 1)


def _parts(
    domain: Domain, num_classes: int, descriptions: Tensor, read: Tensor, rng: torch.Generator
) -> list[tuple[Tensor, int]]:
    """Rows of N images to draw from, and how often: all of them, those of one group, those of two."""
    if 0 < num_classes <= GROUPS:
        groups = [(read == label).nonzero()[:, 0] for label in range(num_classes)]
    else:
        groups = _alike((descriptions - domain.mean) / domain.scale @ domain.components, rng)
    groups = [group for group in groups if len(group) >= ENOUGH // 4]
    pairs = [torch.cat(pair).unique() for pair in combinations(groups, 2)]
    every = (torch.arange(len(read)), DRAWS)
    return [every, *((group, DRAWS // 10) for group in groups), *((pair, max(1, DRAWS // 50)) for pair in pairs)]


def _alike(points: Tensor, rng: torch.Generator) -> list[Tensor]:
    """The rows of those of points ``(N, K)`` that lie nearest to each of the centres that k-means finds (Lloyd, 1982),
    which starts from points that are far apart (Arthur & Vassilvitskii, "k-means++", 2007)."""
    centres = points[torch.randint(len(points), (1,), generator=rng)]
    while len(centres) < GROUPS:
        away = torch.cdist(points, centres).min(1).values.square() + EPSILON
        centres = torch.cat([centres, points[torch.multinomial(away, 1, generator=rng)]])
    for _ in range(30):
        nearest = torch.cdist(points, centres).argmin(1)
        near = [points[nearest == group] for group in range(GROUPS)]
        centres = torch.stack([own.mean(0) if len(own) else old for own, old in zip(near, centres, strict=True)])
    return list(torch.cdist(centres, points).argsort(1)[:, :ALIKE])


def _drawn(pack: DirectionPack, rng: torch.Generator) -> Tensor:
    generator, count = pack.generator, max(1, 4 * VIEWS // 100)
    drawn = torch.empty(100 * count, generator.channels, generator.image_size, generator.image_size, dtype=torch.uint8)
    with torch.no_grad():
        for part in drawn.split(100):
            latents, labels = generator.sample_latents(100, rng=rng), generator.sample_labels(100, rng=rng)
            part[:] = signed_to_uint8(generator(latents, labels))
    return drawn


def _some(indices: Tensor, count: int, rng: torch.Generator) -> Tensor:
    """So many of indices ``(N,)``, each once; or more than once, where there are not as many."""
    if len(indices) >= count:
        return indices[torch.randperm(len(indices), generator=rng)[:count]]
    return indices[torch.randint(len(indices), (count,), generator=rng)]


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
