"""Folders of several files that are replaced as one: at every moment a reader finds all of the old, or all of the new.

New files are written into a scratch folder within the folder. Renaming that to ``.ganaug-new`` makes them count; then
they are moved to their places one by one. Whoever reads takes a file from ``.ganaug-new`` while it is still there
(:func:`located`), so that a process that is killed in between, or a disk that can't be written to, does no harm;
whoever writes next moves the rest first.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, TypeVar

from ganaug.errors import FileError, UserError
from ganaug.locks import alone, is_scratch, lock_file

NEW = ".ganaug-new"
LIST = "files.json"
"""Within :data:`NEW`: the names of all new files, and of the old ones that go."""
SCRATCH = re.compile(r"\.ganaug-([0-9a-f]{8})([0-9a-f]{8})")
ATTEMPTS = 10
T = TypeVar("T")


class Told(NamedTuple):
    """What :data:`LIST` says."""

    files: list[str]
    gone: list[str]


def located(folder: Path, name: str) -> Path:
    """Where a file of a folder lies, or would lie."""
    told = _told(folder)
    if told is None:
        return folder / name
    coming = folder / NEW / name
    return coming if name in told.gone or os.path.lexists(coming) else folder / name


def steadily(folder: Path, name: str, read: Callable[[], T]) -> T:
    """What ``read`` returns of a folder's files, all of them old or all new although another process may replace them.

    Args:
        name: of a file that is among the old and among the new ones.
        read: finds the files with :func:`located`; it is called again if they were replaced meanwhile.
    """
    for _ in range(ATTEMPTS):
        before = _version(folder, name)
        try:
            found = read()
        except UserError:
            if not before.moving and _version(folder, name) == before:
                raise
        else:
            if _version(folder, name).identity == before.identity:
                return found
    return read()


@contextmanager
def scratch_folder(folder: Path) -> Iterator[Path]:
    """A folder within ``folder`` to write files into, gone at the end; what killed processes left goes first.

    Raises:
        FileError: it can't be made, or a file can't be written into it.
    """
    tidy(folder)
    try:
        scratch, descriptor = _own_scratch(folder)
    except OSError as error:
        raise FileError(f"{folder} can't be written to ({error.strerror}).") from error
    try:
        yield scratch
    except OSError as error:
        raise FileError(f"files can't be written into {folder}: {error.strerror or error}.") from error
    except FileError as error:
        raise FileError(str(error).replace(str(scratch), str(folder))) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        if descriptor is not None:
            os.close(descriptor)


@contextmanager
def writing_alone(folder: Path) -> Iterator[None]:
    """While the block runs, no other process replaces files of a folder; what one began is finished first.

    Raises:
        FileError: the folder can't be written to.
    """
    with alone(folder / NEW, wait=True):
        _finish(folder)
        yield


def put_in_place(scratch: Path, folder: Path, *, gone: Iterable[str] = ()) -> None:
    """Make all files of a scratch folder those of ``folder``, which is held by :func:`writing_alone`.

    Args:
        gone: files of the folder that are no longer there afterwards.

    Raises:
        FileError: the folder can't be written to, or a folder is in the way of a file.
    """
    names = sorted(file.relative_to(scratch).as_posix() for file in scratch.rglob("*") if not file.is_dir())
    if blocked := next((name for name in names if os.path.isdir(folder / name)), None):
        raise FileError(f"{folder / blocked} is a folder, where a file should be written. Move it away.")
    try:
        (scratch / LIST).write_text(json.dumps({"files": names, "gone": sorted(gone)}), encoding="utf-8")
        os.rename(scratch, folder / NEW)
        _finish(folder)
    except OSError as error:
        raise FileError(f"files can't be put into {folder}: {error.strerror} ({error.filename}).") from error


def tidy(folder: Path) -> None:
    """Finish what a killed process had begun to put into a folder, and remove what it had not yet; of ganaug's own."""
    if not os.path.isdir(folder):
        return
    try:
        if os.path.lexists(folder / NEW):
            with writing_alone(folder):
                pass
        for entry in [*os.scandir(folder)]:
            if _is_scratch(entry.name) and entry.is_dir(follow_symlinks=False):
                _sweep(Path(entry.path))
    except OSError as error:
        raise FileError(f"{folder} can't be tidied up: {error.strerror} ({error.filename}).") from error


def is_empty(folder: Path) -> bool:
    """Whether a folder holds nothing but what ganaug writes beside other files."""
    return all(is_scratch(name) or _is_scratch(name) for name in os.listdir(folder))


def _finish(folder: Path) -> None:
    told = _told(folder)
    for name in told.files if told else ():
        if os.path.lexists(folder / NEW / name):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(folder / NEW / name, folder / name)
    for name in told.gone if told else ():
        (folder / name).unlink(missing_ok=True)
    if told:
        (folder / NEW / LIST).unlink()
    for below, _, _ in os.walk(folder / NEW, topdown=False):
        with suppress(OSError):  # it holds something that is not ganaug's
            os.rmdir(below)


def _told(folder: Path) -> Told | None:
    """What is to be moved into a folder; None where nothing is."""
    if os.path.islink(folder / NEW):
        return None
    try:
        content = json.loads((folder / NEW / LIST).read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    files, gone = (content.get(key) if isinstance(content, dict) else None for key in ("files", "gone"))
    if not isinstance(files, list) or not isinstance(gone, list) or not all(map(_is_below, [*files, *gone])):
        return None
    return Told(files, gone)


def _is_below(name: object) -> bool:
    return isinstance(name, str) and name != "" and not os.path.isabs(name) and ".." not in Path(name).parts


class _Version(NamedTuple):
    identity: tuple[int, int, int] | None
    moving: bool


def _version(folder: Path, name: str) -> _Version:
    """Which file of a name is there, and whether files are being moved or wait to be."""
    moving = os.path.lexists(folder / NEW)
    for _ in range(2):  # between the two steps it may be moved, once
        with suppress(OSError):
            told = os.stat(located(folder, name))
            return _Version((told.st_ino, told.st_mtime_ns, told.st_size), moving)
    return _Version(None, moving)


def _own_scratch(folder: Path) -> tuple[Path, int | None]:
    """A new folder within a folder, open and locked where that can be."""
    while True:
        random = secrets.token_hex(4)
        scratch = folder / f".ganaug-{random}{_check_of(random)}"
        try:
            os.mkdir(scratch)
        except FileExistsError:
            continue
        if sys.platform == "win32":
            return scratch, None
        with suppress(FileNotFoundError):  # swept away before it was locked
            descriptor = os.open(scratch, os.O_RDONLY)
            if lock_file(descriptor) is not False and os.path.isdir(scratch):
                return scratch, descriptor
            os.close(descriptor)


def _sweep(scratch: Path) -> None:
    """Remove a scratch folder that no process uses."""
    if sys.platform == "win32":
        return
    with suppress(FileNotFoundError):
        descriptor = os.open(scratch, os.O_RDONLY)
        if lock_file(descriptor):
            shutil.rmtree(scratch, ignore_errors=True)
        os.close(descriptor)


def _is_scratch(name: str) -> bool:
    """Whether a name is one that :func:`_own_scratch` gives, which nobody else does by chance."""
    found = SCRATCH.fullmatch(name)
    return found is not None and _check_of(found[1]) == found[2]


def _check_of(random: str) -> str:
    return hashlib.sha256(f"ganaug {random}".encode()).hexdigest()[:8]
