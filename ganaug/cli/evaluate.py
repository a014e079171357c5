"""``ganaug evaluate``: directions, measured with judges trained on real images."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from ganaug.cli.options import (
    COUNT,
    DEVICE,
    PACK_HELP,
    SEED,
    WRITE,
    Number,
    Place,
    all_different,
    as_typed,
    check_images,
    check_written_to,
    direction,
    interval,
    judges_beside,
    numbers,
)
from ganaug.evaluation import EvaluationReport, InversionReport, Progress, cosines, evaluate_inverted, read_judge
from ganaug.evaluation import evaluate as measure
from ganaug.packs import DirectionPack
from ganaug.training import fresh_rca

OF_GENERATED = {
    "everything": "--all",
    "magnitude": "--magnitude",
    "measure_ranges": "--measure-ranges",
    "rate": "--rate",
    "dvn": "--dvn",
    "model": "--model",
}
"""Options that mean nothing with ``--inverted``."""


@click.command(epilog=f"{PACK_HELP}\n\nExample: ganaug evaluate runs/mine --images mnist:DATA --measure-ranges --write")
@click.argument("pack")
@click.option(
    "--images",
    metavar="FOLDER or NAME:FOLDER",
    help="Real images with labels: class subfolders (within train and test, or parted by ganaug); or mnist, "
    "fashion-mnist or digits, and the folder that holds them.",
)
@click.option(
    "--direction",
    "wanted",
    multiple=True,
    type=direction,
    callback=all_different,
    help="Only this direction (repeatable); named ones by default.",
)
@click.option("--all", "everything", is_flag=True, help="Every direction, not only the named ones.")
@click.option("--magnitude", type=interval, default="safe", show_default=True, help="safe, or LOW,HIGH.")
@click.option("--samples", type=COUNT, default=1000, show_default=True, help="Fresh latents, or images, per direction.")
@click.option(
    "--measure-ranges", is_flag=True, help="First measure every direction's safe range and keep it in the pack."
)
@click.option(
    "--rate",
    type=Number(0, 1, min_open=True),
    default=0.95,
    show_default=True,
    help="Share that a safe range must keep, of what is read as its label unshifted.",
)
@click.option("--rca", is_flag=True, help="Also train a fresh reconstructor on the directions; needs no images (slow).")
@click.option("--rca-steps", type=COUNT, default=2000, show_default=True, help="Training steps of that reconstructor.")
@click.option("--dvn", is_flag=True, help="Also measure DVN (slow).")
@click.option(
    "--inverted", is_flag=True, help="Measure real test images that LatentShift inverts and shifts along one direction."
)
@click.option(
    "--blend",
    type=click.Choice(["add", "replace"]),
    default="add",
    show_default=True,
    help="With --inverted: add the change to the image, or replace it by the reconstructed one.",
)
@click.option("--judge-steps", type=COUNT, default=1000, show_default=True, help="Training steps of each judge.")
@click.option(
    "--model",
    type=Place("file"),
    help="A classifier of your own as the judge: a TorchScript or torch.export program, run as it is. It takes images "
    "(N, C, H, W) in [0, 1] of the generator's size and gives logits, in the order of the generator's classes, or of "
    "the folders' where it has none.",
)
@click.option("--model-mean", type=numbers, help="Mean taken off the images for --model: NUMBER,... by channel.")
@click.option("--model-std", type=numbers, help="Standard deviation that they are divided by then: NUMBER,...")
@SEED
@DEVICE
@WRITE
@click.pass_context
def evaluate(
    ctx: click.Context,
    pack: str,
    images: str | None,
    wanted: tuple[str | int, ...],
    everything: bool,
    magnitude: tuple[float, float] | None,
    samples: int,
    measure_ranges: bool,
    rate: float,
    rca: bool,
    rca_steps: int,
    dvn: bool,
    inverted: bool,
    blend: str,
    judge_steps: int,
    model: Path | None,
    model_mean: list[float] | None,
    model_std: list[float] | None,
    seed: int,
    device: str | None,
    write: bool,
) -> None:
    """Measure a PACK's directions with judges trained on real images.

    Prints how alike the directions are (cosines) and, per direction: label (share of shifted images that a classifier
    trained on real images reads as their label), and, where the real images come with masks, mask_iou (how well the
    object's shape stays), outside and inside (mean absolute change of the pixels outside and inside the object, as a
    share of full scale). With --rca also the share of directions that a fresh reconstructor tells apart, and with
    --dvn whether what a direction changes also varies in real images.

    Judges are trained once for the same images and settings, and kept in the pack's folder (.judge-*.safetensors; never
    uploaded, and yours to delete).

    With --write, what was measured is kept as it comes: stopped, the same command goes on.

    With --inverted: the same of real test images, inverted and shifted as LatentShift(source="invert") does it.
    """
    _check(ctx, inverted=inverted, wanted=wanted)
    if write:
        check_written_to(pack)
    if images is None and (not rca or dvn or measure_ranges or wanted or everything or inverted or model):
        raise click.UsageError("evaluate needs --images, the real images that its judges are trained on.")
    if images is not None:
        check_images(images)
    if model is None and (model_mean or model_std):
        raise click.UsageError("--model-mean and --model-std are for --model.")
    loaded, command = DirectionPack.from_pretrained(pack), as_typed(ctx, images=images)
    if loaded.num_directions > 1:
        click.echo(cosines(loaded))
    identity: dict[str, Any] = {"images": images, "samples": samples, "judge_steps": judge_steps, "seed": seed}
    judge = None if model is None else read_judge(model, mean=model_mean, std=model_std)
    if model is not None:
        identity["model"] = [hashlib.sha256(model.read_bytes()).hexdigest(), model_mean, model_std]
    progress = Progress(Path(pack) if write else None, loaded, identity)
    if rca:
        found = progress.of(
            f"rca of {rca_steps} steps", lambda: fresh_rca(loaded, steps=rca_steps, seed=seed, device=device)
        )
        loaded.scores["rca_fresh"] = round(found, 4)
        loaded.scores["rca_fresh_command"] = command
        click.echo(f"RCA of a fresh reconstructor, {rca_steps} steps of 32 pairs: {loaded.scores['rca_fresh']:.4f}")
    if images is not None:
        shared: dict[str, Any] = {"samples": samples, "judge_steps": judge_steps, "seed": seed, "device": device}
        shared["keep_judges"] = judges_beside(pack)
        report: EvaluationReport | InversionReport
        if inverted:
            along = wanted[0] if wanted else "background"
            report = evaluate_inverted(loaded, images, direction=along, blend=blend, **shared)
        else:
            chosen = range(loaded.num_directions) if everything else wanted or None
            shared |= {"measure_ranges": measure_ranges, "rate": rate, "dvn": dvn, "judge": judge, "progress": progress}
            report = measure(loaded, images, directions=chosen, interval=magnitude, **shared)
        click.echo(report.table())
        report.add_to(loaded, command=command)
    if write:
        loaded.save_pretrained(pack)
        progress.finish()
        click.echo(f"written into {pack}")


def _check(ctx: click.Context, *, inverted: bool, wanted: tuple[str | int, ...]) -> None:
    """Refuse options that the kind of evaluation asked for would pass over in silence."""
    named = {name for name in ctx.params if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE}
    if not inverted and "blend" in named:
        raise click.UsageError("--blend is for --inverted.")
    if inverted and (idle := [option for name, option in OF_GENERATED.items() if name in named]):
        raise click.UsageError(f"{', '.join(idle)} can't be combined with --inverted.")
    if inverted and len(wanted) > 1:
        raise click.UsageError("--inverted measures one --direction at a time.")
