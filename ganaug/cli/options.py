"""Options, arguments and checks that several commands share."""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from ganaug.places import did_you_mean, exists, is_folder, kind_of
from ganaug.settings import FARTHEST
from ganaug.swaps import is_empty, tidy

PACK_HELP = "PACK is a bundled name (see `ganaug packs`), a folder, or a Hub id such as org/name."

WORDS = "ganaug.words"
"""Where a click context's ``meta`` keeps the words that were typed after ``ganaug``."""

MOST = 10_000_000
"""The largest count that is taken: more images or steps than that are a slip of the finger."""


class Whole(click.IntRange):
    """Whole numbers from ``least``, up to ``most``."""

    def __init__(self, least: int, most: int = MOST) -> None:
        super().__init__(min=least)
        self.most = most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if len(str(value)) > 50:  # of thousands of digits Python makes no number
            self.fail(f"{str(value)[:20]}... is more than {self.most}, or no number.", param, ctx)
        number: int = super().convert(value, param, ctx)
        if number > self.most:
            self.fail(f"{number} is more than {self.most}.", param, ctx)
        return number


class Number(click.FloatRange):
    """Finite numbers of a range."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not abs(number) <= FARTHEST:
            self.fail(f"{value!r} should be a finite number, at most {FARTHEST:g}.", param, ctx)
        return number


def _of_bundled(name: str) -> str:
    """What to do where a bundled pack's name stands and a folder is needed; nothing of another name."""
    from ganaug.packs import bundled_packs  # not needed for --help, and slow to import

    told = f"{name} comes with ganaug and stays as it is. Make a copy of your own: ganaug pull {name} my-{name}"
    return told if name in bundled_packs() else ""


class Place(click.Path):
    """A path; ``kind`` says what should lie there: "file", "folder", "pack's folder", "new folder", or "new file"."""

    def __init__(self, kind: str) -> None:
        super().__init__(path_type=Path)
        self.kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        text = str(value)
        if not text.strip():
            self.fail("the path is empty.", param, ctx)
        if self.kind in ("folder", "pack's folder") and not is_folder(text):
            if self.kind == "pack's folder" and (told := _of_bundled(text)):
                self.fail(told, param, ctx)
            if not exists(text):
                self.fail(f"there is no folder {text!r}.{did_you_mean(text)}", param, ctx)
            self.fail(f"{text} is {kind_of(Path(text))}, not a folder.", param, ctx)
        if self.kind == "file" and not exists(text):
            self.fail(f"there is no file {text!r}.{did_you_mean(text)}", param, ctx)
        if self.kind == "file" and is_folder(text):
            self.fail(f"{text} is {kind_of(Path(text))}, not a file.", param, ctx)
        if self.kind == "new folder" and exists(text) and not is_folder(text):
            self.fail(f"{text} is {kind_of(Path(text))}, not a folder.", param, ctx)
        if self.kind == "new file" and is_folder(text):
            self.fail(f"{text} is {kind_of(Path(text))}, not a file.", param, ctx)
        return Path(text)


COUNT = Whole(1)
FOLDER = Place("folder")
PACK_FOLDER = Place("pack's folder")
NEW_FOLDER = Place("new folder")
NEW_FILE = Place("new file")


def direction(word: str) -> str | int:
    """A direction's index where the word is a number, else its name."""
    if not word.strip():
        raise click.BadParameter("a direction is a name or an index, got an empty word.")
    return int(word) if word.isdecimal() and len(word) < 50 else word


def magnitude(text: str) -> str | float | tuple[float, float]:
    """``safe``, a number, or ``LOW,HIGH`` with LOW <= HIGH."""
    if text == "safe":
        return text
    try:
        numbers = [float(word) for word in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 2) or not all(map(math.isfinite, numbers)):
        raise click.BadParameter(f"should be safe, a number, or LOW,HIGH; got {text!r:.100}.")
    if max(map(abs, numbers)) > FARTHEST:
        raise click.BadParameter(f"should be within {-FARTHEST:g} to {FARTHEST:g}, in latent units; got {text!r:.100}.")
    if numbers[0] > numbers[-1]:
        raise click.BadParameter(f"LOW,HIGH should have low <= high; got {text!r}.")
    return numbers[0] if len(numbers) == 1 else (numbers[0], numbers[1])


def interval(text: str) -> tuple[float, float] | None:
    """``LOW,HIGH`` with LOW <= HIGH, or None of ``safe``."""
    given = magnitude(text)
    if isinstance(given, float):
        raise click.BadParameter(f"should be safe or LOW,HIGH; got {text!r}.")
    return None if isinstance(given, str) else given


def numbers(text: str) -> list[float]:
    """``NUMBER,...``: one finite number, or one for each channel."""
    try:
        found = [float(word) for word in text.split(",")]
    except ValueError:
        found = []
    if len(found) not in (1, 3) or not all(abs(number) <= FARTHEST for number in found):
        raise click.BadParameter(f"should be one number or three, for red, green and blue; got {text!r:.100}.")
    return found


def _one_or_several(ctx: click.Context, parameter: click.Parameter, chosen: Sequence[Any]) -> Any:
    chosen = all_different(ctx, parameter, chosen)
    return chosen[0] if len(chosen) == 1 else list(chosen)


def all_different(ctx: click.Context, parameter: click.Parameter, chosen: Sequence[Any]) -> Sequence[Any]:
    """Refuse a direction that is given twice."""
    if twice := [each for each in chosen if chosen.count(each) > 1]:
        raise click.BadParameter(f"{twice[0]!r} is given twice. Give each direction once.")
    return chosen


def _checked_device(ctx: click.Context, parameter: click.Parameter, name: str | None) -> str | None:
    import torch

    from ganaug.devices import default_device

    if name is not None:
        try:
            if torch.empty(0, device=default_device(name)).device.type == "meta":
                raise RuntimeError("it computes nothing")
        except (RuntimeError, AssertionError, ImportError, ValueError) as error:
            raise click.BadParameter(f"{name!r:.100} can't be used here: {str(error).splitlines()[0]}") from error
    return name


DEVICE = click.option(
    "--device", callback=_checked_device, help="cpu, cuda, cuda:1, ...; CUDA if there is one by default."
)
DTYPE = click.option(
    "--dtype",
    type=click.Choice(["auto", "float32", "bfloat16"]),
    default="auto",
    show_default=True,
    help="Of the networks; auto: bfloat16 where the machine has instructions for it.",
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
SEED = click.option("--seed", type=Whole(0, 2**32 - 1), default=0, show_default=True, help="Of all random draws.")
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
SIZE = click.option(
    "--size",
    type=click.Choice(["32", "64", "128"]),
    callback=lambda ctx, parameter, text: None if text is None else int(text),
    help="Pixels of a side.  [default: the largest of 32 and 64 that PHOTOS have]",
)
SETTINGS = click.argument("settings", nargs=-1, metavar="[KEY=VALUE]...")
WRITE = click.option("--write", is_flag=True, help="Write the figures into the pack's folder.")


def check_images(images: str, *, called: str = "--images") -> None:
    """Refuse images that are neither a folder nor ``NAME:FOLDER`` with a folder that is there."""
    name, colon, folder = images.partition(":")
    if is_folder(images) or (colon and name and is_folder(folder)):
        return
    sought = folder if colon and name and not exists(images) else images
    what = f"{sought} is {kind_of(Path(sought))}" if exists(sought) else f"there is no folder {sought!r}"
    near = "" if exists(sought) else did_you_mean(sought, wanted="a folder of images").lstrip()
    told = f"{what}. {near}".strip()
    raise click.ClickException(f"{called}: {told} Give a folder of images, or NAME:FOLDER.")


def check_empty(folder: Path) -> None:
    """Refuse a folder that holds anything; what a killed process of ganaug's left there goes first."""
    tidy(folder)
    if folder.exists() and not is_empty(folder):
        raise click.UsageError(f"{folder} is not empty. Choose another folder, so that nothing is overwritten.")


def check_holds_nothing(folder: Path) -> None:
    """Refuse a folder that holds a pack or a generator; what a killed process of ganaug's left there goes first."""
    tidy(folder)
    if (folder / "config.json").exists():
        raise click.ClickException(
            f"{folder} holds a pack or a generator already. Choose another folder, or delete it."
        )
    if (folder / "generator.safetensors").exists():
        raise click.ClickException(f"{folder} holds generator.safetensors already. Choose another folder.")


def check_written_to(pack: str) -> None:
    """Refuse ``--write`` for a pack that is no folder, or one that can't be written to."""
    if told := _of_bundled(pack):
        raise click.UsageError(f"--write changes a pack's folder, and {told}")
    if not is_folder(pack):
        raise click.UsageError(f"--write needs a pack's folder, and {pack!r} is none.{did_you_mean(pack)}")
    from ganaug.files import check_writable  # not needed for --help, and slow to import

    check_writable(Path(pack))


def judges_beside(pack: str) -> Path | None:
    """Where judges of a pack are kept: in its folder, if it is one of the user's own that can be written to."""
    from ganaug.packs.hub import bundled_packs, loadable  # not needed for --help, and slow to import

    if pack in bundled_packs() or not is_folder(pack) or loadable(pack) in bundled_packs():
        return None
    return Path(pack) if os.access(pack, os.W_OK) else None


def as_typed(ctx: click.Context, *, images: str | None = None) -> str:
    """The command that was typed, to be kept beside its figures; the images' folder is called DATA."""
    words = [word for word in ctx.meta[WORDS] if word != "--write"]
    if images is not None:
        name, colon, _ = images.rpartition(":")
        words = [word.replace(images, f"{name}{colon}DATA") for word in words]
    return shlex.join(["ganaug", *words])
