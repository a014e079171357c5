"""``ganaug describe``: what changes along each named direction."""

from __future__ import annotations

import click

import ganaug.evaluation
from ganaug.cli.options import COUNT, PACK_HELP, SEED, WRITE, Number, as_typed, check_written_to
from ganaug.packs import DirectionPack


@click.command(epilog=f"{PACK_HELP}\n\nExample: ganaug describe faces --samples 500")
@click.argument("pack")
@click.option(
    "--magnitude",
    type=Number(min=0, min_open=True),
    default=3.0,
    show_default=True,
    help="Both ends are looked at, -MAGNITUDE and MAGNITUDE.",
)
@click.option("--samples", type=COUNT, default=200, show_default=True, help="Fresh latents.")
@SEED
@WRITE
@click.pass_context
def describe(ctx: click.Context, pack: str, magnitude: float, samples: int, seed: int, write: bool) -> None:
    """Print figures behind the names of a PACK's directions: what changes from one end of a direction to the other.

    Grey images of bright strokes give ink, slant, width and height; colour images of centred faces the brightness of
    the border, the face, the forehead, the mouth and of the left side less the right. For every named direction and
    figure: the mean change in standard deviations over unshifted images; the share of latents that change to the same
    side; the rank of the mean change among all directions.
    """
    if write:
        check_written_to(pack)
    loaded = DirectionPack.from_pretrained(pack)
    report = ganaug.evaluation.describe(loaded, magnitude=magnitude, samples=samples, seed=seed)
    click.echo(report.table())
    if write:
        report.add_to(loaded, command=as_typed(ctx))
        loaded.save_pretrained(pack)
        click.echo(f"written into {pack}")
