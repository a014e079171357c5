"""The HTML page to look through a pack."""

from __future__ import annotations

from html import escape
from pathlib import Path

from tqdm.auto import tqdm

from ganaug.devices import own_defaults
from ganaug.gallery.sheet import direction_strip
from ganaug.packs import Direction, DirectionPack

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
    pack: DirectionPack, folder: str | Path, *, seeds: tuple[int, ...] = (0, 1, 2, 3), reach: float | None = None
) -> Path:
    """Write ``index.html`` and one picture per direction into a folder; named directions come first.

    Args:
        seeds: one row of images each.
        reach: walk over ``[-reach, reach]`` instead of each direction's range.

    Returns:
        The page.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    items = []
    for direction in tqdm(pack.named_first(), "directions", leave=False):
        picture = f"direction_{direction.index:03d}.png"
        direction_strip(pack, direction.index, seeds=seeds, reach=reach).save(folder / picture, optimize=True)
        items.append(_item(direction, picture))
    measured = ", ".join(f"{key} {value:.3f}" for key, value in pack.scores.items() if isinstance(value, float))
    title = f"{escape(pack.name)}: {pack.num_directions} directions"
    page = folder / "index.html"
    page.write_text(
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{title}</title>\n<style>{STYLE}</style>\n'
        f"<h1>{title}</h1>\n<p>Each row walks one latent along the direction, from the low to the high end of its "
        f"range. Name what you recognise: <code>ganaug name PACK INDEX=NAME</code>. {escape(measured)}</p>\n"
        f"<ol>\n{''.join(items)}</ol>\n</html>\n",
        encoding="utf-8",
    )
    return page


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
