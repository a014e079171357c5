"""Every setting of a discovery run, in one checked place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ganaug.errors import SettingsError
from ganaug.settings import Settings, setting
from ganaug.training.discovery.matrix import MatrixKind


@dataclass(frozen=True, kw_only=True)
class DiscoverySettings(Settings):
    """Settings of :func:`ganaug.training.discover`: see the fields.

    The defaults are the paper's, but for the learning rates and the schedule, which reach the same RCA in fewer steps
    (the published code: 1e-4 for both, constant).
    """

    num_directions: int = setting(64, "K, how many directions to look for", least=2)
    direction_matrix: MatrixKind = setting(
        "unit", "random and coordinate are baselines, which do not learn; given measures directions that exist"
    )
    reconstructor: Literal["auto", "lenet", "resnet18"] = setting(
        "auto", "auto is lenet for grey images of at most 32 pixels, resnet18 elsewhere"
    )
    reconstructor_width: int = setting(1, "multiplies LeNet's feature maps")
    steps: int = setting(10_000, "optimiser steps")
    batch_size: int = setting(32, "pairs of images a step", least=2)
    max_magnitude: float = setting(6.0, "of the shifts, in latent units; normal: their standard deviation")
    min_magnitude: float = setting(0.5, "smaller shifts are pushed up to it", least=0)
    magnitude_distribution: Literal["uniform", "normal"] = setting("uniform", "of the shifts")
    magnitude_loss: Literal["absolute", "squared"] = setting("absolute", "absolute is the paper's")
    magnitude_weight: float = setting(0.25, "lambda, the weight of the magnitude's loss", least=0)
    label_weight: float = setting(
        0.0,
        "above 0, for class-conditional generators: prefer directions along which the label stays readable; weight of "
        "the cross-entropy, on shifted images, of a reader that learns labels from the unshifted ones",
        least=0,
    )
    micro_batches: int = setting(
        1, "draw the batch in so many parts, to save memory; batch norms see one part at a time"
    )
    recompute: bool = setting(False, "compute the generator's activations twice, to save memory; for large images")
    compile: bool = setting(False, "torch.compile the generator; where that fails the run says so and goes on without")
    matrix_lr: float = setting(1e-3, "Adam's learning rate of the directions")
    reconstructor_lr: float = setting(5e-4, "Adam's learning rate of the reconstructor")
    schedule: Literal["constant", "cosine"] = setting("cosine", "of the learning rates; cosine ends at zero")
    precision: Literal["bfloat16", "float32"] = setting("bfloat16", "of the networks; bfloat16 is autocast")
    seed: int = setting(0, "of every random draw and initial weight", least=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.min_magnitude > self.max_magnitude:
            raise SettingsError(
                f"min_magnitude should not exceed max_magnitude, got {self.min_magnitude} and {self.max_magnitude}."
            )
