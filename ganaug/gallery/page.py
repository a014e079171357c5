"""The HTML page to look through a pack."""

from __future__ import annotations

from html import escape
from pathlib import Path

from tqdm.auto import tqdm

from ganaug.gallery.sheet import direction_strip
from ganaug.packs import DirectionPack

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 78rem; padding: 0 1rem; color: #1b1b1b; }
ol { list-style: none; padding: 0; display: grid; gap: 1.5rem;
  grid-template-columns: repeat(auto-fill, minmax(22rem, 1fr)); }
li { border: 1px solid #ddd; border-radius: 6px; padding: .8rem; }
h2 { font-size: 1rem; margin: 0 0 .3rem; } h2 .unnamed { color: #777; font-weight: normal; }
img { max-width: 100%; image-rendering: pixelated; } code { background: #f2f2f2; padding: 0 .25em; }
p.facts { margin: .3rem 0 0; color: #555; font-size: .85rem; }
"""


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
    named = sorted(pack.names.values())
    order = named + [index for index in range(pack.num_directions) if index not in named]
    items = []
    for index in tqdm(order, "directions", leave=False):
        picture = f"direction_{index:03d}.png"
        direction_strip(pack, index, seeds=seeds, reach=reach).save(folder / picture, optimize=True)
        items.append(_item(pack, index, picture))
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


def _item(pack: DirectionPack, index: int, picture: str) -> str:
    name = pack.name_of(index)
    heading = escape(name) if name else '<span class="unnamed">unnamed</span>'
    facts = []
    if pack.safe_ranges is not None:
        safe = pack.safe_ranges[index]
        facts.append(f"safe range {safe[0]:+.1f} to {safe[1]:+.1f}" if safe else "changes the label")
    measured = pack.scores.get("directions", {}).get(str(index), {})
    facts += [f"{key.replace('_', ' ')} {value:.3f}" for key, value in measured.items() if isinstance(value, float)]
    return (
        f'<li id="direction-{index}"><h2>{index} &middot; {heading}</h2>'
        f'<img src="{picture}" alt="images along direction {index}" loading="lazy">'
        f'<p class="facts">{escape("; ".join(facts))}</p></li>\n'
    )
