"""Labelled images by name: built-in data sets, and folders of class subfolders, as tensors of one size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor
from torch.nn import functional as F
from torchvision import datasets

from ganaug.devices import own_defaults
from ganaug.errors import DataError
from ganaug.folders import (
    SPLITS,
    LabelledFolder,
    OnError,
    checked_folder,
    find_classes,
    image_files,
    is_foreign,
    open_image,
    sound,
)
from ganaug.streams import Images, images_of


class LabelledImages(NamedTuple):
    """Images ``(N, C, H, W)`` uint8, a large folder's streamed; labels ``(N,)`` int64; and, where the object's outline
    is known, its masks ``(N, 1, H, W)`` uint8 (255 inside the object, 0 outside)."""

    images: Images
    labels: Tensor
    masks: Tensor | None = None


def _padded_digits(root: Path, *, train: bool, dataset: Callable[..., datasets.MNIST]) -> tuple[Tensor, Tensor]:
    try:
        digits = dataset(str(root), train=train, download=False)
    except RuntimeError as error:
        raise DataError(
            f"no {dataset.__name__} under {root}: expected the IDX files that torchvision.datasets reads."
        ) from error
    return F.pad(digits.data[:, None], (2, 2, 2, 2)), digits.targets


@own_defaults
def mnist(root: str | Path, *, train: bool = True) -> LabelledImages:
    """MNIST padded to 32 x 32, one channel."""
    return LabelledImages(*_padded_digits(Path(root), train=train, dataset=datasets.MNIST))


@own_defaults
def fashion_mnist(root: str | Path, *, train: bool = True) -> LabelledImages:
    """Fashion-MNIST padded to 32 x 32, one channel."""
    return LabelledImages(*_padded_digits(Path(root), train=train, dataset=datasets.FashionMNIST))


@own_defaults
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
        raise DataError(f"no photographs (*.jpg) under {root / 'bsds500'}.")
    photographs = [np.asarray(open_image(file, channels=3)) for file in files]
    rng = np.random.default_rng([seed, int(train)])
    patches = np.empty((len(masks), 32, 32, 3), np.uint8)
    for patch, which in zip(patches, rng.integers(len(photographs), size=len(masks)), strict=True):
        photograph = photographs[which]
        top, left = (rng.integers(side - 32 + 1) for side in photograph.shape[:2])
        patch[:] = photograph[top : top + 32, left : left + 32]
    images = (torch.from_numpy(patches).permute(0, 3, 1, 2).to(torch.int16) - masks.to(torch.int16)).abs()
    return LabelledImages(images.to(torch.uint8), labels, masks)


@own_defaults
def images_in_folder(
    folder: str | Path, *, size: int, channels: int, crop: bool = True, on_error: OnError = "fail"
) -> Images:
    """All images in a folder and its subfolders, in order of path: ``(N, channels, size, size)`` uint8.

    A tensor, or where they are more than memory should hold :class:`ganaug.streams.StreamedImages`.

    The shorter side is resized to ``size`` (antialiased), and the middle is kept; or, with ``crop=False``, both sides
    are resized to ``size``. Files are read as :func:`ganaug.folders.open_image` does.

    Args:
        on_error: ``"fail"`` refuses the folder if an image is damaged, ``"skip"`` leaves damaged ones out, with a
            warning that names them.

    Raises:
        DataError: there is no such folder, no image in it, or damaged ones.
    """
    files, _ = sound(image_files(checked_folder(folder)), on_error=on_error)
    if not files:
        raise DataError(f"no images under {folder}.")
    return images_of(files, size=size, channels=channels, crop=crop)


DATASETS: dict[str, Callable[..., LabelledImages]] = {
    "mnist": mnist,
    "fashion-mnist": fashion_mnist,
    "digits": digits_on_photographs,
}


@own_defaults
def read_dataset(name: str, root: str | Path, *, train: bool = True) -> LabelledImages:
    """The data set ``name``, a key of :data:`DATASETS`, from the folder of the data sets.

    Raises:
        DataError: there is no such data set.
    """
    if name not in DATASETS:
        raise DataError(f"there is no data set {name!r}; choose one of {', '.join(DATASETS)}.")
    return DATASETS[name](root, train=train)


@own_defaults
def read_labelled(
    images: str | Path,
    *,
    train: bool = True,
    size: int | None = None,
    channels: int = 3,
    match: Callable[[list[str]], list[int]] | None = None,
    on_error: OnError = "fail",
) -> LabelledImages:
    """Labelled images: a built-in data set, as in ``"digits:DATA"``, or a folder of class subfolders.

    A folder that has parts (``train`` and ``test`` or ``val``) has class subfolders in these; of one that has not,
    every fifth image of each class, in a random order that is always the same, is a test image.

    Args:
        images: a folder; or NAME:FOLDER, with NAME a key of :data:`DATASETS` and FOLDER the folder of the data sets.
        train: its training images, or its test images.
        size, channels: of a folder's images, which are resized as LatentShift does it; built-in ones have their own.
        match: from a folder's class names to a label for each; by default they are numbered in order of name.
        on_error: what to do with damaged files, see :func:`ganaug.folders.sound`.

    Raises:
        DataError: no such data set or folder, no data set at all, or damaged files.
    """
    if (built_in := _built_in(images)) is not None:
        return read_dataset(*built_in, train=train)
    if not str(images) or not Path(images).is_dir():
        raise DataError(
            f"labelled images are a folder of class subfolders, or NAME:FOLDER with NAME one of "
            f"{', '.join(DATASETS)}; got {str(images)!r}, which is no folder."
        )
    if size is None:
        raise DataError(f"the size that the images of {images} should have is not given.")
    return _labelled_folder(Path(images), train, size, channels, match, on_error)


class Kind(NamedTuple):
    """What the images of a folder, or of a built-in data set, are.

    Attributes:
        channels: 1 where all that were looked at are grey, else 3.
        side: the median of their shorter sides, in pixels.
        class_names: of two or more class subfolders; none where images lie in one folder, or have no classes.
    """

    channels: int
    side: int
    class_names: list[str]


@own_defaults
def kind_of_images(images: str | Path, *, most: int = 64) -> Kind:
    """Look at some images of a folder, or of a built-in data set as in ``"digits:DATA"``.

    Args:
        most: files that are opened, spread over all of them; damaged ones are passed over.

    Raises:
        DataError: no such data set or folder, or no image that can be read.
    """
    if (built_in := _built_in(images)) is not None:
        data = read_dataset(*built_in, train=False)
        return Kind(
            data.images.shape[1], data.images.shape[-1], [str(label) for label in range(int(data.labels.max()) + 1)]
        )
    root = checked_folder(images)
    part = _part(root, train=True)
    files = image_files(root if part is None else part)
    step = max(1, len(files) // most)
    opened = [picture for file in files[::step] if (picture := _opened(file)) is not None]
    if not opened:
        raise DataError(f"no images under {root}." if not files else f"no image under {root} can be read.")
    side = int(np.median([min(picture.size) for picture in opened]))
    return Kind(1 if all(map(_is_grey, opened)) else 3, side, _class_names(root if part is None else part))


@own_defaults
def read_images(
    images: str | Path, *, train: bool = True, size: int, channels: int, on_error: OnError = "fail"
) -> LabelledImages:
    """Images with the labels that they have: see :func:`read_labelled`; where there is one class, or none, the labels
    are all 0, and every fifth image is a test image.

    Raises:
        DataError: see :func:`read_labelled`.
    """
    if (built_in := _built_in(images)) is not None:
        return read_dataset(*built_in, train=train)
    root = checked_folder(images)
    part = _part(root, train)
    if _class_names(root if part is None else part):
        return read_labelled(images, train=train, size=size, channels=channels, on_error=on_error)
    files, _ = sound(image_files(root if part is None else part), on_error=on_error)
    if not files:
        raise DataError(f"no images under {root}.")
    if part is None:
        if len(files) < 2:
            raise DataError(f"{root} holds one image, which can't be parted into training and test images.")
        files = [files[index] for index in _split([0] * len(files), train)]
    pixels = images_of(files, size=size, channels=channels)
    return LabelledImages(pixels, torch.zeros(len(files), dtype=torch.int64))


def _built_in(images: str | Path) -> tuple[str, str] | None:
    """Name and folder of a built-in data set; None of a folder's path."""
    name, colon, folder = str(images).partition(":")
    return (name, folder) if colon and folder and (name in DATASETS or not Path(images).is_dir()) else None


def _class_names(root: Path) -> list[str]:
    """The class subfolders, if there are two or more; images that lie beside them are said to be left out later."""
    if not any(entry.is_dir() and not is_foreign(entry.name) for entry in root.iterdir()):
        return []
    names = find_classes(root)
    return names if len(names) > 1 else []


def _opened(file: Path) -> Image | None:
    try:
        return open_image(file)
    except DataError:
        return None


def _is_grey(picture: Image) -> bool:
    if picture.mode == "L":
        return True
    red, green, blue = np.asarray(picture.convert("RGB")).transpose(2, 0, 1)
    return bool((red == green).all() and (green == blue).all())


def _labelled_folder(
    root: Path,
    train: bool,
    size: int,
    channels: int,
    match: Callable[[list[str]], list[int]] | None,
    on_error: OnError,
) -> LabelledImages:
    part = _part(root, train)
    folder = LabelledFolder(root if part is None else part, on_error=on_error, channels=channels)
    chosen = range(len(folder.samples)) if part is not None else _split(folder.targets, train, folder.classes)
    images = images_of([folder.samples[index][0] for index in chosen], size=size, channels=channels)
    of_class = list(range(len(folder.classes))) if match is None else match(folder.classes)
    return LabelledImages(images, torch.tensor([of_class[folder.targets[index]] for index in chosen]))


def _part(root: Path, train: bool) -> Path | None:
    """The subfolder of the training, or test, images; None where a folder has no parts."""
    parts = {entry.name.lower(): entry for entry in root.iterdir() if entry.is_dir() and entry.name.lower() in SPLITS}
    if not parts:
        return None
    wanted = ("train", "training") if train else ("test", "testing", "val", "valid", "validation", "dev")
    found = [parts[name] for name in wanted if name in parts]
    if not found:
        raise DataError(f"{root} has {', '.join(sorted(parts))}, and no {' or '.join(wanted)}.")
    return found[0]


def _split(labels: list[int], train: bool, class_names: Sequence[str] = (), *, test_share: float = 0.2) -> list[int]:
    """Indices of the training, or test, images: the same share of each class, always the same images."""
    rng, chosen = np.random.default_rng(0), []
    for label in sorted(set(labels)):
        indices = rng.permutation([index for index, other in enumerate(labels) if other == label])
        held_out = max(1, round(test_share * len(indices)))
        if len(indices) < 2:
            name = class_names[label] if label < len(class_names) else label
            raise DataError(
                f"class {name} has one image, which can't be parted into training and test images. Give it another, or "
                "move the class away."
            )
        chosen += indices[held_out:].tolist() if train else indices[:held_out].tolist()
    return sorted(chosen)
