"""Labelled images that generators are trained on and packs are measured with, read from a folder the user names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torchvision import datasets
from torchvision.transforms import v2

from ganaug.errors import DataError


class LabelledImages(NamedTuple):
    """Images ``(N, C, H, W)`` uint8, labels ``(N,)`` int64 and, where the object's outline is known, its masks
    ``(N, 1, H, W)`` uint8 (255 inside the object, 0 outside)."""

    images: Tensor
    labels: Tensor
    masks: Tensor | None = None


def _padded_digits(root: Path, *, train: bool, dataset: Callable[..., datasets.MNIST]) -> tuple[Tensor, Tensor]:
    try:
        digits = dataset(str(root), train=train, download=False)
    except RuntimeError as error:
        raise FileNotFoundError(
            f"no {dataset.__name__} under {root}: expected the IDX files that torchvision.datasets reads."
        ) from error
    return F.pad(digits.data[:, None], (2, 2, 2, 2)), digits.targets


def mnist(root: str | Path, *, train: bool = True) -> LabelledImages:
    """MNIST padded to 32 x 32, one channel."""
    return LabelledImages(*_padded_digits(Path(root), train=train, dataset=datasets.MNIST))


def fashion_mnist(root: str | Path, *, train: bool = True) -> LabelledImages:
    """Fashion-MNIST padded to 32 x 32, one channel."""
    return LabelledImages(*_padded_digits(Path(root), train=train, dataset=datasets.FashionMNIST))


def digits_on_photographs(root: str | Path, *, train: bool = True, seed: int = 0) -> LabelledImages:
    """Digits on photographs, 32 x 32, three channels, with masks: MNIST-M of Ganin & Lempitsky (ICML 2015).

    For a digit mask m in [0, 1] and a random patch p of a photograph, the image is |p - m| per channel. Training
    images take MNIST's training digits and ``bsds500/train``, test images the test digits and ``bsds500/test``.

    Args:
        root: folder with ``MNIST/raw`` and ``bsds500``.
        seed: which patch goes behind which digit.
    """
    root = Path(root)
    masks, labels = _padded_digits(root, train=train, dataset=datasets.MNIST)
    files = sorted((root / "bsds500" / ("train" if train else "test")).glob("*.jpg"))
    if not files:
        raise FileNotFoundError(f"no photographs (*.jpg) under {root / 'bsds500'}.")
    photographs = [np.asarray(Image.open(file).convert("RGB")) for file in files]
    rng = np.random.default_rng([seed, int(train)])
    patches = np.empty((len(masks), 32, 32, 3), np.uint8)
    for patch, which in zip(patches, rng.integers(len(photographs), size=len(masks)), strict=True):
        photograph = photographs[which]
        top, left = (rng.integers(side - 32 + 1) for side in photograph.shape[:2])
        patch[:] = photograph[top : top + 32, left : left + 32]
    images = (torch.from_numpy(patches).permute(0, 3, 1, 2).to(torch.int16) - masks.to(torch.int16)).abs()
    return LabelledImages(images.to(torch.uint8), labels, masks)


def images_in_folder(folder: str | Path, *, size: int, channels: int, crop: bool = True) -> Tensor:
    """All images in a folder and its subfolders, in order of path: ``(N, channels, size, size)`` uint8.

    The shorter side is resized to ``size`` (antialiased), and the middle is kept; or, with ``crop=False``, both sides
    are resized to ``size``.

    Raises:
        FileNotFoundError: there is no image there.
    """
    folder = Path(folder)
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in datasets.folder.IMG_EXTENSIONS)
    if not files:
        raise FileNotFoundError(f"no images under {folder}.")
    # In this order, as CenterCrop pads.
    prepare = v2.Compose(
        [v2.PILToTensor(), v2.Resize(size if crop else [size, size], antialias=True), v2.CenterCrop(size)]
    )
    images = torch.empty(len(files), channels, size, size, dtype=torch.uint8)
    for image, file in zip(images, files, strict=True):
        with Image.open(file) as picture:
            image[:] = prepare(picture.convert("RGB" if channels == 3 else "L"))
    return images


DATASETS: dict[str, Callable[..., LabelledImages]] = {
    "mnist": mnist,
    "fashion-mnist": fashion_mnist,
    "digits": digits_on_photographs,
}


def read_dataset(name: str, root: str | Path, *, train: bool = True) -> LabelledImages:
    """The data set ``name``, a key of :data:`DATASETS`, from the folder of the data sets.

    Raises:
        DataError: there is no such data set.
    """
    if name not in DATASETS:
        raise DataError(f"there is no data set {name!r}; choose one of {', '.join(DATASETS)}.")
    return DATASETS[name](root, train=train)


def read_labelled(images: str, *, train: bool = True) -> LabelledImages:
    """The data set that ``NAME:FOLDER`` names, as in ``"digits:DATA"``.

    Args:
        images: NAME is a key of :data:`DATASETS`, FOLDER the folder of the data sets.
        train: its training images, or its test images.

    Raises:
        DataError: no such data set, or no data set at all.
        FileNotFoundError: it is not in the folder.
    """
    name, colon, folder = images.partition(":")
    if colon and folder and (name in DATASETS or not Path(images).is_dir()):
        return read_dataset(name, folder, train=train)
    raise DataError(
        f"labelled images are given as NAME:FOLDER, NAME one of {', '.join(DATASETS)}, got {images!r}. Folders of "
        "class subfolders are not read here yet."
    )
