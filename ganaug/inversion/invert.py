"""From real images to latents: the pack's encoder, then optional refinement."""

from __future__ import annotations

import torch
from torch import Tensor

from ganaug.devices import own_defaults, running_in
from ganaug.errors import PackError
from ganaug.images import resized, to_unit, unit_to_signed
from ganaug.inversion.refine import refine
from ganaug.packs import DirectionPack


@own_defaults
def invert(
    pack: DirectionPack,
    images: Tensor,
    labels: Tensor | None = None,
    *,
    refine_steps: int = 0,
    learning_rate: float = 0.05,
    prior_weight: float = 0.01,
    dtype: str | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Find latents whose images are nearest to given ones.

    Args:
        images: ``(N, C, H, W)`` float in [-1, 1] of the generator's size, on any device.
        labels: ``(N,)`` classes; read by the encoder if not given, and not used for an unconditional generator.
        refine_steps: steps of :func:`refine` after the encoder; some ten make the reconstruction visibly nearer, at the
            cost of that many passes forwards and backwards through the generator.
        dtype: of the encoder: ``"auto"``, ``"float32"`` or ``"bfloat16"``, as for ``LatentShift``; with any of them
            refinement is in float32. None runs both as the caller's ``torch.autocast`` says.

    Returns:
        Latents ``(N, latent_dim)`` and labels ``(N,)`` (None for an unconditional generator).

    Raises:
        PackError: the pack has no encoder.
        GeneratorError: images of another shape than the generator's, or labels of other classes.
    """
    generator, encoder = pack.networks(images.device)
    if encoder is None:
        raise PackError(f"pack {pack.name!r} has no encoder. Train one: ganaug train-encoder {pack.name}.")
    if labels is not None and generator.num_classes:
        generator.check_labels(labels, len(images))
    with torch.no_grad(), running_in(dtype, images.device):
        latents, labels = encoder(images, labels)
    if refine_steps:
        with running_in(dtype and "float32", images.device):
            latents = refine(
                generator,
                images,
                latents,
                labels,
                steps=refine_steps,
                learning_rate=learning_rate,
                prior_weight=prior_weight,
            )
    return latents, labels


@own_defaults
@torch.no_grad()
def invert_resized(
    pack: DirectionPack, images: Tensor, labels: Tensor | None = None, *, dtype: str | None = None
) -> tuple[Tensor, Tensor | None]:
    """:func:`invert` for images as a pipeline has them: ``(N, C, H, W)`` uint8, or float in [0, 1], of any size."""
    size = (pack.generator.image_size, pack.generator.image_size)
    return invert(pack, unit_to_signed(resized(to_unit(images.detach()), size)), labels, dtype=dtype)
