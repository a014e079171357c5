"""Pictures and pages to look through a pack."""

from ganaug.gallery.page import write_page
from ganaug.gallery.sheet import (
    before_after_sheet,
    contact_sheet,
    direction_strip,
    preview,
    samples_sheet,
    stack,
    tile,
    titled,
)

__all__ = [
    "before_after_sheet",
    "contact_sheet",
    "direction_strip",
    "preview",
    "samples_sheet",
    "stack",
    "tile",
    "titled",
    "write_page",
]
