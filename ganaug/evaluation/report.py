"""Reports, and the one of ``evaluate``: how far a pack's directions keep the label, and what they change."""

from __future__ import annotations

import dataclasses
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from ganaug.files import write_json
from ganaug.marks import writing_into
from ganaug.packs import DirectionPack

Interval = tuple[float, float]
COLUMNS = (("label", 7), ("mask_iou", 9), ("outside", 8), ("inside", 7))
SHOWN = 10
"""Classes that are listed, all or the worst of them."""


class Report(ABC):
    """What a measurement found, a dataclass: as text, as JSON, in two files, or put into the pack."""

    @abstractmethod
    def table(self) -> str:
        """For people to read."""

    @abstractmethod
    def add_to(self, pack: DirectionPack, *, command: str) -> None:
        """Put the figures into the pack, with the command that prints them; nothing is written to disk."""

    def _figures(self) -> dict[str, Any]:
        return {field.name: _plain(getattr(self, field.name)) for field in dataclasses.fields(cast(Any, self))}

    def to_json(self) -> str:
        """All figures, as one JSON object."""
        return json.dumps(self._figures(), indent=2)

    def save(self, directory: str | Path) -> Path:
        """Write ``report.json`` and ``report.txt`` into a folder, made if need be; returns the folder.

        Raises:
            FileError: a file of such a name is there that no report of ours wrote, or that was changed since.
        """
        folder = Path(directory)
        with writing_into(folder, ["report.json", "report.txt"]) as scratch:
            write_json(scratch / "report.json", self._figures())
            (scratch / "report.txt").write_text(self.table() + "\n", encoding="utf-8")
        return folder


def _plain(value: Any) -> Any:
    """A field of a report, dataclasses within it included, as JSON holds it."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


def near_chance(share: float, chance: float) -> bool:
    """Whether a judge goes less than a fifth of the way from guessing to reading all."""
    return share - chance < (1 - chance) / 5


@dataclass
class Row:
    """One direction: ``interval`` None where it changes the label at every magnitude measured, and no figures then.

    Attributes:
        classes: the figure ``label`` of the images of each class.
        worst: the class with the lowest.
    """

    index: int
    label: str
    interval: Interval | None
    figures: dict[str, float]
    classes: dict[str, float] = field(default_factory=dict)
    worst: str | None = None


@dataclass
class EvaluationReport(Report):
    """What :func:`evaluate` found.

    Attributes:
        dataset: the images that the judges were trained on.
        judge: what reads the labels.
        classifier: share of the real test images that the classifier reads right.
        classes: the same of the images of each class.
        chance: the share that guessing would read right.
        segmenter: mean IoU of the segmenter on 2,000 real test images; None without masks.
        inverted: how many real test images are shifted, where labels are read off these; None for fresh images.
        unshifted: share of the unshifted images read as their label; None for an unconditional generator without an
            encoder.
        rate: share of what is read unshifted that safe ranges keep.
        safe_ranges: of every direction, ``(0, 0)`` where the label is kept nowhere; None if not measured.
        rows: one for each direction asked for.
    """

    dataset: str
    judge: str
    classifier: float
    classes: dict[str, float]
    chance: float
    segmenter: float | None
    inverted: int | None
    unshifted: float | None
    rate: float
    safe_ranges: list[Interval] | None
    rows: list[Row]

    def table(self) -> str:
        """Judges, then one line for each direction."""
        return "\n".join([*self._judges(), *self._directions()])

    def _judges(self) -> Iterator[str]:
        yield f"judge: {self.judge} reads {self.classifier:.4f} of the real test images right"
        worst = sorted(self.classes, key=self.classes.__getitem__)[:SHOWN]
        listed = [name for name in self.classes if name in worst]
        which = "by class" if len(listed) == len(self.classes) else "the worst classes"
        yield f"  {which}: " + ", ".join(f"{name} {self.classes[name]:.2f}" for name in listed)
        if near_chance(self.classifier, self.chance):
            yield (
                f"  that is little better than guessing ({self.chance:.2f}), and what follows says nothing. Train the "
                "judge longer (--judge-steps) or on more images; of your own (--model), look at the order of classes "
                "and at how its images are normalised"
            )
        if self.segmenter is not None:
            yield (
                f"judge: a segmenter trained on the known masks reaches IoU {self.segmenter:.4f} on 2,000 real test "
                "images"
            )
        if self.inverted is not None:
            yield (
                f"an unconditional generator with an encoder: labels are read off {self.inverted} real test images, "
                "shifted"
            )
        if self.unshifted is not None:
            what = "samples" if self.inverted is None else "images"
            yield f"unshifted {what} read as their label: {self.unshifted:.4f}"
        if self.safe_ranges is not None:
            usable = sum(interval != (0.0, 0.0) for interval in self.safe_ranges)
            yield (
                f"{usable} of {len(self.safe_ranges)} directions have a safe range at rate {self.rate} of what is read "
                "unshifted"
            )

    def _directions(self) -> Iterator[str]:
        dvn = any("dvn" in row.figures for row in self.rows)
        head = f"{'direction':>22} {'range':>14} {'label':>7} {'mask_iou':>9} {'outside':>8} {'inside':>7}"
        yield head + (f" {'dvn':>6}" if dvn else "") + "  worst class"
        for row in self.rows:
            if row.interval is None:
                yield f"{row.label:>22} changes the label at every magnitude measured"
                continue
            (low, high), figures = row.interval, row.figures
            cells = [f"{figures[key]:{width}.4f}" if key in figures else " " * width for key, width in COLUMNS]
            end = f" {figures['dvn']:6.3f}" if dvn else ""
            end += "" if row.worst is None else f"  {row.worst} {row.classes[row.worst]:.4f}"
            yield f"{row.label:>22} {low:+6.2f},{high:+6.2f}  " + " ".join(cells) + end

    def add_to(self, pack: DirectionPack, *, command: str) -> None:
        """Put safe ranges and figures into the pack, with the command that prints them."""
        if self.safe_ranges is not None:
            for direction, interval in zip(pack, self.safe_ranges, strict=True):
                direction.safe_range = interval
            if self.unshifted is not None:
                pack.scores["label unshifted"] = round(self.unshifted, 4)
                pack.scores["label unshifted_command"] = command
        for row in self.rows:
            if row.interval is not None:
                pack.add_scores(
                    row.index, {key: round(value, 4) for key, value in row.figures.items()}, command=command
                )
