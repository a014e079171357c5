"""``ganaug evaluate``: measure directions."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from ganaug.cli.options import (
    PACK_HELP,
    direction_word,
    magnitude_of,
)
from ganaug.evaluation.report import evaluate_pack, pairwise_cosines
from ganaug.packs import DirectionPack
from ganaug.training.methods.registry import judge


@click.command(epilog=PACK_HELP)
@click.argument("pack")
@click.option(
    "--data", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Folder with the real images."
)
@click.option("--dataset", help="mnist, fashion-mnist or digits; the pack's name by default.")
@click.option("--direction", "wanted", multiple=True, help="Only this direction (repeatable); named ones by default.")
@click.option("--all", "everything", is_flag=True, help="Every direction, not only the named ones.")
@click.option("--magnitude", default="safe", show_default=True, help="safe, or LOW,HIGH.")
@click.option("--samples", default=1000, show_default=True, help="Fresh latents per direction.")
@click.option(
    "--measure-ranges", is_flag=True, help="First measure every direction's safe range and keep it in the pack."
)
@click.option(
    "--rate",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.95,
    show_default=True,
    help="Label agreement that a safe range must keep.",
)
@click.option("--rca", is_flag=True, help="Also train a fresh reconstructor on the directions; needs no data (slow).")
@click.option("--rca-steps", default=2000, show_default=True, help="Training steps of that reconstructor.")
@click.option("--dvn", is_flag=True, help="Also measure DVN (slow).")
@click.option("--write", is_flag=True, help="Write the figures into the pack's folder.")
@click.option("--judge-steps", default=1000, show_default=True, help="Training steps of each judge.")
@click.option("--seed", default=0, show_default=True)
def evaluate(
    pack: str,
    data: Path | None,
    dataset: str | None,
    wanted: tuple[str, ...],
    everything: bool,
    magnitude: str,
    samples: int,
    measure_ranges: bool,
    rate: float,
    rca: bool,
    rca_steps: int,
    dvn: bool,
    write: bool,
    judge_steps: int,
    seed: int,
) -> None:
    """Measure a PACK's directions with judges trained on real images.

    Prints how alike the directions are (cosines) and, per direction: label (share of shifted images that a classifier
    trained on real images reads as their label), and, where the real images come with masks, mask_iou (how well the
    object's shape stays), outside and inside (mean absolute change of the pixels outside and inside the object, as a
    share of full scale). With --rca also the share of directions that a fresh reconstructor tells apart, and with
    --dvn whether what a direction changes also varies in real images.
    """

    loaded = DirectionPack.from_pretrained(pack)
    if write and not Path(pack).is_dir():
        raise click.UsageError(f"--write needs a pack's folder, and {pack!r} is none.")
    if data is None and (not rca or dvn or measure_ranges or wanted or everything):
        raise click.UsageError("evaluate needs --data FOLDER, the real images that its judges are trained on.")
    command = "ganaug " + " ".join(word for word in sys.argv[1:] if word != "--write")
    if data is not None:
        command = command.replace(str(data), "DATA")
    if loaded.num_directions > 1:
        click.echo(pairwise_cosines(loaded))
    if rca:
        loaded.scores["rca_fresh"] = round(judge(loaded, steps=rca_steps, seed=seed, device="cpu"), 4)
        loaded.scores["rca_fresh_command"] = command
        click.echo(f"RCA of a fresh reconstructor, {rca_steps} steps of 32 pairs: {loaded.scores['rca_fresh']:.4f}")
    indices = [loaded.index(direction_word(word)) for word in wanted] or sorted(loaded.names.values())
    if everything or not indices:
        indices = list(range(loaded.num_directions))
    bounds = None if magnitude == "safe" else magnitude_of(magnitude)
    if isinstance(bounds, (str, float)):
        raise click.UsageError("--magnitude should be safe or LOW,HIGH.")
    if data is not None:
        for line in evaluate_pack(
            loaded,
            data,
            dataset=dataset or loaded.name,
            indices=indices,
            interval=bounds,
            samples=samples,
            measure_ranges=measure_ranges,
            rate=rate,
            dvn=dvn,
            judge_steps=judge_steps,
            seed=seed,
            command=command,
        ):
            click.echo(line)
    if write:
        loaded.save_pretrained(pack)
        click.echo(f"written into {pack}")
