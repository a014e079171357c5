"""How good a generator is, by the user's own images alone: nothing is downloaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ganaug.data import LabelledImages
from ganaug.devices import autocast, default_device, own_defaults
from ganaug.draws import seeded
from ganaug.errors import EvaluationError
from ganaug.evaluation.arguments import check_counts, check_images, check_labels
from ganaug.evaluation.copies import CopyCheck
from ganaug.evaluation.features import (
    evaluating,
    frechet_distance,
    kernel_distance,
    last_linear,
    read,
    train_rotation_judge,
    turned,
)
from ganaug.evaluation.judges import train_classifier
from ganaug.evaluation.quality_report import ClassQuality, QualityReport
from ganaug.generators import Generator
from ganaug.images import signed_to_uint8
from ganaug.streams import Images

MOST_COMPARED = 2000
"""Held-out images that the limit of the copy check is read off, at most."""


@dataclass(frozen=True, eq=False)
class Yardstick:
    """What generators of one kind of images are measured against; :func:`prepare_yardstick` makes one.

    Attributes:
        judge: maps images in [-1, 1] to logits.
        task: ``"classes"`` or ``"rotations"``.
        right: share of the real test images that it reads right.
        per_class: the same ``(num_classes,)``, NaN where there is no test image of a class.
        features: of the real test images ``(M, D)``, of mean 0 and mean variance 1, in an order drawn at random.
        labels: of the training images, in order of size.
        names: of the classes.
        copies: tells copies of training images.
    """

    judge: nn.Module
    task: str
    right: float
    per_class: Tensor
    features: Tensor
    centre: Tensor
    scale: float
    labels: Tensor
    names: tuple[str, ...] | None
    copies: CopyCheck
    image_shape: tuple[int, ...]

    @own_defaults
    def measure(
        self,
        generator: Generator,
        *,
        samples: int = 1000,
        seed: int = 0,
        batch_size: int = 250,
        precision: str = "bfloat16",
    ) -> QualityReport:
        """Draw samples, as many of each class as there are among the training images, and compare them.

        The generator keeps its mode and its device, torch's random state what it was.

        Raises:
            EvaluationError: numbers out of range, or a generator of other images or with fewer classes.
        """
        check_counts(samples=samples, batch_size=batch_size)
        self._check(generator, samples)
        labels = self._labels(generator, samples)
        images = draw(generator, labels, samples, seed=seed, batch_size=batch_size, precision=precision)
        seen = read(self.judge, images, precision=precision)
        features = (seen.features - self.centre) / self.scale
        first, second = (half[:samples] for half in self.features.chunk(2))
        count = len(second)
        subset = max(2, count // 2)
        order = torch.randperm(samples, generator=seeded(seed, 1))
        closeness = torch.cat([self.copies.closeness(batch) for batch in images.split(batch_size)])
        right = None if labels is None or self.task != "classes" else seen.classes == labels
        return QualityReport(
            samples=samples,
            training=len(self.labels),
            test=len(self.features),
            task=self.task,
            judge=self.right,
            num_features=features.shape[1],
            kid=kernel_distance(self.features, features, subset_size=subset, seed=seed),
            kid_real=kernel_distance(first, second, subset_size=subset, seed=seed),
            fid=frechet_distance(first[:count], features[order[:count]]),
            fid_real=frechet_distance(first[:count], second),
            copies=self.copies.copies(closeness),
            closeness=closeness.median().item(),
            closeness_real=self.copies.real.median().item(),
            agreement=None if right is None else right.double().mean().item(),
            agreement_real=None if right is None else self.right,
            per_class={} if right is None or labels is None else self._by_class(generator, right, labels),
        )

    def _check(self, generator: Generator, samples: int) -> None:
        drawn = (generator.channels, generator.image_size, generator.image_size)
        if drawn != self.image_shape:
            raise EvaluationError(
                f"the generator draws images of {drawn}, and the real ones are of {self.image_shape}. Read them at its "
                "size and channels."
            )
        if generator.num_classes and generator.num_classes <= int(self.labels[-1]):
            raise EvaluationError(
                f"the generator has {generator.num_classes} classes, and the labels of the training images go up to "
                f"{int(self.labels[-1])}. Match them by name (ganaug.data.read_labelled, match)."
            )
        if samples < 4:
            raise EvaluationError(f"samples should be 4 or more, got {samples}.")

    def _labels(self, generator: Generator, samples: int) -> Tensor | None:
        """Labels ``(samples,)`` with the training images' frequencies."""
        if not generator.num_classes:
            return None
        return self.labels[((torch.arange(samples) + 0.5) * len(self.labels) / samples).long()]

    def _by_class(self, generator: Generator, right: Tensor, labels: Tensor) -> dict[str, ClassQuality]:
        names = self.names or generator.class_names
        found = {}
        for label in labels.unique().tolist():
            real = self.per_class[label].item() if label < len(self.per_class) else float("nan")
            found[str(label) if names is None else names[label]] = ClassQuality(
                samples=int((labels == label).sum()),
                agreement=right[labels == label].double().mean().item(),
                agreement_real=None if real != real else real,
            )
        return found


@own_defaults
def draw(
    generator: Generator, labels: Tensor | None, count: int, *, seed: int, batch_size: int, precision: str
) -> Tensor:
    """Images ``(count, C, H, W)`` uint8 on the CPU of fresh latents, in evaluation mode whatever mode it is in."""
    latents = generator.sample_latents(count, rng=seeded(seed))
    images = []
    with evaluating(generator):
        for rows in torch.arange(count).split(batch_size):
            given = None if labels is None else labels[rows].to(generator.device)
            with autocast(generator.device, precision):
                images.append(signed_to_uint8(generator(latents[rows.to(latents.device)], given)).cpu())
    return torch.cat(images)


@own_defaults
def prepare_yardstick(
    training: LabelledImages,
    test: LabelledImages,
    *,
    class_names: Sequence[str] | None = None,
    judge: nn.Module | None = None,
    judge_steps: int = 1000,
    seed: int = 0,
    device: str | torch.device | None = None,
    precision: str = "bfloat16",
    show_progress: bool = True,
) -> Yardstick:
    """Train a judge on the training images, and look at the real ones, once for all generators of these.

    With labels of two classes or more the judge is a classifier, see :func:`ganaug.evaluation.train_classifier`; else
    it learns by how much images were turned, see :func:`ganaug.evaluation.features.train_rotation_judge`. It never
    sees a test image. Its features are what its last linear layer reads. Of streamed images, features of the test
    images and 8 x 8 pixels of the training images are held.

    Args:
        training, test: images ``(N, C, H, H)`` uint8 with labels from 0; all labels are 0 where there are none.
        class_names: for the report; the generator's own by default.
        judge: a classifier of your own, which maps images in [-1, 1] to logits and has not seen the test images; it
            stays on its device.
        device: where the judge is trained and runs; CUDA if there is one.

    Raises:
        EvaluationError: fewer than 3 training or 4 test images, or images, labels or a judge of another kind.
    """
    check_counts(judge_steps=judge_steps)
    for part, least in ((training, 3), (test, 4)):
        check_images(part.images, least=least, channels=training.images.shape[1])
        check_labels(part.labels, len(part.images))
    if training.images.shape[1:] != test.images.shape[1:]:
        raise EvaluationError(
            f"training images are of {tuple(training.images.shape[1:])}, test images of "
            f"{tuple(test.images.shape[1:])}. Read both at one size."
        )
    classes = int(training.labels.max()) + 1
    _check_names(class_names, classes)
    task = "classes" if judge is not None or classes > 1 else "rotations"
    where: dict[str, Any] = {"device": default_device(device), "precision": precision, "show_progress": show_progress}
    if judge is not None:
        last_linear(judge)
    elif task == "classes":
        judge = train_classifier(training.images, training.labels, steps=judge_steps, seed=seed, **where)
    else:
        judge = train_rotation_judge(training.images, steps=judge_steps, seed=seed, **where)
    seen = read(judge, test.images, precision=precision)
    features = seen.features[(order := torch.randperm(len(test.images), generator=seeded(seed)))]
    centre = features.mean(0)
    scale = (features - centre).square().mean().sqrt().clamp(min=1e-12).item()
    right = (seen.classes == test.labels).double() if task == "classes" else _right_turns(judge, test.images, precision)
    return Yardstick(
        judge=judge,
        task=task,
        right=right.mean().item(),
        per_class=torch.stack([right[test.labels == label].mean() for label in range(classes)]),
        features=(features - centre) / scale,
        centre=centre,
        scale=scale,
        labels=training.labels.sort().values,
        names=None if class_names is None else tuple(class_names),
        copies=CopyCheck(training.images, test.images, chosen=order[:MOST_COMPARED], show_progress=show_progress),
        image_shape=tuple(training.images.shape[1:]),
    )


def _right_turns(judge: nn.Module, images: Images, precision: str) -> Tensor:
    """Whether the turn of each image was read right, ``(N,)``."""
    right = []
    for batch in images.split(500):
        shown, turns = turned(batch)
        right.append((read(judge, shown, precision=precision).classes == turns).double())
    return torch.cat(right)


def _check_names(names: Sequence[str] | None, classes: int) -> None:
    if names is not None and (isinstance(names, str) or len(names) < classes):
        raise EvaluationError(f"class_names should be a name for each of {classes} classes, got {names!r:.100}.")


@own_defaults
def measure_quality(
    generator: Generator,
    training: LabelledImages,
    test: LabelledImages,
    *,
    class_names: Sequence[str] | None = None,
    judge: nn.Module | None = None,
    samples: int = 1000,
    judge_steps: int = 1000,
    seed: int = 0,
    device: str | torch.device | None = None,
    show_progress: bool = True,
) -> QualityReport:
    """How good a generator is: how far its samples are from real images, whether a judge reads their classes, and
    whether they only repeat the training images. Nothing is downloaded.

    KID and FID are of features of a judge trained on the same training images: comparable within one data set and
    judge only, and therefore given beside the same figures of two halves of the real test images. To measure while a
    generator trains, call :func:`prepare_yardstick` once and its ``measure`` as often as is wanted.

    Args: see :func:`prepare_yardstick` and :meth:`Yardstick.measure`.

    Raises:
        EvaluationError: images, labels, numbers, judge or generator of another kind.
    """
    check_counts(samples=samples, judge_steps=judge_steps)
    yardstick = prepare_yardstick(
        training,
        test,
        class_names=class_names,
        judge=judge,
        judge_steps=judge_steps,
        seed=seed,
        device=device,
        show_progress=show_progress,
    )
    return yardstick.measure(generator, samples=samples, seed=seed)
