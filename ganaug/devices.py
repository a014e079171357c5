"""Where and in which precision networks run."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

from ganaug.errors import SettingsError

M = TypeVar("M", bound=nn.Module)


def in_channels_last(network: M) -> M:
    """Put a network's weights of four dimensions in channels_last, and leave those of others; returns the network."""
    for tensor in [*network.parameters(), *network.buffers()]:
        if tensor.ndim == 4:
            tensor.data = tensor.data.contiguous(memory_format=torch.channels_last)
    return network


def default_device(device: torch.device | str | None = None) -> torch.device:
    """``device``, or where None is given CUDA if there is one, else the CPU."""
    return torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))


def autocast(device: torch.device | str, precision: str) -> torch.autocast:
    """``torch.autocast`` to bfloat16 on ``device``, or disabled for ``precision="float32"``.

    Raises:
        SettingsError: another precision.
    """
    if precision not in ("bfloat16", "float32"):
        raise SettingsError(f'precision should be "bfloat16" or "float32", got {precision!r}.')
    return torch.autocast(torch.device(device).type, torch.bfloat16, enabled=precision == "bfloat16")
