"""``ganaug augment``: a folder of images, augmented."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import click
import torch
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2
from tqdm.auto import tqdm

from ganaug import transforms
from ganaug.cli.options import (
    COUNT,
    DEVICE,
    PACK_HELP,
    check_empty,
    direction_word,
    magnitude_of,
)
from ganaug.devices import default_device
from ganaug.packs import DirectionPack


@click.command(
    epilog=f"{PACK_HELP} Example: ganaug augment photos augmented --direction background --pack digits",
)
@click.argument("images", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option("--direction", required=True, help="A name, an index, or any.")
@click.option("--pack", default="digits", show_default=True)
@click.option(
    "--source",
    type=click.Choice(["auto", "sample", "invert"]),
    default="auto",
    show_default=True,
    help="sample: draw new images of the same classes; invert: change the images themselves; auto: invert if the pack "
    "has an encoder.",
)
@click.option(
    "--blend",
    type=click.Choice(["add", "replace"]),
    default="add",
    show_default=True,
    help="Of inverted images: add the change to the image, or replace it by the regenerated one.",
)
@click.option("--copies", type=COUNT, default=1, show_default=True, help="Augmented images per image.")
@click.option("--magnitude", help="safe (default), a number, or LOW,HIGH.", default="safe")
@click.option(
    "--num-ops",
    type=COUNT,
    default=1,
    show_default=True,
    help="Different directions at once; more than 1 needs --direction any.",
)
@click.option("--seed", default=0, show_default=True)
@DEVICE
def augment(
    images: Path,
    out: Path,
    direction: str,
    pack: str,
    source: str,
    blend: str,
    copies: int,
    magnitude: str,
    num_ops: int,
    seed: int,
    device: str | None,
) -> None:
    """Augment a folder of class subfolders: OUT gets the same subfolders, with augmented PNG images.

    Each image is changed along the direction, or (--source sample) replaced by a generated one of its class; class
    subfolders, if they are as many as the generator has classes, are taken for these in order of name. --copies makes
    several of each image. OUT must not hold images yet.
    """

    loaded = DirectionPack.from_pretrained(pack)
    if source == "auto":
        source = "invert" if loaded.has_encoder else "sample"
    shift = transforms.LatentShift(
        direction_word(direction),
        pack=loaded,
        p=1.0,
        magnitude=magnitude_of(magnitude),
        num_ops=num_ops,
        source=source,
        blend=blend,
    )
    folder = ImageFolder(str(images))
    if source == "sample" and len(folder.classes) != loaded.num_classes:
        raise click.UsageError(
            f"{images} has {len(folder.classes)} class subfolders, but pack {loaded.name!r} draws "
            f"{loaded.num_classes} classes."
        )
    check_empty(out)
    if out.resolve().is_relative_to(images.resolve()):
        raise click.UsageError(f"{out} lies inside {images}, and would be taken for a class. Choose another folder.")
    torch.manual_seed(seed)
    to_image = v2.Compose([v2.ToImage(), v2.RGB() if loaded.generator.channels == 3 else v2.Grayscale()])
    target = default_device(device)
    by_class = len(folder.classes) == loaded.num_classes
    stems = Counter(Path(path).with_suffix("") for path, _ in folder.samples)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as temporary:
        scratch = Path(temporary, out.name)
        for path, label in tqdm(folder.samples, "augment"):
            file = Path(path)
            batch = to_image(folder.loader(path)).to(target).expand(copies, -1, -1, -1)
            shifted = shift(batch, torch.full((copies,), label, device=target))[0] if by_class else shift(batch)
            place = scratch / file.relative_to(images).parent
            place.mkdir(parents=True, exist_ok=True)
            name = file.stem if stems[file.with_suffix("")] == 1 else file.name
            for copy, picture in enumerate(shifted.cpu()):
                v2.functional.to_pil_image(picture).save(place / f"{name}_{copy}.png")
        if out.exists():
            out.rmdir()
        scratch.rename(out)
    click.echo(f"{len(folder.samples) * copies} images in {out}")
