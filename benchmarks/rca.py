"""RCA of learned directions beside the paper's baselines, on the same budget.

    python benchmarks/rca.py training/mnist.toml --out runs/rca-mnist [KEY=VALUE ...]

Trains the recipe three times: its own direction matrix, fixed random orthonormal directions, and the latent's axes;
same reconstructor, steps, batch and learning rates (table 1 of Voynov & Babenko, ICML 2020). Each run can be
interrupted and goes on when the script is called again. The last lines are the table.
"""

from __future__ import annotations

import argparse
import json
import platform
from pathlib import Path

import torch

from ganaug.training import discover
from ganaug.training.discovery.checkpoint import CHECKPOINT_FILE
from ganaug.training.recipe import read_recipe


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE", help="settings that replace the recipe's")
    parser.add_argument("--out", type=Path, required=True, help="folder for the runs and results.jsonl")
    parser.add_argument("--device", default=None)
    arguments = parser.parse_intermixed_args()

    recipe = read_recipe(arguments.recipe, arguments.settings)
    generator = recipe.load_generator()
    rows = []
    for kind in (recipe.settings.direction_matrix, "random", "coordinate"):
        out = arguments.out / kind
        settings = {**recipe.settings.to_dict(), "direction_matrix": kind}
        resume = (out / CHECKPOINT_FILE).exists()
        pack = discover(generator, out=out, resume=resume, device=arguments.device, **settings)
        rows.append((kind, pack.scores["rca"]))
        with (arguments.out / "results.jsonl").open("a", encoding="utf-8") as file:
            machine = {"torch": torch.__version__, "machine": platform.machine(), "threads": torch.get_num_threads()}
            file.write(json.dumps({"recipe": recipe.name, "rca": rows[-1][1], **settings, **machine}) + "\n")
    steps, batch = recipe.settings.steps, recipe.settings.batch_size
    print(f"{recipe.name}: K = {recipe.settings.num_directions}, {steps} steps of batch {batch}, 10,000 fresh pairs")
    for kind, rca in rows:
        print(f"  {kind:12} RCA {rca:.4f}")


if __name__ == "__main__":
    main()
