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
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from harness import check_no_two, header, interval, line, matching, measured_once, parse, read_rows, script_parser, show
from policies import identity
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


def figures(found: Tensor, masks: Tensor) -> dict[str, float]:
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
    pack = DirectionPack.from_pretrained("digits")
    test = digits_on_photographs(options.data, train=False)
    images, masks = test.images[: options.samples], test.masks[: options.samples]
    for seed in range(options.seeds):
        for way in WAYS:
            about = {"way": way, "seed": seed, "steps": options.steps, "images": options.images}
            about |= {"samples": options.samples, "pack": "", "settings": PSEUDO.get(way, {})}
            about |= {"pack": identity(pack)} if way in PSEUDO else {}
            if way != "Otsu" or not seed:  # Otsu's threshold learns nothing
                measured_once(options.out, about, partial(measured, way, seed, pack, images, masks, options))


def measured(
    way: str, seed: int, pack: DirectionPack, images: Tensor, masks: Tensor, options: argparse.Namespace
) -> dict[str, float]:
    found = figures(found_by(way, seed, pack, images, options), masks)
    print(way, seed, *(f"{name} {value:.3f}" for name, value in found.items()), flush=True)
    return found


def found_by(way: str, seed: int, pack: DirectionPack, images: Tensor, options: argparse.Namespace) -> Tensor:
    """Where the object of each image is, ``(N, 1, H, W)`` bool."""
    if way == "Otsu":
        return otsu(images)
    if way in PSEUDO:
        training, given, *_ = pseudo_masks(pack, count=options.images, seed=seed, **PSEUDO[way])
    else:
        training, _, given = digits_on_photographs(options.data, train=True)
        chosen = torch.randperm(len(training), generator=torch.Generator().manual_seed(seed))
        training, given = (each[chosen[: options.images]] for each in (training, given))
    found = find_object(train_segmenter(training, given, steps=options.steps, seed=seed), images)
    if seed == 0 and way == "pseudo-masks":
        options.out.parent.mkdir(parents=True, exist_ok=True)
        picture(training, given, images, found, options.out.with_suffix(".png"))
    return found


def picture(training: Tensor, given: Tensor, images: Tensor, found: Tensor, path: Path) -> None:
    """Sixteen training images over their pseudo-masks, and sixteen real ones over what was found."""
    rows = [training[:16] / 255, given[:16] / 255, images[:16] / 255, found[:16].float()]
    save_image(torch.cat([row.expand(-1, 3, -1, -1) for row in rows]), path, nrow=16)


def report(rows: Sequence[Mapping[str, Any]]) -> str:
    check_no_two(rows, "way", "seed")
    lines = [header("masks from", "IoU", "F-measure", "mean absolute error", "seeds")]
    for way in WAYS:
        found = matching(rows, way=way)
        if found:
            cells = [interval([row[name] for row in found]) for name in FIGURES]
            shown = [f"{mean:.3f} ± {half:.3f}" if len(found) > 1 else f"{mean:.3f}" for mean, half in cells]
            lines.append(line(way, *shown, len(found)))
    return "\n".join(lines)


def main() -> None:
    parser = script_parser(__doc__, "data", "report", out="masks.jsonl")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--images", type=int, default=5000, help="that a U-Net learns from")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--samples", type=int, default=2000, help="test composites")
    quick = {"seeds": 1, "images": 200, "steps": 50, "samples": 200}
    options = parse(parser, "data", quick=quick, quickly="one seed, few steps")
    if not options.report:
        run(options)
    show(report(read_rows(options.out)), options)


if __name__ == "__main__":
    main()
