"""``ganaug train-encoder``: an encoder for a pack, so that it changes real images."""

from __future__ import annotations

import shlex
from pathlib import Path

import click
from torch import Tensor

from ganaug.cli.options import DEVICE, FOLDER, SETTINGS, check_images
from ganaug.data import images_in_folder, read_labelled
from ganaug.generators import Generator
from ganaug.packs import DirectionPack
from ganaug.settings import parse_settings, settings_help
from ganaug.training import EncoderSettings, read_recipe, train_pack_encoder

HELP = """Train an encoder for the pack in FOLDER and save it there.

The encoder finds the latent (and class) of a real image; with it LatentShift changes the image itself. It learns
from the generator's own images, and from real ones if there are any, without labels. The settings, with their
defaults:

\b
"""


@click.command(
    help=HELP + settings_help(EncoderSettings),
    epilog="Example: ganaug train-encoder runs/mine --images photos steps=4000",
)
@click.argument("folder", type=FOLDER)
@SETTINGS
@click.option("--recipe", type=click.Path(path_type=Path), help="A recipe whose [encoder] table gives the settings.")
@click.option(
    "--images",
    help="Real images, unlabelled: a folder of them, or NAME:FOLDER for the training images of mnist, fashion-mnist or "
    "digits in FOLDER.",
)
@DEVICE
def train_encoder(
    folder: Path, settings: tuple[str, ...], recipe: Path | None, images: str | None, device: str | None
) -> None:
    pack = DirectionPack.from_pretrained(folder)
    given = parse_settings(settings)
    words = ["ganaug", "train-encoder", str(folder), *settings]
    if recipe is not None:
        given = {**read_recipe(recipe).encoder.to_dict(), **given}
        words += ["--recipe", str(recipe)]
    real = None
    if images is not None:
        check_images(images)
        real = _real_images(images, pack.generator)
        words += ["--images", "IMAGES" if Path(images).is_dir() else f"{images.partition(':')[0]}:DATA"]
    pack = train_pack_encoder(pack, real, device=device, command=shlex.join(words), **given)
    pack.save_pretrained(folder)
    parameters = sum(parameter.numel() for parameter in pack.encoder.parameters()) if pack.encoder else 0
    click.echo(
        f"{folder} now has an encoder of {parameters:,} parameters. Generated images and their reconstructions differ "
        f"by {pack.scores['reconstruction_error']:.4f} of full scale."
    )


def _real_images(images: str, generator: Generator) -> Tensor:
    """The images of a folder, as LatentShift sees them; or the training images of ``NAME:FOLDER``."""
    if ":" in images and not Path(images).is_dir():
        return read_labelled(images, train=True).images
    return images_in_folder(images, size=generator.image_size, channels=generator.channels, crop=False)
