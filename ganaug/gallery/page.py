"""The HTML page to look through a pack."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from html import escape
from pathlib import Path

from tqdm.auto import tqdm

from ganaug.devices import own_defaults
from ganaug.errors import GalleryError
from ganaug.gallery.rows import drawn_rows, rows_of_images
from ganaug.gallery.sheet import direction_strip
from ganaug.marks import writing_into
from ganaug.packs import Direction, DirectionPack
from ganaug.places import is_folder

PAGE = "index.html"

WALKED = "Each row walks one latent along the direction, from the low to the high end of its range."
SHIFTED = (
    "Each row begins with an image of yours. After it comes the same image shifted along the direction, from the low "
    "to the high end of its range, as LatentShift does it: what the shift changes in the image that the generator "
    "draws of it is added."
)

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 78rem; padding: 0 1rem; color: #1b1b1b; }
ol { list-style: none; padding: 0; display: grid; gap: 1.5rem;
  grid-template-columns: repeat(auto-fill, minmax(22rem, 1fr)); }
li { border: 1px solid #ddd; border-radius: 6px; padding: .8rem; }
h2 { font-size: 1rem; margin: 0 0 .3rem; } h2 .unnamed { color: #777; font-weight: normal; }
img { max-width: 100%; image-rendering: pixelated; } code { background: #f2f2f2; padding: 0 .25em; }
p.facts { margin: .3rem 0 0; color: #555; font-size: .85rem; }
"""


@own_defaults
def write_page(
    pack: DirectionPack,
    folder: str | Path,
    *,
    seeds: tuple[int, ...] = (0, 1, 2, 3),
    images: str | Path | None = None,
    check_domain: bool = True,
    reach: float | None = None,
) -> Path:
    """Write ``index.html`` and one picture per direction into a folder; named directions come first.

    An earlier page there is replaced, files of anybody else's are not; a page that fails leaves nothing.

    Args:
        seeds: one row of images each.
        images: instead of images that the generator draws, as many of one's own: a folder, or ``NAME:FOLDER``, see
            :func:`~ganaug.gallery.rows_of_images`. They are changed as ``LatentShift`` changes them.
        check_domain: refuse images of another kind than the pack's.
        reach: walk over ``[-reach, reach]`` instead of each direction's range.

    Returns:
        The page.

    Raises:
        GalleryError: no seeds, or a reach that is none.
        FileError: a file of the page's name is there that ganaug did not write, or that was changed since.
        PackError: the pack's generator is missing or damaged; it has no encoder for ``images``.
        DataError: no such images, or damaged ones.
        TransformError: images of another kind than the pack's.
    """
    folder = Path(folder)
    _check_arguments(seeds, reach)
    rows = drawn_rows(pack, seeds)
    if images is not None:
        rows = rows_of_images(pack, images, count=len(seeds), domain=check_domain)
    pictures = {direction.index: f"direction_{direction.index:03d}.png" for direction in pack}
    with writing_into(folder, [PAGE, *pictures.values()]) as scratch:
        for index, picture in tqdm(pictures.items(), "directions", leave=False):
            direction_strip(pack, index, rows=rows, reach=reach).save(scratch / picture, optimize=True)
        items = [_item(direction, pictures[direction.index]) for direction in pack.named_first()]
        (scratch / PAGE).write_text(_text(pack, items, WALKED if images is None else SHIFTED), encoding="utf-8")
    return folder / PAGE


def _check_arguments(seeds: Sequence[int], reach: float | None) -> None:
    if not seeds or any(isinstance(seed, bool) or not isinstance(seed, int) or seed < 0 for seed in seeds):
        raise GalleryError(f"seeds should be whole numbers of at least 0, one or more; got {seeds!r:.100}.")
    if reach is not None and not 0 < reach < math.inf:
        raise GalleryError(f"reach should be a finite number above 0, got {reach!r}.")


def _text(pack: DirectionPack, items: list[str], walked: str) -> str:
    measured = ", ".join(f"{key} {value:.3f}" for key, value in pack.scores.items() if isinstance(value, float))
    title = f"{escape(pack.name)}: {pack.num_directions} directions"
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{title}</title>\n<style>{STYLE}</style>\n'
        f"<h1>{title}</h1>\n<p>{walked} Name what you recognise: "
        f"<code>ganaug name {escape(_as_folder(pack))} INDEX=NAME</code>. {escape(measured)}</p>\n"
        f"<ol>\n{''.join(items)}</ol>\n</html>\n"
    )


def _item(direction: Direction, picture: str) -> str:
    heading = escape(direction.name) if direction.name else '<span class="unnamed">unnamed</span>'
    facts = []
    if not direction.is_usable:
        facts.append("changes the label")
    elif direction.safe_range is not None:
        facts.append("safe range {:+.1f} to {:+.1f}".format(*direction.safe_range))
    figures = direction.scores.items()
    facts += [f"{key.replace('_', ' ')} {value:.3f}" for key, value in figures if isinstance(value, float)]
    return (
        f'<li id="direction-{direction.index}"><h2>{direction.index} &middot; {heading}</h2>'
        f'<img src="{picture}" alt="images along direction {direction.index}" loading="lazy">'
        f'<p class="facts">{escape("; ".join(facts))}</p></li>\n'
    )


def _as_folder(pack: DirectionPack) -> str:
    """The pack's folder as it is typed after a command, or PACK where it was loaded from no folder."""
    return shlex.quote(pack.name) if is_folder(pack.name) else "PACK"
