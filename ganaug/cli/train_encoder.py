"""``ganaug train-encoder``: an encoder for a pack."""

from __future__ import annotations

from pathlib import Path

import click

import ganaug.training
from ganaug.cli.options import (
    DEVICE,
)
from ganaug.data import images_in_folder, read_dataset
from ganaug.evaluation import redrawing_error
from ganaug.packs import DirectionPack
from ganaug.settings import parse_overrides
from ganaug.training import EncoderSettings
from ganaug.training.recipe import read_recipe


@click.command(
    epilog="Example: ganaug train-encoder runs/mine --images photos steps=4000",
)
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("settings", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--recipe", type=click.Path(path_type=Path), help="A recipe whose [encoder] table gives the settings.")
@click.option(
    "--images", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Folder of real images, unlabelled."
)
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Instead of --images: folder with a data set that `ganaug evaluate` knows; its training images are taken.",
)
@click.option("--dataset", help="mnist, fashion-mnist or digits; the pack's name by default.")
@DEVICE
def train_encoder(
    folder: Path,
    settings: tuple[str, ...],
    recipe: Path | None,
    images: Path | None,
    data: Path | None,
    dataset: str | None,
    device: str | None,
) -> None:
    """Train an encoder for the pack in FOLDER and save it there.

    The encoder finds the latent (and class) of a real image; with it LatentShift changes the image itself. It learns
    from the generator's own images, and from real ones if there are any, without labels. The settings, with their
    defaults:

    \b
      steps=6000  batch_size=64
      real_share=0.5  warm_up=0.25     real images take this share of a batch, after this share of the steps
      noise=0.2                        on the encoder's input
      learning_rate=2e-3
      latent_weight=1.0  image_weight=5.0  class_weight=0.1  prior_weight=0.1    of the losses
      width=48  hidden=256             of the network
      precision=bfloat16               bfloat16 | float32
      seed=0
    """

    if images is not None and data is not None:
        raise click.UsageError("give --images or --data, not both.")
    pack = DirectionPack.from_pretrained(folder.resolve())
    words = [str(folder), *(["--recipe", str(recipe)] if recipe else []), *settings]
    given = parse_overrides(settings)
    chosen = EncoderSettings.from_mapping({**(read_recipe(recipe).encoder.to_dict() if recipe else {}), **given})
    real = None
    if images is not None:
        size, channels = pack.generator.image_size, pack.generator.channels
        real = images_in_folder(images, size=size, channels=channels, crop=False)  # as LatentShift sees them
        words += ["--images", "IMAGES"]
    elif data is not None:
        name = dataset or pack.name
        real = read_dataset(name, data, train=True).images
        words += ["--data", "DATA", "--dataset", name]
    encoder = ganaug.training.train_encoder(pack.generator, images=real, device=device, **chosen.to_dict())
    pack.generator.to("cpu")
    pack.encoder = encoder
    command = " ".join(["ganaug train-encoder", *words])
    pack.encoder_method = {**chosen.to_dict(), "command": command}
    pack.scores["redrawing_error"] = round(redrawing_error(pack), 4)
    pack.scores["redrawing_error_command"] = command
    pack.save_pretrained(folder)
    parameters = sum(parameter.numel() for parameter in encoder.parameters())
    click.echo(
        f"{folder} now has an encoder of {parameters:,} parameters. Generated images and their regeneration differ by "
        f"{pack.scores['redrawing_error']:.4f} of full scale."
    )
