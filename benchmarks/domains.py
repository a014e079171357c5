"""Whether LatentShift tells images of a pack's kind from others.

    python benchmarks/domains.py --data DATA --cifar CIFAR [--runs 200] [--packs faces] [--sets noise]

CIFAR is the folder of the JPEG copy, unpacked (test/CLASS/NNNN.jpg). For each shipped pack and each set of images, RUNS
times: 64 images at random, in batches of 16, through ``LatentShift("any", pack=...)``. Printed is the share of runs
that were refused, and after how many images at the most. Own images are test images (of `faces`, which has none, images
that its generator draws), as they are, flipped, cropped, moved and jittered; how much is drawn for each run.
Photographs are squares of 32 to 256 pixels out of ``bsds500/test``. Noise is uniform. Of the sets that end in
``-class`` and ``-pair``, the 64 images of a run are of one class or of two, as those of a folder that is read in order.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path

import torch
from harness import header, line
from torch import Tensor
from torchvision.transforms import v2

from ganaug import transforms
from ganaug.data import LabelledImages, digits_on_photographs, fashion_mnist, mnist
from ganaug.errors import TransformError
from ganaug.folders import image_files, read_image
from ganaug.images import signed_to_uint8
from ganaug.packs import DirectionPack

PACKS = ("digits", "mnist", "faces")


def some(items: list[Path], count: int) -> list[Path]:
    return [items[index] for index in torch.randperm(len(items))[:count].tolist()]


def photographs(root: Path) -> Tensor:
    squares = []
    for file in image_files(root / "bsds500" / "test"):
        picture = read_image(file, channels=3)
        for side in (side for side in (32, 64, 128, 256) * 3 if side <= min(picture.shape[1:])):
            squares.append(v2.Resize(64, antialias=True)(v2.RandomCrop(side)(picture)))
    return torch.stack(squares)


@torch.no_grad()
def faces() -> Tensor:
    generator = DirectionPack.from_pretrained("faces").generator
    return torch.cat([signed_to_uint8(generator(generator.sample_latents(200))) for _ in range(10)])


def classes(data: LabelledImages) -> list[Tensor]:
    return [data.images[data.labels == label] for label in data.labels.unique().tolist()]


def pairs(pools: list[Tensor]) -> list[Tensor]:
    return [torch.cat(pair) for pair in combinations(pools, 2)]


def cifar10(root: Path) -> list[Tensor]:
    return [
        torch.stack([read_image(file, channels=3) for file in some(image_files(folder), 200)])
        for folder in sorted((root / "test").iterdir())
    ]


def grey(pools: list[Tensor]) -> list[Tensor]:
    return [v2.functional.rgb_to_grayscale(pool, 3) for pool in pools]


def readers(data: Path, cifar: Path) -> dict[str, Callable[[], list[Tensor]]]:
    """By name, how to read what the 64 images of a run are drawn from: one pool of images, or one of several."""
    return {
        "digits": lambda: [digits_on_photographs(data, train=False).images],
        "mnist": lambda: [mnist(data, train=False).images],
        "faces": lambda: [faces()],
        "fashion-mnist": lambda: [fashion_mnist(data, train=False).images],
        "cifar10": lambda: [torch.cat(cifar10(cifar))],
        "photographs": lambda: [photographs(data)],
        "noise": lambda: [torch.randint(0, 256, (1000, 3, 32, 32), dtype=torch.uint8)],
        "digits-class": lambda: classes(digits_on_photographs(data, train=False)),
        "digits-pair": lambda: pairs(classes(digits_on_photographs(data, train=False))),
        "mnist-class": lambda: classes(mnist(data, train=False)),
        "mnist-pair": lambda: pairs(classes(mnist(data, train=False))),
        "cifar10-grey": lambda: grey([torch.cat(cifar10(cifar))]),
        "cifar10-class": lambda: cifar10(cifar),
        "cifar10-grey-class": lambda: grey(cifar10(cifar)),
        "fashion-mnist-class": lambda: classes(fashion_mnist(data, train=False)),
    }


SETS = list(readers(Path(), Path()))
AS_THEY_ARE = "as they are"
OF_FEW_CLASSES = (AS_THEY_ARE, "all of it")
"""What is done to a pack's own images of one class or two."""


def views(channels: int, size: int) -> dict[str, Callable[[Tensor], Tensor]]:
    """What a pipeline does to one image; made anew for each run, with another strength."""
    strength = 0.4 * float(torch.rand(()))
    jitter = v2.ColorJitter(strength, strength, *((strength, strength / 4) if channels == 3 else ()))
    crop = v2.RandomResizedCrop(size, scale=(1 - strength, 1.0), antialias=True)
    return {
        AS_THEY_ARE: lambda image: image,
        "flipped": v2.RandomHorizontalFlip(1.0),
        "cropped": crop,
        "moved": v2.RandomCrop(size, padding=int(torch.randint(1, size // 8 + 1, ()))),
        "jittered": jitter,
        "all of it": v2.Compose([v2.RandomHorizontalFlip(), crop, jitter]),
    }


def refused_after(pack: DirectionPack, batch: Tensor) -> int:
    """How many images it took to refuse them; 0 if they passed."""
    shift = transforms.LatentShift("any", pack=pack, p=0.0, source="invert", magnitude=1.0)
    for start in range(0, len(batch), 16):
        try:
            shift(batch[start : start + 16])
        except TransformError:
            return start + 16
    return 0


def rows(sets: dict[str, list[Tensor]], runs: int, packs: list[str]) -> Iterator[tuple[str, str, list[int]]]:
    for name in packs:
        pack = DirectionPack.from_pretrained(name)
        fitting = v2.RGB() if pack.generator.channels == 3 else v2.Grayscale()
        for kind, pools in sets.items():
            own, _, few = kind.partition("-")
            done = (AS_THEY_ARE,) if own != name else OF_FEW_CLASSES if few else tuple(views(3, 32))
            for view in done:
                after = []
                for run in range(runs):
                    pool = pools[run % len(pools)]
                    chosen = fitting(pool[torch.randperm(len(pool))[:64]])
                    look = views(pack.generator.channels, chosen.shape[-1])[view]
                    after.append(refused_after(pack, torch.stack([look(image) for image in chosen])))
                yield name, kind if own != name else f"its own {few}, {view}".replace(" ,", ","), after


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cifar", type=Path, default=Path("cifar10"))
    parser.add_argument("--sets", nargs="+", default=SETS, choices=SETS)
    parser.add_argument("--packs", nargs="+", choices=PACKS, default=list(PACKS))
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    read = readers(options.data, options.cifar)
    sets = {name: read[name]() for name in options.sets}
    print(header("pack", "images", "refused", "after at most"))
    for name, kind, after in rows(sets, options.runs, options.packs):
        share = sum(count > 0 for count in after) / len(after)
        print(line(name, kind, f"{share:.3f}", max(after)), flush=True)


if __name__ == "__main__":
    main()
