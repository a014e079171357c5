"""Images as uint8, in [0, 1] and in [-1, 1]; resizing, PIL: the only place that converts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import PIL.Image
import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as TF

from ganaug.errors import TransformError


def to_float(images: Tensor) -> Tensor:
    """uint8 images in 0..255 to float32 in [-1, 1], as generators return them."""
    return images.float() / 127.5 - 1


def to_uint8(images: Tensor) -> Tensor:
    """Float images in [-1, 1] to uint8 in 0..255."""
    return (images.float() * 127.5 + 127.5).round().clamp(0, 255).to(torch.uint8)


def _is_batch(image: Any) -> bool:
    return isinstance(image, Tensor) and image.ndim == 4


def _as_batch(image: Any) -> Tensor:
    """``(N, C, H, W)`` of a PIL image, one image or a batch."""
    tensor = image.as_subclass(Tensor) if isinstance(image, Tensor) else TF.pil_to_tensor(image)
    return tensor if tensor.ndim == 4 else tensor[None]


def _like(batch: Tensor, image: Any) -> Any:
    """A batch as what the image was."""
    if isinstance(image, PIL.Image.Image):
        return TF.to_pil_image(batch[0])
    output = batch if image.ndim == 4 else batch[0]
    return tv_tensors.wrap(output, like=image) if isinstance(image, tv_tensors.TVTensor) else output


def _from_unit(images: Tensor, dtype: torch.dtype) -> Tensor:
    return (images * 255).round().to(torch.uint8) if dtype == torch.uint8 else images.to(dtype)


OVERSHOOT = {torch.float16: 1e-2, torch.bfloat16: 1e-2}


"""How far resampling may overshoot [0, 1] by rounding; 1e-3 for other types."""


def check_unit_range(images: Tensor) -> None:
    """``TransformError`` unless images are uint8, or float with values in [0, 1] up to rounding."""
    if images.dtype == torch.uint8:
        return
    if not images.is_floating_point():
        raise TransformError(f"images should be uint8 in [0, 255] or float in [0, 1], got {images.dtype}.")
    low, high = (bound.item() for bound in torch.aminmax(images.detach())) if images.numel() else (0.0, 0.0)
    slack = OVERSHOOT.get(images.dtype, 1e-3)
    if not (low >= -slack and high <= 1 + slack):
        raise TransformError(
            f"float images should be in [0, 1], got values from {low:.4g} to {high:.4g}. Place the transform before "
            "v2.Normalize; after a resampling or noise that overshoots, clamp them to [0, 1]."
        )


def resized(images: Tensor, size: Sequence[int]) -> Tensor:
    """Images ``(N, C, H, W)`` resampled bilinearly to ``size``, antialiased."""
    if tuple(images.shape[-2:]) == tuple(size):
        return images
    return F.interpolate(images, tuple(size), mode="bilinear", antialias=True)
