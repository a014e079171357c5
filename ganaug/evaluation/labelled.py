"""Labelled images of the kind that a pack draws, and its networks on a device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch

from ganaug.data import LabelledImages, read_labelled
from ganaug.devices import in_channels_last
from ganaug.errors import DataError, PackError
from ganaug.generators import Generator
from ganaug.inversion import classes_of_folder
from ganaug.packs import DirectionPack


class Labelled(NamedTuple):
    """Training and test images, what they are called, and what their classes are called, by number."""

    training: LabelledImages
    test: LabelledImages
    name: str
    classes: dict[int, str]

    def class_name(self, label: int) -> str:
        return self.classes.get(label, str(label))


def labelled_for(pack: DirectionPack, images: str | Path) -> Labelled:
    """Training and test images of the kind that a pack's generator draws, with its labels.

    Raises:
        DataError: no such data set, or classes that the generator does not have.
        PackError: a built-in data set of another size than the generator's.
    """
    generator = pack.generator
    names = dict(enumerate(pack.class_names or ()))

    def match(classes: list[str]) -> list[int]:
        matched = classes_of_folder(pack, classes, where=str(images))
        numbers = list(range(len(classes))) if matched is None else matched
        names.update(zip(numbers, classes, strict=True))
        return numbers

    training, test = (
        read_labelled(images, train=train, size=generator.image_size, channels=generator.channels, match=match)
        for train in (True, False)
    )
    name = Path(images).name if Path(images).is_dir() else str(images).partition(":")[0]
    check_images(pack, training, name)
    _check_all_there(pack, training, test, str(images), names)
    return Labelled(training, test, name, names)


def _check_all_there(
    pack: DirectionPack, training: LabelledImages, test: LabelledImages, where: str, names: dict[int, str]
) -> None:
    """``DataError`` unless every class that is drawn, or shown in the test images, can be learnt from training ones."""
    learnt = set(training.labels.tolist())
    wanted = set(range(pack.generator.num_classes)) | set(test.labels.tolist())
    if len(learnt | wanted) < 2:
        raise DataError(f"{where} has one class; a judge tells at least two apart.")
    if missing := sorted(wanted - learnt):
        listing = ", ".join(names.get(label, str(label)) for label in missing[:6])
        raise DataError(
            f"{where} has no training images of {len(missing)} of the classes that pack {pack.name!r} draws or the "
            f"test images show: {listing}. A judge has to know every class: add images of them."
        )


def check_images(pack: DirectionPack, images: LabelledImages, name: str) -> None:
    """``PackError`` unless labelled images have the size and channels of the pack's generator."""
    generator = pack.generator
    expected, got = (generator.channels, generator.image_size, generator.image_size), tuple(images.images.shape[1:])
    if got != expected:
        raise PackError(f"{name} has images of shape {got}; the generator of pack {pack.name!r} draws {expected}.")


@contextmanager
def running_on(pack: DirectionPack, device: str | torch.device | None) -> Iterator[Generator]:
    """The pack's generator in channels_last on a device, and its encoder there too; both are put back afterwards."""
    home = pack.generator.device
    networks = [network for network in (pack.generator, pack.encoder) if network is not None]
    for network in networks:
        network.to(home if device is None else device)
    try:
        yield in_channels_last(pack.generator)
    finally:
        for network in networks:
            network.to(home)
