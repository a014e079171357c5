"""Options, arguments and checks that several commands share."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

PACK_HELP = "PACK is a bundled name (see `ganaug packs`), a folder, or a Hub id such as org/name."

WORDS = "ganaug.words"
"""Where a click context's ``meta`` keeps the words that were typed after ``ganaug``."""

COUNT = click.IntRange(min=1)
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
NEW_FOLDER = click.Path(file_okay=False, path_type=Path)


def direction(word: str) -> str | int:
    """A direction's index where the word is a number, else its name."""
    return int(word) if word.isdecimal() else word


def magnitude(text: str) -> str | float | tuple[float, float]:
    """``safe``, a number, or ``LOW,HIGH`` with LOW <= HIGH."""
    if text == "safe":
        return text
    try:
        numbers = [float(word) for word in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 2) or not all(map(math.isfinite, numbers)):
        raise click.BadParameter(f"should be safe, a number, or LOW,HIGH; got {text!r}.")
    if numbers[0] > numbers[-1]:
        raise click.BadParameter(f"LOW,HIGH should have low <= high; got {text!r}.")
    return numbers[0] if len(numbers) == 1 else (numbers[0], numbers[1])


def interval(text: str) -> tuple[float, float] | None:
    """``LOW,HIGH`` with LOW <= HIGH, or None of ``safe``."""
    given = magnitude(text)
    if isinstance(given, float):
        raise click.BadParameter(f"should be safe or LOW,HIGH; got {text!r}.")
    return None if isinstance(given, str) else given


def _one_or_several(ctx: click.Context, parameter: click.Parameter, chosen: Sequence[Any]) -> Any:
    return chosen[0] if len(chosen) == 1 else list(chosen)


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
DIRECTION = click.option(
    "--direction",
    required=True,
    multiple=True,
    type=direction,
    callback=_one_or_several,
    help="A name, an index, or any; repeatable.",
)
MAGNITUDE = click.option(
    "--magnitude", type=magnitude, default="safe", show_default=True, help="safe, a number, or LOW,HIGH."
)
SEED = click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of all random draws.")
CLASSES = click.option(
    "--classes",
    callback=lambda ctx, parameter, text: text if text is None else [name.strip() for name in text.split(",") if name],
    help="What the generator's classes are called in IMAGES, in its order: NAME,NAME,...; an empty text lets the "
    "encoder read them.  [default: the generator's own names]",
)
ON_ERROR = click.option(
    "--on-error",
    type=click.Choice(["fail", "skip"]),
    default="fail",
    show_default=True,
    help="Damaged images: refuse the folder before anything is done, or leave them out, named.",
)
CHECK_DOMAIN = click.option(
    "--check-domain/--no-check-domain",
    default=True,
    help="Refuse images of another kind than the pack's.  [default: on]",
)
SETTINGS = click.argument("settings", nargs=-1, metavar="[KEY=VALUE]...")
WRITE = click.option("--write", is_flag=True, help="Write the figures into the pack's folder.")


def check_empty(folder: Path) -> None:
    """Refuse a folder that holds anything."""
    if folder.exists() and any(folder.iterdir()):
        raise click.UsageError(f"{folder} is not empty. Choose another folder, so that nothing is overwritten.")


def check_holds_nothing(folder: Path) -> None:
    """Refuse a folder that holds a pack or a generator."""
    if (folder / "config.json").exists():
        raise click.ClickException(
            f"{folder} holds a pack or a generator already. Choose another folder, or delete it."
        )


def check_written_to(pack: str) -> None:
    """Refuse ``--write`` for a pack that is no folder."""
    if not Path(pack).is_dir():
        raise click.UsageError(f"--write needs a pack's folder, and {pack!r} is none.")


def as_typed(ctx: click.Context, *, images: str | None = None) -> str:
    """The command that was typed, to be kept beside its figures; the images' folder is called DATA."""
    words = [word for word in ctx.meta[WORDS] if word != "--write"]
    if images is not None:
        name, colon, _ = images.rpartition(":")
        words = [word.replace(images, f"{name}{colon}DATA") for word in words]
    return shlex.join(["ganaug", *words])
