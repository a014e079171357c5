"""Settings of the training of an encoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ganaug.settings import Settings, setting


@dataclass(frozen=True, kw_only=True)
class EncoderSettings(Settings):
    """Settings of :func:`ganaug.training.train_encoder`: see the fields."""

    steps: int = setting(6_000, "optimiser steps")
    batch_size: int = setting(64, "images a step", least=4)
    real_share: float = setting(
        0.5, "share of the batch that is real images, once they take part; two generated ones remain", least=0, most=1
    )
    warm_up: float = setting(0.25, "share of the steps that see generated images alone", least=0, most=1)
    noise: float = setting(
        0.2, "largest standard deviation of the noise on the encoder's input, for images in [-1, 1]", least=0
    )
    learning_rate: float = setting(2e-3, "the highest of a one-cycle schedule")
    latent_weight: float = setting(1.0, "of the latents' squared error", least=0)
    image_weight: float = setting(5.0, "of the reconstructed images' absolute error", least=0)
    class_weight: float = setting(0.1, "of the classes' cross-entropy", least=0)
    prior_weight: float = setting(0.1, "of what keeps latents from growing longer than their expectation", least=0)
    width: int = setting(48, "feature maps of the encoder's first layer")
    hidden: int = setting(256, "features of the encoder's hidden layer")
    precision: Literal["bfloat16", "float32"] = setting("bfloat16", "of the networks; bfloat16 is autocast")
    seed: int = setting(0, "of every random draw and initial weight", least=0)
