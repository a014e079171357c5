"""Figures behind the names that people gave to directions: what changes from one end of a direction to the other.

    python benchmarks/name_evidence.py mnist
    python benchmarks/name_evidence.py faces
    python benchmarks/name_evidence.py runs/faces --write     # also puts the mean changes into that pack

Fresh latents are shifted to both ends, -magnitude and +magnitude. Grey images of bright strokes give ink (mean
brightness), slant (shear of the second moments, as used to deskew MNIST), width and height (standard deviations of the
ink's columns and rows). Colour images of centred faces give the brightness of the whole image, of the border, the face
and the forehead less that of the whole, of the mouth less that of the face, and of the face's left side less its right.

For every named direction and figure: the mean change from the low end to the high end, in standard deviations over
unshifted images; the share of latents that change to the same side; the rank of the mean change among all directions.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from ganaug.packs import DirectionPack


def stroke_shape(images: Tensor) -> dict[str, Tensor]:
    """Of grey images ``(N, 1, H, W)`` in [-1, 1], bright on dark; each figure ``(N,)``."""
    ink = ((images.float() + 1) / 2).clamp(0, 1)[:, 0]
    total = ink.sum((1, 2)).clamp(min=1)
    ys, xs = torch.meshgrid(*(torch.arange(float(size)) for size in ink.shape[1:]), indexing="ij")
    dy, dx = (axis - ((ink * axis).sum((1, 2)) / total)[:, None, None] for axis in (ys, xs))
    xx, yy, xy = ((ink * product).sum((1, 2)) / total for product in (dx * dx, dy * dy, dx * dy))
    return {"ink": ink.mean((1, 2)), "slant": -xy / yy.clamp(min=0.1), "width": xx.sqrt(), "height": yy.sqrt()}


def face_light(images: Tensor) -> dict[str, Tensor]:
    """Of images ``(N, C, H, W)`` in [-1, 1] with a face in the middle; each figure ``(N,)``."""
    grey = ((images.float() + 1) / 2).clamp(0, 1).mean(1)
    size = grey.shape[-1]

    def region(top: float, bottom: float, left: float, right: float) -> Tensor:
        rows, columns = slice(int(top * size), int(bottom * size)), slice(int(left * size), int(right * size))
        return grey[:, rows, columns].mean((1, 2))

    whole = grey.mean((1, 2))
    return {
        "whole": whole,
        "border": (region(0, 1, 0, 0.12) + region(0, 1, 0.88, 1)) / 2 - whole,
        "face": region(0.35, 0.85, 0.3, 0.7) - whole,
        "forehead": region(0.15, 0.32, 0.3, 0.7) - whole,
        "mouth": region(0.7, 0.85, 0.38, 0.62) - region(0.4, 0.65, 0.3, 0.7),
        "left-right": region(0.35, 0.85, 0.25, 0.45) - region(0.35, 0.85, 0.55, 0.75),
    }


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pack", help="a bundled name, a folder or a Hub id")
    parser.add_argument("--magnitude", type=float, default=3.0)
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help="put the mean changes into the pack, a folder")
    arguments = parser.parse_args()
    if arguments.write and not Path(arguments.pack).is_dir():
        parser.error(f"--write needs a pack's folder, and {arguments.pack!r} is none.")

    pack = DirectionPack.from_pretrained(arguments.pack)
    generator = pack.generator
    figures: Callable[[Tensor], dict[str, Tensor]] = stroke_shape if generator.channels == 1 else face_light
    latents = generator.sample_latents(arguments.samples, rng=torch.Generator().manual_seed(arguments.seed))
    unshifted = figures(generator(latents))
    effects, shares = {name: [] for name in unshifted}, {name: [] for name in unshifted}
    for direction in pack.directions:
        low, high = (figures(generator(latents + end * arguments.magnitude * direction)) for end in (-1, 1))
        for name, values in unshifted.items():
            effects[name].append(((high[name] - low[name]).mean() / values.std()).item())
            upwards = (high[name] > low[name]).float().mean().item()
            shares[name].append(max(upwards, 1 - upwards))
    print(f"{'direction':>26}" + "".join(f"{f'{name} (share, rank)':>26}" for name in unshifted))
    for direction_name, index in sorted(pack.names.items(), key=lambda item: item[1]):
        row = f"{f'{index} {direction_name}':>26}"
        for name in unshifted:
            rank = 1 + sum(abs(effect) > abs(effects[name][index]) for effect in effects[name])
            row += f"{f'{effects[name][index]:+.2f} ({shares[name][index]:.2f}, {rank})':>26}"
        print(row)
    if arguments.write:
        for index in pack.names.values():
            means = {name: round(effects[name][index], 2) for name in unshifted}
            pack.add_scores(index, means, command=f"python benchmarks/name_evidence.py {pack.name}")
        pack.save_pretrained(arguments.pack)


if __name__ == "__main__":
    main()
