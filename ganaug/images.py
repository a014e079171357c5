"""Images as uint8, in [0, 1] and in [-1, 1]; resizing, PIL: the only place that converts.

Three ranges, each with its word: ``uint8`` in 0..255, as files hold images; ``unit``, float in [0, 1], as torchvision's
transforms hold them; ``signed``, float in [-1, 1], as generators return them.
"""

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

OVERSHOOT = {torch.float16: 1e-2, torch.bfloat16: 1e-2, torch.float32: 1e-3, torch.float64: 1e-3}
"""How far resampling may overshoot [0, 1] by rounding, of each type that images may have besides uint8."""


def uint8_to_signed(images: Tensor) -> Tensor:
    """uint8 images in 0..255 to float32 in [-1, 1], as generators return them."""
    return images.float() / 127.5 - 1


def signed_to_uint8(images: Tensor) -> Tensor:
    """Float images in [-1, 1] to uint8 in 0..255."""
    return (images.float() * 127.5 + 127.5).round().clamp(0, 255).to(torch.uint8)


def to_unit(images: Tensor) -> Tensor:
    """Images as users have them, uint8 in 0..255 or float of any type in [0, 1], to float32 in [0, 1]."""
    return images.float() / 255 if images.dtype == torch.uint8 else images.float()


def from_unit(images: Tensor, dtype: torch.dtype) -> Tensor:
    """The way back from :func:`to_unit`: float images in [0, 1] to uint8 in 0..255, or to another float type."""
    return (images * 255).round().to(torch.uint8) if dtype == torch.uint8 else images.to(dtype)


def signed_to_unit(images: Tensor) -> Tensor:
    """Float images in [-1, 1], as generators return them, to float32 in [0, 1]; what lies outside is clamped."""
    return ((images.float() + 1) / 2).clamp(0, 1)


def unit_to_signed(images: Tensor) -> Tensor:
    """Float images in [0, 1] to [-1, 1], as generators and encoders have them."""
    return images * 2 - 1


def resized(images: Tensor, size: Sequence[int]) -> Tensor:
    """Images ``(N, C, H, W)`` resampled bilinearly to ``size``, (height, width), antialiased."""
    if tuple(images.shape[-2:]) == tuple(size):
        return images
    return F.interpolate(images, tuple(size), mode="bilinear", antialias=True)


def plain(tensor: Tensor) -> Tensor:
    """The tensor without its subclass, such as a tv_tensor's."""
    return tensor if type(tensor) is Tensor else tensor.as_subclass(Tensor)


def as_batch(image: Any) -> Tensor:
    """``(N, C, H, W)`` of a batch, of one image ``(C, H, W)`` or of a PIL image."""
    tensor = plain(image) if isinstance(image, Tensor) else TF.pil_to_tensor(image)
    return tensor if tensor.ndim == 4 else tensor[None]


def like(batch: Tensor, image: Any) -> Any:
    """The way back from :func:`as_batch`: a batch as what ``image`` was, a tv_tensor or a PIL image included."""
    if isinstance(image, PIL.Image.Image):
        return TF.to_pil_image(batch[0])
    output = batch if image.ndim == 4 else batch[0]
    return tv_tensors.wrap(output, like=image) if isinstance(image, tv_tensors.TVTensor) else output


def check_kind(images: Tensor) -> None:
    """``TransformError`` unless images are a dense tensor with values, uint8 or float of 16 bits or more."""
    if images.layout is not torch.strided or images.is_nested or images.is_meta:
        kind = "one on meta, without values" if images.is_meta else f"a nested one or one of layout {images.layout}"
        raise TransformError(f"images should be a dense tensor, got {kind}.")
    if images.dtype != torch.uint8 and images.dtype not in OVERSHOOT:
        raise TransformError(f"images should be uint8 in [0, 255] or float in [0, 1], got {images.dtype}.")


def in_channels(images: Tensor, channels: int) -> Tensor:
    """Images ``(N, C, H, W)`` of 1 or 3 channels in 1 or 3: grey as three alike, colours as their luma (ITU-R 601)."""
    if images.shape[1] == channels:
        return images
    if channels == 3:
        return images.expand(-1, 3, -1, -1)
    red, green, blue = images.float().unbind(1)
    grey: Tensor = (0.299 * red + 0.587 * green + 0.114 * blue)[:, None]
    grey = grey.round() if images.dtype == torch.uint8 else grey
    return grey.to(images.dtype)
