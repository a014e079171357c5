"""A folder of images, augmented on disk."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2
from tqdm.auto import tqdm

from ganaug.devices import default_device, own_defaults
from ganaug.errors import FileError, TransformError
from ganaug.packs import DirectionPack
from ganaug.transforms.choice import Magnitude
from ganaug.transforms.latent_shift import DEFAULT_PACK, LatentShift


@own_defaults
def augment_folder(
    images: str | Path,
    out: str | Path,
    direction: str | int | Sequence[str | int],
    *,
    pack: str | Path | DirectionPack = DEFAULT_PACK,
    source: str = "auto",
    blend: str = "add",
    copies: int = 1,
    magnitude: Magnitude = "safe",
    num_ops: int = 1,
    seed: int = 0,
    device: str | torch.device | None = None,
    show_progress: bool = True,
) -> int:
    """Shift every image of a folder of class subfolders, and write the results into the same subfolders of another.

    Class subfolders, if they are as many as the generator has classes, are taken for these in order of name. The
    folder appears as a whole at the end, or not at all.

    Args:
        images: class subfolders of images, as ``torchvision.datasets.ImageFolder`` takes them.
        out: a folder that is empty or not there yet; gets ``CLASS/NAME_0.png`` and so on, of the images' own sizes.
        direction, pack, blend, magnitude, num_ops: as for :class:`~ganaug.transforms.LatentShift`.
        source: ``"sample"`` replaces images by new ones of the same classes, ``"invert"`` changes the images
            themselves, ``"auto"`` inverts if the pack has an encoder.
        copies: how many shifted images to make of each image.
        seed: of torch's global generator, which all draws come from.
        device: defaults to CUDA when there is one, else the CPU.

    Returns:
        The number of images written.

    Raises:
        TransformError: arguments that don't fit the pack, or subfolders that are not its classes where it samples.
        FileError: ``out`` is not empty, or lies inside ``images``.
        FileNotFoundError: no class subfolders with images.
    """
    images, out = Path(images), Path(out)
    if isinstance(copies, bool) or not isinstance(copies, int) or copies < 1:
        raise TransformError(f"copies should be a whole number of at least 1, got {copies!r}.")
    pack = pack if isinstance(pack, DirectionPack) else DirectionPack.from_pretrained(pack)
    if source == "auto":
        source = "invert" if pack.has_encoder else "sample"
    shift = LatentShift(direction, pack=pack, p=1.0, magnitude=magnitude, num_ops=num_ops, source=source, blend=blend)
    folder = ImageFolder(str(images))
    by_class = len(folder.classes) == pack.num_classes
    if source == "sample" and not by_class:
        raise TransformError(
            f"{images} has {len(folder.classes)} class subfolders, but pack {pack.name!r} draws "
            f"{pack.num_classes} classes."
        )
    _check_place(images, out)
    torch.manual_seed(seed)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as temporary:
        scratch = Path(temporary, out.name)
        for file, label, picture in tqdm(_pictures(folder, pack), "augment", len(folder), disable=not show_progress):
            batch = picture.to(default_device(device)).expand(copies, -1, -1, -1)
            shifted = shift(batch, torch.full((copies,), label, device=batch.device))[0] if by_class else shift(batch)
            (scratch / file).parent.mkdir(parents=True, exist_ok=True)
            for copy, image in enumerate(shifted.cpu()):
                v2.functional.to_pil_image(image).save(scratch / file.with_name(f"{file.name}_{copy}.png"))
        if out.exists():
            out.rmdir()
        scratch.rename(out)
    return len(folder) * copies


def _pictures(folder: ImageFolder, pack: DirectionPack) -> Iterator[tuple[Path, int, Tensor]]:
    """For each image its path without the ending, unless it needs that to tell it from others, its class and pixels."""
    to_image = v2.Compose([v2.ToImage(), v2.RGB() if pack.generator.channels == 3 else v2.Grayscale()])
    stems = Counter(Path(path).with_suffix("") for path, _ in folder.samples)
    for path, label in folder.samples:
        file = Path(path).relative_to(folder.root)
        stem = Path(path).with_suffix("")
        yield file.with_name(stem.name if stems[stem] == 1 else file.name), label, to_image(folder.loader(path))


def _check_place(images: Path, out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise FileError(f"{out} is a file. Choose another name for the folder of augmented images.")
    if out.exists() and any(out.iterdir()):
        raise FileError(f"{out} is not empty. Choose another folder, so that nothing is overwritten.")
    if out.resolve().is_relative_to(images.resolve()):
        raise FileError(f"{out} lies inside {images}, and would be taken for a class. Choose another folder.")
