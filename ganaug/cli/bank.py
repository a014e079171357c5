"""``ganaug bank``: shifted images beforehand."""

from __future__ import annotations

from pathlib import Path

import click

from ganaug import transforms
from ganaug.cli.options import (
    COUNT,
    DEVICE,
    PACK_HELP,
    direction_word,
    magnitude_of,
)
from ganaug.packs import DirectionPack


@click.command(
    epilog=f"{PACK_HELP} Example: ganaug bank digits bank.safetensors --direction background --size 20000",
)
@click.argument("pack")
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--direction", required=True, multiple=True, help="A name, an index, or any; repeatable.")
@click.option("--size", type=COUNT, default=20_000, show_default=True, help="Images, the same number of each class.")
@click.option("--magnitude", default="safe", show_default=True, help="safe, a number, or LOW,HIGH.")
@click.option("--seed", default=0, show_default=True)
@DEVICE
def bank(
    pack: str, out: Path, direction: tuple[str, ...], size: int, magnitude: str, seed: int, device: str | None
) -> None:
    """Draw shifted images of a PACK into one file, from which `LatentShift(bank=OUT)` serves.

    Interrupted, it goes on when called again with the same arguments.
    """

    chosen = [direction_word(word) for word in direction]
    built = transforms.LatentBank.build(
        DirectionPack.from_pretrained(pack),
        chosen[0] if len(chosen) == 1 else chosen,
        size,
        out,
        magnitude=magnitude_of(magnitude),
        seed=seed,
        device=device,
    )
    click.echo(f"{len(built)} images in {out}, {out.stat().st_size / 2**20:.0f} MiB")
