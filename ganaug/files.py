"""Files that are whole or not there: JSON and safetensors, written beside, then renamed."""

from __future__ import annotations

import json
import math
import os
import pickle
import stat
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from safetensors import SafetensorError

from ganaug.errors import FileError
from ganaug.locks import replacing

if TYPE_CHECKING:
    from torch import Tensor

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


THREADS = min(8, os.cpu_count() or 1)

T = TypeVar("T")
S = TypeVar("S")

MOST_JSON = 16 * 2**20
"""Bytes of a JSON or TOML file; parsed, they take up to 25 times as much memory. ganaug's own have some kilobytes."""

DEEPEST_JSON = 50
"""How many lists and objects of JSON may lie within each other: each of Python's ways through them is recursive."""

MOST_DIGITS = 30
"""Of an integer: more are no count, and do not fit where Python expects a float."""

MOST_NAMED = 8 * 2**20
"""Bytes of a safetensors file's header, which tells names and shapes: some 80 000 tensors."""

KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


def check_regular(path: Path, *, most: int | None = None) -> int:
    """The size of a file in bytes; reading what is no regular file may wait, or go on, for ever.

    Args:
        most: bytes that such a file may have.

    Raises:
        FileError: it is missing, a folder, a pipe or a device, or too large.
    """
    try:
        found = path.stat()
    except FileNotFoundError as error:
        raise FileError(f"{path} is missing.") from error
    except (OSError, ValueError) as error:  # ValueError: a zero byte in a path
        raise FileError(f"{path} can't be read: {error}") from error
    if not stat.S_ISREG(found.st_mode):
        kind = next((kind for is_kind, kind in KINDS if is_kind(found.st_mode)), "of a kind of its own")
        raise FileError(f"{path} is {kind}, expected a regular file.")
    if most is not None and found.st_size > most:
        raise FileError(f"{path} has {found.st_size:,} bytes, and such a file has {most:,} at most.")
    return found.st_size


def read_bytes(path: Path, *, most: int | None = None) -> bytes:
    """What a regular file of at most ``most`` bytes holds.

    Raises:
        FileError: it is missing, no regular file, too large, or can't be read.
    """
    check_regular(path, most=most)
    try:
        return path.read_bytes()
    except MemoryError as error:
        raise FileError(f"{path} is larger than the memory that is left.") from error
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
    """Read one JSON object that could be written again as it is.

    Raises:
        FileError: there is no such file, or one of more than 16 MB; or it holds something else, deeper than 50 levels,
            numbers that are none, or halves of characters.
    """
    content = read_bytes(path, most=MOST_JSON)
    try:
        found = parse_json(content.decode("utf-8"))
    except ValueError as error:
        raise FileError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(found, dict):
        raise FileError(f"{path} should hold a JSON object, found {type(found).__name__}.")
    return found


def _all_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        key, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise ValueError(f"the key {key!r:.80} stands there twice")
    return found


def parse_json(text: str) -> Any:
    """What a text of JSON holds, if it could be written again as it is; :class:`ValueError` otherwise."""
    try:
        found = json.loads(
            text,
            parse_constant=_refuse_constant,
            parse_float=_finite,
            parse_int=_short,
            object_pairs_hook=_all_once,
        )
        check_depth(found)
        json.dumps(found, ensure_ascii=False).encode()
    except RecursionError as error:
        raise ValueError(f"its lists and objects are nested deeper than {DEEPEST_JSON} levels") from error
    except UnicodeEncodeError as error:
        raise ValueError(f"{error.object[error.start]!r} is half a character") from error
    return found


def check_depth(found: Any) -> None:
    """:class:`ValueError` if lists and objects lie within each other deeper than :data:`DEEPEST_JSON`."""
    level: list[Any] = [found]
    for _ in range(DEEPEST_JSON):
        level = [each for holder in level for each in _parts(holder) if isinstance(each, (dict, list))]
    if level:
        raise ValueError(f"its lists and objects are nested deeper than {DEEPEST_JSON} levels")


def _parts(holder: Any) -> Iterable[Any]:
    return holder.values() if isinstance(holder, dict) else holder if isinstance(holder, list) else ()


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"JSON has no {constant}")


def _short(number: str) -> int:
    if len(number) > MOST_DIGITS:
        raise ValueError(f"it has an integer of {len(number)} digits")
    return int(number)


def _finite(number: str) -> float:
    if not math.isfinite(value := float(number)):
        raise ValueError(f"{number:.40} is larger than a number can be")
    return value


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
    from safetensors.torch import load  # here, since the list of commands needs no torch

    if int.from_bytes(content[:8], "little") > MOST_NAMED:
        raise FileError(f"{path} is not a whole safetensors file (its header has more than {MOST_NAMED:,} bytes).")
    try:
        return load(content)
    except KeyError as error:
        raise FileError(f"{path} holds tensors of type {error.args[0]}, which PyTorch does not have.") from error
    except (SafetensorError, OverflowError, RuntimeError, TypeError, ValueError) as error:
        raise FileError(f"{path} is not a whole safetensors file ({error}).") from error


def write_safetensors(path: Path, tensors: Mapping[str, Tensor], *, metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors, and texts by name, to one safetensors file, beside it first, then renamed.

    Raises:
        FileError: the file can't be written.
    """
    from safetensors.torch import save

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


def in_threads(function: Callable[[S], T], items: Iterable[S], *, ahead: int = 4 * THREADS) -> Iterator[T]:
    """``map`` in threads, in order; for decoding, which lets other threads run. Errors come where they belong.

    Args:
        ahead: items that are worked on, or done, before they are asked for.
    """
    with ThreadPoolExecutor(THREADS) as pool:
        waiting = []
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > ahead:  # so that what is read waits for whoever takes it
                yield waiting.pop(0).result()
        for each in waiting:
            yield each.result()
