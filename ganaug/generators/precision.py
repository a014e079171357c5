"""One place that says what "bfloat16" and "float32" mean for a computation."""

from __future__ import annotations

from typing import Literal

import torch

Precision = Literal["bfloat16", "float32"]


def autocast(device: torch.device | str, precision: str) -> torch.autocast:
    """``torch.autocast`` to bfloat16 on ``device``, or disabled for ``precision="float32"``.

    Raises:
        ValueError: another precision.
    """
    if precision not in ("bfloat16", "float32"):
        raise ValueError(f'precision should be "bfloat16" or "float32", got {precision!r}.')
    return torch.autocast(torch.device(device).type, torch.bfloat16, enabled=precision == "bfloat16")
