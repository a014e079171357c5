"""``ganaug train``: discover directions."""

from __future__ import annotations

import os
from pathlib import Path

import click

from ganaug.cli.options import (
    DEVICE,
    check_free,
)
from ganaug.errors import SettingsError
from ganaug.gallery import preview
from ganaug.settings import parse_overrides
from ganaug.training import discover, find_directions
from ganaug.training.discovery.distributed import process_group, rank_and_size
from ganaug.training.discovery.plan import plan
from ganaug.training.methods.registry import method_settings
from ganaug.training.recipe import Recipe, load_generator, read_recipe


@click.command(
    epilog="Example: ganaug train training/mnist.toml --out runs/mnist steps=2000 seed=1",
)
@click.argument("recipe", required=False, type=click.Path(path_type=Path))
@click.argument("settings", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--generator", help="Instead of a recipe: a generator's folder, a pack, or a Hub id.")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder for the pack, metrics and checkpoint."
)
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in --out.")
@click.option("--dry-run", is_flag=True, help="Print parameters, time and memory of the run, and write nothing.")
@click.option("--tensorboard", is_flag=True, help="Also write TensorBoard event files, into OUT/tensorboard.")
@DEVICE
def train(
    recipe: Path | None,
    settings: tuple[str, ...],
    generator: str | None,
    out: Path,
    resume: bool,
    dry_run: bool,
    tensorboard: bool,
    device: str | None,
) -> None:
    """Discover directions of a generator and write them as a pack.

    Give a RECIPE (a TOML file; those of the bundled packs lie in training/), or --generator. KEY=VALUE overrides a
    setting. The settings, with their defaults:

    \b
      method=reconstructor         also sefa | ganspace | contrastive | random | coordinate, see below
      num_directions=64            how many directions to look for
      direction_matrix=unit        unit | orthonormal | linear; baselines: random | coordinate
      reconstructor=auto           lenet | resnet18 | auto (LeNet for grey images of at most 32 pixels)
      reconstructor_width=1        multiplies LeNet's feature maps
      steps=10000  batch_size=32
      max_magnitude=6.0  min_magnitude=0.5  magnitude_distribution=uniform   (or normal)
      magnitude_loss=absolute      absolute | squared
      magnitude_weight=0.25
      label_weight=0.0             above 0: directions that keep the label readable (class-conditional generators)
      micro_batches=1              draw the batch in parts, to save memory
      recompute=off                on: compute the generator's activations twice, to save memory
      compile=off                  on: torch.compile
      matrix_lr=1e-3  reconstructor_lr=5e-4  schedule=cosine                (or constant)
      precision=bfloat16           bfloat16 | float32
      seed=0

    Of the other methods: sefa and coordinate take num_directions; random and ganspace (samples=20000 batch_size=500)
    also seed; contrastive steps=1000 batch_size=8 directions_per_step=16 magnitude=3.0 temperature=0.5
    learning_rate=1e-3 precision seed. `ganaug evaluate PACK --rca` judges all alike.

    The progress bar shows the loss and RCA, the share of pairs whose direction the reconstructor names; both go to
    metrics.jsonl. Ctrl-C leaves a checkpoint, and --resume goes on from it as if nothing had happened. On several GPUs
    or processes: torchrun --nproc-per-node N -m ganaug train ...; each takes its share of every batch.
    """

    words = list(settings)
    if generator is not None:
        if recipe is not None:
            if "=" not in str(recipe):
                raise SettingsError(
                    "give a RECIPE or --generator, not both; a recipe's generator is overridden with generator=..."
                )
            words.insert(0, str(recipe))
        given = parse_overrides(words)
        method = given.pop("method", "reconstructor")
        chosen = Recipe(out.name, generator, {}, "unknown", method, method_settings(method, given))
        network = load_generator(generator)
    elif recipe is None or "=" in recipe.name:
        raise SettingsError("give a RECIPE (see training/) or --generator.")
    else:
        chosen = read_recipe(recipe, words)
        network = chosen.load_generator()
    if dry_run:
        if chosen.method != "reconstructor":
            raise SettingsError("--dry-run is for method=reconstructor; the others take seconds to minutes.")
        click.echo("\n".join(plan(network, device=device, **chosen.settings.to_dict())))
        return
    if not resume:
        check_free(out)
    if chosen.method != "reconstructor":
        if resume or tensorboard or "WORLD_SIZE" in os.environ:
            raise SettingsError("--resume, --tensorboard and torchrun are for method=reconstructor.")
        pack = find_directions(network, chosen.method, device=device, **chosen.settings.to_dict())
    else:
        with process_group(device) as own_device:
            pack = discover(
                network, out=out, resume=resume, device=own_device, tensorboard=tensorboard, **chosen.settings.to_dict()
            )
            if rank_and_size()[0] > 0:
                return
    network.to("cpu")
    pack.name, pack.licence, pack.generator_source = chosen.name, chosen.licence, chosen.source
    what = str(recipe) if generator is None else f"--generator {generator}"
    if "rca" in pack.scores:
        pack.scores["rca_command"] = " ".join(["ganaug train", what, f"--out {out}", *words])
        click.echo(f"RCA on 10,000 fresh pairs: {pack.scores['rca']:.4f}")
    pack.preview = preview(pack)
    pack.save_pretrained(out)
    click.echo(f"{out} holds the pack. Look through it: ganaug show {out}")
