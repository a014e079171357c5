"""Images with stored latents, so that training epochs only shift and draw."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from tqdm.auto import tqdm

from ganaug.devices import check_dtype, chosen_dtype, default_device, own_defaults, padded
from ganaug.errors import FileError, PackError, TransformError, listed
from ganaug.files import check_regular, check_writable, in_threads, write_safetensors
from ganaug.folders import LabelledFolder, OnError, fitted, open_image
from ganaug.generators import Generator
from ganaug.images import to_unit, unit_to_signed
from ganaug.inversion.classes import classes_of_folder
from ganaug.inversion.domain import check_domain_of_files
from ganaug.inversion.invert import invert
from ganaug.inversion.latents import Latents
from ganaug.packs import DirectionPack
from ganaug.ranks import Ranks, sharing

LATENTS_FILE = "latents.safetensors"

READ = "read"
"""In a file's metadata: the encoder has read the classes; otherwise they were given by the folder's."""


class Stored(NamedTuple):
    """Latents that were found before, see :func:`stored_latents`.

    Attributes:
        rows: latent ``(latent_dim,)`` and class of each image, by its path in the folder, with slashes.
        how: how they were found, in words.
        read: whether the encoder has read the classes.
    """

    rows: dict[str, tuple[Tensor, Tensor]]
    how: str
    read: bool


@own_defaults
def invert_folder(
    root: str | Path,
    pack: str | Path | DirectionPack,
    *,
    refine_steps: int = 0,
    batch_size: int = 64,
    classes: Sequence[str] | None = None,
    check_domain: bool = True,
    on_error: OnError = "fail",
    update: bool = False,
    dtype: str = "auto",
    device: str | torch.device | None = None,
    share: bool = False,
    show_progress: bool = True,
) -> Path:
    """Find the latents of all images in a folder of class subfolders and store them beside the images.

    Subfolders are matched with the generator's classes by name.

    Args:
        root: class subfolders of images, see :class:`ganaug.folders.LabelledFolder`.
        pack: with an encoder.
        refine_steps: see :func:`ganaug.inversion.invert`.
        classes: what the generator's classes are called in ``root``, in the generator's order; an empty list lets the
            encoder read the class of each image.
        check_domain: refuse images that are not of the pack's kind, see :func:`ganaug.inversion.check_domain`.
        on_error: ``"fail"`` refuses a folder with damaged images before it begins, ``"skip"`` leaves them out.
        dtype: of the encoder, as for :class:`~ganaug.transforms.LatentShift`; refinement is in float32.
        update: keep the latents that are stored of images which have not changed since, and find those of the others.
        share: under ``torchrun`` all processes call this, and each does its share, see :mod:`ganaug.ranks`.

    Returns:
        The file, ``latents.safetensors`` in ``root``: latents ``(N, latent_dim)`` and labels ``(N,)``, in order of
        path; size, time and hash of each image and the generator's hash in its metadata.

    Raises:
        PackError: the pack has no encoder.
        TransformError: images of another kind than the pack's.
        DataError: no class subfolders with images, damaged ones, or classes that the generator doesn't have.
        FileError: a file of that name is there which ganaug has not written, or it can't be written.
    """
    pack = pack if isinstance(pack, DirectionPack) else DirectionPack.from_pretrained(pack)
    target = default_device(device)
    dtype = chosen_dtype(check_dtype(dtype), target)
    generator, encoder = pack.networks(target)
    if encoder is None:
        raise PackError(f"pack {pack.name!r} has no encoder. Train one: ganaug train-encoder {pack.name}.")
    folder = LabelledFolder(root, on_error=on_error)
    path = Path(folder.root) / LATENTS_FILE
    _check_ours(path)
    check_writable(path.parent)
    of_class = classes_of_folder(pack, folder.classes, classes, where=str(root))
    if check_domain:
        check_domain_of_files(pack, [file for file, _ in folder.samples], device=target)
    kept = _unchanged(folder, pack) if update and path.exists() else {}
    names = folder.names()
    files = {name: _state(Path(file)) for name, (file, _) in zip(names, folder.samples, strict=True)}
    missing = [index for index, name in enumerate(names) if name not in kept]
    known = None if of_class is None else [of_class[label] for label in folder.targets]
    size = batch_size

    def found(chosen: Sequence[int]) -> list[tuple[Tensor, Tensor]]:
        pixels = in_threads(lambda file: _pixels(file, generator), [folder.samples[index][0] for index in chosen])
        images = unit_to_signed(to_unit(padded(torch.stack([*pixels]), size).to(target)))
        given = None if known is None else padded(torch.tensor([known[index] for index in chosen]), size).to(target)
        latents, read = invert(pack, images, given, refine_steps=refine_steps, dtype=dtype)
        labels = torch.zeros(len(latents), dtype=torch.int64) if read is None else read.cpu()
        return list(zip(latents.cpu(), labels, strict=True))[: len(chosen)]

    with sharing(share, target) as ranks:
        rows = _found_by_all(found, missing, size, ranks, show_progress=show_progress)
        kept |= {names[index]: row for index, row in rows.items()}
        if not ranks.rank:
            _write(
                path,
                folder,
                pack,
                kept,
                files,
                {"refine_steps": str(refine_steps), "dtype": dtype, "classes": READ if of_class is None else "given"},
            )
        ranks.wait()
    return path


def _found_by_all(
    found: Callable[[Sequence[int]], list[tuple[Tensor, Tensor]]],
    missing: Sequence[int],
    batch_size: int,
    ranks: Ranks,
    *,
    show_progress: bool,
) -> dict[int, tuple[Tensor, Tensor]]:
    """Latent and class of each missing image, found by all processes together."""
    batches = ranks.own([missing[start : start + batch_size] for start in range(0, len(missing), batch_size)])
    rows: dict[int, tuple[Tensor, Tensor]] = {}
    shown = show_progress and not ranks.rank
    with tqdm(total=sum(map(len, batches)), desc="invert", unit="images", disable=not shown) as bar:
        for chosen in batches:
            rows |= zip(chosen, found(chosen), strict=True)
            bar.update(len(chosen))
    return {index: row for each in ranks.gathered(rows) for index, row in each.items()}


def _write(
    path: Path,
    folder: LabelledFolder,
    pack: DirectionPack,
    rows: dict[str, Any],
    files: dict[str, list[Any]],
    how: dict[str, str],
) -> None:
    """Write latents and classes in order of path, and what they are of."""
    latents, labels = (torch.stack([rows[name][which] for name in folder.names()]) for which in (0, 1))
    skipped = [file.relative_to(folder.root).as_posix() for file in folder.skipped]
    metadata = {**_identity(pack.generator), "pack": pack.name, **how}
    write_safetensors(
        path,
        {"latents": latents, "labels": labels},
        metadata={**metadata, "images": json.dumps(files), "skipped": json.dumps(skipped)},
    )


def stored_latents(folder: LabelledFolder, pack: DirectionPack) -> Stored | None:
    """What :func:`invert_folder` has stored of a folder's images that have not changed since; None where there is no
    such file, or one of another generator's latents.

    Raises:
        PackError: the file is damaged.
    """
    path = Path(folder.root) / LATENTS_FILE
    if not path.is_file():
        return None
    metadata, _ = _stored(path)
    if any(metadata.get(name) != value for name, value in _identity(pack.generator).items()):
        return None
    how = f"stored, of {metadata.get('refine_steps', 0)} refine steps in {metadata.get('dtype', 'float32')}"
    return Stored(_unchanged(folder, pack), how, metadata.get("classes") == READ or not pack.num_classes)


def _pixels(file: str, generator: Generator) -> Tensor:
    return fitted(open_image(file, channels=generator.channels), generator.image_size, crop=False)


def _identity(generator: Generator) -> dict[str, str]:
    """Which generator stored latents belong to."""
    config = {key: value for key, value in generator.config.items() if key != "class_names"}
    return {"generator_sha256": generator.weights_sha256(), "generator_config": json.dumps(config)}


def _state(file: Path) -> list[Any]:
    """Size, time of the last change in nanoseconds, and SHA-256 of an image file."""
    told = file.stat()
    return [told.st_size, told.st_mtime_ns, hashlib.sha256(file.read_bytes()).hexdigest()]


def _is_same(file: Path, state: Sequence[Any]) -> bool:
    """Whether a file is what it was: of the same size and time, or else of the same content."""
    size, changed, sha256 = state
    told = file.stat()
    if told.st_size != size:
        return False
    return bool(told.st_mtime_ns == changed) or hashlib.sha256(file.read_bytes()).hexdigest() == sha256


def _stored(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and tensors of a file of latents; ``PackError`` if it is damaged."""
    try:
        check_regular(path)
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())
            return file.metadata() or {}, {name: file.get_tensor(name) for name in names}
    except (SafetensorError, FileError, KeyError, OSError) as error:  # KeyError: a type that PyTorch does not have
        raise PackError(
            f"{path} is not a whole safetensors file ({error}). Move it away, and run ganaug invert again."
        ) from error


def _check_ours(path: Path) -> None:
    """``FileError`` for a file of the name that is none of ganaug's."""
    if not path.exists():
        return
    try:
        metadata, _ = _stored(path)
    except PackError:
        metadata = {}
    if "generator_sha256" not in metadata:
        raise FileError(f"{path} is there, and not a file of latents that ganaug has written. Move it away.")


def _images_of(metadata: dict[str, str]) -> dict[str, list[Any]] | None:
    """The state of each image whose latent is stored; None of files of earlier versions, which do not tell."""
    try:
        found = json.loads(metadata["images"])
    except (KeyError, ValueError):
        return None
    if not isinstance(found, dict) or not all(isinstance(each, list) and len(each) == 3 for each in found.values()):
        return None
    return found


def _unchanged(folder: LabelledFolder, pack: DirectionPack) -> dict[str, Any]:
    """Latent and label of each image that is as it was when they were found; nothing of another generator's."""
    metadata, tensors = _stored(Path(folder.root) / LATENTS_FILE)
    stored, wanted = _images_of(metadata), _identity(pack.generator)
    if stored is None or any(metadata.get(name) != value for name, value in wanted.items()):
        return {}
    if set(tensors) != {"latents", "labels"} or not _are_sound(tensors, len(stored), pack):
        return {}
    files = dict(zip(folder.names(), (Path(file) for file, _ in folder.samples), strict=True))
    rows = zip(stored.items(), tensors["latents"], tensors["labels"], strict=True)
    return {
        name: (latent, label) for (name, state), latent, label in rows if name in files and _is_same(files[name], state)
    }


def _are_sound(tensors: dict[str, Tensor], count: int, pack: DirectionPack) -> bool:
    """Whether there is one finite latent and one class of the generator's for each image."""
    latents, labels = tensors["latents"], tensors["labels"]
    return (
        (latents.dtype, tuple(latents.shape)) == (torch.float32, (count, pack.latent_dim))
        and (labels.dtype, tuple(labels.shape)) == (torch.int64, (count,))
        and bool(torch.isfinite(latents).all())
        and bool(((labels >= 0) & (labels < max(pack.generator.num_classes, 1))).all())
    )


def _read_latents(folder: LabelledFolder, pack: DirectionPack) -> tuple[Tensor, Tensor]:
    """Latents ``(N, latent_dim)`` and labels ``(N,)`` of the images of a folder; ``PackError`` if they are others'."""
    root, again = folder.root, f"Run ganaug invert {folder.root} --pack {pack.name} --update"
    path = Path(root) / LATENTS_FILE
    if not path.is_file():
        raise PackError(f"there is no {path}. Make it: ganaug invert {root} --pack {pack.name}.")
    metadata, tensors = _stored(path)
    if "generator_sha256" not in metadata:
        raise PackError(
            f"{path} is not a file of latents that ganaug has written. Move it away, then: ganaug invert {root} --pack "
            f"{pack.name}."
        )
    stored, skipped = _images_of(metadata), json.loads(metadata.get("skipped", "[]"))
    again += " --on-error skip." if skipped else "."
    folder.leave_out(Path(root, name) for name in skipped)
    if stored is None or set(tensors) != {"latents", "labels"}:
        raise PackError(f"{path} does not say which images its latents are of. {again}")
    if any(metadata.get(name) != value for name, value in _identity(pack.generator).items()):
        raise PackError(f"{path} holds latents of another generator than pack {pack.name!r}'s. {again}")
    files = dict(zip(folder.names(), (Path(file) for file, _ in folder.samples), strict=True))
    if files.keys() != stored.keys():
        apart = sorted(files.keys() ^ stored.keys())
        raise PackError(f"{path} holds the latents of other images than {root} does: {listed(apart)}. {again}")
    if changed := [name for name, file in files.items() if not _is_same(file, stored[name])]:
        raise PackError(f"images were changed since their latents were found: {listed(changed)}. {again}")
    if not _are_sound(tensors, len(files), pack):
        raise PackError(f"{path} does not hold one finite latent and one class for each image. {again}")
    order = {name: row for row, name in enumerate(stored)}
    rows = torch.tensor([order[name] for name in files], dtype=torch.int64)
    return tensors["latents"][rows], tensors["labels"][rows]


class InvertedFolder(LabelledFolder):
    """A :class:`~ganaug.folders.LabelledFolder` with stored latents: :class:`LatentShift` then shifts and draws without
    the encoder.

    Args:
        root: a folder that :func:`invert_folder` (``ganaug invert``) has been through.
        pack: the pack it was inverted with.
        transforms: gets and returns ``(image, class, latents)``, with a :class:`LatentShift` among them. The class is
            the one that the generator drew the image as. Latents are of the image as it lies in the folder, so the
            LatentShift comes before flips, crops and whatever else moves pixels.
        with_latents: items are ``(image, class, drawn as, latents)``: for a LatentShift after the DataLoader, which
            shifts a whole batch at once and so in a fraction of the time, ``shift(images, drawn_as, latents)[0]``.
        transform, target_transform: instead of ``transforms``, as every data set of torchvision's takes them: they get
            the image alone and the folder's own class alone. Stored latents don't reach a LatentShift in ``transform``,
            which then finds them anew with the encoder.

    Returns:
        ``(image, class)`` for each item, with the folder's own class; ``with_latents`` also the class that the
        generator drew the image as, and its :class:`Latents`.

    Raises:
        PackError: no stored latents, damaged ones, of other images, or of another generator.
        TransformError: ``transforms`` together with one of the other two, or with ``with_latents``.

    Example::

        dataset = InvertedFolder("photos", pack, transforms=v2.Compose([
            v2.ToImage(), LatentShift("background", pack=pack, source="invert"), v2.ToDtype(torch.float32, scale=True)
        ]))

        shift = LatentShift("background", pack=pack, source="invert")
        dataset = InvertedFolder("photos", pack, transform=v2.PILToTensor(), with_latents=True)
        for images, labels, drawn_as, latents in DataLoader(dataset, batch_size=64, shuffle=True):
            images = shift(images, drawn_as, latents)[0]
    """

    @own_defaults
    def __init__(
        self,
        root: str | Path,
        pack: str | Path | DirectionPack,
        *,
        transforms: Callable[..., Any] | None = None,
        transform: Callable[[Any], Any] | None = None,
        target_transform: Callable[[Any], Any] | None = None,
        with_latents: bool = False,
    ) -> None:
        if transforms is not None and (transform is not None or target_transform is not None):
            raise TransformError(
                "got transforms and, beside it, transform or target_transform. Pass transforms, which gets (image, "
                "class, latents), or the other two, which get the image alone and the class alone."
            )
        if transforms is not None and with_latents:
            raise TransformError(
                "got transforms, which shift images one by one, and with_latents, for shifting batches. Pass one of "
                "them; what images go through before they are shifted is transform=..."
            )
        super().__init__(str(root), transform, target_transform)
        self._joint, self.with_latents = transforms, with_latents
        pack = pack if isinstance(pack, DirectionPack) else DirectionPack.from_pretrained(pack)
        latents, labels = _read_latents(self, pack)
        self.latents: Tensor = latents
        self.drawn_as: list[int] = labels.tolist()

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        image, label = super().__getitem__(index)
        if self.with_latents:
            return image, label, self.drawn_as[index], Latents(self.latents[index])
        if self._joint is not None:
            image = self._joint(image, self.drawn_as[index], Latents(self.latents[index]))[0]
        return image, label
