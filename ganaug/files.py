"""Files that are whole or not there: JSON and safetensors, written beside, then renamed."""

from __future__ import annotations

import json
import os
import pickle
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from ganaug.errors import FileError
from ganaug.locks import replacing

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
        raise FileError(f"{path} can't be written: {error.strerror or error}.") from error


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
        named = folder.resolve() if folder == Path() else folder
        raise FileError(f"{named} can't be written to ({error.strerror}).") from error


def check_can_be_made(path: Path) -> None:
    """:class:`FileError` if a file or folder can't be made: what is above it is no folder, or can't be written to."""
    above = next((each for each in path.parents if os.path.lexists(each)), path.parent)
    if not os.path.isdir(above):
        raise FileError(f"{path} can't be made: {above} is no folder.")
    check_writable(above)
