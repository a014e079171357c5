"""``ganaug pull``: from the Hub."""

from __future__ import annotations

from pathlib import Path

import click

from ganaug.cli.options import (
    check_empty,
)
from ganaug.packs import DirectionPack


@click.command()
@click.argument("repo")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--revision", help="Branch, tag or commit.")
def pull(repo: str, folder: Path, revision: str | None) -> None:
    """Download the pack REPO (org/name) from the Hub, check it, and write it into FOLDER, which is new or empty."""

    check_empty(folder)
    click.echo(f"{DirectionPack.from_pretrained(repo, revision=revision).save_pretrained(folder)}")
