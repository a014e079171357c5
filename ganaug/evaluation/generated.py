"""How far a pack's directions keep the label, and what they change: of generated images, or of inverted ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from tqdm.auto import tqdm

from ganaug.data import LabelledImages
from ganaug.devices import own_defaults
from ganaug.errors import EvaluationError
from ganaug.evaluation.arguments import check_counts, check_interval, check_rate
from ganaug.evaluation.change import measure_change, shares
from ganaug.evaluation.dvn import direction_variation_naturalness
from ganaug.evaluation.kept import Judges, judges_of
from ganaug.evaluation.labelled import Labelled, labelled_for, running_on
from ganaug.evaluation.labels import InvertedImages, ReadLabels, invert_images
from ganaug.evaluation.own_judge import own_judge
from ganaug.evaluation.progress import Progress
from ganaug.evaluation.report import EvaluationReport, Interval, Row, near_chance
from ganaug.generators import Generator
from ganaug.packs import Direction, DirectionPack

FRESH_GRID = 11
"""Magnitudes over an interval at which labels are read where there are no masks."""
MOST_READ = 400
"""Images of which safe ranges are found."""


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
    judge: nn.Module | None = None,
    judge_steps: int = 1000,
    keep_judges: str | Path | None = None,
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
        measure_ranges: measure the safe ranges of all directions first; see :func:`~ganaug.evaluation.safe_ranges`.
        rate: of the images that are read as their label unshifted, the share that a safe range must keep.
        dvn: also measure direction variation naturalness.
        judge: a classifier of your own in place of a trained one: maps images ``(N, C, H, W)`` float32 in [0, 1], of
            the generator's size, to logits ``(N, num_classes)``, in the order of the generator's classes (of the
            folder's for an unconditional one). :func:`~ganaug.evaluation.read_judge` reads one from a file.
        judge_steps: training steps of the classifier and of the segmenter.
        keep_judges: a folder where trained judges are kept (``.judge-HASH.safetensors``) and found again, as long as
            images and settings are the same.
        seed: of judges and draws.
        device: where judges and networks run; where the generator is by default.
        progress: figures found before, which are not measured again, and where new ones are kept as they come.

    Raises:
        EvaluationError: numbers out of range, or an interval that is none; a judge that does not fit; or safe ranges
            are wanted, and the judge reads unshifted images little better than by guessing.
        PackError: the images are not the generator's.
        DataError: no such data set, or one that lacks classes.
    """
    check_counts(samples=samples, judge_steps=judge_steps)
    check_rate(rate)
    check_interval(interval)
    progress = progress or Progress(None, pack, {})
    data = labelled_for(pack, images)
    wanted = [pack[direction] for direction in directions or sorted(pack.names.values()) or range(len(pack))]
    with (
        running_on(pack, device) as generator,
        _classifier(judge, generator, data) as own,
    ):
        judges = judges_of(
            data,
            steps=judge_steps,
            seed=seed,
            device=generator.device,
            own=own,
            folder=keep_judges,
            show_progress=show_progress,
        )
        measured = _Measured.of(pack, generator, data, judges, samples, seed, dvn)
        safe = measured.safe_ranges(pack, rate, show_progress, progress) if measure_ranges else None
        rows = []
        for direction in tqdm(wanted, "directions", leave=False, delay=3, disable=not show_progress):
            given = interval or (_usable(direction) if safe is None else _reach(safe[direction.index]))
            key = f"direction {direction.index} over {given}, dvn={dvn}, judges {judges.identity[:12]}"
            figures = progress.of(key, partial(measured.figures, direction, given)) if given is not None else {}
            rows.append(_row(direction, given, figures, data))
        unshifted = measured.unshifted
    return EvaluationReport(
        data.name,
        f"a classifier trained on real {data.name}" if judge is None else "the classifier given",
        judges.right,
        {data.class_name(label): share for label, share in judges.classes.items()},
        measured.chance,
        judges.iou,
        None if measured.real is None else measured.samples,
        unshifted,
        rate,
        safe,
        rows,
    )


@contextmanager
def _classifier(judge: nn.Module | None, generator: Generator, data: Labelled) -> Iterator[nn.Module | None]:
    """The user's judge, if there is one, checked and ready; None otherwise."""
    if judge is None:
        yield None
        return
    classes = generator.num_classes or int(data.training.labels.max()) + 1
    size = {"channels": generator.channels, "image_size": generator.image_size}
    with own_judge(judge, num_classes=classes, device=generator.device, **size) as ready:
        yield ready


def _row(direction: Direction, interval: Interval | None, figures: dict[str, Any], data: Labelled) -> Row:
    """Of figures as :class:`Progress` keeps them, the classes among them."""
    figures = dict(figures)
    classes = {data.class_name(int(label)): share for label, share in figures.pop("classes", {}).items()}
    worst = min(classes, key=classes.__getitem__) if classes else None
    return Row(direction.index, direction.label, interval, figures, classes, worst)


class _Measured(NamedTuple):
    """What figures are measured with."""

    generator: Generator
    judges: Judges
    real: InvertedImages | None
    samples: int
    seed: int
    natural: LabelledImages | None
    unshifted: float | None
    chance: float

    @classmethod
    def of(
        cls,
        pack: DirectionPack,
        generator: Generator,
        data: Labelled,
        judges: Judges,
        samples: int,
        seed: int,
        dvn: bool,
    ) -> _Measured:
        real, test = None, data.test
        chance = 1 / len(judges.classes)
        if generator.num_classes == 0 and pack.has_encoder:
            chosen = torch.randperm(len(test.images), generator=torch.Generator().manual_seed(seed))[:samples]
            real, samples = invert_images(pack, test.images[chosen], test.labels[chosen]), len(chosen)
        unshifted = None
        if generator.num_classes or real is not None:
            seen = ReadLabels(generator, judges.classifier, samples=samples, seed=seed + 1, real=real)
            unshifted = seen.unshifted / samples
        return cls(generator, judges, real, samples, seed, data.training if dvn else None, unshifted, chance)

    def safe_ranges(self, pack: DirectionPack, rate: float, show_progress: bool, progress: Progress) -> list[Interval]:
        if self.unshifted is not None and near_chance(self.unshifted, self.chance):
            raise EvaluationError(
                f"the judge reads {self.unshifted:.4f} of the unshifted images as their label, little better than "
                f"guessing ({self.chance:.4f}), so that there is nothing to keep (of the real test images it reads "
                f"{self.judges.right:.4f}). Train it longer (--judge-steps) or on more images; of a judge of your own "
                "(--model), look at the order of its classes and at how its images are normalised; or the generator "
                "draws what nobody can read."
            )
        most = max(direction.range[1] for direction in pack)
        samples = min(self.samples, MOST_READ)
        labels = ReadLabels(self.generator, self.judges.classifier, samples=samples, seed=self.seed + 3, real=self.real)
        labels.needed(rate)
        found = []
        bar = tqdm(pack.directions, "safe ranges", leave=False, delay=3, disable=not show_progress)
        for index, vector in enumerate(bar):
            key = f"safe range of {index} at {rate} of unshifted up to {most}, judges {self.judges.identity[:12]}"
            low, high = progress.of(key, partial(labels.safe_range, vector, rate=rate, max_magnitude=most))
            found.append((low, high))
        return found

    def figures(self, direction: Direction, interval: Interval) -> dict[str, Any]:
        """Of one direction, over magnitudes of an interval; ``classes`` are the labels' figures of each class."""
        low, high = interval
        seed = self.seed + 2
        figures: dict[str, Any]
        if self.judges.segmenter is not None and self.real is None:
            figures = measure_change(
                self.generator,
                direction.vector,
                interval,
                classifier=self.judges.classifier,
                segmenter=self.judges.segmenter,
                samples=self.samples,
                seed=seed,
            )._asdict()
        else:
            labels = ReadLabels(self.generator, self.judges.classifier, samples=self.samples, seed=seed, real=self.real)
            grid = [low + (high - low) * k / (FRESH_GRID - 1) for k in range(FRESH_GRID)]
            right = torch.stack([labels.right(direction.vector, magnitude) for magnitude in grid]).float().mean(0)
            figures = {"label": right.mean().item(), "classes": shares(right, labels.wanted)}
        if self.natural is not None:
            figures["dvn"] = direction_variation_naturalness(
                self.generator, direction.vector, self.natural.images, seed=self.seed
            )
        return figures


def _usable(direction: Direction) -> Interval | None:
    return direction.reach if direction.is_usable else None


def _reach(safe_range: Interval) -> Interval | None:
    return None if safe_range == (0.0, 0.0) else safe_range
