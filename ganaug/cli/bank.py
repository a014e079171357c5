"""``ganaug bank``: shifted images, drawn beforehand."""

from __future__ import annotations

from pathlib import Path

import click

from ganaug.cli.options import COUNT, DEVICE, DIRECTION, DTYPE, MAGNITUDE, NEW_FILE, PACK_HELP, SEED
from ganaug.errors import counted
from ganaug.transforms import LatentBank


@click.command(epilog=f"{PACK_HELP}\n\nExample: ganaug bank digits bank.safetensors --direction background")
@click.argument("pack")
@click.argument("out", type=NEW_FILE)
@DIRECTION
@click.option("--size", type=COUNT, default=20_000, show_default=True, help="Images, the same number of each class.")
@MAGNITUDE
@SEED
@DTYPE
@DEVICE
def bank(
    pack: str,
    out: Path,
    direction: str | int | list[str | int],
    size: int,
    magnitude: str | float | tuple[float, float],
    seed: int,
    dtype: str,
    device: str | None,
) -> None:
    """Draw shifted images of a PACK into one file, from which `LatentShift(bank=OUT)` serves.

    Interrupted, it goes on when called again with the same arguments.
    """
    built = LatentBank.build(
        pack, direction, size, out, magnitude=magnitude, seed=seed, dtype=dtype, device=device, share=True
    )
    click.echo(f"{counted(len(built), 'image')} in {out}, {out.stat().st_size / 2**20:.0f} MiB")
