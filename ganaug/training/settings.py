"""Every setting of a discovery run, in one checked place."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from typing_extensions import Self

from ganaug.errors import UserError
from ganaug.training.direction_matrix import FIXED, LEARNED


class SettingsError(UserError, ValueError):
    """A setting is unknown, of the wrong type or out of range."""


@dataclass(frozen=True)
class Settings:
    """Checked settings with defaults; subclasses are frozen dataclasses of numbers and choices."""

    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    least: ClassVar[Mapping[str, int]] = {}
    """Of settings that may be 0, or must be more than 1; all others are positive."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name in self.choices:
                if value not in self.choices[field.name]:
                    raise SettingsError(
                        f"{field.name} should be one of {', '.join(self.choices[field.name])}; got {value!r}."
                    )
                continue
            kind = type(field.default)
            if isinstance(value, bool) or not isinstance(value, int if kind is int else (int, float)):
                raise SettingsError(
                    f"{field.name} should be {'an integer' if kind is int else 'a number'}, got {value!r}."
                )
            least = self.least.get(field.name)
            if least is not None and not value >= least:
                raise SettingsError(f"{field.name} should be at least {least}, got {value!r}.")
            if least is None and not value > 0:
                raise SettingsError(f"{field.name} should be positive, got {value!r}.")

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Self:
        """Build settings from a recipe's table, naming unknown keys.

        Raises:
            SettingsError: an unknown key, a wrong type or a value out of range.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        if unknown := sorted(values.keys() - set(known)):
            raise SettingsError(f"unknown setting {', '.join(unknown)}. Known: {', '.join(known)}.")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


@dataclass(frozen=True, kw_only=True)
class DiscoverySettings(Settings):
    """Settings of :func:`ganaug.training.discover`.

    The defaults are the paper's, but for the learning rates and the schedule, which reach the same RCA in fewer steps
    (the published code: 1e-4 for both, constant).

    Args:
        num_directions: K, how many directions to look for.
        direction_matrix: ``unit``, ``orthonormal`` or ``linear``; the baselines ``random`` and ``coordinate``;
            ``given`` measures directions that exist.
        reconstructor: ``lenet``, ``resnet18`` or ``auto`` (LeNet for grey images of at most 32 pixels).
        reconstructor_width: multiplies LeNet's feature maps.
        steps: optimiser steps.
        batch_size: pairs of images a step.
        max_magnitude, min_magnitude, magnitude_distribution: see :func:`ganaug.directions.draw_shifts`.
        magnitude_loss: ``absolute`` (the paper) or ``squared``.
        magnitude_weight: lambda, the weight of the magnitude's loss.
        label_weight: above 0, label-safe discovery for class-conditional generators: a reader learns the labels of
            unshifted images, and this weight times its cross-entropy on the shifted ones is added to the loss, so that
            directions along which the label stays readable are preferred.
        micro_batches: the batch is drawn in so many parts, whose gradients are summed, to save memory; batch norms see
            one part at a time.
        recompute: ``"on"`` keeps no activations inside the generator's blocks and computes them again on the way back:
            less memory, more time. For large images.
        compile: ``"on"`` runs the generator through ``torch.compile``; where that fails, the run says so once and goes
            on without.
        matrix_lr, reconstructor_lr: learning rates of Adam.
        schedule: ``cosine``, a decay to zero at the last step, or ``constant``.
        precision: ``bfloat16`` (autocast) or ``float32``.
        seed: of every random draw and initial weight.
    """

    num_directions: int = 64
    direction_matrix: str = "unit"
    reconstructor: str = "auto"
    reconstructor_width: int = 1
    steps: int = 10_000
    batch_size: int = 32
    max_magnitude: float = 6.0
    min_magnitude: float = 0.5
    magnitude_distribution: str = "uniform"
    magnitude_loss: str = "absolute"
    magnitude_weight: float = 0.25
    label_weight: float = 0.0
    micro_batches: int = 1
    recompute: str = "off"
    compile: str = "off"
    matrix_lr: float = 1e-3
    reconstructor_lr: float = 5e-4
    schedule: str = "cosine"
    precision: str = "bfloat16"
    seed: int = 0

    choices: ClassVar = {
        "direction_matrix": LEARNED + FIXED,
        "reconstructor": ("auto", "lenet", "resnet18"),
        "magnitude_distribution": ("uniform", "normal"),
        "magnitude_loss": ("absolute", "squared"),
        "schedule": ("constant", "cosine"),
        "precision": ("bfloat16", "float32"),
        "recompute": ("off", "on"),
        "compile": ("off", "on"),
    }
    least: ClassVar = {
        "num_directions": 2,
        "batch_size": 2,
        "seed": 0,
        "min_magnitude": 0,
        "magnitude_weight": 0,
        "label_weight": 0,
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.min_magnitude > self.max_magnitude:
            raise SettingsError(
                f"min_magnitude should not exceed max_magnitude, got {self.min_magnitude} and {self.max_magnitude}."
            )


WEIGHTS = ("latent_weight", "image_weight", "class_weight", "prior_weight")


@dataclass(frozen=True, kw_only=True)
class EncoderSettings(Settings):
    """Settings of :func:`ganaug.training.train_encoder`.

    Args:
        steps: optimiser steps.
        batch_size: images a step.
        real_share: share of the batch that is real images, once they take part; two generated ones always remain.
        warm_up: share of the steps that see generated images alone.
        noise: the largest standard deviation of the noise on the encoder's input, in units of the images' [-1, 1].
        learning_rate: the highest of a one-cycle schedule.
        latent_weight, image_weight, class_weight, prior_weight: of the four losses.
        width, hidden: of the :class:`~ganaug.generators.Encoder`.
        precision: ``bfloat16`` (autocast) or ``float32``.
        seed: of every random draw and initial weight.
    """

    steps: int = 6_000
    batch_size: int = 64
    real_share: float = 0.5
    warm_up: float = 0.25
    noise: float = 0.2
    learning_rate: float = 2e-3
    latent_weight: float = 1.0
    image_weight: float = 5.0
    class_weight: float = 0.1
    prior_weight: float = 0.1
    width: int = 48
    hidden: int = 256
    precision: str = "bfloat16"
    seed: int = 0

    choices: ClassVar = {"precision": ("bfloat16", "float32")}
    least: ClassVar = {"batch_size": 4, "seed": 0, "real_share": 0, "warm_up": 0, "noise": 0} | dict.fromkeys(
        WEIGHTS, 0
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("real_share", "warm_up"):
            if getattr(self, name) > 1:
                raise SettingsError(f"{name} is a share and should be at most 1, got {getattr(self, name)!r}.")
