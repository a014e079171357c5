"""Images that come from disk: the only place that opens them, finds them, and knows which folders are classes."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from threading import Lock
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torchvision.datasets import ImageFolder
from torchvision.datasets.folder import IMG_EXTENSIONS
from torchvision.transforms import v2
from tqdm.auto import tqdm

from ganaug.errors import DataError, FileError, counted, listed, printable
from ganaug.files import check_regular, in_threads

OnError = Literal["fail", "skip"]

BACKDROP = (255, 255, 255)
"""What transparent pixels are put on: white."""

FOREIGN = {"__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found"}
"""Folders that operating systems and storage boxes leave in others, in lower case; so are all whose name begins with a
dot."""

PATIENCE = 3
"""Seconds after which a progress bar appears."""

SPLITS = {"train", "training", "test", "testing", "val", "valid", "validation", "dev"}

MODEST, DENSEST = 2**25, 500
"""Pixels that any file may have, and pixels for each byte of a larger one: blank JPEGs reach 170, bombs 1,000."""

OPENING = Lock()
"""Python's filters of warnings belong to all threads together, so one at a time changes them."""

SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N", "I")
TRANSPARENT = ("LA", "La", "PA", "RGBA", "RGBa")
EIGHT_BIT = ("1", "L", "P", "RGB", "CMYK", "YCbCr", "HSV", *TRANSPARENT)


def is_foreign(name: str) -> bool:
    """Whether a file or folder of that name is hidden, or is none of the user's own."""
    return name.startswith(".") or name.lower() in FOREIGN


# -- one file -------------------------------------------------------------------------------------------------------


def open_image(path: str | Path, *, channels: int | None = None) -> Image.Image:
    """Open an image file as people see it: turned as its EXIF orientation says, 8 bits, nothing transparent.

    16 bits are scaled to 8; transparent pixels are put on white; palettes, CMYK, YCbCr, HSV and one bit are converted.
    Of several frames or pages the first is taken.

    Args:
        channels: 1 for mode ``L``, 3 for mode ``RGB``; None for whichever of the two the file is.

    Raises:
        DataError: the file is missing, empty, damaged, cut off, too large (more than twice
            ``PIL.Image.MAX_IMAGE_PIXELS``, or more than 33 million pixels out of some kilobytes), no image, or of a
            mode without a defined range; the message names it.
    """
    try:
        size = check_regular(Path(path))
        with _opened(path) as picture:
            _check_proportion(picture, size)
            picture.load()
            upright = ImageOps.exif_transpose(picture) if (orientation(picture) or 1) > 1 else picture.copy()
    except FileError as error:
        there = f"{path} can't be read as an image: {_reason(path, error)}"
        raise DataError(there if os.path.exists(path) else f"{path} does not exist.") from error
    except Exception as error:  # decoders raise what they like on damaged files
        raise DataError(f"{path} can't be read as an image: {_reason(path, error)}") from error
    try:
        image = _as_seen(upright)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    if channels is None:
        return image
    return image.convert("L" if channels == 1 else "RGB")


def read_image(path: str | Path, *, channels: int) -> Tensor:
    """:func:`open_image` as a tensor ``(channels, H, W)`` uint8."""
    pixels: Tensor = v2.functional.pil_to_tensor(open_image(path, channels=channels))
    return pixels


def fitted(image: Image.Image, size: int, *, crop: bool) -> Tensor:
    """An image as ``(C, size, size)`` uint8: the middle of the shorter side, or with ``crop=False`` all of it."""
    # In this order, as CenterCrop pads.
    steps = [v2.PILToTensor(), v2.Resize(size if crop else [size, size], antialias=True), v2.CenterCrop(size)]
    pixels: Tensor = v2.Compose(steps)(image)
    return pixels


def orientation(picture: Image.Image) -> int | None:
    """The EXIF orientation, 1 (upright) where there is none; None where it can't be read or is none of the eight.

    Viewers show images of the last kind as they are stored, and so does ganaug; ``ganaug check`` names them.
    """
    try:
        found = picture.getexif().get(0x0112, 1)
    except Exception:  # Pillow raises what it likes on damaged EXIF
        return None
    return found if found in range(1, 9) else None


def _opened(path: str | Path) -> Image.Image:
    """A file's header is read; without the warning of many pixels, which :func:`_check_proportion` judges."""
    with OPENING, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return Image.open(path)


def _check_proportion(picture: Image.Image, size: int) -> None:
    """``DataError`` for a picture that should not be decoded: a bomb, or one that a program would be run for."""
    if picture.format == "EPS":
        raise DataError("PostScript is a program, and is not run")
    pixels = picture.width * picture.height
    if pixels > MODEST and pixels > DENSEST * size:
        raise DataError(f"its {size:,} bytes would become {pixels:,} pixels")


def _as_seen(picture: Image.Image) -> Image.Image:
    """An image of any mode as ``L`` or ``RGB``, nothing transparent."""
    if picture.mode in SIXTEEN_BIT:
        return _from_sixteen_bit(picture)
    if picture.mode not in EIGHT_BIT:
        raise DataError(
            f"an image of mode {picture.mode}, whose values have no range that says what is black and white. Convert "
            "it to 8 or 16 bits."
        )
    if picture.mode in TRANSPARENT or "transparency" in picture.info:
        whole = (picture.convert("LA") if picture.mode == "La" else picture).convert("RGBA")
        backdrop = Image.new("RGBA", whole.size, (*BACKDROP, 255))
        seen = Image.alpha_composite(backdrop, whole).convert("RGB")
        return seen.convert("L") if picture.mode in ("L", "LA", "La", "1") else seen
    return picture.convert("L" if picture.mode in ("1", "L") else "RGB")


def _from_sixteen_bit(picture: Image.Image) -> Image.Image:
    values = np.asarray(picture).astype(np.int64)
    if values.min(initial=0) < 0 or values.max(initial=0) > 65535:
        raise DataError("32-bit integers, of no range that says what is black and white. Convert it to 8 or 16 bits.")
    transparent = picture.info.get("transparency")
    if isinstance(transparent, int):
        values = np.where(values == transparent, 65535, values)
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))


def _reason(path: str | Path, error: Exception) -> str:
    if os.path.isdir(path):
        return "it is a folder."
    if isinstance(error, DataError | FileError):
        return f"{str(error).removeprefix(f'{path} ').rstrip('.')}."
    if os.path.exists(path) and not os.path.getsize(path):
        return "the file is empty."
    if isinstance(error, UnidentifiedImageError):
        return "it is no image, or one of a kind that Pillow does not know."
    return f"{str(error).replace(str(path), '').strip() or type(error).__name__} ({type(error).__name__})."


# -- files in a folder ----------------------------------------------------------------------------------------------


def checked_folder(folder: str | Path) -> Path:
    """The folder; ``DataError`` if there is none."""
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder} is {'a file, not a folder' if folder.exists() else 'not there'}: expected images.")
    return folder


def image_files(folder: str | Path) -> list[Path]:
    """All image files in a folder and its subfolders, in order of path; hidden and foreign ones are left out.

    Raises:
        DataError: there is no such folder.
    """
    found: list[Path] = []
    seen: set[str] = set()
    for root, folders, files in os.walk(checked_folder(folder), followlinks=True):
        real = os.path.realpath(root)
        if real in seen:  # a link that leads back up
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not is_foreign(name)]
        found += [Path(root, name) for name in files if is_image_name(name)]
    return sorted(found)


def is_image_name(name: str) -> bool:
    """Whether a file's name has an ending of torchvision's list, and is not hidden."""
    return name.lower().endswith(IMG_EXTENSIONS) and not is_foreign(name)


def sound(files: Iterable[Path], *, on_error: OnError = "fail") -> tuple[list[Path], dict[Path, str]]:
    """Open every file, and part those that are images from damaged ones, with what is wrong with each.

    Args:
        on_error: ``"fail"`` refuses damaged files, ``"skip"`` warns and goes on without them.

    Raises:
        DataError: there are damaged files; some are named.
    """
    if on_error not in ("fail", "skip"):
        raise DataError(f'on_error should be "fail" or "skip", got {on_error!r}.')
    good: list[Path] = []
    bad: dict[Path, str] = {}
    files = list(files)
    wrong = tqdm(in_threads(_what_is_wrong, files), "checking", len(files), leave=False, delay=PATIENCE)
    for file, reason in zip(files, wrong, strict=True):
        if reason is None:
            good.append(file)
        else:
            bad[file] = reason
    if bad and on_error == "fail":
        raise DataError(
            f"{len(bad)} of {len(bad) + len(good)} images can't be read: {listed(list(bad.values()))} Mend or remove "
            'them, or leave them out with on_error="skip" (--on-error skip).'
        )
    if bad:
        told = f"{counted(len(bad), 'image')} left out: {listed(list(bad.values()))}"
        warnings.warn(printable(told), stacklevel=2)
    return good, bad


def _what_is_wrong(file: Path) -> str | None:
    try:
        open_image(file)
    except DataError as error:
        return str(error)
    return None


# -- class subfolders -----------------------------------------------------------------------------------------------


def find_classes(root: str | Path) -> list[str]:
    """The names of the class subfolders, in torchvision's order, that of their names as text; foreign ones left out.

    Raises:
        DataError: no such folder, no class subfolder, or subfolders that are the parts of a data set.
    """
    root = checked_folder(root)
    names = sorted(entry.name for entry in os.scandir(root) if entry.is_dir() and not is_foreign(entry.name))
    if not names:
        raise DataError(f"{root} has no class subfolders: expected {root}/CLASS/IMAGE.png and so on.")
    if all(name.lower() in SPLITS for name in names):
        raise DataError(
            f"{root} holds {', '.join(names)}, which are parts of a data set and no classes. Give one of them: "
            f"{root / names[0]}."
        )
    return names


class LabelledFolder(ImageFolder):  # type: ignore[misc]  # torchvision has no types
    """An ``ImageFolder`` that opens files as :func:`open_image` does and leaves hidden and foreign ones out.

    Args:
        root: class subfolders of images.
        on_error: None opens files when they are asked for; ``"fail"`` and ``"skip"`` open all of them first, see
            :func:`sound`.
        channels: see :func:`open_image`.

    Attributes:
        samples: each image's path and class.
        skipped: damaged files that were left out, and what is wrong with each.

    Raises:
        DataError: no class subfolders, a class without images, or damaged images.
    """

    samples: list[tuple[str, int]]

    def __init__(
        self,
        root: str | Path,
        transform: Callable[..., Any] | None = None,
        target_transform: Callable[..., Any] | None = None,
        *,
        on_error: OnError | None = None,
        channels: int | None = None,
    ) -> None:
        self.skipped: dict[Path, str] = {}
        super().__init__(
            str(root), transform, target_transform, loader=lambda path: open_image(path, channels=channels)
        )
        if beside := [entry.name for entry in os.scandir(root) if entry.is_file() and is_image_name(entry.name)]:
            told = (
                f"{counted(len(beside), 'image')} beside the class subfolders of {root}, in no class, left out: "
                f"{listed(beside)}."
            )
            warnings.warn(printable(told), stacklevel=2)
        if on_error is not None:
            _, self.skipped = sound([Path(path) for path, _ in self.samples], on_error=on_error)
            self.leave_out(self.skipped)
            if not self.samples:
                raise DataError(f"no image under {root} can be read: {listed(list(self.skipped.values()))}")

    def leave_out(self, files: Iterable[Path]) -> None:
        """Go on without some of the images."""
        gone = set(files)
        self.samples = self.imgs = [(path, label) for path, label in self.samples if Path(path) not in gone]
        self.targets = [label for _, label in self.samples]

    def find_classes(self, directory: str) -> tuple[list[str], dict[str, int]]:
        names = find_classes(directory)
        return names, {name: index for index, name in enumerate(names)}

    @staticmethod
    def make_dataset(directory: str, class_to_idx: Mapping[str, int], *args: Any, **_: Any) -> list[tuple[str, int]]:
        files = {name: image_files(Path(directory, name)) for name in class_to_idx}
        if empty := [name for name, found in files.items() if not found]:
            raise DataError(f"no images in {listed([str(Path(directory, name)) for name in empty])}.")
        return [(str(file), class_to_idx[name]) for name, found in files.items() for file in found]

    def names(self) -> list[str]:
        """Each image's path under the root, with slashes."""
        return [Path(file).relative_to(self.root).as_posix() for file, _ in self.samples]
