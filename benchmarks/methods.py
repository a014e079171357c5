"""Methods of discovery side by side: one row per method, pack and seed, then the table.

    python benchmarks/methods.py --data DATA [--packs mnist digits faces] [--seeds 3] [--out ROWS]
    python benchmarks/methods.py --table
    python benchmarks/methods.py --rca training/mnist.toml --out runs/rca-mnist [KEY=VALUE ...]

Each method finds as many directions of the pack's generator as its recipe says. ``reconstructor`` and ``label-safe``
(the same with label_weight=1, class-conditional generators only) take the recipe's settings with --steps steps.
Figures:

rca      a fresh reconstructor, trained on the frozen directions for --judge-steps steps of 64 pairs (for each pack its
         own by default: a short training, the same for all methods), on 4,000 pairs
cosine   the largest |cosine| of two directions
label    share of images whose label is still read after a shift of -3 and +3 (fresh images of their class; inverted
         real test images for an unconditional generator), mean over 8 directions
safe     width of the safe range within -6 to 6 at rate 0.95 of what is read unshifted, mean over the same directions
outside  mean absolute change outside the object at -3 to 3, share of full scale, mean over the same directions (where
         masks are known)
dvn      direction variation naturalness, mean over two directions, the first and the middle one of the same

Rows that are in --out already are not measured again. Seeds come outermost, so that a table of one seed is there first.

--rca compares the method of a recipe with the paper's baselines on the same budget (Voynov & Babenko, ICML 2020, table
1): it trains its own direction matrix, fixed random orthonormal directions, and the latent's axes; same reconstructor,
steps, batch and learning rates, and KEY=VALUE replaces settings. The runs go into folders of --out, each can be
interrupted and goes on when the script is called again, and the last lines are the table.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from harness import RESULTS, append_row, measured_once, provenance, read_rows, script_parser
from torch import nn

from ganaug.data import DATASETS, LabelledImages, read_dataset
from ganaug.devices import default_device
from ganaug.evaluation import (
    direction_variation_naturalness,
    invert_images,
    label_hits,
    measure_change,
    safe_ranges,
    train_classifier,
    train_segmenter,
)
from ganaug.packs import DirectionPack
from ganaug.training import METHODS, discover, find_directions, fresh_rca
from ganaug.training.discovery.checkpoint import CHECKPOINT_FILE
from ganaug.training.recipe import Recipe, read_recipe

RECIPES = Path(__file__).parent.parent / "training"
LEARNT_FIRST = ("reconstructor", "sefa", "ganspace", "contrastive", "random", "coordinate")
NAMES = [*dict.fromkeys((*LEARNT_FIRST, *METHODS)), "label-safe"]
STEPS = {"mnist": 1500, "digits": 1000, "faces": 1500}
JUDGE_STEPS = {"mnist": 1000, "digits": 250, "faces": 250}
FIGURES = ("rca", "cosine", "label", "safe", "outside", "dvn", "seconds")


def found(recipe: Recipe, method: str, steps: int, seed: int) -> DirectionPack:
    generator = recipe.load_generator()
    count = recipe.settings.to_dict()["num_directions"]
    if method in ("reconstructor", "label-safe"):
        settings = {**recipe.settings.to_dict(), "steps": steps, "seed": seed}
        settings["label_weight"] = 1.0 if method == "label-safe" else 0.0
        return find_directions(generator, "reconstructor", **settings)
    seeded = {} if method == "sefa" else {"seed": seed}
    return find_directions(generator, method, num_directions=count, **seeded)


@cache
def real_images(name: str, data: Path) -> tuple[LabelledImages, LabelledImages] | None:
    return (read_dataset(name, data, train=True), read_dataset(name, data, train=False)) if name in DATASETS else None


@cache
def judges(name: str, data: Path) -> tuple[nn.Module, nn.Module | None]:
    training = real_images(name, data)[0]
    classifier = train_classifier(training.images, training.labels)
    if training.masks is None:
        return classifier, None
    return classifier, train_segmenter(training.images, training.masks)


@torch.no_grad()
def label_figures(pack: DirectionPack, recipe: Recipe, options: argparse.Namespace) -> Iterator[tuple[str, float]]:
    name, generator = recipe.name, pack.generator
    with torch.enable_grad():
        classifier, segmenter = judges(name, options.data)
    training, test = real_images(name, options.data)
    chosen = torch.linspace(0, pack.num_directions - 1, min(8, pack.num_directions)).long()
    directions, samples, real = pack.directions[chosen], 200, None
    if not generator.num_classes:
        bundled = DirectionPack.from_pretrained(name)
        real = invert_images(bundled, test.images[:samples], test.labels[:samples])
    common = {"samples": samples, "real": real}
    hits = [label_hits(generator, d, classifier, magnitudes=[-3.0, 3.0], **common) for d in directions]
    yield "label", statistics.mean(sum(pair) / (2 * samples) for pair in hits)
    ranges = safe_ranges(generator, directions, classifier, show_progress=False, **common)
    yield "safe", statistics.mean(high - low for low, high in ranges)
    if segmenter is not None:
        changes = [
            measure_change(generator, d, (-3.0, 3.0), classifier=classifier, segmenter=segmenter, samples=100)
            for d in directions
        ]
        yield "outside", statistics.mean(change.outside for change in changes)
    with torch.enable_grad():
        values = [
            direction_variation_naturalness(generator, d, training.images[:3000], samples=500, steps=60)
            for d in (directions[0], directions[len(directions) // 2])
        ]
    yield "dvn", statistics.mean(values)


def measured(recipe: Recipe, method: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    start = time.perf_counter()
    steps, judge_steps = options.steps or STEPS[recipe.name], options.judge_steps or JUDGE_STEPS[recipe.name]
    pack = found(recipe, method, steps, seed)
    seconds = time.perf_counter() - start
    cosines = (pack.directions @ pack.directions.T).abs().fill_diagonal_(0)
    settings = recipe.settings.to_dict()
    width = settings["reconstructor_width"]
    row: dict[str, Any] = {"steps": steps, "judge_steps": judge_steps}
    row["rca"] = fresh_rca(
        pack, steps=judge_steps, batch_size=64, reconstructor_width=width, samples=4000, seed=seed + 100
    )
    row["cosine"] = cosines.max().item()
    if options.data is not None and recipe.name in DATASETS:
        row |= dict(label_figures(pack, recipe, options))
    return {**row, "seconds": seconds}


def table(rows: list[dict[str, Any]]) -> None:
    cells: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        cells[row["pack"], row["method"]].append(row)
    print(f"{'pack':8} {'method':14} {'seeds':>5} " + " ".join(f"{figure:>15}" for figure in FIGURES))
    for (pack, method), seeds in sorted(cells.items(), key=lambda cell: (cell[0][0], NAMES.index(cell[0][1]))):
        shown = []
        for figure in FIGURES:
            values = [row[figure] for row in seeds if figure in row]
            spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
            shown.append(f"{f'{statistics.mean(values):.3f}{spread}' if values else '':>15}")
        print(f"{pack:8} {method:14} {len(seeds):5} " + " ".join(shown))


def compare_rca(options: argparse.Namespace) -> None:
    """The recipe's directions beside fixed ones, each with a reconstructor of its own."""
    recipe = read_recipe(options.rca, options.settings)
    generator = recipe.load_generator()
    lines = []
    for kind in (recipe.settings.direction_matrix, "random", "coordinate"):
        out = options.out / kind
        settings = {**recipe.settings.to_dict(), "direction_matrix": kind}
        resume = (out / CHECKPOINT_FILE).exists()
        rca = discover(generator, out=out, resume=resume, device=options.device, **settings).scores["rca"]
        lines.append(f"  {kind:12} RCA {rca:.4f}")
        row = {"recipe": recipe.name, "rca": rca, **settings, **provenance(str(default_device(options.device)))}
        append_row(options.out / "results.jsonl", row)
    steps, batch = recipe.settings.steps, recipe.settings.batch_size
    print(f"{recipe.name}: K = {recipe.settings.num_directions}, {steps} steps of batch {batch}, 10,000 fresh pairs")
    print("\n".join(lines))


def measure_all(options: argparse.Namespace) -> None:
    for seed in range(options.seeds):
        for name in options.packs:
            recipe = read_recipe(RECIPES / f"{name}.toml")
            for method in options.methods:
                if method != "label-safe" or recipe.load_generator().num_classes:
                    about = {"pack": name, "method": method, "seed": seed}
                    measured_once(options.out, about, partial(measured, recipe, method, seed, options))


def main() -> None:
    parser = script_parser(__doc__)
    parser.add_argument("--data", type=Path, help="folder of the data sets; without it only rca and cosine")
    parser.add_argument("--out", type=Path, help="file of the rows, results/methods.jsonl by default; folder of --rca")
    parser.add_argument("--packs", nargs="+", default=["mnist", "digits", "faces"])
    parser.add_argument("--methods", nargs="+", default=NAMES, choices=NAMES)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, help=f"of the reconstructor method; {STEPS} by default")
    parser.add_argument("--judge-steps", type=int, help=f"{JUDGE_STEPS} by default")
    parser.add_argument("--table", action="store_true", help="only print the table of what was measured")
    parser.add_argument("--rca", type=Path, metavar="RECIPE", help="only this recipe beside random and coordinate axes")
    parser.add_argument("--device", help="of --rca; by default what discover takes")
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE", help="of --rca: instead of the recipe's")
    options = parser.parse_intermixed_args()
    if options.rca:
        if options.out is None:
            parser.error("--rca needs --out, the folder of its runs")
        compare_rca(options)
        return
    if options.settings:
        parser.error(f"{options.settings[0]} is a setting of --rca")

    options.out = options.out or RESULTS / "methods.jsonl"
    for row in () if options.table else read_rows(options.out):
        budget = options.steps or STEPS.get(row["pack"]), options.judge_steps or JUDGE_STEPS.get(row["pack"])
        if (row["steps"], row["judge_steps"]) != budget:
            parser.error(f"{options.out} holds rows of other --steps or --judge-steps; give another --out.")
    if not options.table:
        measure_all(options)
    table(read_rows(options.out))


if __name__ == "__main__":
    main()
