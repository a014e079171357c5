"""``ganaug show``: a page to look through a pack."""

from __future__ import annotations

from pathlib import Path

import click

from ganaug.cli.options import CHECK_DOMAIN, NEW_FOLDER, PACK_HELP, Number, Whole, check_images
from ganaug.gallery import write_page
from ganaug.packs import DirectionPack
from ganaug.places import is_folder


@click.command(epilog=f"{PACK_HELP}\n\nExample: ganaug show digits --out page --seeds 6")
@click.argument("pack")
@click.option("--out", type=NEW_FOLDER, help="Folder for the page; ganaug-show-NAME by default.")
@click.option(
    "--reach",
    type=Number(min=0, min_open=True),
    help="Walk from -REACH to REACH instead of each direction's range.",
)
@click.option("--seeds", type=Whole(1, 1000), default=4, show_default=True, help="Rows of images per direction.")
@click.option(
    "--images",
    help="Your own images in place of generated ones, SEEDS of them: a folder, or NAME:FOLDER for the test images of "
    "mnist, fashion-mnist or digits. The pack needs an encoder.",
)
@CHECK_DOMAIN
def show(pack: str, out: Path | None, reach: float | None, seeds: int, images: str | None, check_domain: bool) -> None:
    """Write an HTML page that shows what every direction of a PACK does."""
    if images is not None:
        check_images(images)
    loaded = DirectionPack.from_pretrained(pack)
    folder = out or Path(f"ganaug-show-{_plain(loaded.name)}")
    page = write_page(loaded, folder, seeds=tuple(range(seeds)), images=images, check_domain=check_domain, reach=reach)
    click.echo(f"Open {page} in a browser.")


def _plain(name: str) -> str:
    """A pack's name as part of a folder's: the last part of a path, both of a Hub id."""
    return Path(name).name if is_folder(name) else name.replace("/", "-")
