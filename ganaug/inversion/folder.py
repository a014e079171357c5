"""Images with stored latents, so that training epochs only shift and draw."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2
from tqdm.auto import tqdm

from ganaug.devices import default_device, own_defaults
from ganaug.errors import PackError, TransformError
from ganaug.files import write_safetensors
from ganaug.generators import Generator
from ganaug.images import unit_to_signed
from ganaug.inversion.invert import invert
from ganaug.inversion.latents import Latents
from ganaug.packs import DirectionPack

LATENTS_FILE = "latents.safetensors"


@own_defaults
def invert_folder(
    root: str | Path,
    pack: str | Path | DirectionPack,
    *,
    refine_steps: int = 0,
    batch_size: int = 64,
    device: str | torch.device | None = None,
    show_progress: bool = True,
) -> Path:
    """Find the latents of all images in a folder of class subfolders and store them beside the images.

    For a class-conditional generator with as many classes as there are subfolders, the subfolders, sorted by name, are
    its classes; otherwise the encoder reads the class.

    Args:
        root: class subfolders of images, as ``torchvision.datasets.ImageFolder`` takes them.
        pack: with an encoder.
        refine_steps: see :func:`ganaug.inversion.invert`.

    Returns:
        The file, ``latents.safetensors`` in ``root``: latents ``(N, latent_dim)`` and labels ``(N,)`` in the order of
        ``ImageFolder``, the images' names and the generator's hash in its metadata.

    Raises:
        PackError: the pack has no encoder.
        FileNotFoundError: no class subfolders with images.
    """
    pack = pack if isinstance(pack, DirectionPack) else DirectionPack.from_pretrained(pack)
    target = default_device(device)
    generator, _ = pack.networks(target)
    folder = ImageFolder(
        str(root),
        transform=v2.Compose(
            [
                v2.PILToTensor(),
                v2.RGB() if generator.channels == 3 else v2.Grayscale(),
                v2.Resize([generator.image_size, generator.image_size], antialias=True),
                v2.ToDtype(torch.float32, scale=True),
            ]
        ),
    )
    by_subfolder = len(folder.classes) == generator.num_classes
    latents, labels = [], []
    loader = torch.utils.data.DataLoader(folder, batch_size)
    for images, classes in tqdm(loader, "invert", disable=not show_progress):
        given = classes.to(target) if by_subfolder else None
        found, read = invert(pack, unit_to_signed(images.to(target)), given, refine_steps=refine_steps)
        latents.append(found.cpu())
        labels.append(torch.zeros(len(found), dtype=torch.int64) if read is None else read.cpu())
    path = Path(folder.root) / LATENTS_FILE
    write_safetensors(
        path,
        {"latents": torch.cat(latents), "labels": torch.cat(labels)},
        metadata={**_identity(folder, generator), "pack": pack.name, "refine_steps": str(refine_steps)},
    )
    return path


def _identity(folder: ImageFolder, generator: Generator) -> dict[str, str]:
    """What stored latents belong to: these images, in this order, and this generator."""
    return {
        "files": json.dumps([Path(file).relative_to(folder.root).as_posix() for file, _ in folder.samples]),
        "generator_sha256": generator.weights_sha256(),
        "generator_config": json.dumps(generator.config),
    }


def _read_latents(folder: ImageFolder, pack: DirectionPack) -> tuple[Tensor, Tensor]:
    """Latents ``(N, latent_dim)`` and labels ``(N,)`` of the images of a folder; ``PackError`` if they are others'."""
    root, again = folder.root, f"Run ganaug invert {folder.root} --pack {pack.name} again."
    path = Path(root) / LATENTS_FILE
    if not path.is_file():
        raise PackError(f"there is no {path}. Make it: ganaug invert {root} --pack {pack.name}.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # safe_open is no mapping
    except (SafetensorError, OSError) as error:
        raise PackError(f"{path} is not a whole safetensors file ({error}). Run ganaug invert again.") from error
    wanted = _identity(folder, pack.generator)
    metadata.setdefault("generator_config", wanted["generator_config"])  # files of earlier versions have none
    if set(tensors) != {"latents", "labels"} or metadata.get("files") != wanted["files"]:
        raise PackError(f"{path} holds the latents of other images than {root} does. {again}")
    if any(metadata.get(name) != value for name, value in wanted.items()):
        raise PackError(f"{path} holds latents of another generator than pack {pack.name!r}'s. {again}")
    latents, labels = tensors["latents"], tensors["labels"]
    if (
        (latents.dtype, tuple(latents.shape)) != (torch.float32, (len(folder), pack.latent_dim))
        or (labels.dtype, tuple(labels.shape)) != (torch.int64, (len(folder),))
        or not torch.isfinite(latents).all()
        or (len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < max(pack.generator.num_classes, 1))
    ):
        raise PackError(f"{path} does not hold one finite latent and one class for each image. {again}")
    return latents, labels


class InvertedFolder(ImageFolder):  # type: ignore[misc]  # torchvision has no types
    """An ``ImageFolder`` with stored latents: :class:`LatentShift` then shifts and draws without the encoder.

    Args:
        root: a folder that :func:`invert_folder` (``ganaug invert``) has been through.
        pack: the pack it was inverted with.
        transforms: gets and returns ``(image, class, latents)``, with a :class:`LatentShift` among them. The class is
            the one that the generator drew the image as. Latents are of the image as it lies in the folder, so the
            LatentShift comes before flips, crops and whatever else moves pixels.
        transform, target_transform: instead of ``transforms``, as every data set of torchvision's takes them: they get
            the image alone and the folder's own class alone. Stored latents don't reach a LatentShift in ``transform``,
            which then finds them anew with the encoder.

    Returns:
        ``(image, class)`` for each item, with the folder's own class.

    Raises:
        PackError: no stored latents, damaged ones, of other images, or of another generator.
        TransformError: ``transforms`` together with one of the other two.

    Example::

        dataset = InvertedFolder("photos", pack, transforms=v2.Compose([
            v2.ToImage(), LatentShift("background", pack=pack, source="invert"), v2.ToDtype(torch.float32, scale=True)
        ]))
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
    ) -> None:
        if transforms is not None and (transform is not None or target_transform is not None):
            raise TransformError(
                "got transforms and, beside it, transform or target_transform. Pass transforms, which gets (image, "
                "class, latents), or the other two, which get the image alone and the class alone."
            )
        super().__init__(str(root), transform, target_transform)
        self._joint = transforms
        pack = pack if isinstance(pack, DirectionPack) else DirectionPack.from_pretrained(pack)
        latents, labels = _read_latents(self, pack)
        self.latents: Tensor = latents
        self.drawn_as: list[int] = labels.tolist()

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        image, label = super().__getitem__(index)
        if self._joint is not None:
            image = self._joint(image, self.drawn_as[index], Latents(self.latents[index]))[0]
        return image, label
