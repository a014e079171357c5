"""Reports, and the one of ``evaluate``: how far a pack's directions keep the label, and what they change."""

from __future__ import annotations

import dataclasses
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import nn
from tqdm.auto import tqdm

from ganaug.data import LabelledImages, read_labelled
from ganaug.devices import in_channels_last, own_defaults
from ganaug.errors import PackError
from ganaug.evaluation.arguments import check_counts, check_interval, check_rate
from ganaug.evaluation.change import measure_change
from ganaug.evaluation.dvn import direction_variation_naturalness
from ganaug.evaluation.judges import find_object, predict, train_classifier, train_segmenter
from ganaug.evaluation.labels import InvertedImages, invert_images, label_hits, safe_ranges
from ganaug.evaluation.progress import Progress
from ganaug.files import write_json
from ganaug.generators import Generator
from ganaug.inversion import classes_of_folder
from ganaug.marks import writing_into
from ganaug.packs import Direction, DirectionPack

Interval = tuple[float, float]
COLUMNS = (("label", 7), ("mask_iou", 9), ("outside", 8), ("inside", 7))
FRESH_GRID = 11
"""Magnitudes over an interval at which labels are read where there are no masks."""


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


class Cosines(NamedTuple):
    """How alike the directions of a pack are: |cosine| of two, its mean, the largest, and which two have that."""

    mean: float
    largest: float
    pair: tuple[int, int]

    def __str__(self) -> str:
        first, second = self.pair
        return f"|cosine| of two directions: mean {self.mean:.3f}, largest {self.largest:.3f} ({first} and {second})"


@own_defaults
def cosines(pack: DirectionPack) -> Cosines:
    """How alike the directions of a pack of two or more are."""
    if len(pack) < 2:
        raise PackError(f"pack {pack.name!r} has one direction, and cosines are of two.")
    found = (pack.directions @ pack.directions.T).abs().fill_diagonal_(0)
    count = len(found)
    first, second = divmod(int(found.argmax()), count)
    return Cosines(found.sum().item() / (count * (count - 1)), found.max().item(), (first, second))


@dataclass
class Row:
    """One direction: ``interval`` None where it changes the label at every magnitude measured, and no figures then."""

    index: int
    label: str
    interval: Interval | None
    figures: dict[str, float]


@dataclass
class EvaluationReport(Report):
    """What :func:`evaluate` found.

    Attributes:
        dataset: the images that the judges were trained on.
        classifier: share of the real test images that the classifier reads right.
        segmenter: mean IoU of the segmenter on 2,000 real test images; None without masks.
        inverted: how many real test images are shifted, where labels are read off these; None for fresh images.
        unshifted: share of unshifted samples read as their label; None for an unconditional generator.
        rate: label agreement that safe ranges keep.
        safe_ranges: of every direction, ``(0, 0)`` where the label is kept nowhere; None if not measured.
        rows: one for each direction asked for.
    """

    dataset: str
    classifier: float
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
        yield (
            f"judge: a classifier trained on real {self.dataset} reads {self.classifier:.4f} of the real test images "
            "right"
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
            yield f"unshifted samples read as their label: {self.unshifted:.4f}"
        if self.safe_ranges is not None:
            usable = sum(interval != (0.0, 0.0) for interval in self.safe_ranges)
            yield f"{usable} of {len(self.safe_ranges)} directions have a safe range at rate {self.rate}"

    def _directions(self) -> Iterator[str]:
        dvn = any("dvn" in row.figures for row in self.rows)
        head = f"{'direction':>22} {'range':>14} {'label':>7} {'mask_iou':>9} {'outside':>8} {'inside':>7}"
        yield head + (f" {'dvn':>6}" if dvn else "")
        for row in self.rows:
            if row.interval is None:
                yield f"{row.label:>22} changes the label at every magnitude measured"
                continue
            (low, high), figures = row.interval, row.figures
            cells = [f"{figures[key]:{width}.4f}" if key in figures else " " * width for key, width in COLUMNS]
            end = f" {figures['dvn']:6.3f}" if dvn else ""
            yield f"{row.label:>22} {low:+6.2f},{high:+6.2f}  " + " ".join(cells) + end

    def add_to(self, pack: DirectionPack, *, command: str) -> None:
        """Put safe ranges and figures into the pack, with the command that prints them."""
        if self.safe_ranges is not None:
            for direction, interval in zip(pack, self.safe_ranges, strict=True):
                direction.safe_range = interval
        for row in self.rows:
            if row.interval is not None:
                pack.add_scores(
                    row.index, {key: round(value, 4) for key, value in row.figures.items()}, command=command
                )


@own_defaults
def evaluate(
    pack: DirectionPack,
    images: str | Path,
    *,
    directions: Iterable[str | int] | None = None,
    interval: Interval | None = None,
    samples: int = 1000,
    measure_ranges: bool = False,
    rate: float = 0.95,
    dvn: bool = False,
    judge_steps: int = 1000,
    seed: int = 0,
    device: str | torch.device | None = None,
    show_progress: bool = True,
    progress: Progress | None = None,
) -> EvaluationReport:
    """Measure directions with judges trained on real images; the pack stays as it is.

    Labels are read off fresh images of a class-conditional generator. An unconditional one can only change real images
    in a classifier's pipeline, so with an encoder they are read off inverted real test images.

    Args:
        images: a folder of class subfolders, or ``NAME:FOLDER``, see :func:`ganaug.data.read_labelled`. A built-in
            data set has to be of the generator's size, channels and labels; the images of a folder are resized, and its
            subfolders matched with the generator's classes by name.
        directions: names or indices; the named ones by default, or all where none has a name.
        interval: of the uniform magnitudes; each direction's safe range by default.
        samples: fresh latents, or real images, for each direction.
        measure_ranges: measure the safe ranges of all directions first; see :func:`safe_ranges`.
        rate: label agreement that a safe range must keep.
        dvn: also measure direction variation naturalness.
        judge_steps: training steps of the classifier and of the segmenter.
        seed: of judges and draws.
        device: where judges and networks run; where the generator is by default.
        progress: figures found before, which are not measured again, and where new ones are kept as they come.

    Raises:
        EvaluationError: numbers out of range, or an interval that is none.
        PackError: the images are not the generator's, or safe ranges are wanted and the classifier does not read
            unshifted samples at the rate.
        DataError: no such data set.
    """
    check_counts(samples=samples, judge_steps=judge_steps)
    check_rate(rate)
    check_interval(interval)
    progress = progress or Progress(None, pack, {})
    training, test, name = labelled_for(pack, images)
    wanted = [pack[direction] for direction in directions or sorted(pack.names.values()) or range(len(pack))]
    with _running_on(pack, device) as generator:
        classifier, segmenter, right, iou = _judges(training, test, judge_steps, seed, generator.device, show_progress)
        real = None
        if generator.num_classes == 0 and pack.has_encoder:
            chosen = torch.randperm(len(test.images), generator=torch.Generator().manual_seed(seed))[:samples]
            real, samples = invert_images(pack, test.images[chosen], test.labels[chosen]), len(chosen)
        measured = _Measured(generator, classifier, segmenter, real, samples, seed, training if dvn else None)
        unshifted = measured.unshifted(pack) if generator.num_classes else None
        safe = measured.safe_ranges(pack, rate, unshifted, show_progress, progress) if measure_ranges else None
        rows = []
        for direction in wanted:
            given = interval or (_usable(direction) if safe is None else _reach(safe[direction.index]))
            key = f"direction {direction.index} over {given}, dvn={dvn}"
            find = partial(measured.figures, direction, given) if given is not None else dict
            figures = progress.of(key, find)
            rows.append(Row(direction.index, direction.label, given, figures))
    shifted = None if real is None else samples
    return EvaluationReport(name, right, iou, shifted, unshifted, rate, safe, rows)


class _Measured(NamedTuple):
    """What figures are measured with."""

    generator: Generator
    classifier: nn.Module
    segmenter: nn.Module | None
    real: InvertedImages | None
    samples: int
    seed: int
    natural: LabelledImages | None

    def unshifted(self, pack: DirectionPack) -> float:
        """Share of unshifted samples that are read as their label."""
        hits = label_hits(
            self.generator,
            pack.directions[0],
            self.classifier,
            magnitudes=[0.0],
            samples=self.samples,
            seed=self.seed + 1,
        )
        return hits[0] / self.samples

    def safe_ranges(
        self,
        pack: DirectionPack,
        rate: float,
        unshifted: float | None,
        show_progress: bool,
        progress: Progress,
    ) -> list[Interval]:
        if unshifted is not None and unshifted < rate:
            raise PackError(
                f"the classifier reads {unshifted:.4f} of unshifted samples as their label, less than the rate of "
                f"{rate} that safe ranges must keep. Train it longer (--judge-steps), or lower --rate."
            )
        measure = partial(
            safe_ranges,
            self.generator,
            classifier=self.classifier,
            rate=rate,
            max_magnitude=(most := max(direction.range[1] for direction in pack)),
            samples=min(self.samples, 400),
            seed=self.seed + 3,
            real=self.real,
            show_progress=False,
        )
        found = []
        for index, vector in enumerate(tqdm(pack.directions, "safe ranges", leave=False, disable=not show_progress)):
            key = f"safe range of {index} at {rate} up to {most}"
            [(low, high)] = progress.of(key, partial(measure, vector[None]))
            found.append((low, high))
        return found

    def figures(self, direction: Direction, interval: Interval) -> dict[str, float]:
        """Of one direction, over magnitudes of an interval."""
        low, high = interval
        seed = self.seed + 2
        if self.segmenter is not None and self.real is None:
            figures = measure_change(
                self.generator,
                direction.vector,
                interval,
                classifier=self.classifier,
                segmenter=self.segmenter,
                samples=self.samples,
                seed=seed,
            )._asdict()
        else:
            grid = [low + (high - low) * k / (FRESH_GRID - 1) for k in range(FRESH_GRID)]
            hits = label_hits(
                self.generator,
                direction.vector,
                self.classifier,
                magnitudes=grid,
                samples=self.samples,
                seed=seed,
                real=self.real,
            )
            figures = {"label": sum(hits) / (len(grid) * self.samples)}
        if self.natural is not None:
            figures["dvn"] = direction_variation_naturalness(
                self.generator, direction.vector, self.natural.images, seed=self.seed
            )
        return figures


def labelled_for(pack: DirectionPack, images: str | Path) -> tuple[LabelledImages, LabelledImages, str]:
    """Training and test images of the kind that a pack's generator draws, with its labels, and what they are called.

    Raises:
        DataError: no such data set, or classes that the generator does not have.
        PackError: a built-in data set of another size than the generator's.
    """
    generator = pack.generator

    def match(classes: list[str]) -> list[int]:
        numbers = classes_of_folder(pack, classes, where=str(images))
        return list(range(len(classes))) if numbers is None else numbers

    training, test = (
        read_labelled(images, train=train, size=generator.image_size, channels=generator.channels, match=match)
        for train in (True, False)
    )
    name = Path(images).name if Path(images).is_dir() else str(images).partition(":")[0]
    check_images(pack, training, name)
    return training, test, name


def check_images(pack: DirectionPack, images: LabelledImages, name: str) -> None:
    """``PackError`` unless labelled images have the size and channels of the pack's generator."""
    generator = pack.generator
    expected, got = (generator.channels, generator.image_size, generator.image_size), tuple(images.images.shape[1:])
    if got != expected:
        raise PackError(f"{name} has images of shape {got}; the generator of pack {pack.name!r} draws {expected}.")


@contextmanager
def _running_on(pack: DirectionPack, device: str | torch.device | None) -> Iterator[Generator]:
    """The pack's generator in channels_last on a device, and its encoder there too; both are put back afterwards."""
    home = pack.generator.device
    networks = [network for network in (pack.generator, pack.encoder) if network is not None]
    for network in networks:
        network.to(home if device is None else device)
    try:
        yield in_channels_last(pack.generator)
    finally:
        for network in networks:
            network.to(home)


def _judges(
    training: LabelledImages, test: LabelledImages, steps: int, seed: int, device: torch.device, show_progress: bool
) -> tuple[nn.Module, nn.Module | None, float, float | None]:
    """The classifier, the segmenter where masks are known, and how good both are on the real test images."""
    classifier = train_classifier(
        training.images, training.labels, seed=seed, steps=steps, device=device, show_progress=show_progress
    )
    right = (predict(classifier, test.images) == test.labels).float().mean().item()
    if training.masks is None or test.masks is None:
        return classifier, None, right, None
    segmenter = train_segmenter(
        training.images, training.masks, seed=seed, steps=steps, device=device, show_progress=show_progress
    )
    found, true = find_object(segmenter, test.images[:2000]), test.masks[:2000] > 127
    iou = ((found & true).sum((1, 2, 3)) / (found | true).sum((1, 2, 3)).clamp(min=1)).mean().item()
    return classifier, segmenter, right, iou


def _usable(direction: Direction) -> Interval | None:
    return direction.reach if direction.is_usable else None


def _reach(safe_range: Interval) -> Interval | None:
    return None if safe_range == (0.0, 0.0) else safe_range
