"""Folders whose files ganaug may write again: a mark says which are its own, and only these are ever replaced."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ganaug.errors import FileError
from ganaug.files import read_json, write_json
from ganaug.swaps import located, put_in_place, scratch_folder, writing_alone

MARK = ".ganaug"
"""The file, in a folder that ganaug wrote into, that names what it wrote, each with its SHA-256."""


@contextmanager
def folder_made(folder: Path) -> Iterator[None]:
    """Make a folder, and those above it that lack; whatever of these is empty goes again if the block fails.

    Raises:
        FileError: it can't be made, or a file is in the way.
    """
    made: list[Path] = []
    try:
        for each in (*reversed(folder.parents), folder):
            if not os.path.isdir(each):
                each.mkdir()
                made.append(each)
    except OSError as error:
        _take_away(made)
        raise FileError(f"{folder} can't be made: {error.strerror} ({error.filename}).") from error
    try:
        yield
    except BaseException:
        _take_away(made)
        raise


def check_ours(folder: Path, names: Iterable[str]) -> None:
    """Refuse to write files into a folder where one of them is there already and not as ganaug wrote it.

    Args:
        names: of the files that will be written, as ``"pack/config.json"``.

    Raises:
        FileError: such a file is there; it is named. Or the folder is a file.
    """
    if os.path.lexists(folder) and not os.path.isdir(folder):
        raise FileError(f"{folder} is a file. Choose another name for the folder.")
    known = _read_mark(folder)
    for name in names:
        path = located(folder, name)
        parent = (folder / name).parent
        ours = parent == folder or any((folder / own).parent == parent for own in known)
        foreign = not ours and os.path.lexists(parent)
        if foreign or (os.path.lexists(path) and known.get(name) != _sha256(path)):
            was = "was changed since ganaug wrote it" if name in known else "was not written by this command"
            raise FileError(
                f"{parent if foreign else path} is there already and {was}; nothing is overwritten. Choose another "
                "folder with --out, or move it away."
            )


@contextmanager
def writing_into(folder: Path, names: Iterable[str]) -> Iterator[Path]:
    """A scratch folder, whose files are moved into ``folder`` at the end and marked there; none are if that fails.

    Files that an earlier call wrote are replaced, or go if they are not written again, as long as nobody changed them.

    Args:
        names: of files that will be written; more may come.

    Raises:
        FileError: see :func:`check_ours`; or the folder can't be written to.
    """
    check_ours(folder, names)
    with folder_made(folder), scratch_folder(folder) as scratch:
        yield scratch
        written = sorted(file.relative_to(scratch).as_posix() for file in scratch.rglob("*") if file.is_file())
        with writing_alone(folder):
            check_ours(folder, written)
            hashes = {name: _sha256(scratch / name) for name in written}
            earlier = {name: sha256 for name, sha256 in _read_mark(folder).items() if name not in hashes}
            write_json(scratch / MARK, {"written by ganaug": hashes})
            put_in_place(scratch, folder, gone=[name for name in earlier if earlier[name] == _sha256(folder / name)])


def _read_mark(folder: Path) -> dict[str, str]:
    """What ganaug wrote into a folder: name to SHA-256; nothing where there is no mark of ours."""
    try:
        written = read_json(located(folder, MARK)).get("written by ganaug")
    except FileError:
        return {}
    names = written if isinstance(written, dict) else {}
    return {
        str(name): str(sha256)
        for name, sha256 in names.items()
        if not Path(name).is_absolute() and ".." not in Path(name).parts
    }


def _sha256(path: Path) -> str:
    """Of a plain file; nothing for what is none, which is never ours."""
    if path.is_symlink() or not path.is_file():
        return ""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _take_away(made: list[Path]) -> None:
    for each in reversed(made):
        with suppress(OSError):  # it holds something by now
            each.rmdir()
