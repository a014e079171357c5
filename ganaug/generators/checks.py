"""Whether a network draws what was said of it."""

from __future__ import annotations

import torch
from torch import Tensor

ROUNDING = 1e-5


"""Two images in [-1, 1] nowhere further apart are the same: a layer may round differently from row to row."""


def difference(a: Tensor, b: Tensor) -> float:
    """The largest difference of two values in the same place."""
    return (a - b).abs().max().item()


def _same(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors have the same values, NaN included."""
    return torch.equal(a.nan_to_num(), b.nan_to_num())
