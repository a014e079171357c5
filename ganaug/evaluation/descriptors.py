"""Figures behind the names that people give to directions: what changes from one end of a direction to the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ganaug.devices import own_defaults
from ganaug.errors import EvaluationError
from ganaug.evaluation.arguments import check_counts, check_positive
from ganaug.evaluation.report import Report
from ganaug.images import signed_to_unit
from ganaug.packs import DirectionPack

STROKES, FACE = "bright strokes on dark", "a face in the middle of the image"
"""What images are taken for, grey and colour ones."""


@own_defaults
def stroke_shape(images: Tensor) -> dict[str, Tensor]:
    """Of grey images ``(N, 1, H, W)`` in [-1, 1], bright strokes on dark; each figure ``(N,)``.

    Ink is the mean brightness, slant the shear of the second moments (as used to deskew MNIST), width and height are
    standard deviations of the ink's columns and rows in pixels.
    """
    ink = signed_to_unit(images.float())[:, 0]
    total = ink.sum((1, 2)).clamp(min=1)
    axes = [torch.arange(float(size), device=ink.device) for size in ink.shape[1:]]
    ys, xs = torch.meshgrid(*axes, indexing="ij")
    dy, dx = (axis - ((ink * axis).sum((1, 2)) / total)[:, None, None] for axis in (ys, xs))
    xx, yy, xy = ((ink * product).sum((1, 2)) / total for product in (dx * dx, dy * dy, dx * dy))
    return {"ink": ink.mean((1, 2)), "slant": -xy / yy.clamp(min=0.1), "width": xx.sqrt(), "height": yy.sqrt()}


@own_defaults
def face_light(images: Tensor) -> dict[str, Tensor]:
    """Of images ``(N, C, H, W)`` in [-1, 1] with a face in the middle; each figure ``(N,)``.

    The brightness of the whole image; of the border, the face and the forehead less that of the whole; of the mouth
    less that of the face; of the face's left side less its right.
    """
    grey = signed_to_unit(images.float()).mean(1)
    size = grey.shape[-1]

    def region(top: float, bottom: float, left: float, right: float) -> Tensor:
        rows, columns = slice(int(top * size), int(bottom * size)), slice(int(left * size), int(right * size))
        return grey[:, rows, columns].mean((1, 2))

    whole = grey.mean((1, 2))
    return {
        "whole": whole,
        "border": (region(0, 1, 0, 0.12) + region(0, 1, 0.88, 1)) / 2 - whole,
        "face": region(0.35, 0.85, 0.3, 0.7) - whole,
        "forehead": region(0.15, 0.32, 0.3, 0.7) - whole,
        "mouth": region(0.7, 0.85, 0.38, 0.62) - region(0.4, 0.65, 0.3, 0.7),
        "left-right": region(0.35, 0.85, 0.25, 0.45) - region(0.35, 0.85, 0.55, 0.75),
    }


@dataclass
class Effect:
    """What one figure does along one direction.

    Attributes:
        change: mean from the low end to the high end, in standard deviations over unshifted images.
        share: of latents that change to the same side, at least a half.
        rank: of the change's size among all directions, from 1.
    """

    change: float
    share: float
    rank: int


@dataclass
class DescriptionReport(Report):
    """What :func:`describe` found: of each named direction (its index, its label) the effect on every figure."""

    figures: list[str]
    rows: list[tuple[int, str, dict[str, Effect]]]

    def table(self) -> str:
        """What the figures are of, then one line for each direction."""
        kind = FACE if "face" in self.figures else STROKES
        head = f"{'direction':>26}" + "".join(f"{f'{name} (share, rank)':>26}" for name in self.figures)
        lines = [f"figures of {kind}; of any other image they mean nothing", head]
        if not self.rows:
            lines.append("no direction has a name: ganaug name PACK INDEX=NAME")
        for _, label, effects in self.rows:
            cells = (f"{each.change:+.2f} ({each.share:.2f}, {each.rank})" for each in effects.values())
            lines.append(f"{label:>26}" + "".join(f"{cell:>26}" for cell in cells))
        return "\n".join(lines)

    def add_to(self, pack: DirectionPack, *, command: str) -> None:
        """Put the mean changes into the pack, with the command that prints them."""
        for index, _, effects in self.rows:
            changes = {name: round(effect.change, 2) for name, effect in effects.items()}
            pack.add_scores(index, changes, command=command)


@own_defaults
@torch.no_grad()
def describe(pack: DirectionPack, *, magnitude: float = 3.0, samples: int = 200, seed: int = 0) -> DescriptionReport:
    """Shift fresh latents to both ends of every direction and compare: what changes along the named ones.

    Grey images are described by :func:`stroke_shape`, colour ones by :func:`face_light`.

    Args:
        magnitude: the ends are ``-magnitude`` and ``magnitude``, in latent units.
        samples: fresh latents, the same for every direction, with a label each where the generator has classes.

    Raises:
        EvaluationError: a magnitude or a number of samples out of range.
    """
    check_positive(magnitude=magnitude)
    check_counts(samples=samples)
    if samples < 2:
        raise EvaluationError("samples should be 2 or more, since changes are compared with how samples vary; got 1.")
    generator = pack.generator
    measure: Callable[[Tensor], dict[str, Tensor]] = stroke_shape if generator.channels == 1 else face_light
    rng = torch.Generator().manual_seed(seed)
    latents = generator.sample_latents(samples, rng=rng)
    labels = generator.sample_labels(samples, rng=rng)
    unshifted = measure(generator(latents, labels))
    changes: dict[str, list[float]] = {name: [] for name in unshifted}
    shares: dict[str, list[float]] = {name: [] for name in unshifted}
    for vector in pack.directions.to(generator.device):
        low, high = (measure(generator(latents + end * magnitude * vector, labels)) for end in (-1, 1))
        for name, values in unshifted.items():
            changes[name].append(((high[name] - low[name]).mean() / values.std()).item())
            upwards = (high[name] > low[name]).float().mean().item()
            shares[name].append(max(upwards, 1 - upwards))

    def effect(name: str, index: int) -> Effect:
        size = abs(changes[name][index])
        return Effect(changes[name][index], shares[name][index], 1 + sum(abs(other) > size for other in changes[name]))

    rows = [
        (direction.index, direction.label, {name: effect(name, direction.index) for name in unshifted})
        for direction in pack
        if direction.name is not None
    ]
    return DescriptionReport(list(unshifted), rows)
