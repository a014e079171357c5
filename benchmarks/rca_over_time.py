"""RCA against wall-clock: what settings, starts and growing batches are worth.

    python benchmarks/rca_over_time.py training/mnist.toml --minutes 2
    python benchmarks/rca_over_time.py training/faces.toml --minutes 4 --variants published recipe
    python benchmarks/rca_over_time.py training/mnist.toml --plot

Each variant trains for --minutes on the recipe's generator, K and reconstructor, and its schedule is told the number of
steps that fit, by the median of twenty steps first. RCA is measured on 2,000 fresh pairs, off the clock, ten times. All
of them take our step: what its speed is worth is benchmarks/discovery_speed.py's to say.

published    the published code's settings: Adam at 1e-4 for directions and reconstructor alike, constant, 32 pairs
recipe       the recipe's own
float32      the recipe's in float32, for about as many steps as "recipe": its RCA says what bfloat16 costs, its time
             what it saves
faster       ten times the recipe's matrix_lr
sefa         the recipe's, starting from SeFa's directions where there are enough of them
growing      a quarter of the recipe's batch at first, half of it from a quarter of the time on, and all from a half
constant     the recipe's without its schedule

Rows go to --out as JSON lines (machine, seed, git revision); a variant that is there is not run again. --plot draws
those of --seed, beside --out, as a PNG.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from harness import RESULTS, alternating, append_row, matching, provenance, read_rows, script_parser
from torch import Tensor
from torch.utils.benchmark import timer
from tqdm.auto import tqdm

from ganaug.evaluation import reconstructor_accuracy
from ganaug.generators import Generator
from ganaug.training import DirectionMatrix, DiscoverySettings
from ganaug.training.discovery import Run
from ganaug.training.methods.sefa import sefa
from ganaug.training.recipe import Recipe, read_recipe

PUBLISHED = {"matrix_lr": 1e-4, "reconstructor_lr": 1e-4, "schedule": "constant", "batch_size": 32}
VARIANTS = ("published", "recipe", "float32", "faster", "sefa", "growing", "constant")
MEASURED = 10


def changed(variant: str, settings: dict[str, Any]) -> dict[str, Any]:
    """The recipe's settings as the variant has them."""
    changes: dict[str, Any] = {
        "published": PUBLISHED,
        "float32": {"precision": "float32"},
        "faster": {"matrix_lr": 10 * settings["matrix_lr"]},
        "constant": {"schedule": "constant"},
    }.get(variant, {})
    return {**settings, **changes}


def start(variant: str, generator: Generator, settings: dict[str, Any]) -> Tensor | None:
    """Directions to start from; where SeFa has fewer than K, random ones follow."""
    if variant != "sefa":
        return None
    wanted = settings["num_directions"]
    found = sefa(generator, min(wanted, generator.latent_dim))
    rng = torch.Generator().manual_seed(settings["seed"])
    more = DirectionMatrix("random", wanted, generator.latent_dim, rng=rng).rows.detach()
    return torch.cat([found, more])[:wanted]


def grown(run: Run, settings: dict[str, Any], batch_size: int) -> Run:
    """The same run with another batch."""
    larger = Run(run.generator, DiscoverySettings.from_mapping({**settings, "batch_size": batch_size}))
    larger.learner.load_state_dict(run.learner.state_dict())
    larger.optimizer.load_state_dict(run.optimizer.state_dict())
    larger.rng.set_state(run.rng.get_state())
    larger.step = run.step
    return larger


def seconds_a_step(generator: Generator, settings: dict[str, Any]) -> float:
    step = Run(generator, DiscoverySettings.from_mapping(settings)).train_step
    return alternating({"step": step}, runs=20)["step"]


def curve(variant: str, recipe: Recipe, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    generator = recipe.load_generator().to(options.device).to(memory_format=torch.channels_last)
    settings = changed(variant, {**recipe.settings.to_dict(), "seed": options.seed})
    timed = {**settings, "precision": "bfloat16"}
    steps = int(60 * options.minutes / seconds_a_step(generator, timed))
    batch = settings["batch_size"]
    parts = [(1.0, batch)]
    if variant == "growing":
        # A step takes about as long as its batch is large: a quarter of the time is half of all steps at a quarter.
        parts = [(0.5, batch // 4), (0.75, batch // 2), (1.0, batch)]
        steps = int(steps * (0.25 * 4 + 0.25 * 2 + 0.5))
    settings["steps"] = steps
    run = Run(
        generator,
        DiscoverySettings.from_mapping({**settings, "batch_size": parts[0][1]}),
        start(variant, generator, settings),
    )
    seconds, measured = 0.0, 0
    with tqdm(total=steps, desc=variant) as bar:
        while run.step < steps:
            size = next(size for share, size in parts if run.step < share * steps)
            if size != run.settings.batch_size:
                run = grown(run, settings, size)
            began = timer()
            run.train_step()
            seconds += timer() - began
            bar.update()
            if run.step >= (measured + 1) * steps / MEASURED:
                measured += 1
                rows, precision = run.matrix.rows.detach(), settings["precision"]
                rca = reconstructor_accuracy(run.fused, rows, run.reconstructor, samples=2000, precision=precision)
                run.reconstructor.train()
                yield {"step": run.step, "seconds": round(seconds, 2), "rca": rca}


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6.4, 4))
    shapes = {variant: shape for variant, shape in zip(VARIANTS, "os^vDPX", strict=True)}
    for variant in dict.fromkeys(row["variant"] for row in rows):
        points = [row for row in rows if row["variant"] == variant]
        strong = variant in ("recipe", "published")
        axes.plot(
            [row["seconds"] for row in points],
            [row["rca"] for row in points],
            label=variant,
            marker=shapes[variant],
            color="black" if strong else "0.55",
            linestyle="--" if variant == "published" else "-",
        )
    axes.set(xlabel="seconds of training", ylabel="RCA on 2,000 fresh pairs", ylim=(0, 1))
    axes.set_title(f"{rows[0]['recipe']}, {rows[0]['machine']}", fontsize=9)
    axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    print(path)


def main() -> None:
    parser = script_parser(__doc__, "device", "seed")
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--minutes", type=float, default=2)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--out", type=Path, help="benchmarks/results/rca_over_time_RECIPE.jsonl by default")
    parser.add_argument("--plot", action="store_true", help="only draw what was measured")
    options = parser.parse_args()
    recipe = read_recipe(options.recipe)
    out = options.out or RESULTS / f"rca_over_time_{recipe.name}.jsonl"
    rows = read_rows(out)
    for variant in () if options.plot else options.variants:
        about = {"recipe": recipe.name, "variant": variant, "seed": options.seed}
        if matching(rows, **about):
            continue
        found = [{**about, **point, **provenance(options.device)} for point in curve(variant, recipe, options)]
        for row in found:
            append_row(out, row)
        rows += found
    rows = [row for row in rows if row["seed"] == options.seed]
    for variant in dict.fromkeys(row["variant"] for row in rows):
        points = [row for row in rows if row["variant"] == variant]
        shown = "  ".join(f"{row['rca']:.3f} at {row['seconds']:.0f} s" for row in points[1::2])
        print(f"{variant:10} {points[-1]['step']:6,} steps  {shown}")
    if options.plot:
        plot(rows, out.with_suffix(".png"))


if __name__ == "__main__":
    main()
