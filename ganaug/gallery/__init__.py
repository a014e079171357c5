"""Pictures and pages to look through a pack."""

from ganaug.gallery.page import write_page
from ganaug.gallery.rows import Rows, drawn_rows, real_rows, rows_of_images
from ganaug.gallery.sheet import (
    before_after_sheet,
    contact_sheet,
    direction_strip,
    inversion_sheet,
    preview,
    samples_sheet,
    stack,
    tile,
    titled,
)

__all__ = [
    "Rows",
    "before_after_sheet",
    "contact_sheet",
    "direction_strip",
    "drawn_rows",
    "inversion_sheet",
    "preview",
    "real_rows",
    "rows_of_images",
    "samples_sheet",
    "stack",
    "tile",
    "titled",
    "write_page",
]
