"""``ganaug invert``: the latents of a folder of images."""

from __future__ import annotations

from pathlib import Path

import click

from ganaug.cli.options import CHECK_DOMAIN, CLASSES, COUNT, DEVICE, DTYPE, FOLDER, ON_ERROR, PACK_HELP
from ganaug.folders import OnError
from ganaug.inversion import invert_folder


@click.command(epilog=f"{PACK_HELP}\n\nExample: ganaug invert photos --pack digits --refine-steps 50")
@click.argument("images", type=FOLDER)
@click.option("--pack", required=True, help="No default: it should be one for such images.")
@click.option(
    "--refine-steps",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Optimise each latent for so many steps (slow).",
)
@click.option("--batch-size", type=COUNT, default=64, show_default=True)
@CLASSES
@CHECK_DOMAIN
@ON_ERROR
@click.option("--update", is_flag=True, help="Keep what is stored of images that have not changed since.")
@DTYPE
@DEVICE
def invert(
    images: Path,
    pack: str,
    refine_steps: int,
    batch_size: int,
    classes: list[str] | None,
    check_domain: bool,
    on_error: OnError,
    update: bool,
    dtype: str,
    device: str | None,
) -> None:
    """Find the latents of all images in a folder of class subfolders and store them beside the images.

    Writes IMAGES/latents.safetensors. `transforms.InvertedFolder(IMAGES, PACK)` reads images and latents, and
    LatentShift then shifts and draws without finding the latents again each epoch.
    """
    path = invert_folder(
        images,
        pack,
        refine_steps=refine_steps,
        batch_size=batch_size,
        classes=classes,
        check_domain=check_domain,
        on_error=on_error,
        update=update,
        dtype=dtype,
        device=device,
        share=True,
    )
    click.echo(f"latents in {path}")
