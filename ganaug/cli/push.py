"""``ganaug push``: a pack goes to the Hub."""

from __future__ import annotations

from pathlib import Path

import click

from ganaug.cli.options import PACK_FOLDER
from ganaug.packs import DirectionPack


@click.command(epilog="Example: ganaug push runs/digits org/digits --private")
@click.argument("folder", type=PACK_FOLDER)
@click.argument("repo")
@click.option("--private", is_flag=True, help="Make the repository private.")
def push(folder: Path, repo: str, private: bool) -> None:
    """Upload the pack in FOLDER to the Hub as REPO (org/name); log in first with `hf auth login`."""
    click.echo(DirectionPack.from_pretrained(folder).push_to_hub(repo, private=private or None))
