"""Which class of a pack's generator a data set's classes are."""

from __future__ import annotations

from collections.abc import Sequence

from ganaug.class_names import match_classes
from ganaug.errors import DataError
from ganaug.packs import DirectionPack


def classes_of_folder(
    pack: DirectionPack,
    found: Sequence[str],
    known: Sequence[str] | None = None,
    *,
    where: str,
    required: bool = False,
) -> list[int] | None:
    """The generator's class for each class of a data set, by name; None where the encoder reads the classes.

    Args:
        found: the data set's classes.
        known: what the generator's classes are called there, in its order; the pack's own names by default. An empty
            list leaves it to the encoder to read the class of each image.
        where: the data set, for the error.
        required: whether classes have to be known.

    Raises:
        DataError: classes that the generator does not have, or a list that does not fit.
    """
    count = pack.num_classes
    if not count:
        if required or known:
            raise DataError(f"the generator of pack {pack.name!r} has no classes.")
        return None
    if known is not None and not known:
        if required:
            raise DataError(f"new images of pack {pack.name!r} need classes: an empty list can't be given.")
        return None
    if known is not None and len(known) != count:
        raise DataError(
            f"classes should name the {count} classes of pack {pack.name!r}'s generator, got {len(known)}: "
            f"{', '.join(known)}."
        )
    names = pack.class_names if known is None else known
    return match_classes(found, names, count, where=where, generator=f"the generator of pack {pack.name!r}")
