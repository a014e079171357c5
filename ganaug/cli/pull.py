"""``ganaug pull``: a pack comes from the Hub."""

from __future__ import annotations

from pathlib import Path

import click

from ganaug.cli.options import NEW_FOLDER, check_empty
from ganaug.files import check_can_be_made
from ganaug.generators.generator import CONFIG_FILE
from ganaug.packs import DirectionPack
from ganaug.packs.hub import is_hub_id
from ganaug.places import is_folder


@click.command(epilog="Example: ganaug pull org/digits runs/digits --revision main")
@click.argument("repo")
@click.argument("folder", type=NEW_FOLDER)
@click.option("--revision", help="Branch, tag or commit.")
def pull(repo: str, folder: Path, revision: str | None) -> None:
    """Download the pack REPO (org/name) from the Hub, check it, and write it into FOLDER, which is new or empty."""
    if revision is not None and (not revision.strip() or not is_hub_id(repo) or is_folder(repo)):
        raise click.UsageError(f"--revision is of a pack on the Hub: a branch, tag or commit; got {revision!r:.80}.")
    check_empty(folder)
    check_can_be_made(folder / CONFIG_FILE)
    click.echo(str(DirectionPack.from_pretrained(repo, revision=revision).save_pretrained(folder)))
