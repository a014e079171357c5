"""``ganaug train``: discover directions of a generator."""

from __future__ import annotations

import shlex
import textwrap
from pathlib import Path

import click

from ganaug.cli.options import DEVICE, NEW_FOLDER
from ganaug.errors import SettingsError
from ganaug.settings import settings_help
from ganaug.training import (
    METHODS,
    DiscoverySettings,
    Recipe,
    discovery_words,
    make_pack,
    plan,
    read_recipe,
    recipe_for_generator,
)

HELP = """Discover directions of a generator and write them as a pack.

Give a RECIPE (a TOML file; those of the bundled packs lie in training/ of the repository), or --generator. KEY=VALUE
overrides a setting. The settings of method=reconstructor, which is the default, with theirs:

\b
{settings}

Other methods, and what they take; `ganaug evaluate PACK --rca` judges all alike:

\b
{others}

The progress bar shows the loss and RCA, the share of pairs whose direction the reconstructor names; both go to
metrics.jsonl. Ctrl-C leaves a checkpoint, and --resume goes on from it as if nothing had happened. On several GPUs
or processes: torchrun --nproc-per-node N -m ganaug train ...; each takes its share of every batch.
"""


def _help() -> str:
    """:data:`HELP` with the settings of all methods."""
    others = [
        " ".join([f"method={name}", *(f"{key}={value}" for key, value in method.settings().to_dict().items())])
        for name, method in METHODS.items()
        if name != "reconstructor"
    ]
    wrapped = [textwrap.fill(other, 100, subsequent_indent="    ") for other in others]
    return HELP.format(settings=settings_help(DiscoverySettings), others="\n".join(wrapped))


@click.command(help=_help(), epilog="Example: ganaug train --generator digits --out runs/mine steps=2000 seed=1")
@click.argument("words", nargs=-1, metavar="[RECIPE] [KEY=VALUE]...")
@click.option(
    "--generator", help="Instead of a RECIPE: a generator's folder, a pack, or a Hub id; every word is a KEY=VALUE."
)
@click.option("--out", type=NEW_FOLDER, required=True, help="Folder for the pack, metrics and checkpoint.")
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in --out.")
@click.option("--dry-run", is_flag=True, help="Print parameters, time and memory of the run, and write nothing.")
@click.option("--tensorboard", is_flag=True, help="Also write TensorBoard event files, into OUT/tensorboard.")
@DEVICE
def train(
    words: tuple[str, ...],
    generator: str | None,
    out: Path,
    resume: bool,
    dry_run: bool,
    tensorboard: bool,
    device: str | None,
) -> None:
    recipe = _recipe(words, generator, out)
    if dry_run:
        if recipe.method != "reconstructor":
            raise SettingsError("--dry-run is for method=reconstructor; the others take seconds to minutes.")
        click.echo("\n".join(plan(recipe.load_generator(), device=device, **recipe.settings.to_dict())))
        return
    what = words[:1] if generator is None else ("--generator", generator)
    settings = words[1:] if generator is None else words
    command = shlex.join(["ganaug", "train", *what, "--out", str(out), *settings])
    pack = make_pack(recipe, out, resume=resume, device=device, tensorboard=tensorboard, command=command)
    if pack is None:  # another process of torchrun's writes it
        return
    if "rca" in pack.scores:
        guessing = 1 / pack.num_directions
        click.echo(f"RCA on 10,000 fresh pairs: {pack.scores['rca']:.4f} (guessing: {guessing:.4f})")
    if told := discovery_words(pack):
        click.echo("\n".join([*told, f"{out} holds the pack all the same: ganaug show {out}"]))
        return
    click.echo(f"{out} holds the pack. Look through it: ganaug show {out}")


def _recipe(words: tuple[str, ...], generator: str | None, out: Path) -> Recipe:
    """What the words ask for: with a generator all are settings, without one the first is a recipe."""
    if generator is None:
        if not words:
            raise SettingsError("give a RECIPE (a TOML file) or --generator.")
        return read_recipe(words[0], words[1:])
    if strangers := [word for word in words if "=" not in word]:
        raise SettingsError(
            f"with --generator every word is a KEY=VALUE, and {strangers[0]!r} is none. To train a recipe's directions "
            "in another generator, give the recipe and generator=..."
        )
    return recipe_for_generator(generator, name=out.name, words=words)
