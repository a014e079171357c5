"""``ganaug convert``: foreign checkpoints."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path

import click

from ganaug.checkpoints import convert_checkpoint, directions_from_deformator
from ganaug.cli.options import (
    check_free,
    check_holds_nothing,
)
from ganaug.gallery import preview
from ganaug.generators import MLP
from ganaug.packs import DirectionPack
from ganaug.settings import parse_overrides
from ganaug.training.recipe import load_generator


@click.command(
    epilog="Examples: ganaug convert weights.tar --out runs/faces-generator; "
    "ganaug convert deformator_10000.pt --generator runs/faces-generator --out runs/faces",
)
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder for what comes of it."
)
@click.option("--arch", default="auto", show_default=True, help="The architecture it has to be, such as dcgan.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="What the checkpoint does not say (repeatable): activation=relu or batch_norm_eps=0.8 of an MLP, "
    "latent_space=w or truncation=0.7 of a StyleGAN2.",
)
@click.option(
    "--generator",
    help="CHECKPOINT is a deformator, and this its generator: the folder of a converted one, a pack, or a Hub id.",
)
def convert(checkpoint: Path, out: Path, arch: str, settings: tuple[str, ...], generator: str | None) -> None:
    """Convert a foreign CHECKPOINT (.pth, .pt, .tar, .bin, .pkl) to a generator of ganaug's; nothing in it is run.

    Layouts are told by the names of the tensors; with --arch what does not fit is listed. An SN-GAN of
    GANLatentDiscovery is a folder with args.json and generator.pt.

    With --generator CHECKPOINT is a deformator_*.pt of GANLatentDiscovery, and OUT becomes a pack. Directions that were
    found in StyleGAN2's w need a generator converted with --set latent_space=w.
    """

    if generator is not None:
        if arch != "auto" or settings:
            raise click.UsageError("--arch and --set are for generators; with --generator neither is used.")
        _convert_deformator(checkpoint, generator, out)
        return
    given = parse_overrides(settings)
    if "arch" in given:
        raise click.UsageError(f"the architecture is given as --arch {given['arch']}, not with --set.")
    check_holds_nothing(out)
    network = convert_checkpoint(checkpoint, arch=arch, **given)
    network.save_pretrained(out)
    parameters = sum(p.numel() for p in network.parameters())
    click.echo(
        f"{network.architecture}: {parameters:,} parameters, {network.image_size} pixels, {network.channels} "
        f"channel(s), {network.num_classes or 'no'} classes, latent {network.latent_dim}"
    )
    if isinstance(network, MLP):
        taken = " ".join(f"--set {key}={network.config[key]}" for key in ("activation", "batch_norm_eps"))
        click.echo(f"A checkpoint does not say the activation, nor the eps of batch norms. Taken here: {taken}")
    click.echo(f"SHA-256 of the weights: {network.weights_sha256()}\nwritten into {out}")


def _convert_deformator(file: Path, generator: str, out: Path) -> None:

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        directions, lengths = directions_from_deformator(file)
    for warning in caught:
        click.echo(f"Note: {warning.message}")
    pack = DirectionPack(
        directions,
        generator=load_generator(generator),
        ranges=[(-6 * length, 6 * length) for length in lengths.tolist()],
        method={"name": "converted", "file": file.name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()},
        licence="unknown",
        name=out.name,
    )
    check_free(out)
    pack.preview = preview(pack)
    pack.save_pretrained(out)
    shortest, longest = lengths.min().item(), lengths.max().item()
    click.echo(
        f"{pack.num_directions} directions of {pack.latent_dim} dimensions. A magnitude of 1 in the file is "
        f"{shortest:.3g} to {longest:.3g} here, where directions have unit length; ranges are its -6 to 6.\n"
        f"{out} holds the pack. Look through it: ganaug show {out}"
    )
