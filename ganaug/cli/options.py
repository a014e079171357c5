"""Options, arguments and checks that several commands share."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from ganaug.errors import DiscoveryError

PACK_HELP = "PACK is a bundled name (see `ganaug packs`), a folder, or a Hub id such as org/name."

COUNT = click.IntRange(min=1)


def _checked_device(ctx: click.Context, parameter: click.Parameter, name: str | None) -> str | None:
    import torch

    if name is not None:
        try:
            torch.empty(0, device=name)
        except (RuntimeError, AssertionError) as error:
            raise click.BadParameter(f"{name!r} can't be used here: {str(error).splitlines()[0]}") from error
    return name


DEVICE = click.option(
    "--device", callback=_checked_device, help="cpu, cuda, cuda:1, ...; CUDA if there is one by default."
)


def check_empty(out: Path) -> None:
    """Refuse a folder that holds anything."""
    if out.exists() and any(out.iterdir()):
        raise click.UsageError(f"{out} is not empty. Choose another folder, so that nothing is overwritten.")


def check_holds_nothing(out: Path) -> None:
    """Refuse a folder that holds a pack or a generator."""
    if (out / "config.json").exists():
        raise click.ClickException(f"{out} holds a pack or a generator already. Choose another folder, or delete it.")


def check_free(out: Path) -> None:
    """Refuse a folder that can't be written to, or that holds a pack or a generator, before anything long runs."""
    check_holds_nothing(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=out).close()  # a file of its own for each process that looks
    except OSError as error:
        raise DiscoveryError(f"{out} can't be written to ({error.strerror}). Choose another --out.") from error


def direction_word(word: str) -> str | int:
    """A direction's index where the word is a number, else its name."""
    return int(word) if word.isdigit() else word


def magnitude_of(text: str) -> str | float | tuple[float, float]:
    """``safe``, a number, or ``LOW,HIGH``."""
    if text == "safe":
        return text
    try:
        numbers = [float(word) for word in text.split(",")]
    except ValueError as error:
        raise click.UsageError(f"--magnitude should be safe, a number, or LOW,HIGH; got {text!r}.") from error
    if len(numbers) == 1:
        return numbers[0]
    if len(numbers) == 2:
        return numbers[0], numbers[1]
    raise click.UsageError(f"--magnitude should be safe, a number, or LOW,HIGH; got {text!r}.")
