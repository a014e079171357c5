"""Class names: the data set's beside the generator's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ganaug.class_names import places
from ganaug.errors import TransformError

Names = Sequence[str] | None


class ClassNames:
    """What the labels of a data set are called, and which of the generator's classes they are.

    Args:
        classes: the names of the data set's classes, in the order of its labels; None if its labels are the
            generator's classes.
        known: the names of the generator's classes, or None where nobody has named them.
        num_classes: of the generator.
        title: of the pack or bank, for messages.

    Raises:
        TransformError: names that are not, or not once, among the generator's.
    """

    def __init__(self, classes: Names, known: Names, num_classes: int, title: str) -> None:
        self.title = title
        self.known = None if known is None else tuple(known)
        self.table: Tensor | None = None
        self.given: tuple[str, ...] | None = None
        if classes is None:
            return
        self.given = _checked_names(classes)
        if num_classes == 0:
            raise TransformError(f"{title} draws no classes, so classes={list(self.given)!r:.80} can't be used.")
        found = dict(zip(self.given, places(self.given, self.known, num_classes), strict=True))
        if missing := [name for name, number in found.items() if number is None]:
            raise TransformError(
                f"{title} does not draw the classes {_shown(missing)}. The data set's are {_shown(self.given)}; the "
                f"generator's are {self._own(num_classes)}. Take a pack that draws them, or give the generator's own "
                "names in the order of your labels as classes=[...]."
            )
        if len(set(found.values())) < len(found):
            raise TransformError(
                f"two of the classes {_shown(self.given)} are the same one of {self._own(num_classes)}."
            )
        self.table = torch.tensor(list(found.values()), dtype=torch.int64, device="cpu")

    @property
    def speaks(self) -> bool:
        """Whether labels may be given as names."""
        return self.given is not None or self.known is not None

    def num_labels(self, num_classes: int) -> int:
        """How many classes the labels tell apart, of a generator of ``num_classes``."""
        return num_classes if self.table is None else len(self.table)

    def numbers(self, words: Sequence[str]) -> list[int]:
        """The labels that names stand for; ``TransformError`` for names that nobody gave."""
        names = self._spoken()
        numbers = places(words, names, len(names))
        if None in numbers:
            wrong = [word for word, number in zip(words, numbers, strict=True) if number is None]
            raise TransformError(
                f"the labels {_shown(wrong)} are none of the classes {_shown(names)} of "
                f"{'classes=' if self.given is not None else self.title}. Say where the labels are with "
                "labels_getter=..., or with None that there are none."
            )
        return [number for number in numbers if number is not None]

    def is_name(self, word: str) -> bool:
        """Whether a word is the name of a class."""
        return places([word], self._spoken(), 0) != [None]

    def drawn_as(self, labels: Tensor) -> Tensor:
        """The generator's classes ``(N,)`` of labels ``(N,)``; of those that are none, any."""
        if self.table is None:
            return labels
        return self.table.to(labels.device, non_blocking=True)[labels.clamp(0, len(self.table) - 1)]

    def _spoken(self) -> tuple[str, ...]:
        return self.given if self.given is not None else self.known or ()

    def _own(self, num_classes: int) -> str:
        return _shown(self.known) if self.known is not None else f"0 to {num_classes - 1}, without names"


def _checked_names(classes: Any) -> tuple[str, ...]:
    names = tuple(classes) if isinstance(classes, Sequence) and not isinstance(classes, str) else ()
    if not names or not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        raise TransformError(
            "classes should be a list of the data set's class names, each once, in the order of its labels (such as "
            f"dataset.classes); got {classes!r:.80}."
        )
    return names


def _shown(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:12])) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
