"""``ganaug convert``: foreign checkpoints, read without running anything in them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import click

from ganaug.checkpoints import convert_checkpoint
from ganaug.cli.options import NEW_FOLDER, SETTINGS, check_holds_nothing
from ganaug.errors import printable
from ganaug.files import check_can_be_made
from ganaug.generators import MLP
from ganaug.generators.generator import CONFIG_FILE
from ganaug.settings import parse_settings
from ganaug.training import convert_deformator


@click.command(
    epilog="Examples: ganaug convert weights.tar --out runs/faces-generator; "
    "ganaug convert network.pkl --out runs/w latent_space=w truncation=0.7; "
    "ganaug convert deformator_10000.pt --generator runs/faces-generator --out runs/faces"
)
@click.argument("checkpoint", type=click.Path(path_type=Path))
@SETTINGS
@click.option("--out", type=NEW_FOLDER, required=True, help="Folder for what comes of it.")
@click.option("--arch", default="auto", show_default=True, help="The architecture it has to be, such as dcgan.")
@click.option(
    "--generator",
    help="CHECKPOINT is a deformator, and this its generator: the folder of a converted one, a pack, or a Hub id.",
)
def convert(checkpoint: Path, settings: tuple[str, ...], out: Path, arch: str, generator: str | None) -> None:
    """Convert a foreign CHECKPOINT (.pth, .pt, .tar, .bin, .pkl) to a generator of ganaug's; nothing in it is run.

    Layouts are told by the names of the tensors; with --arch what does not fit is listed. An SN-GAN of
    GANLatentDiscovery is a folder with args.json and generator.pt.

    KEY=VALUE says what the checkpoint does not: activation=relu or batch_norm_eps=0.8 of an MLP, latent_space=w or
    truncation=0.7 of a StyleGAN2.

    With --generator CHECKPOINT is a deformator_*.pt of GANLatentDiscovery, and OUT becomes a pack. Directions that were
    found in StyleGAN2's w need a generator converted with latent_space=w.
    """
    check_holds_nothing(out)
    check_can_be_made(out / CONFIG_FILE)
    given = parse_settings(settings)
    if "arch" in given:
        raise click.UsageError(f"the architecture is given as --arch {given['arch']}, not as a KEY=VALUE.")
    if generator is None:
        _to_generator(checkpoint, out, arch, given)
    elif arch != "auto" or settings:
        raise click.UsageError("--arch and KEY=VALUE are for generators; with --generator neither is used.")
    else:
        _to_pack(checkpoint, generator, out)


def _to_generator(checkpoint: Path, out: Path, arch: str, settings: dict[str, Any]) -> None:
    network = convert_checkpoint(checkpoint, arch=arch, **settings)
    network.save_pretrained(out)
    parameters = sum(p.numel() for p in network.parameters())
    click.echo(
        f"{network.architecture}: {parameters:,} parameters, {network.image_size} pixels, {network.channels} "
        f"channel(s), {network.num_classes or 'no'} classes, latent {network.latent_dim}"
    )
    if isinstance(network, MLP):
        taken = " ".join(f"{key}={network.config[key]}" for key in ("activation", "batch_norm_eps"))
        click.echo(f"A checkpoint does not say the activation, nor the eps of batch norms. Taken here: {taken}")
    click.echo(f"SHA-256 of the weights: {network.weights_sha256()}\nwritten into {out}")


def _to_pack(deformator: Path, generator: str, out: Path) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pack = convert_deformator(deformator, generator, out)
    for warning in caught:
        click.echo(printable(f"Note: {warning.message}"))
    lengths = [direction.range[1] / 6 for direction in pack]
    click.echo(
        f"{pack.num_directions} directions of {pack.latent_dim} dimensions. A magnitude of 1 in the file is "
        f"{min(lengths):.3g} to {max(lengths):.3g} here, where directions have unit length; ranges are its -6 to 6.\n"
        f"{out} holds the pack. Look through it: ganaug show {out}"
    )
