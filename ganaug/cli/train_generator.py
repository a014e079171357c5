"""``ganaug train-generator``: a generator of one's own images."""

from __future__ import annotations

from pathlib import Path

import click

from ganaug.cli.options import DEVICE, NEW_FOLDER, ON_ERROR, SETTINGS, SIZE, Number, check_images
from ganaug.folders import OnError
from ganaug.ranks import process_group, rank_and_size
from ganaug.settings import parse_settings, settings_help
from ganaug.training import GeneratorSettings, read_generator_recipe
from ganaug.training import train_generator as train

HELP = """Train a generator on PHOTOS, a folder of class subfolders; or NAME:FOLDER, a built-in data set in FOLDER.

The classes are the subfolders (none: an unconditional generator), their names are kept. One image in five is held out,
unless PHOTOS has train/ and test/. Ctrl-C leaves a generator that can be used, and a checkpoint. On several GPUs or
processes: torchrun --nproc-per-node N -m ganaug train-generator ... The settings, with their defaults:

\b
"""


@click.command(
    name="train-generator",
    help=HELP + settings_help(GeneratorSettings),
    epilog="Example: ganaug train-generator photos --out runs/generator --size 64 --minutes 60",
)
@click.argument("photos")
@SETTINGS
@click.option("--out", type=NEW_FOLDER, required=True, help="Folder for the generator, samples.png and checkpoint.pt.")
@SIZE
@click.option("--minutes", type=Number(min=0, min_open=True), help="Plan the iterations for so much time.")
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in --out.")
@click.option(
    "--recipe", type=click.Path(path_type=Path), help="A recipe whose [generator] and [generator_training] are used."
)
@ON_ERROR
@DEVICE
def train_generator(
    photos: str,
    settings: tuple[str, ...],
    out: Path,
    size: int | None,
    minutes: float | None,
    resume: bool,
    recipe: Path | None,
    on_error: OnError,
    device: str | None,
) -> None:
    check_images(photos, called="PHOTOS")
    networks, given = (None, parse_settings(settings)) if recipe is None else read_generator_recipe(recipe, settings)
    with process_group(device) as own:
        trained = train(
            photos,
            out=out,
            size=size,
            minutes=minutes,
            resume=resume,
            on_error=on_error,
            networks=networks,
            device=own,
            **given,
        )
        first = rank_and_size()[0] == 0
    if first:
        if trained.quality is not None:
            click.echo("\n".join([trained.quality.table(), *trained.quality.verdicts()]))
        click.echo(f"{out} holds the generator. Find its directions: ganaug train --generator {out} --out PACK")
