"""Contact sheets: what each direction does, as one picture."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ganaug.devices import own_defaults
from ganaug.errors import GalleryError
from ganaug.gallery.rows import Rows, drawn_rows, real_rows, walk_rows
from ganaug.generators import Generator
from ganaug.images import from_unit, resized, signed_to_unit, to_unit
from ganaug.packs import DirectionPack

TEXT_HEIGHT = 13
MOST_CAPTION = 24
"""Characters of a row's caption."""
INK, PAPER, FAINT = (20, 20, 20), (255, 255, 255), (110, 110, 110)


def tile(images: Tensor, *, scale: int = 1, gap: int = 2) -> Image.Image:
    """Lay images ``(rows, columns, C, H, W)`` in [0, 1] out on white, each enlarged ``scale`` times."""
    rows, columns, channels, height, width = images.shape
    pixels = from_unit(images, torch.uint8).permute(0, 1, 3, 4, 2).numpy()
    sheet = Image.new("RGB", (columns * (width * scale + gap) - gap, rows * (height * scale + gap) - gap), PAPER)
    for row in range(rows):
        for column in range(columns):
            cell = pixels[row, column]
            picture = Image.fromarray(cell[..., 0] if channels == 1 else cell).convert("RGB")
            picture = picture.resize((width * scale, height * scale), Image.Resampling.NEAREST)
            sheet.paste(picture, (column * (width * scale + gap), row * (height * scale + gap)))
    return sheet


def titled(picture: Image.Image, title: str, note: str = "") -> Image.Image:
    """The picture under a line of text."""
    sheet = Image.new("RGB", (picture.width, picture.height + TEXT_HEIGHT + 4), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(TEXT_HEIGHT - 2)
    draw.text((1, 1), title, INK, font)
    if note:
        draw.text((sheet.width - draw.textlength(note, font) - 1, 1), note, FAINT, font)
    sheet.paste(picture, (0, TEXT_HEIGHT + 4))
    return sheet


def captioned(picture: Image.Image, captions: Sequence[str], *, gap: int = 2) -> Image.Image:
    """The picture with words to the left of its rows, which are equally high; as it is without any."""
    if not captions:
        return picture
    font = ImageFont.load_default(TEXT_HEIGHT - 2)
    shown = [caption if len(caption) <= MOST_CAPTION else f"{caption[: MOST_CAPTION - 1]}…" for caption in captions]
    left = int(max(font.getlength(text) for text in shown)) + 6
    sheet = Image.new("RGB", (left + picture.width, picture.height), PAPER)
    draw, pitch = ImageDraw.Draw(sheet), (picture.height + gap) / len(shown)
    for row, text in enumerate(shown):
        draw.text((1, row * pitch + (pitch - gap) / 2), text, INK, font, anchor="lm")
    sheet.paste(picture, (left, 0))
    return sheet


def stack(pictures: Sequence[Image.Image], *, columns: int = 1, gap: int = 12) -> Image.Image:
    """Pictures in a grid, filled row by row, with a margin; rows are as high as their highest picture."""
    width = max(p.width for p in pictures)
    heights = [max(p.height for p in pictures[k : k + columns]) for k in range(0, len(pictures), columns)]
    sheet = Image.new("RGB", (columns * (width + gap) + gap, sum(heights) + gap * (len(heights) + 1)), PAPER)
    for k, picture in enumerate(pictures):
        row, column = divmod(k, columns)
        sheet.paste(picture, (gap + column * (width + gap), gap + sum(heights[:row]) + gap * row))
    return sheet


@own_defaults
def direction_strip(
    pack: DirectionPack,
    index: int,
    *,
    seeds: Sequence[int] = (0, 1, 2),
    rows: Rows | None = None,
    steps: int = 9,
    reach: float | None = None,
    most_pixels: int | None = None,
) -> Image.Image:
    """Rows that walk along a direction from the low to the high end of its range, with the names of their classes.

    Args:
        seeds: one latent (and label) each.
        rows: instead of them, such as real images, which come first in their rows.
        steps: images in a row.
        reach: walk over ``[-reach, reach]`` instead of the range, in latent units.
        most_pixels: of an image's sides; larger ones are made smaller.
    """
    generator, direction = pack.generator, pack[index]
    low, high = direction.reach if direction.is_usable else direction.range
    if reach is not None:
        low, high = -reach, reach
    rows = drawn_rows(pack, seeds) if rows is None else rows
    images = walk_rows(generator, direction.vector, rows, torch.linspace(low, high, steps))
    if most_pixels is not None and generator.image_size > most_pixels:
        images = resized(images.flatten(0, 1), (most_pixels, most_pixels)).unflatten(0, images.shape[:2])
    scale = 2 if generator.image_size <= 32 else 1
    title = f"{direction.index}" + (f"  {direction.name}" if direction.name else "")
    note = f"{low:+.1f} to {high:+.1f}"
    return titled(
        captioned(tile(images, scale=scale), rows.captions), title, note if rows.images is None else f"image; {note}"
    )


@own_defaults
@torch.no_grad()
def inversion_sheet(pack: DirectionPack, images: Tensor, *, directions: int = 3) -> Image.Image:
    """What a pack's encoder makes of images: they themselves, reconstructed, and shifted along the first directions
    (named ones first, of those that keep the label where that was measured), to the farther end of their range.

    Args:
        images: ``(N, C, H, W)`` uint8 of the generator's size.

    Raises:
        PackError: the pack has no encoder.
    """
    generator, rows = pack.generator, real_rows(pack, images)
    found, captions = [to_unit(images).cpu(), signed_to_unit(generator(rows.latents, rows.labels)).cpu()], ["as it is"]
    captions.append("reconstructed")
    usable = [direction for direction in pack.named_first() if direction.is_usable] or pack.named_first()
    for direction in usable[:directions]:
        far = max(direction.reach if direction.is_usable else direction.range, key=abs)
        found.append(walk_rows(generator, direction.vector, rows, torch.tensor([far]))[:, 1])
        captions.append(f"{direction.name or direction.index} {far:+.1f}")
    scale = max(1, 64 // generator.image_size)
    return stack([captioned(tile(torch.stack(found), scale=scale), captions)])


@own_defaults
def contact_sheet(
    pack: DirectionPack,
    *,
    indices: Sequence[int] | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    steps: int = 7,
    columns: int = 3,
    reach: float | None = None,
    most_pixels: int | None = None,
) -> Image.Image:
    """All directions (or ``indices``, named ones first) on one sheet; see :func:`direction_strip`."""
    if indices is None:
        indices = [direction.index for direction in pack.named_first()]
    strips = [
        direction_strip(pack, index, seeds=seeds, steps=steps, reach=reach, most_pixels=most_pixels)
        for index in indices
    ]
    return stack(strips, columns=min(columns, len(strips)))


@own_defaults
def preview(pack: DirectionPack, *, most: int = 24) -> Image.Image:
    """The contact sheet that goes into a pack: named directions first, ``most`` at most, in 256 colours.

    Images have 128 pixels at most: a sheet of larger ones would be one that no reader decodes.
    """
    indices = [direction.index for direction in pack.named_first()][: max(most, len(pack.names))]
    return contact_sheet(pack, indices=indices, seeds=(0, 1), most_pixels=128).quantize(256)


@own_defaults
def before_after_sheet(
    pack: DirectionPack, index: int, *, count: int = 10, interval: tuple[float, float] | None = None, seed: int = 0
) -> Image.Image:
    """Two rows: fresh images, one label after the other, and the same latents shifted along a direction.

    Magnitudes are drawn from the outer half of the interval (default: the direction's range), so that what the
    direction does shows.
    """
    generator, direction = pack.generator, pack[index]
    low, high = interval or direction.reach
    rng = torch.Generator().manual_seed(seed)
    latents = generator.sample_latents(count, rng=rng)
    labels = torch.arange(count, device=generator.device) % generator.num_classes if generator.num_classes else None
    draw = 0.5 + 0.5 * torch.rand(count, generator=rng)
    magnitudes = torch.where(torch.rand(count, generator=rng) < 0.5, low * draw, high * draw)
    with torch.no_grad():
        before = generator(latents, labels)
        after = generator(latents + (magnitudes[:, None] * direction.vector).to(generator.device), labels)
    images = signed_to_unit(torch.stack([before, after])).cpu()
    scale = max(1, 96 // generator.image_size)
    title = f"{direction.name or direction.index}: before (top) and after (bottom)"
    return stack([titled(tile(images, scale=scale), title, f"magnitudes within {low:+.1f} to {high:+.1f}")])


@own_defaults
def samples_sheet(
    generator: Generator,
    *,
    class_names: Sequence[str] | None = None,
    columns: int = 10,
    seed: int = 0,
    most_rows: int = 20,
    most_pixels: int = 128,
) -> Image.Image:
    """Fresh images of a generator, one row for each class with its name; without classes eight rows.

    Args:
        class_names: in order of the labels; the generator's own by default, numbers where nobody has said.
        most_rows: of more classes, the first so many are shown.
        most_pixels: of an image's sides; larger ones are made smaller.

    Raises:
        GalleryError: numbers below 1, or not a name for each class.
    """
    if min(columns, most_rows, most_pixels) < 1:
        raise GalleryError(
            f"columns, most_rows and most_pixels should be at least 1, got {columns}, {most_rows}, {most_pixels}."
        )
    classes = generator.num_classes
    names = class_names or generator.class_names or [str(label) for label in range(classes)]
    if len(names) != classes:
        raise GalleryError(f"class_names should be {classes} names, one for each class, got {len(names)}.")
    rows = min(classes or 8, most_rows)
    rng = torch.Generator().manual_seed(seed)
    labels = torch.arange(rows, device=generator.device).repeat_interleave(columns) if classes else None
    images = _drawn(generator, generator.sample_latents(rows * columns, rng=rng), labels)
    if generator.image_size > most_pixels:
        images = resized(images, (most_pixels, most_pixels))
    picture = tile(images.unflatten(0, (rows, columns)), scale=max(1, 64 // generator.image_size))
    return _named_rows(picture, [str(name) for name in names[:rows]])


@torch.no_grad()
def _drawn(generator: Generator, latents: Tensor, labels: Tensor | None) -> Tensor:
    """Images ``(N, C, H, W)`` in [0, 1] on the CPU, in evaluation mode whatever mode the generator is in."""
    modes = [(module, module.training) for module in generator.modules()]
    generator.eval()
    try:
        parts = [
            generator(latents[rows], None if labels is None else labels[rows])
            for rows in torch.arange(len(latents), device=latents.device).split(100)
        ]
    finally:
        for module, mode in modes:
            module.training = mode
    return signed_to_unit(torch.cat(parts)).cpu()


def _named_rows(picture: Image.Image, names: Sequence[str], *, most: int = 24, gap: int = 8) -> Image.Image:
    """A picture of rows of one height, and the name of each on its left, cut where it is longer than ``most``."""
    font = ImageFont.load_default(TEXT_HEIGHT - 1)
    shown = [name if len(name) <= most else f"{name[: most - 3]}..." for name in names]
    draw = ImageDraw.Draw(picture)
    margin = int(max((draw.textlength(name, font) for name in shown), default=0)) + gap if shown else 0
    sheet = Image.new("RGB", (picture.width + margin + 2 * gap, picture.height + 2 * gap), PAPER)
    sheet.paste(picture, (margin + gap, gap))
    draw = ImageDraw.Draw(sheet)
    for row, name in enumerate(shown):
        middle = gap + (row + 0.5) * picture.height / len(shown)
        draw.text((margin, middle), name, INK, font, anchor="rm")
    return sheet
