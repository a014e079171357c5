"""``ganaug show``: the page."""

from __future__ import annotations

from pathlib import Path

import click

from ganaug.cli.options import (
    PACK_HELP,
)
from ganaug.gallery import write_page
from ganaug.packs import DirectionPack


@click.command(epilog=PACK_HELP)
@click.argument("pack")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the page; ganaug-show-NAME by default.")
@click.option("--reach", type=float, help="Walk from -REACH to REACH instead of each direction's range.")
@click.option("--seeds", default=4, show_default=True, help="Rows of images per direction.")
def show(pack: str, out: Path | None, reach: float | None, seeds: int) -> None:
    """Write an HTML page that shows what every direction of a PACK does."""

    loaded = DirectionPack.from_pretrained(pack)
    page = write_page(
        loaded, out or Path(f"ganaug-show-{loaded.name.replace('/', '-')}"), seeds=tuple(range(seeds)), reach=reach
    )
    click.echo(f"Open {page} in a browser.")
