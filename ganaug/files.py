"""Files that are whole or not there: JSON and safetensors, written beside, then renamed."""

from __future__ import annotations

import json
import os
import pickle
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


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """The path ``NAME.part`` to write beside ``path``; renamed to it at the end, removed if that is not reached.

    It is ``NAME.part2`` and so on where somebody else's file has that name.
    """
    scratch, count = path.with_name(path.name + ".part"), 1
    while os.path.lexists(scratch):
        count += 1
        scratch = path.with_name(f"{path.name}.part{count}")
    try:
        yield scratch
        os.replace(scratch, path)
    except BaseException:
        with suppress(OSError):  # the error that matters is the one that led here
            scratch.unlink()
        raise


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
        found = json.loads(content.decode("utf-8"), parse_constant=_refuse_constant, object_pairs_hook=_all_once)
    except (ValueError, RecursionError) as error:
        raise FileError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(found, dict):
        raise FileError(f"{path} should hold a JSON object, found {type(found).__name__}.")
    return found


def _all_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r:.80} stands there twice")
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
    write_bytes(path, save(whole, None if metadata is None else dict(metadata)))


def check_writable(folder: Path) -> None:
    """Make a folder unless it is there; :class:`FileError` if that can't be done, or no file be written in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()  # a file of its own for each process that looks
    except OSError as error:
        raise FileError(f"{folder} can't be written to ({error.strerror}).") from error
