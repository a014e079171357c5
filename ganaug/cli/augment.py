"""``ganaug augment``: a folder of images, augmented on disk."""

from __future__ import annotations

from pathlib import Path

import click

from ganaug.cli.options import (
    CHECK_DOMAIN,
    CLASSES,
    COUNT,
    DEVICE,
    DIRECTION,
    DTYPE,
    FOLDER,
    MAGNITUDE,
    NEW_FOLDER,
    ON_ERROR,
    PACK_HELP,
    SEED,
)
from ganaug.errors import counted
from ganaug.folders import OnError
from ganaug.transforms import augment_folder


@click.command(epilog=f"{PACK_HELP}\n\nExample: ganaug augment photos augmented --direction background --pack digits")
@click.argument("images", type=FOLDER)
@click.argument("out", type=NEW_FOLDER)
@DIRECTION
@click.option("--pack", required=True, help="No default: it should be one for such images.")
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
    help="Of inverted images: add the change to the image, or replace it by the reconstructed one.",
)
@click.option("--copies", type=COUNT, default=1, show_default=True, help="Augmented images per image.")
@click.option(
    "--balance",
    is_flag=True,
    help="Fill every class of OUT up to the largest, with more copies of each image of the smaller ones.",
)
@click.option(
    "--split",
    type=click.Choice(["train"]),
    help="Of an IMAGES with train/ and test/: augment train/ alone, and leave the rest alone.",
)
@click.option(
    "--latents",
    type=click.Choice(["auto", "stored", "find"]),
    default="auto",
    show_default=True,
    help="auto: those that ganaug invert has stored, where images have not changed since; stored: refuse images "
    "without; find: find all anew.",
)
@MAGNITUDE
@click.option(
    "--num-ops",
    type=COUNT,
    default=1,
    show_default=True,
    help="Different directions at once; more than 1 needs as many directions, or any.",
)
@CLASSES
@CHECK_DOMAIN
@ON_ERROR
@SEED
@DTYPE
@DEVICE
def augment(
    images: Path,
    out: Path,
    direction: str | int | list[str | int],
    pack: str,
    source: str,
    blend: str,
    copies: int,
    balance: bool,
    split: str | None,
    latents: str,
    magnitude: str | float | tuple[float, float],
    num_ops: int,
    classes: list[str] | None,
    check_domain: bool,
    on_error: OnError,
    seed: int,
    dtype: str,
    device: str | None,
) -> None:
    """Augment a folder of class subfolders: OUT gets the same subfolders, with augmented PNG images.

    Each image is changed along the direction, or (--source sample) replaced by a generated one of its class; class
    subfolders are matched with the generator's classes by name. --copies makes several of each image. The same
    command goes on where it stopped, and with images that came since; else OUT must be empty.
    """
    done = augment_folder(
        images,
        out,
        direction,
        pack=pack,
        source=source,
        blend=blend,
        copies=copies,
        balance=balance,
        split=split,
        latents=latents,
        magnitude=magnitude,
        num_ops=num_ops,
        classes=classes,
        check_domain=check_domain,
        on_error=on_error,
        seed=seed,
        dtype=dtype,
        device=device,
        share=True,
    )
    beside = f", beside {done.kept} that were there" if done.kept else ""
    click.echo(f"{counted(done.written, 'image')} in {out}{beside}")
    if done.stored:
        click.echo(f"used the stored latents of {done.stored} of {counted(done.images, 'source image')}")
    if done.beside:
        click.echo(f"left alone: {', '.join(f'{name}/' for name in done.beside)}")
    for file, reason in done.skipped.items():
        click.echo(f"left out: {reason or file}")
