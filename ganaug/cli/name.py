"""``ganaug name``: names for directions."""

from __future__ import annotations

from pathlib import Path

import click

from ganaug.cli.options import PACK_FOLDER
from ganaug.files import check_writable
from ganaug.gallery import preview
from ganaug.locks import alone
from ganaug.packs import DirectionPack


@click.command(epilog="Example: ganaug name runs/digits 17=background 4=stroke")
@click.argument("folder", type=PACK_FOLDER)
@click.argument("names", nargs=-1, required=True, metavar="INDEX=NAME...")
def name(folder: Path, names: tuple[str, ...]) -> None:
    """Name directions of the pack in FOLDER; INDEX= takes a name away."""
    check_writable(folder)
    with alone(folder / "names", wait=True):  # what another process names meanwhile is read
        pack = DirectionPack.from_pretrained(folder)
        given: dict[str, str] = {}
        for word in names:
            index, separator, new = word.partition("=")
            if not separator or not index.isdecimal():
                raise click.UsageError(f"names are given as INDEX=NAME, got {word!r}.")
            if new in given:
                raise click.UsageError(f"{new!r} is given to {given[new]} and to {index}; a name is one direction's.")
            if new:
                given[new] = index
                if pack.names.get(new, int(index)) != int(index):
                    click.echo(f"{new!r} was the name of direction {pack.names[new]}, which has none now.")
            pack.rename(int(index), new or None)
        pack.preview = preview(pack)
        pack.save_pretrained(folder)
        click.echo(f"{folder}: {dict(pack.names)}")
