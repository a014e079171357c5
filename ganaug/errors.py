"""Every error of ganaug's that a user can meet and mend; all derive from :class:`UserError`."""

from __future__ import annotations

import re
from collections.abc import Sequence

LONGEST = 3000
"""Characters of a message at most; names and values in it may come from a file of anybody's."""

UNPRINTABLE = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters but the newline, what turns the direction of writing round, and halves of surrogate pairs."""


def printable(text: str) -> str:
    """A message as it can be shown in any terminal: control characters escaped, the middle left out if it is long."""
    text = UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), _cut(text))
    return _cut(text)


def _cut(text: str) -> str:
    """At most :data:`LONGEST` characters of a text: its beginning, and its end, where the advice stands."""
    if len(text) <= LONGEST:
        return text
    return f"{text[: LONGEST * 2 // 3]} [...] {text[-LONGEST // 4 :]}"


class UserError(Exception):
    """An error that the person who called can mend; the message says what came, what was expected and what to do."""

    def __init__(self, message: str = "") -> None:
        super().__init__(printable(message))


class FileError(UserError, ValueError):
    """A file is missing, unreadable, damaged or in the way."""


class SettingsError(UserError, ValueError):
    """A setting is unknown, of the wrong type or out of range."""


class DataError(UserError, ValueError):
    """What should be a data set is none."""


class GeneratorError(UserError, ValueError):
    """A generator, its weights or what it returned is not what ganaug can work with."""


class PackError(UserError, ValueError):
    """A pack is missing, damaged, or not what was asked of it; the message says which, why, and what to do."""


class TransformError(UserError, ValueError):
    """Arguments or inputs that a transform can't take; the message says what came and what was expected."""


class BankError(UserError, ValueError):
    """A bank is missing, damaged or not what was asked of it; the message says which and what to do."""


class DiscoveryError(UserError, RuntimeError):
    """A discovery run cannot start, go on or resume; the message says why and what to do."""


class Interrupted(DiscoveryError):
    """The run was asked to stop and did so between two steps."""


class GalleryError(UserError, ValueError):
    """A picture or page can't be drawn with such arguments; the message says what came and what was expected."""


class EvaluationError(UserError, ValueError):
    """What should be measured can't be, with such images or arguments; the message says what to do."""


class EncoderTrainingError(UserError, RuntimeError):
    """Training of an encoder cannot start or go on; the message says why and what to do."""


class GeneratorTrainingError(UserError, RuntimeError):
    """Training of a generator cannot start or go on; the message says why and what to do."""


class BuildError(UserError, RuntimeError):
    """A build cannot start or go on; the message says why and what to do."""


def counted(count: int, noun: str) -> str:
    """A count and its noun, in the plural unless the count is 1."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def listed(complaints: Sequence[str]) -> str:
    """The first six of some complaints, and how many more there are."""
    more = f"; and {len(complaints) - 6} more" if len(complaints) > 6 else ""
    return "; ".join(sorted(complaints)[:6]) + more
