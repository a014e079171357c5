"""What was found of a generator's quality, in words."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from ganaug.errors import counted
from ganaug.evaluation.copies import CLOSE
from ganaug.evaluation.labels import wilson_lower_bound
from ganaug.evaluation.report import Report
from ganaug.packs import DirectionPack

LEAST_HELD_OUT = 20
"""Held-out images below which no copies are told: a twentieth of them is not even one."""

REPEATS = 0.15
"""Share of samples as close to a training image as a twentieth of real images is, from which on it repeats them: three
times that twentieth, and three standard errors of it more, since few held-out images say little of where it lies.

Tried on three classes of CIFAR-10 and on digits, 100 training and 20 held-out images to 2,000 and 400, 750 draws: of
held-out real images 0.27 at most are with 20 of them to measure by (told from 0.30 on), 0.12 with 100 (0.22), 0.08 with
400 (0.18); of copies that are mirrored, moved by a pixel, noisy and brightened 0.97 and more; of the samples of an
SN-GAN that saw 102 images for 1,700 epochs 0.37."""
FAR = 0.5
"""Fréchet distance, less that of real images, above which samples are far from these, over the features' variance.

One average image again and again has 1 in this unit, since all variety is missing. Of three classes of CIFAR-10 real
images reduced to 16 x 16 pixels have 0.42, to 8 x 8 1.1, an untrained generator's samples 1.7, noise 1.6."""
MISREAD = 0.8
"""Share of samples read as their class, of what the judge reads of real images, below which it is said."""
CLASS_MISREAD = 0.5
"""The same for one class, where a 95% bound is below: few samples are of one."""
JUDGE_LEAST = 0.5
"""How far from chance (0) to perfect (1) a judge should read real images for its reading of samples to say much."""
LISTED = 10
"""Classes that a table shows; of more the worst read."""


@dataclass(frozen=True)
class ClassQuality:
    """One class: how many samples were drawn of it, the share of them that the judge reads as it, and the share of real
    test images of the class (None where there is none)."""

    samples: int
    agreement: float
    agreement_real: float | None


@dataclass(frozen=True)
class QualityReport(Report):
    """What :func:`measure_quality` found.

    Attributes:
        samples: images that the generator drew.
        training, test: real images that there were.
        task: what the judge, whose features KID and FID are of, reads: ``"classes"`` or, without labels,
            ``"rotations"``.
        judge: share of real test images that it reads right; the classes', or the rotations'.
        num_features: of the judge.
        kid, kid_real: kernel distance of samples and real test images, and of two halves of these; comparable within
            one data set and judge only.
        fid, fid_real: the same of the Fréchet distance, of as many images each. As many as there are features for one
            average image again and again.
        agreement, agreement_real: share of samples, and of real test images, read as their class; None without classes.
        per_class: the same by class name.
        copies: share of samples as close to a training image as a twentieth of held-out real images is, so that 0.05 is
            what real ones have; see :class:`ganaug.evaluation.copies.CopyCheck`.
        closeness, closeness_real: the median of it, of samples and of real test images; 0 for copies.
    """

    samples: int
    training: int
    test: int
    task: str
    judge: float
    num_features: int
    kid: float
    kid_real: float
    fid: float
    fid_real: float
    copies: float
    closeness: float
    closeness_real: float
    agreement: float | None = None
    agreement_real: float | None = None
    per_class: dict[str, ClassQuality] = field(default_factory=dict)

    def summary(self) -> str:
        """One line, to be shown while a generator trains."""
        parts = [f"KID {self.kid:.3f} (real images {self.kid_real:.3f})"]
        if self.agreement is not None:
            parts.append(self._read_as_class())
        return "; ".join([*parts, f"as close as copies {self.copies:.0%} (real images {CLOSE:.0%})"])

    def table(self) -> str:
        """Figures in words, classes, and :meth:`verdicts`."""
        what = "classes" if self.task == "classes" else "by how many quarters an image was turned (there are no labels)"
        judge = "the class" if self.task == "classes" else "the turn"
        lines = [
            f"judge: a network that learned {what} of {counted(self.training, 'training image')} reads {judge} of "
            f"{_of(self.judge, self.test)} real test images",
        ]
        if self.agreement is not None:
            lines.append(self._read_as_class())
        lines += [
            f"KID of samples and real test images: {self.kid:.4f} (two halves of the real ones: {self.kid_real:.4f})",
            f"FID of samples and real test images: {self.fid:.2f} (two halves of the real ones: {self.fid_real:.2f}; "
            f"one average image again and again: {self.num_features}). Both are of the judge's own features: compare "
            "them within one data set and judge only.",
            f"{_of(self.copies, self.samples)} samples are as close to a training image as 1 in {1 / CLOSE:.0f} real "
            f"test images is (real images: {_count(CLOSE, self.samples)})",
            *self._classes(),
        ]
        return "\n".join([*lines, *self.verdicts()])

    def verdicts(self) -> list[str]:
        """A sentence for each thing that it failed to learn, and what to try; none if all is well."""
        return [*self._about_judge(), *self._about_samples(), *self._about_copies()]

    def add_to(self, pack: DirectionPack, *, command: str) -> None:
        """Put the figures into ``pack.scores`` as ``generator ...``, with the command that prints them."""
        names = ["kid", "kid_real", "fid", "fid_real", "copies"]
        names += ["agreement", "agreement_real"] if self.agreement is not None else []
        for name in names:
            key = f"generator {name.replace('_', ' ')}"
            pack.scores[key], pack.scores[f"{key}_command"] = round(getattr(self, name), 4), command

    def _read_as_class(self) -> str:
        real = _count(self.agreement_real or 0.0, self.samples)
        return f"{_of(self.agreement or 0.0, self.samples)} samples are read as their class (real images: {real})"

    def _classes(self) -> list[str]:
        """A line for each class, the worst read first."""
        worst = sorted(self.per_class.items(), key=lambda item: _of_real(item[1]))
        if not worst:
            return []
        width = max(len("class"), *(len(name) for name, _ in worst[:LISTED]))
        lines = [f"{'class':>{width}}  read  real images"]
        for name, of in worst[:LISTED]:
            real = "  none" if of.agreement_real is None else f"{of.agreement_real:6.2f}"
            lines.append(f"{name:>{width}}  {of.agreement:4.2f} {real}")
        more = len(worst) - LISTED
        return [*lines, f"classes read better than these: {more}"] if more > 0 else lines

    def _about_judge(self) -> list[str]:
        chance = 0.25 if self.task == "rotations" else 1 / max(2, len(self.per_class))
        if (self.judge - chance) / (1 - chance) >= JUDGE_LEAST:
            return []
        if self.task == "rotations":
            return [
                f"KID and FID say little: the network that they are of tells the turn of {self.judge:.0%} of real test "
                "images only (chance 25%). Put the images into class subfolders, or train it longer (judge_steps)."
            ]
        return [
            f"The figures say little: the judge reads {self.judge:.0%} of real test images only (chance {chance:.0%}). "
            "Train it longer (judge_steps), give more images, or merge classes that look alike."
        ]

    def _about_samples(self) -> list[str]:
        found = []
        if (self.fid - self.fid_real) / self.num_features > FAR:
            found.append(
                "The samples are far from the real images: the generator has not learned what these look like. Train "
                "it longer, or at a smaller size; look whether the loss still moves."
            )
        if self.agreement is None or self.agreement_real is None:
            return found
        if self.agreement < MISREAD * self.agreement_real:
            found.append(
                f"{self._read_as_class()}: the generator does not draw the class that it is asked for. Train it "
                "longer, or give more images of each class."
            )
        unread = [name for name, of in self.per_class.items() if _is_misread(of)]
        if unread:
            names = ", ".join(unread[:LISTED]) + (f" and {len(unread) - LISTED} more" if len(unread) > LISTED else "")
            found.append(
                f"Not read as what they should be: {names}. Train longer, give more images of these, or leave them out."
            )
        return found

    def _about_copies(self) -> list[str]:
        if self.test < LEAST_HELD_OUT:
            return [
                f"Whether it repeats its training images can't be told by {counted(self.test, 'held-out image')}; "
                f"{LEAST_HELD_OUT} or more are needed."
            ]
        if self.copies < REPEATS + 3 * math.sqrt(CLOSE * (1 - CLOSE) / self.test):
            return []
        return [
            f"Too few images: it repeats them. {_of(self.copies, self.samples)} samples are close to one of the "
            f"{self.training} training images. Give more images, or train less long, with augmentation; what it draws "
            "adds little to the images themselves."
        ]


def _count(share: float, of: int) -> str:
    return f"{round(share * of):,}"


def _of(share: float, of: int) -> str:
    return f"{_count(share, of)} of {of:,}"


def _of_real(of: ClassQuality) -> float:
    return of.agreement / max(of.agreement_real or 1.0, 1e-6)


def _is_misread(of: ClassQuality) -> bool:
    """Whether surely fewer than half as many are read as of real images: the upper bound is one less the lower one of
    those that are not."""
    if not of.agreement_real:
        return False
    hits = round(of.agreement * of.samples)
    return 1 - wilson_lower_bound(of.samples - hits, of.samples) < CLASS_MISREAD * of.agreement_real
