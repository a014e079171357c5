"""Labels beside images: where they are in a sample, and whether they are classes that can be drawn."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganaug.errors import TransformError
from ganaug.images import plain
from ganaug.inversion import Latents

LabelsGetter = str | Callable[[Any], Any] | None


def check_labels_getter(getter: LabelsGetter) -> LabelsGetter:
    """The getter itself; ``TransformError`` unless it is ``"default"``, a callable or None."""
    if getter is None or callable(getter) or (isinstance(getter, str) and getter == "default"):
        return getter
    raise TransformError(f"labels_getter should either be 'default', a callable, or None, but got {getter!r}.")


def find_labels(sample: Any, getter: LabelsGetter = "default") -> Any:
    """What stands where labels stand in a sample, or None.

    By default they stand where ``v2.CutMix`` looks for them: the second item of a tuple or list, or, where that or the
    sample itself is a dictionary, its key ``labels``, else the first with ``label`` in it, in capitals or not.
    """
    if getter is None or callable(getter):
        return None if getter is None else getter(sample)
    if isinstance(sample, (tuple, list)):
        sample = sample[1] if len(sample) > 1 else None
        if not isinstance(sample, Mapping):
            return None if isinstance(sample, Latents) else sample
    if not isinstance(sample, Mapping):
        return None
    keys = [key for key in sample if isinstance(key, str)]
    likely = [key for key in keys if key.lower() == "labels"] + [key for key in keys if "label" in key.lower()]
    return sample[likely[0]] if likely else None


def checked_classes(
    labels: Any, count: int, num_classes: int, *, needed_by: str | None = None, mixed: bool = False
) -> Tensor | None:
    """Classes ``(count,)`` int64 of labels, or None where none came or the generator takes none.

    Args:
        labels: ``(count,)`` integers in ``[0, num_classes)`` as a tensor, an array or a list, an integer beside one
            image, or ``(count, num_classes)`` soft ones, of which the likeliest class is taken.
        needed_by: who can't do without labels.
        mixed: whether soft labels may be of several classes.

    Raises:
        TransformError: labels that are missing where they are needed, or are no such classes.
    """
    if labels is None and needed_by is not None:
        raise TransformError(
            f"no labels were found in the sample, and {needed_by} needs them to draw images of the same classes. "
            "Pass (images, labels), a dictionary with a label-like key, or labels_getter=..."
        )
    if labels is None or num_classes == 0:
        return None
    classes = _as_tensor(labels)
    if not isinstance(classes, Tensor):
        raise TransformError(
            f"the labels should be a tensor, an array or a list of integers, or an integer beside one image; got "
            f"{labels!r:.80}. Say where they are with labels_getter=..., or with None that there are none."
        )
    got = f"{classes.dtype} of shape {tuple(classes.shape)}"
    wanted = (
        f"class indices of shape ({count},) from 0 to {num_classes - 1}, or soft labels of shape "
        f"({count}, {num_classes})"
    )
    is_soft = classes.is_floating_point()
    if classes.ndim < (2 if is_soft else 1):
        classes = classes[None]
    if classes.shape != ((count, num_classes) if is_soft else (count,)) or classes.dtype == torch.bool:
        raise TransformError(f"the labels should be {wanted}; got {got}.")
    if is_soft:
        return _likeliest(classes, mixed=mixed)
    low, high = (int(bound) for bound in torch.aminmax(classes)) if count else (0, 0)
    if low < 0 or high >= num_classes:
        raise TransformError(f"the labels should be {wanted}; got values from {low} to {high}.")
    return classes.long()


def _likeliest(soft: Tensor, *, mixed: bool) -> Tensor:
    """The likeliest class ``(N,)`` of each row of probabilities ``(N, num_classes)``."""
    if len(soft) and not ((soft >= 0).all() and ((soft.float().sum(1) - 1).abs() < 0.02).all()):
        sums = soft.sum(1)
        raise TransformError(
            f"soft labels should be probabilities, each row none negative and of sum 1; got values from "
            f"{soft.min().item():.4g} to {soft.max().item():.4g}, sums from "
            f"{sums.min().item():.4g} to {sums.max().item():.4g}."
        )
    likeliest, classes = soft.max(1)
    if not mixed and len(soft) and not likeliest.min() >= 0.99:
        raise TransformError(
            f"an image of mixed labels can't be replaced by one of a single class, and row "
            f"{int(likeliest.argmin())} is mixed. Place LatentShift before v2.CutMix and v2.MixUp, "
            'or use source="invert".'
        )
    return classes


def _as_tensor(labels: Any) -> Any:
    """An integer, a list or an array of numbers as a tensor; anything else as it came."""
    if isinstance(labels, Tensor):
        return plain(labels)
    if isinstance(labels, numbers.Integral) and not isinstance(labels, bool):
        return torch.tensor(int(labels))
    if isinstance(labels, (list, tuple, np.ndarray)):
        try:
            return torch.as_tensor(np.asarray(labels))
        except (TypeError, ValueError):
            return labels
    return labels
