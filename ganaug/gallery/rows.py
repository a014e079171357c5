"""Rows of a sheet: what is walked along a direction, drawn by the generator or real, and what each is called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ganaug.class_names import places
from ganaug.data import read_labelled
from ganaug.devices import own_defaults
from ganaug.errors import DataError
from ganaug.folders import SPLITS, checked_folder, fitted, image_files, open_image
from ganaug.generators import Generator
from ganaug.images import signed_to_unit, to_unit, unit_to_signed
from ganaug.inversion import check_domain, check_domain_of_files, invert
from ganaug.packs import DirectionPack
from ganaug.packs.domain import ENOUGH


@dataclass(frozen=True)
class Rows:
    """What starts each of N rows.

    Attributes:
        latents: ``(N, latent_dim)``.
        labels: ``(N,)`` of a class-conditional generator, else None.
        captions: what each row is called; none of images without names.
        images: real images ``(N, C, H, W)`` in [0, 1], of these latents; None of images that the generator draws.
    """

    latents: Tensor
    labels: Tensor | None
    captions: tuple[str, ...] = ()
    images: Tensor | None = None


@own_defaults
def drawn_rows(pack: DirectionPack, seeds: Sequence[int]) -> Rows:
    """Images that the pack's generator draws, one for each seed; rows are called after their classes' names."""
    latents, labels = draw_seeds(pack.generator, seeds)
    return Rows(latents, labels, _called(pack, labels))


@own_defaults
@torch.no_grad()
def real_rows(pack: DirectionPack, images: Tensor, labels: Tensor | None = None, captions: Sequence[str] = ()) -> Rows:
    """Real images, with the latents that the pack's encoder finds.

    Args:
        images: ``(N, C, H, W)`` uint8, or float in [0, 1], of the generator's size.
        labels: ``(N,)`` the generator's classes; read by the encoder if not given.
        captions: of each; by default the names of the classes.

    Raises:
        PackError: the pack has no encoder.
    """
    real = to_unit(images)
    latents, read = invert(pack, unit_to_signed(real), labels)
    return Rows(latents, read, tuple(captions) or _called(pack, read), real)


@own_defaults
def rows_of_images(pack: DirectionPack, images: str | Path, *, count: int, domain: bool = True) -> Rows:
    """Some images of a folder, spread over all of it, or test images of a built-in data set, as in ``"digits:DATA"``.

    Rows are called after the class subfolders, which are the generator's classes where all have such names; else the
    encoder reads the class.

    Args:
        count: how many; all, if there are fewer.
        domain: refuse images of another kind than the pack's.

    Raises:
        DataError: no such folder or data set, no image in it, or a damaged one.
        PackError: the pack has no encoder.
        GeneratorError: the data set is of another size than the generator's images.
        TransformError: images of another kind than the pack's.
    """
    if ":" in str(images) and not Path(images).is_dir():
        test = read_labelled(images, train=False)
        if domain:
            check_domain(pack, test.images[_spread(len(test.images), ENOUGH)])
        chosen = _spread(len(test.images), count)
        pixels, called = test.images[chosen], [str(label) for label in test.labels[chosen].tolist()]
        return real_rows(pack, pixels, _known(pack, called, set(called)), called)
    root, generator = checked_folder(images), pack.generator
    files = image_files(root)
    if not files:
        raise DataError(f"no images under {root}.")
    if domain:
        check_domain_of_files(pack, files)
    some = [files[index] for index in _spread(len(files), count).tolist()]
    opened = [open_image(file, channels=generator.channels) for file in some]
    pixels = torch.stack([fitted(image, generator.image_size, crop=False) for image in opened])
    called = [_class_of(file, root) for file in some]
    if not all(called):
        return real_rows(pack, pixels)
    return real_rows(pack, pixels, _known(pack, called, {_class_of(file, root) for file in files}), called)


@own_defaults
def draw_seeds(generator: Generator, seeds: Sequence[int]) -> tuple[Tensor, Tensor | None]:
    """One latent, and one label for class-conditional generators, for each seed, whatever the other seeds are."""
    rngs = [torch.Generator().manual_seed(seed) for seed in seeds]
    latents = torch.cat([generator.sample_latents(1, rng=rng) for rng in rngs])
    if generator.num_classes == 0:
        return latents, None
    return latents, torch.tensor([seed % generator.num_classes for seed in seeds], device=generator.device)


@own_defaults
@torch.no_grad()
def walk_rows(generator: Generator, direction: Tensor, rows: Rows, magnitudes: Tensor) -> Tensor:
    """Images ``(N, M, C, H, W)`` in [0, 1] of N rows shifted by M magnitudes along one direction.

    Real images come before theirs, as they are; to each the change is added that the shift makes in its reconstruction,
    as :class:`~ganaug.transforms.LatentShift` does: ``(N, 1 + M, C, H, W)``.
    """
    found = walk(generator, direction, rows.latents, rows.labels, magnitudes)
    if rows.images is None:
        return found
    before = walk(generator, direction, rows.latents, rows.labels, torch.zeros(1))
    real = rows.images.cpu()[:, None]
    return torch.cat([real, (real + found - before).clamp(0, 1)], 1)


@own_defaults
@torch.no_grad()
def walk(generator: Generator, direction: Tensor, latents: Tensor, labels: Tensor | None, magnitudes: Tensor) -> Tensor:
    """Images ``(N, M, C, H, W)`` in [0, 1] of N latents shifted by M magnitudes along one direction."""
    shifts = magnitudes[:, None] * direction.cpu()
    shifted = (latents.cpu()[:, None] + shifts[None]).flatten(0, 1).to(generator.device)
    repeated = None if labels is None else labels.repeat_interleave(len(magnitudes))
    images = torch.cat(
        [
            generator(z, None if repeated is None else repeated[start : start + len(z)])
            for start, z in zip(range(0, len(shifted), 256), shifted.split(256), strict=True)
        ]
    )
    walks: Tensor = signed_to_unit(images).unflatten(0, (len(latents), len(magnitudes))).cpu()
    return walks


def _spread(count: int, wanted: int) -> Tensor:
    """So many of ``count`` indices, at equal distances; all, if there are fewer."""
    kept = min(count, wanted)
    return (2 * torch.arange(kept) + 1) * count // (2 * kept)


def _class_of(file: Path, root: Path) -> str:
    """The class subfolder that a file lies in; nothing where it lies in none."""
    folders = file.relative_to(root).parts[:-1]
    if folders and folders[0].lower() in SPLITS:
        folders = folders[1:]
    return folders[0] if folders else ""


def _known(pack: DirectionPack, called: Sequence[str], classes: set[str]) -> Tensor | None:
    """The generator's class of each name, where it has all classes."""
    names = sorted(classes)
    known = dict(zip(names, places(names, pack.class_names, pack.num_classes), strict=True))
    numbers = [number for number in known.values() if number is not None]
    if not pack.num_classes or len(set(numbers)) < len(names):
        return None
    return torch.tensor([known[name] for name in called])


def _called(pack: DirectionPack, labels: Tensor | None) -> tuple[str, ...]:
    names = pack.class_names
    return () if labels is None or names is None else tuple(names[label] for label in labels.tolist())
