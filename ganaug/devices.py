"""Where and in which precision networks run."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor, nn

from ganaug.errors import SettingsError

M = TypeVar("M", bound=nn.Module)
P = ParamSpec("P")
R = TypeVar("R")


def in_channels_last(network: M) -> M:
    """Put a network's weights of four dimensions in channels_last, and leave those of others; returns the network."""
    for tensor in [*network.parameters(), *network.buffers()]:
        if tensor.ndim == 4:
            tensor.data = tensor.data.contiguous(memory_format=torch.channels_last)
    return network


def default_device(device: torch.device | str | None = None) -> torch.device:
    """``device``, or where None is given CUDA if there is one, else the CPU; of several GPUs the one that torchrun gave
    this process, so that none but its own is touched."""
    chosen = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device is None else device)
    rank = os.environ.get("LOCAL_RANK", "")
    return torch.device("cuda", int(rank)) if chosen == torch.device("cuda") and rank.isdecimal() else chosen


def sent(values: Tensor, device: torch.device) -> Tensor:
    """Values on a device, without waiting until they have arrived; back to the CPU is waited for, as it has to be."""
    return values.to(device, non_blocking=device.type != "cpu")


def autocast(device: torch.device | str, precision: str) -> torch.autocast:
    """``torch.autocast`` to bfloat16 on ``device``, or disabled for ``precision="float32"``.

    Raises:
        SettingsError: another precision.
    """
    if precision not in ("bfloat16", "float32"):
        raise SettingsError(f'precision should be "bfloat16" or "float32", got {precision!r}.')
    return torch.autocast(torch.device(device).type, torch.bfloat16, enabled=precision == "bfloat16")


def own_defaults(function: Callable[P, R]) -> Callable[P, R]:
    """A function that makes float32 tensors on the CPU where it names neither, whatever torch's defaults were set to.

    Some programs, and some of what they import, call ``torch.set_default_dtype`` or ``torch.set_default_device``; what
    ganaug creates and loads stays what it is.
    """

    @wraps(function)
    def called(*args: P.args, **keywords: P.kwargs) -> R:
        if torch.get_default_dtype() is torch.float32 and torch.empty(0).is_cpu:
            return function(*args, **keywords)
        theirs = torch.get_default_dtype()
        torch.set_default_dtype(torch.float32)
        try:
            with torch.device("cpu"):
                return function(*args, **keywords)
        finally:
            torch.set_default_dtype(theirs)

    return called
