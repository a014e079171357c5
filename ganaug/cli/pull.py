"""``ganaug pull``: a pack comes from the Hub."""

from __future__ import annotations

from pathlib import Path

import click

from ganaug.cli.options import NEW_FOLDER, check_empty
from ganaug.packs import DirectionPack


@click.command(epilog="Example: ganaug pull org/digits runs/digits --revision main")
@click.argument("repo")
@click.argument("folder", type=NEW_FOLDER)
@click.option("--revision", help="Branch, tag or commit.")
def pull(repo: str, folder: Path, revision: str | None) -> None:
    """Download the pack REPO (org/name) from the Hub, check it, and write it into FOLDER, which is new or empty."""
    check_empty(folder)
    click.echo(str(DirectionPack.from_pretrained(repo, revision=revision).save_pretrained(folder)))
