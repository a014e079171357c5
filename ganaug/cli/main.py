"""The command line: a table of commands, each a module that is imported only when the command is called."""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import Any, NamedTuple, TextIO

import click
from PIL import UnidentifiedImageError

from ganaug.cli.options import WORDS
from ganaug.errors import UserError, printable

NOTHING = "nothing half-written is left."


class Entry(NamedTuple):
    """Where a command lies, its line in ``ganaug --help``, and what Ctrl-C leaves; the module holds a function of its
    own last name."""

    module: str
    help: str
    stopped: str = NOTHING


GOES_ON = "the same command goes on from here."


RESUMES = "go on with --resume, if OUT holds a checkpoint."


COMMANDS = {
    "demo": Entry("ganaug.cli.demo", "See the whole job on bundled digits in a few minutes."),
    "build": Entry("ganaug.cli.build", "From a folder of photographs to a pack.", GOES_ON),
    "train": Entry("ganaug.cli.train", "Discover directions of a generator; write a pack."),
    "train-generator": Entry(
        "ganaug.cli.train_generator", "Train a generator on a folder of images, to begin with.", RESUMES
    ),
    "train-encoder": Entry("ganaug.cli.train_encoder", "Train a pack's encoder, so that it changes real images."),
    "show": Entry("ganaug.cli.show", "Write an HTML page to look through a pack."),
    "name": Entry("ganaug.cli.name", "Name the directions you recognise."),
    "describe": Entry("ganaug.cli.describe", "Print what changes along each named direction."),
    "evaluate": Entry("ganaug.cli.evaluate", "Measure directions with judges trained on real images."),
    "convert": Entry("ganaug.cli.convert", "Make a generator or pack of a foreign checkpoint."),
    "check": Entry("ganaug.cli.check", "Say what a folder of images holds, and what is damaged."),
    "bank": Entry("ganaug.cli.bank", "Draw shifted images beforehand, for jobs short of CPU.", GOES_ON),
    "invert": Entry("ganaug.cli.invert", "Find and store the latents of a folder of images."),
    "augment": Entry("ganaug.cli.augment", "Augment a folder of images on disk.", GOES_ON),
    "packs": Entry("ganaug.cli.packs", "List the packs that come with ganaug."),
    "push": Entry("ganaug.cli.push", "Upload a pack to the Hub."),
    "pull": Entry("ganaug.cli.pull", "Download a pack from the Hub."),
}


NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")
"""What PyTorch says where a number asked for more than there is."""


class Commands(click.Group):
    """The commands of :data:`COMMANDS`; errors that are the user's to mend are one message, without a traceback."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = COMMANDS[cmd_name].module
        command: click.Command = getattr(import_module(module), module.rpartition(".")[2])
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in COMMANDS.items()])

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[WORDS] = tuple(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _show_warning
                return super().invoke(ctx)
        except KeyboardInterrupt:
            begun = COMMANDS.get(ctx.invoked_subcommand or "")
            click.echo(f"\nStopped; {begun.stopped if begun else NOTHING}", err=True)
            ctx.exit(130)
        except (UserError, UnidentifiedImageError) as error:
            raise click.ClickException(printable(str(error))) from error
        except OSError as error:
            told = f"{error.filename}: {error.strerror}." if error.filename and error.strerror else str(error)
            raise click.ClickException(printable(told)) from error
        except (MemoryError, RuntimeError) as error:
            if not isinstance(error, MemoryError) and not any(word in str(error).lower() for word in NO_MEMORY):
                raise
            told = " ".join(str(error).split())
            told = printable(f"there is not enough memory for that; ask for less at once. {told}")
            raise click.ClickException(told) from error


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """In place of ``warnings.showwarning``: for the person who typed the command, without the line of code."""
    click.echo(printable(f"Warning: {message}"), err=True)


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Start here: `ganaug demo` shows the whole job in a few minutes. "
    "Then `ganaug packs`, `ganaug show digits`, and `ganaug train --help`.",
)
@click.version_option(package_name="ganaug")
def main() -> None:
    """Discover what a generator can change, look through it, name it, share it, and augment with it."""
