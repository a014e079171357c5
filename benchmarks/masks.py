"""Masks for nothing: a U-Net that learns from pseudo-masks of background directions alone, on real composites.

    python benchmarks/masks.py --data DATA [--seeds 5] [--quick]
    python benchmarks/masks.py --report

``ganaug.evaluation.pseudo_masks`` draws images of the bundled pack "digits" with masks by its background directions; a
small U-Net (``ganaug.evaluation.train_segmenter``) sees nothing else (threshold 0, for digits turn darker where their
photograph turns brighter), and is tested on 2,000 real test composites whose masks are known. "two images" has masks by
"background" alone and the difference of two images, as the paper; "pseudo-masks" 24 shifts each along "background",
"background hue" and "background warmth" at once. Beside it: the same U-Net on as many real training composites with
their true masks (the ceiling), and Otsu's threshold on the grey image, the smaller of the two sides taken for the
object (no learning at all).

iou  intersection over union, mean over images;  f  F-measure with beta^2 = 0.3, of the means of precision and recall,
as the literature on saliency has it;  mae  mean absolute error of the mask.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from policies import identity
from rows import RESULTS, append_row, check_no_two, interval, matching, provenance, read_rows
from skimage.filters import threshold_otsu
from torch import Tensor
from torchvision.transforms.v2 import functional as TF
from torchvision.utils import save_image

from ganaug.data import digits_on_photographs
from ganaug.evaluation import find_object, pseudo_masks, train_segmenter
from ganaug.packs import DirectionPack

PSEUDO: dict[str, dict[str, Any]] = {
    "two images": {"direction": "background", "shifts": 2, "threshold": 0},
    "pseudo-masks": {
        "direction": ["background", "background hue", "background warmth"],
        "shifts": 24,
        "threshold": 0,
    },
}
WAYS = ("Otsu", *PSEUDO, "true masks")
FIGURES = ("iou", "f", "mae")


def otsu(images: Tensor) -> Tensor:
    """``(N, 1, H, W)`` bool."""
    grey = TF.rgb_to_grayscale(images)
    bright = torch.stack([image > threshold_otsu(image.numpy()) for image in grey])
    larger = bright.float().mean((1, 2, 3), keepdim=True) > 0.5
    return bright ^ larger


def measured(found: Tensor, masks: Tensor) -> dict[str, float]:
    """The figures of masks found, ``(N, 1, H, W)`` bool, beside true ones in [0, 255]."""
    true = masks > 127
    both, either = (found & true).sum((1, 2, 3)), (found | true).sum((1, 2, 3))
    precision = (both / found.sum((1, 2, 3)).clamp(min=1)).mean().item()
    recall = (both / true.sum((1, 2, 3)).clamp(min=1)).mean().item()
    return {
        "iou": (both / either.clamp(min=1)).mean().item(),
        "f": 1.3 * precision * recall / max(0.3 * precision + recall, 1e-9),
        "mae": (found.float() - masks / 255).abs().mean().item(),
    }


def run(options: argparse.Namespace) -> None:
    rows = read_rows(options.out)
    pack = DirectionPack.from_pretrained("digits")
    test = digits_on_photographs(options.data, train=False)
    images, masks = test.images[: options.samples], test.masks[: options.samples]
    for seed in range(options.seeds):
        for way in WAYS:
            about = {"way": way, "seed": seed, "steps": options.steps, "images": options.images}
            about |= {"samples": options.samples, "pack": "", "settings": PSEUDO.get(way, {})}
            about |= {"pack": identity(pack)} if way in PSEUDO else {}
            if matching(rows, **about) or (way == "Otsu" and seed):  # which learns nothing
                continue
            if way == "Otsu":
                found = otsu(images)
            else:
                if way in PSEUDO:
                    drawn = pseudo_masks(pack, count=options.images, seed=seed, **PSEUDO[way])
                    training, given = drawn.images, drawn.masks
                else:
                    training, _, given = digits_on_photographs(options.data, train=True)
                    chosen = torch.randperm(len(training), generator=torch.Generator().manual_seed(seed))
                    training, given = (each[chosen[: options.images]] for each in (training, given))
                network = train_segmenter(training, given, steps=options.steps, seed=seed)
                found = find_object(network, images)
            row = {**about, **measured(found, masks), **provenance()}
            append_row(options.out, row)
            rows.append(row)
            print(way, seed, *(f"{name} {row[name]:.3f}" for name in FIGURES), flush=True)
            if seed == 0 and way == "pseudo-masks":
                picture(drawn.images, drawn.masks, images, found, options.out.with_suffix(".png"))


def picture(training: Tensor, given: Tensor, images: Tensor, found: Tensor, path: Path) -> None:
    """Sixteen training images over their pseudo-masks, and sixteen real ones over what was found."""
    rows = [training[:16] / 255, given[:16] / 255, images[:16] / 255, found[:16].float()]
    save_image(torch.cat([row.expand(-1, 3, -1, -1) for row in rows]), path, nrow=16)


def report(rows: Sequence[Mapping[str, Any]]) -> str:
    check_no_two(rows, "way", "seed")
    lines = ["| masks from | IoU | F-measure | mean absolute error | seeds |", "| --- | --- | --- | --- | --- |"]
    for way in WAYS:
        found = matching(rows, way=way)
        if found:
            cells = [interval([row[name] for row in found]) for name in FIGURES]
            shown = [f"{mean:.3f} ± {half:.3f}" if len(found) > 1 else f"{mean:.3f}" for mean, half in cells]
            lines.append(f"| {way} | " + " | ".join(shown) + f" | {len(found)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the data sets")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--images", type=int, default=5000, help="that a U-Net learns from")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--samples", type=int, default=2000, help="test composites")
    parser.add_argument("--out", type=Path, default=RESULTS / "masks.jsonl")
    parser.add_argument("--report", action="store_true", help="only the table of what is in --out")
    parser.add_argument("--quick", action="store_true", help="one seed, few steps, into runs/quick")
    if "--quick" in sys.argv:
        parser.set_defaults(seeds=1, images=200, steps=50, samples=200, out=Path("runs/quick/masks.jsonl"))
    options = parser.parse_args()
    if not options.report:
        if options.data is None:
            parser.error("--data is missing: the folder of the data sets")
        run(options)
    lines = report(read_rows(options.out))
    print(lines)
    if options.report:
        options.out.with_suffix(".md").write_text(lines + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
