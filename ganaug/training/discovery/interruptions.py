"""What comes between the steps of a run: signals, and the errors of the machine."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from ganaug.errors import DiscoveryError
from ganaug.training.discovery.checkpoint import last_good
from ganaug.training.discovery.run import Run


@contextmanager
def stop_between_steps() -> Iterator[threading.Event]:
    """Turn SIGINT and SIGTERM into an event, so that a step is never left half done; a second Ctrl-C is immediate."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def request(number: int, frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    previous = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def explained_errors(run: Run, checkpoint: Path | None) -> Iterator[None]:
    """Raise an error of the machine, not of the program, as what its user can do about it; any other as it came."""
    try:
        yield
    except DiscoveryError:
        raise
    except RuntimeError as error:
        kept, reason = last_good(checkpoint), str(error).splitlines()[0] if str(error) else ""
        if isinstance(error, torch.OutOfMemoryError) or "not enough memory" in str(error):
            raise DiscoveryError(
                f"out of memory after step {run.step} ({reason}). Go on with recompute=true, or start anew with more "
                f"micro_batches or a smaller batch_size.{kept}"
            ) from error
        if any(sign in str(error) for sign in ("CUDA error", "device-side assert", "NCCL", "gloo")):
            raise DiscoveryError(
                f"a device or another process was lost after step {run.step} ({reason}).{kept}"
                + (" Go on with --resume." if kept else "")
            ) from error
        raise
