"""Where and in which precision networks run."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache, wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor, nn

from ganaug.errors import SettingsError

M = TypeVar("M", bound=nn.Module)
P = ParamSpec("P")
R = TypeVar("R")

DTYPES = ("auto", "float32", "bfloat16")
"""What networks that are used, not trained, may run in; "auto" is bfloat16 where that is quick, else float32."""

QUICK = {"avx512_bf16", "amx_bf16"}
"""Instructions of CPUs that multiply bfloat16 faster than float32; others only pretend to."""


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


def check_dtype(dtype: str) -> str:
    """``dtype`` itself; :class:`SettingsError` unless it is one of :data:`DTYPES`."""
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise SettingsError(f"dtype should be one of {', '.join(map(repr, DTYPES))}; got {dtype!r:.80}.")
    return dtype


def chosen_dtype(dtype: str, device: torch.device | str) -> str:
    """``"float32"`` or ``"bfloat16"``: what ``dtype``, one of :data:`DTYPES`, means on a device.

    Raises:
        SettingsError: another dtype.
    """
    if check_dtype(dtype) != "auto":
        return dtype
    return "bfloat16" if quick_in_bfloat16(torch.device(device)) else "float32"


@cache
def quick_in_bfloat16(device: torch.device) -> bool:
    """Whether networks run faster in bfloat16 than in float32: on GPUs and CPUs that have instructions of its own.

    Told by what the machine says of itself, not by the clock, so that two runs never differ.
    """
    if device.type == "cuda":
        with torch.cuda.device(device):
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and torch.backends.mkldnn.is_available() and not QUICK.isdisjoint(_instructions())


def _instructions() -> set[str]:
    """What the CPU can do, in the names of Linux; nothing where neither torch nor Linux tells."""
    if hasattr(torch.cpu, "get_capabilities"):  # torch 2.10 and later
        return {name for name, there in torch.cpu.get_capabilities().items() if there is True}
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    return set(next((line for line in lines if line.startswith("flags")), "").split())


def running_in(dtype: str | None, device: torch.device | str) -> AbstractContextManager[object]:
    """A block in which networks on a device run in ``dtype``, one of :data:`DTYPES`.

    With None, and with ``"auto"`` inside the caller's own ``torch.autocast``, they run as the caller says.

    Raises:
        SettingsError: another dtype.
    """
    kind = torch.device(device).type
    if dtype is None or not torch.amp.is_autocast_available(kind):
        return nullcontext()
    if check_dtype(dtype) == "auto" and torch.is_autocast_enabled(kind):
        return nullcontext()
    return autocast(device, chosen_dtype(dtype, device))


def padded(rows: Tensor, size: int) -> Tensor:
    """Rows ``(N, ...)``, N at least 1, with the first of them repeated at the end up to ``size``.

    What a network makes of a row is the same to the last bit in batches of one size, whatever the other rows are; in
    batches of other sizes it is another one's rounding.
    """
    lacking = size - len(rows)
    return rows if lacking <= 0 else torch.cat([rows, rows[:1].expand(lacking, *rows.shape[1:])])


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
