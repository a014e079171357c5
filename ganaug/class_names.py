"""Which of a generator's classes a data set's classes are: by name, never by place."""

from __future__ import annotations

from collections.abc import Sequence

from ganaug.errors import DataError


def places(found: Sequence[str], known: Sequence[str] | None, count: int) -> list[int | None]:
    """Where each name stands among the ``count`` known ones: as it is written, else, if that is one place, whatever its
    capitals; None for one that is not there. Where nobody has named the classes, numerals are their numbers."""
    if known is None:
        numbers = {str(number): number for number in range(count)}
        return [numbers.get(name) for name in found]
    exact = {name: place for place, name in enumerate(known)}
    folded: dict[str, list[int]] = {}
    for name, place in exact.items():
        folded.setdefault(name.casefold(), []).append(place)
    alike = {name: where[0] for name, where in folded.items() if len(where) == 1}
    return [exact.get(name, alike.get(name.casefold())) for name in found]


def match_classes(
    found: Sequence[str], known: Sequence[str] | None, count: int, *, where: str, generator: str
) -> list[int]:
    """Which class of a generator each of a data set's classes is: by name, never by place.

    Args:
        found: the data set's classes.
        known: the generator's, in its order; None if nobody has said. Then numerals are taken for its numbers.
        count: how many the generator has.
        where, generator: whose both are, for the error.

    Returns:
        An index in ``[0, count)`` for each of ``found``.

    Raises:
        DataError: classes that the generator does not have; the message shows both lists.
    """
    matched = [place for place in places(found, known, count) if place is not None]
    if len(set(matched)) == len(found):
        return matched
    if known is None:
        raise DataError(
            f"{where} has the classes {', '.join(found)}, and {generator} does not say what its {count} classes are. "
            "Say it, in its order, with classes=[...] (--classes NAME,NAME,...)."
        )
    foreign = [name for name, place in zip(found, places(found, known, count), strict=True) if place is None]
    why = f"It does not have {', '.join(foreign)}" if foreign else "Two of them are the same one"
    raise DataError(
        f"{where} has the classes {', '.join(found)}; {generator} has {', '.join(known)}. {why}. Rename the folders, "
        "or say what the generator's classes are called there, in its order, with classes=[...] (--classes "
        "NAME,NAME,...)."
    )
