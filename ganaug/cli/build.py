"""``ganaug build``: from a folder of photographs to a pack."""

from __future__ import annotations

from pathlib import Path

import click

from ganaug.cli.options import DEVICE, NEW_FOLDER, ON_ERROR, SETTINGS, SIZE, Number, check_images
from ganaug.folders import OnError
from ganaug.settings import parse_settings
from ganaug.training import build as build_pack


@click.command(epilog="Example: ganaug build photos --out runs/photos --size 64 --minutes 60")
@click.argument("photos")
@SETTINGS
@click.option("--out", type=NEW_FOLDER, required=True, help="The pack's folder.")
@SIZE
@click.option(
    "--minutes", type=Number(min=0, min_open=True), default=60, show_default=True, help="Planned for all of it."
)
@ON_ERROR
@DEVICE
def build(
    photos: str,
    settings: tuple[str, ...],
    out: Path,
    size: int | None,
    minutes: float,
    on_error: OnError,
    device: str | None,
) -> None:
    """Make a pack of PHOTOS, a folder of class subfolders; or NAME:FOLDER, a built-in data set in FOLDER.

    Trains a generator, discovers its directions, trains an encoder, measures in which range each direction keeps the
    label, and draws a page to look through. Stopped or killed, the same command goes on.

    Settings are those of train-generator, train and train-encoder, as in generator.width=64,
    directions.num_directions=32, encoder.width=64; seed=1 is for all three.
    """
    check_images(photos, called="PHOTOS")
    built = build_pack(
        photos,
        out=out,
        size=size,
        minutes=minutes,
        on_error=on_error,
        device=device,
        say=click.echo,
        **parse_settings(settings),
    )
    spent = ", ".join(f"{name} {seconds / 60:.1f}" for name, seconds in built.seconds.items())
    click.echo(f"Minutes: {spent}; together {sum(built.seconds.values()) / 60:.1f}.")
    click.echo(f"Open {out / 'page' / 'index.html'} in a browser, and name what you see: ganaug name {out} INDEX=NAME")
    click.echo(f'Then: transforms.LatentShift(direction="any", pack="{out}")')
