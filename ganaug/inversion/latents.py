"""Stored latents that travel beside their images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data._utils.collate import default_collate_fn_map
from torchvision import tv_tensors


class Latents(tv_tensors.TVTensor):  # type: ignore[misc]  # torchvision has no types, so its classes are Any
    """Stored latents that travel in a sample beside their images; other transforms leave them alone.

    They are of the image as it was stored: place LatentShift before flips, crops and whatever else moves pixels.

    Shape: ``(latent_dim,)`` beside one image, ``(N, latent_dim)`` beside a batch.
    """

    def __new__(cls, data: Any) -> Latents:
        return torch.as_tensor(data, dtype=torch.float32).as_subclass(cls)


def _collate_latents(batch: Sequence[Latents], **_: Any) -> Latents:
    return Latents(torch.stack([latents.as_subclass(Tensor) for latents in batch]))


# The docs of torch.utils.data.default_collate give this map, from its private module, as the way to add a type.
default_collate_fn_map[Latents] = _collate_latents
