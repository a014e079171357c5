"""``ganaug invert``: the latents of a folder of images."""

from __future__ import annotations

from pathlib import Path

import click

from ganaug.cli.options import COUNT, DEVICE, FOLDER, PACK_HELP
from ganaug.inversion import invert_folder


@click.command(epilog=f"{PACK_HELP}\n\nExample: ganaug invert photos --pack digits --refine-steps 50")
@click.argument("images", type=FOLDER)
@click.option("--pack", default="digits", show_default=True)
@click.option(
    "--refine-steps",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Optimise each latent for so many steps (slow).",
)
@click.option("--batch-size", type=COUNT, default=64, show_default=True)
@DEVICE
def invert(images: Path, pack: str, refine_steps: int, batch_size: int, device: str | None) -> None:
    """Find the latents of all images in a folder of class subfolders and store them beside the images.

    Writes IMAGES/latents.safetensors. `transforms.InvertedFolder(IMAGES, PACK)` reads images and latents, and
    LatentShift then shifts and draws without finding the latents again each epoch.
    """
    path = invert_folder(images, pack, refine_steps=refine_steps, batch_size=batch_size, device=device)
    click.echo(f"latents in {path}")
