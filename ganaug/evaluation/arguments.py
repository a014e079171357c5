"""Checks of what is measured and with what: each refusal says what came, what was expected and what to do."""

from __future__ import annotations

import math
import numbers
from typing import Any

import torch
from torch import Tensor

from ganaug.errors import EvaluationError
from ganaug.streams import Images, StreamedImages

WHOLE = 255


def check_counts(**counts: Any) -> None:
    """:class:`EvaluationError` unless each is a whole number of at least 1."""
    for name, count in counts.items():
        if isinstance(count, bool) or not isinstance(count, numbers.Integral) or count < 1:
            raise EvaluationError(f"{name} should be a whole number of at least 1, got {count!r:.80}.")


def check_rate(rate: Any) -> None:
    """:class:`EvaluationError` unless it is a share above 0."""
    if not _is_finite(rate) or not 0 < rate <= 1:
        raise EvaluationError(f"rate is a share of labels and should be above 0 and at most 1, got {rate!r:.80}.")


def check_positive(**values: Any) -> None:
    """:class:`EvaluationError` unless each is a finite number above 0."""
    for name, value in values.items():
        if not _is_finite(value) or not value > 0:
            raise EvaluationError(f"{name} should be a finite number above 0, got {value!r:.80}.")


def check_interval(interval: Any, *, name: str = "interval") -> None:
    """:class:`EvaluationError` unless it is None or two finite numbers, the lower one first."""
    if interval is None:
        return
    ends = interval if isinstance(interval, (tuple, list)) else ()
    if len(ends) != 2 or not all(map(_is_finite, ends)) or ends[0] > ends[1]:
        raise EvaluationError(f"{name} should be (low, high), finite and low <= high; got {interval!r:.80}.")


def check_images(images: Any, *, least: int = 1, floats: bool = False, channels: int | None = None) -> None:
    """:class:`EvaluationError` unless images are ``(N, C, H, W)`` uint8, ``least`` of them.

    Args:
        floats: float images in [-1, 1] will do as well.
        channels: how many they should have, if that is known.
    """
    wanted = f"images of shape (N, {channels or 'C'}, H, W), uint8" + (" or float in [-1, 1]" if floats else "")
    if not isinstance(images, Tensor | StreamedImages):
        raise EvaluationError(f"expected {wanted}, got {type(images).__name__}.")
    if images.ndim != 4 or 0 in images.shape[1:] or (channels and images.shape[1] != channels):
        raise EvaluationError(f"expected {wanted}, got shape {tuple(images.shape)}.")
    if len(images) < least:
        raise EvaluationError(f"expected {wanted}, {least} or more; got {len(images)}.")
    if images.dtype != torch.uint8 and not (floats and images.is_floating_point()):
        way = "ganaug.images.signed_to_uint8 makes uint8 of [-1, 1], (255 * images).round().byte() of [0, 1]."
        raise EvaluationError(f"expected {wanted}, got {images.dtype}. {way}")
    if isinstance(images, Tensor) and images.is_floating_point() and images.numel():
        low, high = images.min().item(), images.max().item()
        if not -1.01 <= low <= high <= 1.01:
            raise EvaluationError(f"expected {wanted}, got floats from {low:.3g} to {high:.3g}. Rescale them.")


def check_labels(labels: Any, count: int) -> None:
    """:class:`EvaluationError` unless labels are ``(count,)`` whole numbers from 0."""
    wanted = f"labels of shape ({count},), int64 from 0, one for each image"
    if not isinstance(labels, Tensor):
        raise EvaluationError(f"expected {wanted}, got {type(labels).__name__}.")
    if labels.shape != (count,) or labels.dtype != torch.int64:
        raise EvaluationError(f"expected {wanted}, got {labels.dtype} of shape {tuple(labels.shape)}.")
    if int(labels.min()) < 0:
        raise EvaluationError(f"expected {wanted}, got {int(labels.min())}. Leave images without a label out.")


def check_masks(masks: Any, images: Images) -> None:
    """:class:`EvaluationError` unless masks are those of the images: uint8, 255 inside the object and 0 outside."""
    shape = (len(images), 1, *images.shape[2:])
    wanted = f"masks of shape {shape}, uint8 with 255 inside the object and 0 outside"
    if not isinstance(masks, Tensor):
        raise EvaluationError(f"expected {wanted}, got {type(masks).__name__}.")
    if masks.shape != shape:
        raise EvaluationError(f"expected {wanted}, got shape {tuple(masks.shape)}.")
    if masks.dtype != torch.uint8:
        raise EvaluationError(f"expected {wanted}, got {masks.dtype}. Convert them: (masks > 0).byte() * 255.")
    if 0 < int(masks.max()) < WHOLE // 2:
        raise EvaluationError(
            f"expected {wanted}, got values from {int(masks.min())} to {int(masks.max())}. Convert them: "
            "(masks > 0).byte() * 255."
        )


def _is_finite(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)
