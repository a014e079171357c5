"""Real images for an encoder: to learn from, and held out to be judged on."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ganaug.class_names import places
from ganaug.data import images_in_folder, read_labelled
from ganaug.devices import own_defaults
from ganaug.draws import seeded
from ganaug.errors import DataError
from ganaug.folders import OnError, checked_folder, image_files, sound
from ganaug.packs import DirectionPack
from ganaug.streams import Images, images_of

HELD_OUT = 0.2
"""The share of images that is held out where nothing says which are test images; as :func:`read_labelled` does."""


class RealImages(NamedTuple):
    """Real images of a generator's size.

    Attributes:
        training: ``(N, C, H, W)`` uint8, to learn from.
        held_out: ``(M, C, H, W)`` uint8, which training never sees; None where there are none.
        labels: ``(M,)`` int64, the generator's class of each held-out image; None where that is not known.
    """

    training: Images
    held_out: Images | None = None
    labels: Tensor | None = None


@own_defaults
def read_real_images(pack: DirectionPack, images: str | Path, *, on_error: OnError = "fail") -> RealImages:
    """The images of a folder, or of a built-in data set as in ``"digits:DATA"``, as a pack's encoder learns from them.

    Held out are the test images of :func:`ganaug.data.read_labelled` where the folder has class subfolders, or
    ``train`` and ``test``; else a fifth, always the same, of two or more. Labels are known where all classes are the
    generator's, by name.

    Args:
        pack: whose generator gives size and channels.
        on_error: what to do with damaged files, see :func:`ganaug.folders.sound`.

    Raises:
        DataError: no such data set or folder, no image in it, or damaged ones.
    """
    generator = pack.generator
    if ":" in str(images) and not Path(images).is_dir():
        training, test = (read_labelled(images, train=train) for train in (True, False))
        names = [str(label) for label in range(int(test.labels.max()) + 1)]
        return RealImages(training.images, test.images, _as_generators(pack, names, test.labels))
    found: list[str] = []

    def keep(names: list[str]) -> list[int]:
        found[:] = names
        return list(range(len(names)))

    size, channels = generator.image_size, generator.channels
    try:
        training, test = (
            read_labelled(images, train=train, size=size, channels=channels, match=keep, on_error=on_error)
            for train in (True, False)
        )
    except DataError:  # no classes, or too few images in one to hold any out
        return _unlabelled(Path(images), size, channels, on_error)
    return RealImages(training.images, test.images, _as_generators(pack, found, test.labels))


def _unlabelled(folder: Path, size: int, channels: int, on_error: OnError) -> RealImages:
    files, _ = sound(image_files(checked_folder(folder)), on_error=on_error)
    if len(files) < 2:
        return RealImages(images_in_folder(folder, size=size, channels=channels, crop=False, on_error=on_error))
    order = torch.randperm(len(files), generator=seeded(0)).tolist()
    count = max(1, round(HELD_OUT * len(files)))
    held_out, training = (sorted(files[index] for index in part) for part in (order[:count], order[count:]))
    return RealImages(
        images_of(training, size=size, channels=channels), images_of(held_out, size=size, channels=channels)
    )


def _as_generators(pack: DirectionPack, names: list[str], labels: Tensor) -> Tensor | None:
    """The generator's class of each label, where it has all classes of these names."""
    known = places(names, pack.class_names, pack.num_classes)
    numbers = [number for number in known if number is not None]
    if not pack.num_classes or len(set(numbers)) < len(names):
        return None
    return torch.tensor(numbers)[labels]
