"""Files of a run that survive whatever happens to it: the checkpoint and the metrics."""

from __future__ import annotations

import io
import json
import math
import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ganaug.errors import DiscoveryError, FileError, Interrupted, UserError
from ganaug.files import UNREADABLE
from ganaug.locks import alone, replacing

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
        self.written_here = False
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

    @contextmanager
    def written_alone(self, *, by_this_process: bool) -> Iterator[None]:
        """While the block runs, no other run writes into the folder.

        Raises:
            DiscoveryError: another one does, or the folder can't be written to.
        """
        self.written_here = by_this_process
        if self.checkpoint is None or not by_this_process:
            yield
            return
        try:
            with alone(self.checkpoint):
                yield
        except FileError as error:
            raise DiscoveryError(str(error)) from error

    def open(self, *, after: int, tensorboard: bool) -> None:
        """From now on write what is given, see :class:`Metrics`."""
        if self.folder is not None:
            self.metrics = Metrics(self.folder, after=after, tensorboard=tensorboard)

    def append(self, row: Mapping[str, Any]) -> None:
        if self.metrics is not None:
            self.metrics.append(row)

    def save(self, state: Mapping[str, Any]) -> None:
        if self.checkpoint is not None and self.written_here:
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
        content = io.BytesIO()  # torch tells not why a file can't be written
        torch.save(dict(state), content)
        with replacing(path) as scratch, scratch.open("wb") as file:
            file.write(content.getbuffer())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise DiscoveryError(
            f"the checkpoint of step {state['step']} could not be written to {path.parent} "
            f"({_reason(error)}).{last_good(path)}"
        ) from error


def read_checkpoint(
    path: Path, identity: Mapping[str, Any], *, otherwise: str = "Use another --out, or the same settings."
) -> dict[str, Any]:
    """The state that :func:`write_checkpoint` wrote, on the CPU.

    Args:
        identity: what must be the same in the run that goes on.
        otherwise: what to do where it is not.

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
        with zipfile.ZipFile(path) as records:
            if broken := records.testzip():  # torch.load looks at no checksum
                raise ValueError(f"the checksum of {broken} is another")
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        theirs = {name: state[name] for name in identity}
        values = [value for told in theirs.values() for value in (told.values() if isinstance(told, dict) else [told])]
        if not all(isinstance(value, str | int | float | None) for value in values):
            raise ValueError(f"{', '.join(identity)} should be plain")
    except (*UNREADABLE, KeyError, TypeError) as error:
        raise damaged(path, error) from error
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
            raise DiscoveryError(f"{path} belongs to another run: {differing}. {otherwise}")
    return state


@contextmanager
def told_as(kind: type[UserError]) -> Iterator[None]:
    """What files of a run complain of, as errors of another training than a discovery."""
    try:
        yield
    except Interrupted:
        raise
    except (DiscoveryError, FileError) as error:
        raise kind(str(error)) from error


def damaged(path: Path | None, reason: object) -> DiscoveryError:
    """What to raise of a file that is not as it was written."""
    told = " ".join(str(reason).split())
    return DiscoveryError(f"{path} is damaged ({told:.300}). Delete it and start again.")


def last_good(path: Path | None) -> str:
    """A sentence about the checkpoint that is there, or nothing."""
    return f" The last good checkpoint is {path}." if path is not None and path.exists() else ""


class Metrics:
    """``metrics.jsonl`` of a run, one row a line, and TensorBoard event files on request.

    Args:
        after: the step that the run goes on from; rows of later steps are forgotten, since they will come again.

    Raises:
        DiscoveryError: the folder can't be written to, the rows that are there are damaged, or TensorBoard is wanted
            and not installed.
    """

    def __init__(self, folder: Path, *, after: int = 0, tensorboard: bool = False) -> None:
        self.path = folder / METRICS_FILE
        rows = self._rows()
        try:
            with replacing(self.path) as scratch:
                scratch.write_text("".join(text + "\n" for step, text in rows if step <= after), encoding="utf-8")
        except OSError as error:
            raise DiscoveryError(f"{self.path} could not be written ({_reason(error)}).") from error
        self.board: SummaryWriter | None = None
        if tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError as error:
                raise DiscoveryError(
                    'TensorBoard is not installed: pip install "ganaug[tensorboard]", or leave --tensorboard out.'
                ) from error
            self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=after + 1)

    def _rows(self) -> list[tuple[int, str]]:
        """Step and text of each row that is there; a last one that was cut off, as the process was killed, is none."""
        try:
            *lines, _ = self.path.read_bytes().split(b"\n") if os.path.lexists(self.path) else [b""]
        except OSError as error:
            raise DiscoveryError(f"{self.path} can't be read ({_reason(error)}).") from error
        rows: list[tuple[int, str]] = []
        for number, line in enumerate(lines, 1):
            step = _step_of(line)
            if step is None or (rows and step <= rows[-1][0]):
                raise DiscoveryError(
                    f"line {number} of {self.path} is damaged: {line[:80]!r}. Take the line away, or move the file "
                    "away; the run goes on without the rows that were in it."
                )
            rows.append((step, line.decode()))
        return rows

    def append(self, row: Mapping[str, Any]) -> None:
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        except OSError as error:
            raise DiscoveryError(
                f"{self.path} could not be written ({_reason(error)}).{last_good(self.path.with_name(CHECKPOINT_FILE))}"
            ) from error
        if self.board is not None:
            for name, value in row.items():
                if name != "step":
                    self.board.add_scalar(name, value, row["step"])

    def close(self) -> None:
        if self.board is not None:
            self.board.close()


def _step_of(line: bytes) -> int | None:
    """The step of a row of metrics; None of what is no row: an object of finite numbers."""
    try:
        row = json.loads(line.decode())
    except (ValueError, RecursionError):
        return None
    if not isinstance(row, dict) or not all(type(each) in (int, float) for each in row.values()):
        return None
    step = row.get("step")
    if not isinstance(step, int) or step < 1 or not all(math.isfinite(each) for each in row.values()):
        return None
    return step


def _reason(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error).splitlines()[0]
