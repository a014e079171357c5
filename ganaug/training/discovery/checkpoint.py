"""Files of a run that survive whatever happens to it: the checkpoint and the metrics."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ganaug.errors import DiscoveryError
from ganaug.files import UNREADABLE, replacing

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

CHECKPOINT_FILE = "checkpoint.pt"
METRICS_FILE = "metrics.jsonl"


class RunFiles:
    """The folder of a run, with its checkpoint and metrics; without a folder, or where another process writes, nothing
    is written.

    Args:
        folder: made if it isn't there; None to keep nothing.
        resume: whether it must hold a checkpoint, or none.

    Raises:
        DiscoveryError: the folder can't be made, or holds the checkpoint of an earlier run.
    """

    def __init__(self, folder: Path | None, *, resume: bool = False) -> None:
        self.folder = folder
        self.checkpoint = None if folder is None else folder / CHECKPOINT_FILE
        self.metrics: Metrics | None = None
        if folder is None or self.checkpoint is None:
            return
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DiscoveryError(f"{folder} can't be made ({error.strerror}). Choose another --out.") from error
        if not resume and self.checkpoint.exists():
            raise DiscoveryError(
                f"{folder} holds the checkpoint of an earlier run. Go on with it (--resume, or resume=True), "
                "choose another folder, or delete it."
            )
        if not resume and (folder / METRICS_FILE).exists():
            raise DiscoveryError(
                f"{folder / METRICS_FILE} is there already, without a checkpoint beside it; nothing is overwritten. "
                "Choose another folder, or move it away."
            )

    def read(self, identity: Mapping[str, Any]) -> dict[str, Any]:
        """The checkpoint, see :func:`read_checkpoint`."""
        if self.checkpoint is None:
            raise DiscoveryError("resume=True needs out=..., the folder of the run to go on with.")
        return read_checkpoint(self.checkpoint, identity)

    def open(self, *, after: int, tensorboard: bool) -> None:
        """From now on write what is given, see :class:`Metrics`."""
        if self.folder is not None:
            self.metrics = Metrics(self.folder, after=after, tensorboard=tensorboard)

    def append(self, row: Mapping[str, Any]) -> None:
        if self.metrics is not None:
            self.metrics.append(row)

    def save(self, state: Mapping[str, Any]) -> None:
        if self.metrics is not None and self.checkpoint is not None:
            write_checkpoint(self.checkpoint, state)

    def close(self) -> None:
        if self.metrics is not None:
            self.metrics.close()


def write_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write beside, then rename: at every moment ``path`` is a whole checkpoint, the earlier or the new one.

    Raises:
        DiscoveryError: the disk is full, or the folder can't be written to.
    """
    try:
        with replacing(path) as scratch, scratch.open("wb") as file:
            torch.save(dict(state), file)
            file.flush()
            os.fsync(file.fileno())
    except (OSError, RuntimeError) as error:  # torch reports a failed write as a RuntimeError
        if "CUDA" in str(error):
            raise
        raise DiscoveryError(
            f"the checkpoint of step {state['step']} could not be written to {path.parent} "
            f"({_reason(error)}).{last_good(path)}"
        ) from error


def read_checkpoint(path: Path, identity: Mapping[str, Any]) -> dict[str, Any]:
    """The state that :func:`write_checkpoint` wrote, on the CPU.

    Args:
        identity: what must be the same in the run that goes on.

    Raises:
        DiscoveryError: the file is missing, unreadable, damaged or of another run.
    """
    if not path.exists():
        raise DiscoveryError(f"there is no {path} to resume from. Start the run without --resume (resume=True).")
    try:
        path.open("rb").close()
    except OSError as error:
        raise DiscoveryError(f"{path} can't be read ({_reason(error)}).") from error
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        theirs = {name: state[name] for name in identity}
    except (*UNREADABLE, KeyError, TypeError) as error:
        raise DiscoveryError(f"{path} is damaged ({error}). Delete it and start again.") from error
    for name, mine in identity.items():
        if theirs[name] != mine:
            if isinstance(mine, dict) and isinstance(theirs[name], dict):
                differing = ", ".join(
                    f"{key} was {theirs[name].get(key)!r}, is {mine[key]!r}"
                    for key in mine
                    if theirs[name].get(key) != mine[key]
                )
            else:
                differing = (
                    "it started from other directions" if name == "initial" else "it was made with another generator"
                )
            raise DiscoveryError(
                f"{path} belongs to another run: {differing}. Use another --out, or the same settings."
            )
    return state


def last_good(path: Path | None) -> str:
    """A sentence about the checkpoint that is there, or nothing."""
    return f" The last good checkpoint is {path}." if path is not None and path.exists() else ""


class Metrics:
    """``metrics.jsonl`` of a run, one row a line, and TensorBoard event files on request.

    Args:
        after: the step that the run goes on from; rows of later steps are forgotten, since they will come again.

    Raises:
        DiscoveryError: the folder can't be written to, or TensorBoard is wanted and not installed.
    """

    def __init__(self, folder: Path, *, after: int = 0, tensorboard: bool = False) -> None:
        self.path = folder / METRICS_FILE
        rows = self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else []
        kept = [row for row in rows if row.endswith("}") and json.loads(row)["step"] <= after]
        with replacing(self.path) as scratch:
            self._write(scratch, "w", "".join(row + "\n" for row in kept))
        self.board: SummaryWriter | None = None
        if tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError as error:
                raise DiscoveryError(
                    'TensorBoard is not installed: pip install "ganaug[tensorboard]", or leave --tensorboard out.'
                ) from error
            self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=after + 1)

    def append(self, row: Mapping[str, Any]) -> None:
        self._write(self.path, "a", json.dumps(row) + "\n")
        if self.board is not None:
            for name, value in row.items():
                if name != "step":
                    self.board.add_scalar(name, value, row["step"])

    def close(self) -> None:
        if self.board is not None:
            self.board.close()

    def _write(self, path: Path, mode: str, text: str) -> None:
        try:
            with path.open(mode, encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise DiscoveryError(
                f"{path} could not be written ({_reason(error)}).{last_good(path.with_name(CHECKPOINT_FILE))}"
            ) from error


def _reason(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error).splitlines()[0]
