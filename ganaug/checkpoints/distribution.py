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


@own_defaults
def generator_from_distribution(*, distribution: str, version: str, path: str, file_sha256: str) -> Generator:
    """Convert a checkpoint that an installed distribution carries.

    Args:
        distribution: its name on the package index, as in ``"gan-face-generate"``.
        version: the version whose file this is.
        path: of the checkpoint, relative to the place where distributions are installed.
        file_sha256: of the checkpoint.

    Raises:
        GeneratorError: the distribution is not installed (the message says how), or its file is another one.
    """
    # The message below is a command that people paste into a shell.
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", distribution) or not re.fullmatch(r"[A-Za-z0-9.!+_-]+", version):
        raise GeneratorError(f"{distribution!r} {version!r} is not the name and version of a Python distribution.")
    remedy = f'Install it without its own dependencies: pip install --no-deps "{distribution}=={version}"'
    try:
        installed = metadata.distribution(distribution)
    except metadata.PackageNotFoundError as error:
        raise GeneratorError(
            f"the generator lies in the Python distribution {distribution}, which is missing. {remedy}"
        ) from error
    if Path(path).is_absolute() or ".." in Path(path).parts:
        raise GeneratorError(f"the path of a distribution's file should lie inside it, got {path!r}.")
    file = Path(str(installed.locate_file(path)))
    if not file.is_file():
        raise GeneratorError(f"{distribution} {installed.version} has no {path}; version {version} has. {remedy}")
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    if found != file_sha256:
        raise GeneratorError(
            f"{path} of {distribution} {installed.version} has SHA-256 {found}, expected {file_sha256} "
            f"(version {version}). {remedy}"
        )
    return convert_checkpoint(file)
