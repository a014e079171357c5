"""``ganaug train-encoder``: an encoder for a pack, so that it changes real images."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from ganaug.cli.options import DEVICE, ON_ERROR, PACK_FOLDER, SETTINGS, check_images
from ganaug.files import check_writable
from ganaug.folders import OnError
from ganaug.inversion import fit_domain
from ganaug.packs import DirectionPack
from ganaug.settings import parse_settings, settings_help
from ganaug.training import EncoderSettings, encoder_words, read_real_images, read_recipe, train_pack_encoder

HELP = """Train an encoder for the pack in FOLDER and save it there.

The encoder finds the latent (and class) of a real image; with it LatentShift changes the image itself. It learns
from the generator's own images, and from real ones if there are any, without labels. Some real images are held out
(those in test/, a fifth of every class, or a fifth of all), and the end says how well it does on them;
FOLDER/encoder/sheet.png shows it. Ctrl-C leaves a checkpoint, and --resume goes on from it as if nothing had happened.
The settings, with their defaults:

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
    help="Real images, whose labels are not learned: a folder of them, or NAME:FOLDER for mnist, fashion-mnist or "
    "digits in FOLDER.",
)
@click.option("--resume", is_flag=True, help="Go on from the checkpoint that a stopped training left in FOLDER.")
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
    resume: bool,
    domain_only: bool,
    on_error: OnError,
    device: str | None,
) -> None:
    pack = DirectionPack.from_pretrained(folder)
    check_writable(folder)
    if images is not None:
        check_images(images)
    if domain_only:
        if settings or recipe is not None or resume:
            raise click.UsageError(
                "--domain-only trains nothing, so KEY=VALUE, --recipe and --resume can't be given with it."
            )
        pack.domain = fit_domain(
            pack, None if images is None else read_real_images(pack, images, on_error=on_error).training
        )
        pack.save_pretrained(folder)
        click.echo(f"{folder} now knows what its own images look like.")
        return
    given = parse_settings(settings)
    words = ["ganaug", "train-encoder", str(folder), *settings]
    if recipe is not None:
        given = {**read_recipe(recipe).encoder.to_dict(), **given}
        words += ["--recipe", str(recipe)]
    if images is not None:
        words += ["--images", "IMAGES" if Path(images).is_dir() else f"{images.partition(':')[0]}:DATA"]
    pack = train_pack_encoder(
        pack,
        images,
        folder=folder,
        resume=resume,
        on_error=on_error,
        device=device,
        command=shlex.join(words),
        **given,
    )
    parameters = sum(parameter.numel() for parameter in pack.encoder.parameters()) if pack.encoder else 0
    click.echo(f"{folder} now has an encoder of {parameters:,} parameters.")
    for told in encoder_words(pack):
        click.echo(told)
    click.echo(
        f"Look at {folder / 'encoder' / 'sheet.png'}, or at all directions: ganaug show {folder} --images PHOTOS"
    )
