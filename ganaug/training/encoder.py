"""Training the inversion encoder: sample, draw, recover; then reconstruct real images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm.auto import tqdm

from ganaug.devices import autocast, default_device, in_channels_last
from ganaug.errors import EncoderTrainingError, SettingsError
from ganaug.generators import Encoder, Generator
from ganaug.images import to_float
from ganaug.settings import Settings


def train_encoder(
    generator: Generator,
    *,
    images: Tensor | None = None,
    device: str | torch.device | None = None,
    show_progress: bool = True,
    **settings: Any,
) -> Encoder:
    """Train an encoder that finds the latent (and class) of an image.

    From the generator alone: draw z and y, and recover both from G(z, y) under noise: the squared error of z, the mean
    absolute error of the regenerated image, and cross-entropy of y. After ``warm_up`` a share of each batch is real
    images, without labels: the absolute error of the regenerated image, with the class that the encoder reads, and a
    prior that keeps ||z||^2 from exceeding its expectation (in-domain inversion: Zhu et al., ECCV 2020). Where the
    encoder is sure of a real image's class, it learns to read the same class under noise (pseudo-labels: Lee, ICML
    workshop 2013).

    Args:
        generator: frozen by this call and moved to ``device``.
        images: real images ``(N, C, H, W)`` uint8 of the generator's size.
        device: defaults to CUDA when there is one, else the CPU.
        settings: see :class:`EncoderSettings`.

    Returns:
        The frozen encoder, on the CPU.

    Raises:
        SettingsError: an unknown or impossible setting.
        GeneratorError: no encoder can be built for the generator's image size.
        EncoderTrainingError: images of another shape than the generator's; a loss that is not finite.
    """
    chosen = EncoderSettings.from_mapping(settings)
    target = default_device(device)
    shape = (generator.channels, generator.image_size, generator.image_size)
    if images is not None and (
        not len(images) or images.ndim != 4 or images.shape[1:] != shape or images.dtype != torch.uint8
    ):
        raise EncoderTrainingError(
            f"real images should be uint8 of shape (N, {shape[0]}, {shape[1]}, {shape[2]}), got {images.dtype} "
            f"{tuple(images.shape)}."
        )
    generator = in_channels_last(generator.freeze().to(target))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(chosen.seed)
        encoder = Encoder(
            latent_dim=generator.latent_dim,
            image_size=generator.image_size,
            channels=generator.channels,
            num_classes=generator.num_classes,
            width=chosen.width,
            hidden=chosen.hidden,
        )
    encoder.to(target).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=chosen.learning_rate, betas=(0.9, 0.99), fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        # Some shares of few steps leave no step to warm up in, which divides by zero.
        optimizer,
        chosen.learning_rate,
        total_steps=chosen.steps,
        pct_start=0.05 if chosen.steps > 40 else 0.3,
    )
    rng = torch.Generator().manual_seed(chosen.seed)
    means: dict[str, float] = {}
    with tqdm(range(chosen.steps), "encoder", disable=not show_progress) as bar:
        for step in bar:
            use_real = images is not None and step >= chosen.warm_up * chosen.steps
            num_real = min(round(chosen.real_share * chosen.batch_size), chosen.batch_size - 2) if use_real else 0
            real = None
            if images is not None and num_real:
                real = to_float(images[torch.randint(len(images), (num_real,), generator=rng)]).to(target)
            losses = _losses(generator, encoder, chosen.batch_size - num_real, real, rng, chosen)
            loss = torch.stack([getattr(chosen, f"{name}_weight") * value for name, value in losses.items()]).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            if step % 50 == 0 or step == chosen.steps - 1:
                means = {name: value.item() for name, value in losses.items()}
                if not math.isfinite(sum(means.values())):
                    raise EncoderTrainingError(
                        f"a loss was not finite at step {step + 1}: {means}. Lower learning_rate, "
                        "or use precision=float32."
                    )
                bar.set_postfix({name: f"{value:.3f}" for name, value in means.items()})
    return encoder.to("cpu").to(memory_format=torch.contiguous_format).freeze()


SURE = 0.95


def _losses(
    generator: Generator,
    encoder: Encoder,
    count: int,
    real: Tensor | None,
    rng: torch.Generator,
    settings: EncoderSettings,
) -> dict[str, Tensor]:
    """The four losses on ``count`` generated images and a batch of real ones in [-1, 1]."""
    latents, labels = generator.sample_latents(count, rng=rng), generator.sample_labels(count, rng=rng)
    read, sure = labels, None if labels is None else torch.ones_like(labels, dtype=torch.bool)
    with autocast(generator.device, settings.precision):
        with torch.no_grad():
            images = generator(latents, labels).float()
            if real is not None:
                images = torch.cat([images, real])
                if labels is not None and sure is not None:
                    found, found_sure = _read_labels(encoder, real)
                    read, sure = torch.cat([labels, found]), torch.cat([sure, found_sure])
            spread = settings.noise * torch.rand(len(images), 1, 1, 1, generator=rng)
            noise = (spread * torch.randn(images.shape, generator=rng)).to(images.device)
        noisy = (images + noise).contiguous(memory_format=torch.channels_last)
        found, _, logits = encoder.encode(noisy, read)
        regenerated = generator(found, read)
    losses = {
        "latent": (found[:count] - latents).square().mean(),
        "image": (regenerated.float() - images).abs().mean(),
        "prior": (found.square().mean(1) - 1).relu().square().mean(),
    }
    if logits is not None and read is not None and sure is not None:
        losses["class"] = F.cross_entropy(logits[sure], read[sure])
    return losses


def _read_labels(encoder: Encoder, real: Tensor) -> tuple[Tensor, Tensor]:
    """The class of each real image, and whether the encoder is sure of it."""
    encoder.eval()  # running statistics, as at use
    logits = encoder.encode(real)[2]
    encoder.train()
    assert logits is not None
    probability, labels = logits.softmax(1).max(1)
    return labels, probability > SURE


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
