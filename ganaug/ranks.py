"""The processes that torchrun started, each with a share of the work: ``torchrun --nproc-per-node N -m ganaug ...``."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

import torch
import torch.distributed as dist

from ganaug.devices import default_device

T = TypeVar("T")


@contextmanager
def process_group(device: str | torch.device | None = None) -> Iterator[torch.device | None]:
    """Join the processes that torchrun started; outside of torchrun nothing happens.

    Yields:
        The device of this process: one GPU each by local rank, or ``device`` where it is given or there is no GPU.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or dist.is_initialized():
        yield None if device is None else torch.device(device)
        return
    target = default_device(device)
    if target.type == "cuda" and target.index is None:
        target = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(target)
    dist.init_process_group("nccl" if target.type == "cuda" else "gloo")
    try:
        yield target
    finally:
        dist.destroy_process_group()


def rank_and_size() -> tuple[int, int]:
    """This process's number and how many there are; ``(0, 1)`` outside of a process group."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


class Ranks(NamedTuple):
    """This process's number, and how many share the work."""

    rank: int
    size: int

    def own(self, items: Sequence[T]) -> Sequence[T]:
        """This process's share of items: every ``size``-th."""
        return items[self.rank :: self.size]

    def gathered(self, value: T) -> list[T]:
        """The value of each process, in order; all of them come here."""
        values: list[Any] = [value]
        if self.size > 1:
            values = [None] * self.size
            dist.all_gather_object(values, value)
        return values

    def wait(self) -> None:
        """Go on once all processes have come here."""
        self.gathered(None)


@contextmanager
def sharing(share: bool, device: torch.device) -> Iterator[Ranks]:
    """The processes that torchrun started, for as long as the block runs; else this one alone.

    Args:
        share: without it, and where the caller has a process group of its own, this process does everything.
        device: of this process.
    """
    if not share or dist.is_initialized():
        yield Ranks(0, 1)
        return
    with process_group(device):
        yield Ranks(*rank_and_size())
