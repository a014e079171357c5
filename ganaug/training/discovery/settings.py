"""Every setting of a discovery run, in one checked place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ganaug.errors import SettingsError
from ganaug.settings import Settings
from ganaug.training.discovery.matrix import FIXED, LEARNED


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
        max_magnitude, min_magnitude, magnitude_distribution: see :func:`ganaug.draws.draw_shifts`.
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
