"""Training the inversion encoder: sample, draw, recover; then reconstruct real images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm.auto import tqdm

from ganaug.devices import autocast, default_device, in_channels_last, own_defaults
from ganaug.errors import EncoderTrainingError
from ganaug.evaluation import reconstruction_error
from ganaug.generators import Encoder, Generator
from ganaug.generators.module import check_is_generator
from ganaug.images import uint8_to_signed
from ganaug.inversion import fit_domain
from ganaug.packs import DirectionPack
from ganaug.settings import Settings, setting
from ganaug.streams import Images

SURE = 0.95
"""The encoder's probability of a real image's class from which on it is taken for its label."""
UNSURE = -100
"""In place of a label that nobody is sure of."""


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


@own_defaults
def train_encoder(
    generator: Generator,
    *,
    images: Images | None = None,
    device: str | torch.device | None = None,
    show_progress: bool = True,
    **settings: Any,
) -> Encoder:
    """Train an encoder that finds the latent (and class) of an image.

    From the generator alone: draw z and y, and recover both from G(z, y) under noise: the squared error of z, the mean
    absolute error of the reconstructed image, and cross-entropy of y. After ``warm_up`` a share of each batch is real
    images, without labels: the absolute error of the reconstructed image, with the class that the encoder reads, and a
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
    check_is_generator(generator)
    chosen = EncoderSettings.from_mapping(settings)
    _check_images(generator, images)
    generator = in_channels_last(generator.freeze().to(default_device(device)))
    encoder = _untrained(generator, chosen)
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=chosen.learning_rate, betas=(0.9, 0.99), fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        # Some shares of few steps leave no step to warm up in, which divides by zero.
        optimizer,
        chosen.learning_rate,
        total_steps=chosen.steps,
        pct_start=0.05 if chosen.steps > 40 else 0.3,
    )
    rng = torch.Generator().manual_seed(chosen.seed)
    with tqdm(range(chosen.steps), "encoder", disable=not show_progress) as bar:
        for step in bar:
            real = _draw_real(images, step, rng, chosen)
            losses = _losses(generator, encoder, real, rng, chosen)
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


@own_defaults
def train_pack_encoder(
    pack: DirectionPack,
    images: Images | None,
    *,
    device: str | torch.device | None = None,
    command: str = "",
    show_progress: bool = True,
    **settings: Any,
) -> DirectionPack:
    """Train an encoder for a pack's generator and put it into the pack, with how it was made and how well it does.

    Args:
        pack: changed by this call, its generator ends on the CPU; not saved.
        images: real images ``(N, C, H, W)`` uint8 of the generator's size; None to learn from the generator alone.
        device: defaults to CUDA when there is one, else the CPU.
        command: kept in the pack beside the settings and the figure, so that both can be made again.
        settings: see :class:`EncoderSettings`.

    Returns:
        The pack, with ``encoder``, ``domain``, ``encoder_method`` and ``scores["reconstruction_error"]``: the mean
        absolute difference of generated images and their reconstructions, as a share of full scale.

    Raises:
        SettingsError, GeneratorError, EncoderTrainingError: see :func:`train_encoder`.
    """
    chosen = EncoderSettings.from_mapping(settings)
    pack.encoder = train_encoder(
        pack.generator, images=images, device=device, show_progress=show_progress, **chosen.to_dict()
    )
    pack.generator.to("cpu")
    pack.domain = fit_domain(pack, images, seed=chosen.seed)
    pack.encoder_method = {**chosen.to_dict(), "command": command}
    pack.scores["reconstruction_error"] = round(reconstruction_error(pack), 4)
    pack.scores["reconstruction_error_command"] = command
    return pack


def _check_images(generator: Generator, images: Images | None) -> None:
    """Raise :class:`EncoderTrainingError` unless real images are uint8 of the generator's shape."""
    if images is None:
        return
    shape = (generator.channels, generator.image_size, generator.image_size)
    if not len(images) or images.ndim != 4 or images.shape[1:] != shape or images.dtype != torch.uint8:
        raise EncoderTrainingError(
            f"real images should be uint8 of shape (N, {shape[0]}, {shape[1]}, {shape[2]}), got {images.dtype} "
            f"{tuple(images.shape)}."
        )


def _untrained(generator: Generator, settings: EncoderSettings) -> Encoder:
    """An encoder of random weights that suits a generator, where the generator is."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        encoder = Encoder(
            latent_dim=generator.latent_dim,
            image_size=generator.image_size,
            channels=generator.channels,
            num_classes=generator.num_classes,
            width=settings.width,
            hidden=settings.hidden,
        )
    return encoder.to(generator.device).to(memory_format=torch.channels_last)


def _draw_real(images: Images | None, step: int, rng: torch.Generator, settings: EncoderSettings) -> Tensor | None:
    """The real images of a step in [-1, 1], on the CPU; None where they take no part."""
    if images is None or step < settings.warm_up * settings.steps:
        return None
    count = min(round(settings.real_share * settings.batch_size), settings.batch_size - 2)
    return uint8_to_signed(images[torch.randint(len(images), (count,), generator=rng)]) if count else None


def _losses(
    generator: Generator, encoder: Encoder, real: Tensor | None, rng: torch.Generator, settings: EncoderSettings
) -> dict[str, Tensor]:
    """The four losses on a batch of generated images and, where there are any, of real ones in [-1, 1]."""
    count = settings.batch_size - (0 if real is None else len(real))
    latents, labels = generator.sample_latents(count, rng=rng), generator.sample_labels(count, rng=rng)
    read, sure = labels, None if labels is None else torch.ones_like(labels, dtype=torch.bool)
    with autocast(generator.device, settings.precision):
        with torch.no_grad():
            images = generator(latents, labels).float()
            if real is not None:
                real = real.to(images.device)
                images = torch.cat([images, real])
                if labels is not None and sure is not None:
                    found, found_sure = _read_labels(encoder, real)
                    read, sure = torch.cat([labels, found]), torch.cat([sure, found_sure])
            spread = settings.noise * torch.rand(len(images), 1, 1, 1, generator=rng)
            noise = (spread * torch.randn(images.shape, generator=rng)).to(images.device)
        noisy = (images + noise).contiguous(memory_format=torch.channels_last)
        found, _, logits = encoder.encode(noisy, read)
        reconstructed = generator(found, read)
    losses = {
        "latent": (found[:count] - latents).square().mean(),
        "image": (reconstructed.float() - images).abs().mean(),
        "prior": (found.square().mean(1) - 1).relu().square().mean(),
    }
    if logits is not None and read is not None and sure is not None:
        losses["class"] = F.cross_entropy(logits, read.where(sure, UNSURE), ignore_index=UNSURE)
    return losses


def _read_labels(encoder: Encoder, real: Tensor) -> tuple[Tensor, Tensor]:
    """The class of each real image, and whether the encoder, which must read classes, is sure of it."""
    encoder.eval()  # running statistics, as at use
    logits = encoder.encode(real)[2]
    encoder.train()
    if logits is None:
        raise EncoderTrainingError("the encoder of a class-conditional generator should read classes.")
    probability, labels = logits.softmax(1).max(1)
    return labels, probability > SURE
