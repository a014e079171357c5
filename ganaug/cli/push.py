"""``ganaug push``: to the Hub."""

from __future__ import annotations

from pathlib import Path

import click

from ganaug.packs import DirectionPack


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("repo")
@click.option("--private", is_flag=True, help="Make the repository private.")
def push(folder: Path, repo: str, private: bool) -> None:
    """Upload the pack in FOLDER to the Hub as REPO (org/name); log in first with `hf auth login`."""

    click.echo(DirectionPack.from_pretrained(folder.resolve()).push_to_hub(repo, private=private or None))
