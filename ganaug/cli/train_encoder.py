"""``ganaug train-encoder``: an encoder for a pack, so that it changes real images."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from ganaug.cli.options import DEVICE, ON_ERROR, PACK_FOLDER, SETTINGS, check_images
from ganaug.data import images_in_folder, read_labelled
from ganaug.files import check_writable
from ganaug.folders import OnError
from ganaug.generators import Generator
from ganaug.inversion import fit_domain
from ganaug.packs import DirectionPack
from ganaug.settings import parse_settings, settings_help
from ganaug.streams import Images
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
@click.argument("folder", type=PACK_FOLDER)
@SETTINGS
@click.option("--recipe", type=click.Path(path_type=Path), help="A recipe whose [encoder] table gives the settings.")
@click.option(
    "--images",
    help="Real images, unlabelled: a folder of them, or NAME:FOLDER for the training images of mnist, fashion-mnist or "
    "digits in FOLDER.",
)
@click.option(
    "--domain-only",
    is_flag=True,
    help="Keep the encoder that is there, and measure only what the pack's own images look like to it.",
)
@ON_ERROR
@DEVICE
def train_encoder(
    folder: Path,
    settings: tuple[str, ...],
    recipe: Path | None,
    images: str | None,
    domain_only: bool,
    on_error: OnError,
    device: str | None,
) -> None:
    pack = DirectionPack.from_pretrained(folder)
    check_writable(folder)
    if domain_only:
        if settings or recipe is not None:
            raise click.UsageError("--domain-only trains nothing, so KEY=VALUE and --recipe can't be given with it.")
        pack.domain = fit_domain(pack, None if images is None else _real_images(images, pack.generator, on_error))
        pack.save_pretrained(folder)
        click.echo(f"{folder} now knows what its own images look like.")
        return
    given = parse_settings(settings)
    words = ["ganaug", "train-encoder", str(folder), *settings]
    if recipe is not None:
        given = {**read_recipe(recipe).encoder.to_dict(), **given}
        words += ["--recipe", str(recipe)]
    real = None
    if images is not None:
        check_images(images)
        real = _real_images(images, pack.generator, on_error)
        words += ["--images", "IMAGES" if Path(images).is_dir() else f"{images.partition(':')[0]}:DATA"]
    pack = train_pack_encoder(pack, real, device=device, command=shlex.join(words), **given)
    pack.save_pretrained(folder)
    parameters = sum(parameter.numel() for parameter in pack.encoder.parameters()) if pack.encoder else 0
    click.echo(
        f"{folder} now has an encoder of {parameters:,} parameters. Generated images and their reconstructions differ "
        f"by {pack.scores['reconstruction_error']:.4f} of full scale."
    )


def _real_images(images: str, generator: Generator, on_error: OnError) -> Images:
    """The images of a folder, as LatentShift sees them; or the training images of ``NAME:FOLDER``."""
    if ":" in images and not Path(images).is_dir():
        return read_labelled(images, train=True).images
    return images_in_folder(
        images, size=generator.image_size, channels=generator.channels, crop=False, on_error=on_error
    )
