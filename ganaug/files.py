"""Files that are whole or not there: JSON and safetensors, written beside, then renamed; and locks between processes.

What ganaug writes beside a file lies in its folder as ``.ganaug-HASH.part``, its lock as ``.ganaug-HASH.lock``, where
HASH is of the file's name. Who uses one holds its lock (``flock``), so that what a killed process left is known as such
and taken over by the next process that writes the same file.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import re
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from ganaug.errors import FileError

if sys.platform != "win32":
    import fcntl

# What torch.load(weights_only=True) raises on files that are damaged, or hold more than tensors and plain containers.
UNREADABLE = (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)


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


def read_bytes(path: Path) -> bytes:
    """What a file holds; :class:`FileError` if it is missing or can't be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise FileError(f"{path} is missing.") from error
    except OSError as error:
        raise FileError(f"{path} can't be read: {error}") from error


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file beside ``path`` first, then rename it; :class:`FileError` if that can't be done."""
    try:
        with replacing(path) as scratch:
            scratch.write_bytes(content)
    except OSError as error:
        raise FileError(f"{path} can't be written: {error}") from error


def read_json(path: Path) -> dict[str, Any]:
    """Read one JSON object; :class:`FileError` names the file when there is none or it holds something else."""
    content = read_bytes(path)
    try:
        found = json.loads(content.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise FileError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(found, dict):
        raise FileError(f"{path} should hold a JSON object, found {type(found).__name__}.")
    return found


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"JSON has no {constant}")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write one JSON object, beside it first, then renamed.

    Raises:
        FileError: the file can't be written.
        ValueError, TypeError: ``content`` has what JSON can't hold, NaN and infinity included.
    """
    write_bytes(path, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors of one safetensors file, on the CPU; :class:`FileError` if it is missing or damaged.

    They are copies: whoever writes into the file later does not change them.
    """
    return tensors_of(read_bytes(path), path)


def tensors_of(content: bytes, path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file whose bytes were read; :class:`FileError` names ``path`` if it is damaged."""
    try:
        return load(content)
    except SafetensorError as error:
        raise FileError(f"{path} is not a whole safetensors file ({error}).") from error


def write_safetensors(path: Path, tensors: Mapping[str, Tensor], *, metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors, and texts by name, to one safetensors file, beside it first, then renamed.

    Raises:
        FileError: the file can't be written.
    """
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    content = save(whole, None if metadata is None else dict(metadata))
    write_bytes(path, content if metadata is None else _in_order(content))


def _in_order(content: bytes) -> bytes:
    """A safetensors file with its metadata in order of name, which the library leaves to chance."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[end:]


def check_writable(folder: Path) -> None:
    """Make a folder unless it is there; :class:`FileError` if that can't be done, or no file be written in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:  # one of its own for each process that looks
            file.write(bytes(4096))
    except OSError as error:
        raise FileError(f"{folder} can't be written to ({error.strerror}).") from error


def check_can_be_made(path: Path) -> None:
    """:class:`FileError` if a file or folder can't be made: what is above it is no folder, or can't be written to."""
    above = next((each for each in path.parents if os.path.lexists(each)), path.parent)
    if not os.path.isdir(above):
        raise FileError(f"{path} can't be made: {above} is no folder.")
    check_writable(above)
