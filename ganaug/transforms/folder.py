"""A folder of images, augmented on disk."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms import v2
from tqdm.auto import tqdm

from ganaug.devices import chosen_dtype, default_device, own_defaults
from ganaug.errors import DataError, FileError, PackError, TransformError, counted, listed
from ganaug.files import check_can_be_made, in_threads, read_json, write_json
from ganaug.folders import SPLITS, LabelledFolder, OnError, checked_folder, is_foreign
from ganaug.inversion import check_domain_of_files, classes_of_folder, stored_latents
from ganaug.locks import alone, replacing
from ganaug.marks import folder_made
from ganaug.packs import DirectionPack
from ganaug.places import exists, is_folder, kind_of
from ganaug.ranks import sharing
from ganaug.swaps import is_empty
from ganaug.transforms.batches import FileShifter, Job, Shifted
from ganaug.transforms.choice import Choice, Magnitude
from ganaug.transforms.sources import check_source, sources_of_pack

PROGRESS_FILE = ".ganaug-augment.json"
"""Lies in the folder of augmented images and says what is made there, so that the same call goes on with it."""


EARLIER = {"dtype": "float32", "balance": False, "latents": "found"}
"""What calls of before meant that did not say it."""

LATENTS = ("auto", "stored", "find")

PNG_END = b"\0\0\0\0IEND\xaeB`\x82"


@dataclass(frozen=True)
class Augmented:
    """What :func:`augment_folder` did.

    Attributes:
        written: images made now.
        kept: images that an earlier call had made.
        skipped: damaged images that were left out, and what is wrong with each.
        stored: images whose stored latents were used, out of ``images``.
        beside: parts of the data set that were left alone, as ``("test",)``.
    """

    written: int
    kept: int
    skipped: dict[Path, str]
    stored: int
    images: int
    beside: tuple[str, ...]


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
    balance: bool = False,
    split: str | None = None,
    latents: str = "auto",
    check_domain: bool = True,
    on_error: OnError = "fail",
    seed: int = 0,
    dtype: str = "auto",
    device: str | torch.device | None = None,
    share: bool = False,
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
        copies: how many shifted images to make of each image; with ``balance`` of each of the largest class.
        balance: fill every class of ``out`` up to the largest, with more copies of each image of the smaller ones, as
            many of one as of another, give or take one.
        classes: what the generator's classes are called in ``images``, in the generator's order; an empty list lets the
            encoder read the class of each image.
        split: ``"train"`` takes the class subfolders in ``images/train``, and leaves what lies beside it alone.
        latents: ``"auto"`` uses those that :func:`ganaug.inversion.invert_folder` has stored of unchanged images, and
            finds the others; ``"stored"`` refuses images without; ``"find"`` finds all anew.
        check_domain: refuse images that are not of the pack's kind, see :func:`ganaug.inversion.check_domain`.
        on_error: ``"fail"`` refuses a folder with damaged images before it begins, ``"skip"`` leaves them out.
        seed: of all draws.
        dtype: as for :class:`~ganaug.transforms.LatentShift`.
        device: defaults to CUDA when there is one, else the CPU.
        share: under ``torchrun`` all processes call this, and each does its share, see :mod:`ganaug.ranks`.

    Raises:
        TransformError: arguments that don't fit the pack, or images of another kind than the pack's.
        DataError: no class subfolders with images, damaged ones, or classes that the generator doesn't have.
        FileError: ``out`` holds something else, lies inside ``images``, or can't be written to; or another process
            writes there.
    """
    images, out, root = Path(images), Path(out), Path(images)
    images, beside = (images, []) if split is None else training_part(images, split)
    if latents not in LATENTS:
        raise TransformError(f"latents should be one of {', '.join(LATENTS)}; got {latents!r}.")
    if isinstance(copies, bool) or not isinstance(copies, int) or copies < 1:
        raise TransformError(f"copies should be a whole number of at least 1, got {copies!r}.")
    pack = pack if isinstance(pack, DirectionPack) else DirectionPack.from_pretrained(pack)
    if source == "auto":
        source = "invert" if pack.has_encoder else "sample"
    check_source(source, blend)
    target = default_device(device)
    dtype = chosen_dtype(dtype, target)
    choice = Choice(pack, direction, num_ops=num_ops, magnitude=magnitude)
    sources_of_pack(choice, source, blend=blend, dtype=dtype)
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
        "dtype": dtype,
        "balance": balance,
    }
    _check_place(root, out, making)
    check_can_be_made(out / PROGRESS_FILE)
    folder = LabelledFolder(images, on_error=on_error)
    of_class = classes_of_folder(pack, folder.classes, classes, where=str(images), required=source == "sample")
    counts = _balanced(folder.targets, copies) if balance else [copies] * len(folder.samples)
    jobs = [
        Job(file, name, None if of_class is None else of_class[label], _files_of(out, name, count))
        for (file, name, label), count in zip(_names(folder), counts, strict=True)
    ]
    _refuse_leftovers(out, jobs)
    jobs, how = _with_latents(jobs, folder, pack, latents if source == "invert" else "find")
    making["latents"] = how
    _check_place(root, out, making)
    if check_domain:
        check_domain_of_files(pack, [file for file, _ in folder.samples], device=target)
    shifter = FileShifter(choice, source=source, blend=blend, seed=seed, device=target, dtype=dtype)
    with sharing(share, target) as ranks, _held(out, ranks.rank):
        if not ranks.rank:
            _check_place(root, out, making)  # another process may have begun meanwhile
            write_json(out / PROGRESS_FILE, making)
        ranks.wait()
        own = ranks.own(jobs)
        missing = [job._replace(files=absent) for job in own if (absent := _absent(job))]
        total, shown = sum(len(job.files) for job in own), show_progress and not ranks.rank
        written = sum(ranks.gathered(_write_all(shifter, missing, total=total, show_progress=shown)))
    used = sum(job.stored is not None for job in jobs)
    return Augmented(written, sum(counts) - written, folder.skipped, used, len(jobs), tuple(beside))


def _files_of(out: Path, name: Path, copies: int) -> dict[int, Path]:
    return {copy: out / name.with_name(f"{name.name}_{copy}.png") for copy in range(copies)}


@contextmanager
def _held(out: Path, rank: int) -> Iterator[None]:
    """The first of the processes that share the work makes the folder, and keeps others out."""
    if rank:
        yield
        return
    with folder_made(out), alone(out / PROGRESS_FILE):
        yield


def training_part(root: Path, split: str) -> tuple[Path, list[str]]:
    """The folder of the training images of a data set, and the names of its other parts.

    Raises:
        TransformError: another split than ``"train"``.
        DataError: no such folder, none of training images in it, or folders that are no parts of a data set.
    """
    if split != "train":
        raise TransformError(f'split should be "train", or None for a folder without parts; got {split!r}.')
    names = sorted(entry.name for entry in checked_folder(root).iterdir() if entry.is_dir())
    names = [name for name in names if not is_foreign(name)]
    found = [name for name in names if name.lower() in ("train", "training")]
    if len(found) != 1 or any(name.lower() not in SPLITS for name in names):
        raise DataError(
            f"{root} should hold train/, and beside it nothing but test/ or val/; it holds {listed(names) or 'none'}. "
            "Leave split out for a folder of class subfolders."
        )
    return root / found[0], [name for name in names if name != found[0]]


def _balanced(targets: Sequence[int], copies: int) -> list[int]:
    """How many copies to make of each image, so that all classes get as many as the largest."""
    sizes, seen, counts = Counter(targets), Counter[int](), []
    most = copies * max(sizes.values())
    for label in targets:
        counts.append(most // sizes[label] + (seen[label] < most % sizes[label]))
        seen[label] += 1
    return counts


def _with_latents(jobs: list[Job], folder: LabelledFolder, pack: DirectionPack, latents: str) -> tuple[list[Job], str]:
    """Jobs with their stored latents, and how all latents are come by, in words."""
    stored = None if latents == "find" else stored_latents(folder, pack)
    rows = {} if stored is None else stored.rows
    used = [
        job._replace(stored=row)
        if (row := rows.get(name)) is not None
        and stored is not None
        and (stored.read if job.label is None else int(row[1]) == job.label)
        else job
        for job, name in zip(jobs, folder.names(), strict=True)
    ]
    without = [job.file for job in used if job.stored is None]
    if latents == "stored" and without:
        raise PackError(
            f"there are no stored latents of pack {pack.name!r} of {counted(len(without), 'image')}, as they are now "
            f"and of their classes: {listed(without)}. Run ganaug invert {folder.root} --pack {pack.name} --update."
        )
    return used, "found" if stored is None or len(without) == len(used) else stored.how


def _write_all(shifter: FileShifter, jobs: list[Job], *, total: int, show_progress: bool) -> int:
    """Write the images of jobs, and return how many they are."""

    def write(shifted: Shifted) -> int:
        for file, image in zip(shifted.job.files.values(), shifted.images(), strict=True):
            _write_png(file, image)
        return len(shifted.job.files)

    wanted = sum(len(job.files) for job in jobs)
    with tqdm(total=total, initial=total - wanted, desc="augment", unit="images", disable=not show_progress) as bar:
        for count in in_threads(write, shifter(jobs), ahead=shifter.batch):
            bar.update(count)
    return wanted


def _refuse_leftovers(out: Path, jobs: Sequence[Job]) -> None:
    """``FileError`` for images in ``out`` that no image of this call is the source of."""
    wanted = {file for job in jobs for file in job.files.values()}
    if others := sorted(str(file) for file in out.rglob("*.png") if file not in wanted):
        raise FileError(
            f"{out} holds images whose sources are gone, or have another name or class since, or of which a balanced "
            f"folder has fewer copies now: {listed(others)}. Delete them, or choose another folder."
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


def _absent(job: Job) -> dict[int, Path]:
    """A job's files that are not there whole, made since its image was changed."""
    changed = os.stat(job.file).st_mtime_ns
    return {
        copy: file
        for copy, file in job.files.items()
        if not (file.exists() and file.stat().st_mtime_ns >= changed and _is_whole(file))
    }


def _is_whole(file: Path) -> bool:
    """Whether a PNG is not cut off, by its last chunk."""
    with file.open("rb") as content:
        content.seek(max(0, file.stat().st_size - len(PNG_END)))
        return content.read() == PNG_END


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
    begun = {**EARLIER, **read_json(out / PROGRESS_FILE)}
    apart = [f"{key} {begun.get(key)!r}, not {value!r}" for key, value in making.items() if begun.get(key) != value]
    if apart:
        raise FileError(
            f"{out} holds images of another call: {'; '.join(apart)}. Go on with the same arguments, or choose another "
            "folder."
        )
