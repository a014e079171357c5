"""A folder of images, augmented on disk."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms import v2
from tqdm.auto import tqdm

from ganaug.devices import default_device, own_defaults
from ganaug.draws import seeded
from ganaug.errors import FileError, TransformError, listed
from ganaug.files import check_can_be_made, read_json, write_json
from ganaug.folders import LabelledFolder, OnError, read_image
from ganaug.inversion import check_domain_of_files, classes_of_folder
from ganaug.locks import alone, replacing
from ganaug.marks import folder_made
from ganaug.packs import DirectionPack
from ganaug.places import exists, is_folder, kind_of
from ganaug.swaps import is_empty
from ganaug.transforms.choice import Magnitude
from ganaug.transforms.latent_shift import LatentShift

PROGRESS_FILE = ".ganaug-augment.json"
"""Lies in the folder of augmented images and says what is made there, so that the same call goes on with it."""


PNG_END = b"\0\0\0\0IEND\xaeB`\x82"


@dataclass(frozen=True)
class Augmented:
    """What :func:`augment_folder` did.

    Attributes:
        written: images made now.
        kept: images that an earlier call had made.
        skipped: damaged images that were left out, and what is wrong with each.
    """

    written: int
    kept: int
    skipped: dict[Path, str]


@own_defaults
def augment_folder(
    images: str | Path,
    out: str | Path,
    direction: str | int | Sequence[str | int],
    *,
    pack: str | Path | DirectionPack,
    source: str = "auto",
    blend: str = "add",
    copies: int = 1,
    magnitude: Magnitude = "safe",
    num_ops: int = 1,
    classes: Sequence[str] | None = None,
    check_domain: bool = True,
    on_error: OnError = "fail",
    seed: int = 0,
    device: str | torch.device | None = None,
    show_progress: bool = True,
) -> Augmented:
    """Shift every image of a folder of class subfolders, and write the results into the same subfolders of another.

    Subfolders are matched with the generator's classes by name. The same call goes on where an earlier one stopped, or
    with images that came since, with the same result: what is drawn for an image depends on ``seed`` and its name.

    Args:
        images: class subfolders of images, see :class:`ganaug.folders.LabelledFolder`.
        out: a folder that is empty, not there yet, or of the same call; gets ``CLASS/NAME_0.png`` and so on, of the
            images' own sizes.
        direction, pack, blend, magnitude, num_ops: as for :class:`~ganaug.transforms.LatentShift`.
        source: ``"sample"`` replaces images by new ones of the same classes, ``"invert"`` changes the images
            themselves, ``"auto"`` inverts if the pack has an encoder.
        copies: how many shifted images to make of each image.
        classes: what the generator's classes are called in ``images``, in the generator's order; an empty list lets the
            encoder read the class of each image.
        check_domain: refuse images that are not of the pack's kind, see :func:`ganaug.inversion.check_domain`.
        on_error: ``"fail"`` refuses a folder with damaged images before it begins, ``"skip"`` leaves them out.
        seed: of all draws.
        device: defaults to CUDA when there is one, else the CPU.

    Raises:
        TransformError: arguments that don't fit the pack, or images of another kind than the pack's.
        DataError: no class subfolders with images, damaged ones, or classes that the generator doesn't have.
        FileError: ``out`` holds something else, lies inside ``images``, or can't be written to; or another process
            writes there.
    """
    images, out = Path(images), Path(out)
    if isinstance(copies, bool) or not isinstance(copies, int) or copies < 1:
        raise TransformError(f"copies should be a whole number of at least 1, got {copies!r}.")
    pack = pack if isinstance(pack, DirectionPack) else DirectionPack.from_pretrained(pack)
    if source == "auto":
        source = "invert" if pack.has_encoder else "sample"
    how: dict[str, Any] = {"magnitude": magnitude, "num_ops": num_ops, "source": source, "blend": blend}
    shift = LatentShift(direction, pack=pack, p=1.0, check_domain=False, **how)
    making = {
        "images": str(images.resolve()),
        "direction": direction if isinstance(direction, (str, int)) else list(direction),
        "generator_sha256": pack.generator_entry().get("sha256"),
        "pack": pack.name,
        "magnitude": list(magnitude) if isinstance(magnitude, (tuple, list)) else magnitude,
        "source": source,
        "blend": blend,
        "copies": copies,
        "num_ops": num_ops,
        "seed": seed,
    }
    _check_place(images, out, making)
    check_can_be_made(out / PROGRESS_FILE)
    folder = LabelledFolder(images, on_error=on_error)
    of_class = classes_of_folder(pack, folder.classes, classes, where=str(images), required=source == "sample")
    _refuse_leftovers(out, {file for _, name, _ in _names(folder) for file in _files_of(out, name, copies)})
    target = default_device(device)
    if check_domain:
        check_domain_of_files(pack, [file for file, _ in folder.samples], device=target)
    written = 0
    with folder_made(out), alone(out / PROGRESS_FILE):
        _check_place(images, out, making)  # another process may have begun meanwhile
        write_json(out / PROGRESS_FILE, making)
        for file, name, label in tqdm(_names(folder), "augment", len(folder.samples), disable=not show_progress):
            files = _files_of(out, name, copies)
            if _are_there(files, since=file):
                continue
            picture = read_image(file, channels=pack.generator.channels).to(target)
            shifted = _shifted(shift, picture, None if of_class is None else of_class[label], copies, seed, name)
            for each, image in zip(files, shifted, strict=True):
                _write_png(each, image)
            written += copies
    return Augmented(written, copies * len(folder.samples) - written, folder.skipped)


def _files_of(out: Path, name: Path, copies: int) -> list[Path]:
    return [out / name.with_name(f"{name.name}_{copy}.png") for copy in range(copies)]


def _refuse_leftovers(out: Path, wanted: set[Path]) -> None:
    """``FileError`` for images in ``out`` that no image of this call is the source of."""
    if others := sorted(str(file) for file in out.rglob("*.png") if file not in wanted):
        raise FileError(
            f"{out} holds images whose sources are gone, or have another name or class since: {listed(others)}. Delete "
            "them, or choose another folder."
        )


def _write_png(file: Path, image: Tensor) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as scratch:
            v2.functional.to_pil_image(image).save(scratch, format="PNG")
    except OSError as error:
        raise FileError(
            f"{file} can't be written ({error.strerror or error}). The same call goes on from there."
        ) from error


def _are_there(files: list[Path], *, since: str) -> bool:
    """Whether whole images are there that were made since a file was changed."""
    changed = os.stat(since).st_mtime_ns
    return all(each.exists() and each.stat().st_mtime_ns >= changed and _is_whole(each) for each in files)


def _is_whole(file: Path) -> bool:
    """Whether a PNG is not cut off, by its last chunk."""
    with file.open("rb") as content:
        content.seek(max(0, file.stat().st_size - len(PNG_END)))
        return content.read() == PNG_END


def _shifted(shift: LatentShift, picture: Tensor, label: int | None, copies: int, seed: int, name: Path) -> Tensor:
    """Shifted copies of one image, on the CPU; draws depend on the seed and the image's name alone."""
    batch = picture.expand(copies, -1, -1, -1)
    with torch.random.fork_rng(devices=[]):
        rng = seeded(seed, *name.as_posix().encode())
        torch.manual_seed(int(torch.randint(2**62, (), generator=rng)))
        if label is None:
            images: Tensor = shift(batch)
        else:
            images = shift(batch, torch.full((copies,), label, device=batch.device))[0]
    return images.cpu()


def _names(folder: LabelledFolder) -> Iterator[tuple[str, Path, int]]:
    """For each image its file, its path in the folder without the ending, unless it needs that to tell it from others,
    and its class."""
    stems = Counter(Path(path).with_suffix("") for path, _ in folder.samples)
    for path, label in folder.samples:
        file = Path(path).relative_to(folder.root)
        yield path, file.with_suffix("") if stems[Path(path).with_suffix("")] == 1 else file, label


def _check_place(images: Path, out: Path, making: dict[str, Any]) -> None:
    """``FileError`` unless ``out`` is empty, not there, or holds work of the same call."""
    if out.exists() and not out.is_dir():
        raise FileError(f"{out} is a file. Choose another name for the folder of augmented images.")
    if blocked := next((above for above in out.parents if exists(above) and not is_folder(above)), None):
        raise FileError(f"{out} can't be made: {blocked} is {kind_of(blocked)}, not a folder.")
    if out.resolve() == images.resolve():
        raise FileError(f"{out} is the folder of the images themselves. Choose another folder.")
    if out.resolve().is_relative_to(images.resolve()):
        raise FileError(f"{out} lies inside {images}, and would be taken for a class. Choose another folder.")
    if not out.exists() or is_empty(out):
        return
    if not (out / PROGRESS_FILE).is_file():
        raise FileError(f"{out} is not empty. Choose another folder, so that nothing is overwritten.")
    begun = read_json(out / PROGRESS_FILE)
    apart = [f"{key} {begun.get(key)!r}, not {value!r}" for key, value in making.items() if begun.get(key) != value]
    if apart:
        raise FileError(
            f"{out} holds images of another call: {'; '.join(apart)}. Go on with the same arguments, or choose another "
            "folder."
        )
