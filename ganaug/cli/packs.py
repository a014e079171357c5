"""``ganaug packs``: the packs that come with ganaug."""

from __future__ import annotations

import math

import click

from ganaug.packs import DirectionPack, bundled_packs


@click.command(epilog="Example: ganaug packs")
def packs() -> None:
    """List the packs that come with ganaug."""
    for bundled in bundled_packs():
        pack = DirectionPack.from_pretrained(bundled)
        kind = f"{pack.num_classes} classes" if pack.num_classes else "unconditional"
        click.echo(f"{bundled}: {pack.num_directions} directions, {kind}, RCA {pack.scores.get('rca', math.nan):.3f}")
        click.echo(f"    named: {', '.join(pack.names) or 'none'}")
        if "distribution" in (origin := pack.generator_origin):
            click.echo(f'    generator: pip install --no-deps "{origin["distribution"]}=={origin["version"]}"')
