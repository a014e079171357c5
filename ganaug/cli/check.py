"""``ganaug check``: what a folder of images holds."""

from __future__ import annotations

from pathlib import Path

import click

from ganaug.cli.options import FOLDER
from ganaug.folder_report import check_folder


@click.command(epilog="Example: ganaug check photos")
@click.argument("images", type=FOLDER)
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
def check(images: Path, as_json: bool) -> None:
    """Open every image of a folder and print what there is: classes, sizes, modes, each damaged or unusual file.

    Exits with 1 if an image is damaged, or the folder can't be used as it is.
    """
    report = check_folder(images)
    click.echo(report.to_json() if as_json else report.table())
    if not report.is_sound:
        raise SystemExit(1)
