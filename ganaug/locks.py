"""Files that are written beside others and then renamed, and locks between processes.

What ganaug writes beside a file lies in its folder as ``.ganaug-HASH.part``, its lock as ``.ganaug-HASH.lock``, where
HASH is of the file's name. Who uses one holds its lock (``flock``), so that what a killed process left is known as such
and taken over by the next process that writes the same file.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ganaug.errors import FileError

if sys.platform != "win32":
    import fcntl

NO_LINKS = getattr(os, "O_NOFOLLOW", 0)
SCRATCH = re.compile(r"\.ganaug-[0-9a-f]{16}(-[0-9]+)?\.(part|lock)")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write beside ``path``; renamed to it at the end, removed if that is not reached.

    It is this process's alone: another that writes the same file at the same time gets another one, and the last to end
    counts. What a killed process left is written over.
    """
    scratch, descriptor = _own_scratch(path)
    try:
        if sys.platform == "win32":  # which renames no open file
            os.close(descriptor)
        yield scratch
        os.replace(scratch, path)
    except BaseException:
        with suppress(OSError):  # the error that matters is the one that led here
            scratch.unlink()
        raise
    finally:
        if sys.platform != "win32":
            os.close(descriptor)


@contextmanager
def alone(path: Path, *, wait: bool = False) -> Iterator[None]:
    """While the block runs, no other process is in such a block for the same path; where files have locks, that is.

    Args:
        path: of a file or folder that need not be there; the folder above it must.
        wait: for the other process to end, instead of refusing.

    Raises:
        FileError: another process is in the block, or the folder can't be written to.
    """
    lock = _scratch(path, "lock")
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | NO_LINKS, 0o666)
        while (held := lock_file(descriptor, wait=wait)) and not _is_at(descriptor, lock):
            os.close(descriptor)  # it was taken away by the process that had it
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | NO_LINKS, 0o666)
    except OSError as error:
        raise FileError(f"{path.parent} can't be written to ({error.strerror}).") from error
    if held is False:
        os.close(descriptor)
        raise FileError(f"another process is writing {path} right now. Wait for it to end, or choose another place.")
    try:
        if sys.platform == "win32":
            os.close(descriptor)
        yield
    finally:
        with suppress(OSError):
            lock.unlink()
        if sys.platform != "win32":
            os.close(descriptor)


def lock_file(descriptor: int, *, wait: bool = False) -> bool | None:
    """Lock an open file or folder until it is closed: whether that was done; None where nothing can be locked."""
    if sys.platform == "win32":
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # some network file systems
        return None
    return True


def is_scratch(name: str) -> bool:
    """Whether a file's name is one that :func:`replacing` and :func:`alone` give, and nobody else."""
    return SCRATCH.fullmatch(name) is not None


def _scratch(path: Path, ending: str, number: int = 1) -> Path:
    digest = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]
    return path.with_name(f".ganaug-{digest}{'' if number == 1 else f'-{number}'}.{ending}")


def _own_scratch(path: Path) -> tuple[Path, int]:
    """The first scratch file of a path that no other process uses, empty, open and locked."""
    number = 1
    while True:
        scratch, fresh = _scratch(path, "part", number), True
        try:
            descriptor = os.open(scratch, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            fresh = False
            try:
                descriptor = os.open(scratch, os.O_RDWR | NO_LINKS)
            except FileNotFoundError:
                continue
            except OSError:  # somebody else's, or no file
                number += 1
                continue
        locked = lock_file(descriptor)
        if locked and not _is_at(descriptor, scratch):
            os.close(descriptor)  # it was renamed meanwhile
        elif locked or (fresh and locked is None):
            os.ftruncate(descriptor, 0)
            return scratch, descriptor
        else:
            os.close(descriptor)
            number += 1


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file is the one that lies at a path."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False
