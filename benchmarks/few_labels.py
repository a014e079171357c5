"""Does LatentShift help where labels are few? The generator has seen all images, the classifier few labels.

    python benchmarks/few_labels.py --data DATA --pack runs/fashion [--seeds 3] [--quick]
    python benchmarks/few_labels.py --data CIFAR --dataset cifar10 --pack PACK --device cuda
    python benchmarks/few_labels.py --report

Fashion-MNIST with 10, 50 and 200 labels a class; the pack's generator and encoder were trained on the 60,000 training
images without their labels (benchmarks/recipes/fashion.toml). LatentShift inverts three quarters of the labelled images
and shifts each along any four of the pack's directions at once. Every policy trains the same network (a small ConvNet;
a WideResNet-16-4 for CIFAR-10) for the same steps of 64 images; its strength is picked from three on as many validation
images as there are labels: for LatentShift the largest magnitude, in latent units, for an unconditional pack without
labels has no measured safe ranges. Tested on all 10,000 test images.

CIFAR is the folder of the JPEG copy, unpacked (train/CLASS/NNNN.jpg). Beside the accuracies the script prints what
decides whether shifting can help, on 2,000 training images: the share whose label a classifier trained on all labels,
theirs too, still reads after shifts (and before), how far the reconstructed image is from the image, and how far a
shift moves it.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from harness import (
    append_row,
    best_strengths,
    check_no_two,
    header,
    line,
    matching,
    measured_once,
    parse,
    provenance,
    read_rows,
    script_parser,
    show,
    spread,
)
from policies import (
    LATENT,
    Images,
    identity,
    jsonable,
    small_network,
    strengths,
    tested,
    uses_generator,
    with_latents,
)
from torch import Tensor, nn
from torch.nn import functional as F

from ganaug.data import fashion_mnist, images_in_folder
from ganaug.evaluation import predict, reconstruction_error, train_classifier
from ganaug.inversion import Latents
from ganaug.packs import DirectionPack
from ganaug.transforms import LatentShift

LABELS = (10, 50, 200)
POLICIES = (
    "none",
    "RandomHorizontalFlip",
    "RandAugment",
    "AutoAugment",
    "LatentShift any",
    "LatentShift any, replaced",
    "LatentShift any + AutoAugment",
)
SEARCH_SEED = 100
SHARE, MAGNITUDES = 0.75, (0.5, 1.0, 2.0)


class WideBlock(nn.Module):
    def __init__(self, in_width: int, out_width: int, stride: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(in_width), nn.BatchNorm2d(out_width)
        self.conv1 = nn.Conv2d(in_width, out_width, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(out_width, out_width, 3, 1, 1, bias=False)
        self.shortcut = nn.Conv2d(in_width, out_width, 1, stride, bias=False) if in_width != out_width else None

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.norm1(x))
        residual = x if self.shortcut is None else self.shortcut(h)
        return residual + self.conv2(F.relu(self.norm2(self.conv1(h))))


def wide_resnet16(channels: int, num_classes: int, *, widen: int = 4) -> nn.Sequential:
    """WRN-16-k of Zagoruyko & Komodakis (BMVC 2016), table 1."""
    widths = (16, 16 * widen, 32 * widen, 64 * widen)
    layers: list[nn.Module] = [nn.Conv2d(channels, widths[0], 3, padding=1, bias=False)]
    for stage in (1, 2, 3):
        layers.append(WideBlock(widths[stage - 1], widths[stage], 1 if stage == 1 else 2))
        layers.append(WideBlock(widths[stage], widths[stage], 1))
    layers += [nn.BatchNorm2d(widths[3]), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(widths[3], num_classes))


@cache
def dataset(name: str, root: Path, train: bool) -> Images:
    if name == "fashion-mnist":
        found = fashion_mnist(root, train=train)
        return Images(found.images, found.labels)
    classes = sorted(path for path in (root / ("train" if train else "test")).iterdir() if path.is_dir())
    images = [images_in_folder(path, size=32, channels=3) for path in classes]
    labels = torch.arange(len(classes)).repeat_interleave(torch.tensor([len(each) for each in images]))
    return Images(torch.cat(images), labels)


def few(data: Images, per_class: int, seed: int, *, validation: bool = False) -> Images:
    """So many images of each class, of one seed; or the next as many."""
    order = torch.randperm(len(data.labels), generator=torch.Generator().manual_seed(seed))
    start = per_class if validation else 0
    of_class = [order[data.labels[order] == label][start : start + per_class] for label in range(10)]
    chosen = torch.cat(of_class)
    return Images(data.images[chosen], data.labels[chosen])


def run(options: argparse.Namespace) -> None:
    pack = DirectionPack.from_pretrained(options.pack)
    training, test = (dataset(options.dataset, options.data, train) for train in (True, False))
    network = wide_resnet16 if options.dataset == "cifar10" else small_network

    def run_once(kind: str, policy: str, strength: Mapping[str, Any], per_class: int, seed: int) -> float:
        about = {"dataset": options.dataset, "kind": kind, "policy": policy, "per_class": per_class, "seed": seed}
        about |= {"steps": options.steps}
        about |= {"pack": f"{pack.name} {identity(pack)}" if uses_generator(policy) else ""}
        about |= {"strength": jsonable(strength)}

        def measure() -> dict[str, float]:
            data = few(training, per_class, seed)
            shares = {name: SHARE if name in LATENT else value for name, value in strength.items()}
            reach = next((value for name, value in strength.items() if name in LATENT), 0.0)
            judged = {"accuracy": test if kind == "test" else few(training, per_class, seed, validation=True)}
            how = {"magnitude": (-reach, reach), "seed": seed, "network": network, "device": options.device}
            row = tested(policy, shares, pack, data, judged, options, **how)
            print(f"{kind:6} {policy:30} {per_class:4} a class, seed {seed:3}: {row['accuracy']:.4f}", flush=True)
            return row

        return measured_once(options.out, about, measure, device=options.device)["accuracy"]

    for per_class in options.labels:

        def searched(name: str, value: Any, per_class: int = per_class) -> float:
            return run_once("search", name, {name: value}, per_class, SEARCH_SEED)

        for policy in options.policies:
            chosen = best_strengths(policy, lambda name: MAGNITUDES if name in LATENT else strengths(name), searched)
            for seed in range(options.seeds):
                run_once("test", policy, chosen, per_class, seed)
    about = {"kind": "why", "pack": f"{pack.name} {identity(pack)}", "dataset": options.dataset}
    about |= {"judge_steps": options.judge_steps}
    if not matching(read_rows(options.out), **about):
        for reasons in why(training, pack, options):
            append_row(options.out, {**about, **reasons, **provenance(options.device)})


@torch.no_grad()
def why(data: Images, pack: DirectionPack, options: argparse.Namespace) -> Iterator[dict[str, float]]:
    """What decides whether shifting can help, for each magnitude."""
    with torch.enable_grad():
        classifier = train_classifier(data.images, data.labels, steps=options.judge_steps, device=options.device)
    some = with_latents(few(data, 200, SEARCH_SEED), pack)
    assert some.latents is not None
    reconstructed = reconstruction_error(pack, some.images)
    for reach in MAGNITUDES:
        settings = {**LATENT["LatentShift any"], "direction": list(range(pack.num_directions))}
        shift = LatentShift(**settings, pack=pack, p=1.0, magnitude=(-reach, reach), check_domain=False)
        torch.manual_seed(0)
        shifted = shift(some.images, some.labels, Latents(some.latents))[0]
        read = [(predict(classifier, images) == some.labels).float().mean().item() for images in (some.images, shifted)]
        moved = (shifted.float() - some.images.float()).abs().mean().item() / 255
        yield {
            "magnitude": reach,
            "label_before": read[0],
            "label_after": read[1],
            "reconstructed": reconstructed,
            "moved": moved,
        }


def report(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = []
    for name in dict.fromkeys(row["dataset"] for row in rows if "dataset" in row):
        tests = matching(rows, kind="test", dataset=name)
        check_no_two(tests, "policy", "per_class", "seed")
        counts = sorted({row["per_class"] for row in tests})
        lines.append(header(f"{name}: test accuracy", *(f"{count} a class" for count in counts)))
        for policy in dict.fromkeys(row["policy"] for row in tests):
            cells = []
            for count in counts:
                found = [row["accuracy"] for row in matching(tests, policy=policy, per_class=count)]
                cells.append(f"{spread(found or [math.nan])} ({len(found)})")
            lines.append(line(policy, *cells))
        lines.append("")
    lines.append(
        header("pack", "magnitude within", "label read before", "after", "moved by", "reconstructed differs by")
    )
    for row in matching(rows, kind="why"):
        figures = [f"{row[name]:.3f}" for name in ("label_before", "label_after", "moved", "reconstructed")]
        lines.append(line(row["pack"], f"{row['magnitude']:g}", *figures))
    return "\n".join(lines)


def main() -> None:
    parser = script_parser(__doc__, "data", "device", "banks", "bank-size", "report", out="few_labels.jsonl")
    parser.add_argument("--dataset", choices=("fashion-mnist", "cifar10"), default="fashion-mnist")
    parser.add_argument("--pack", help="a pack with an encoder")
    parser.add_argument("--labels", type=int, nargs="+", default=list(LABELS))
    parser.add_argument("--policies", nargs="+", default=list(POLICIES))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=900)
    parser.add_argument("--judge-steps", type=int, default=1000)
    quick = {"labels": [10], "seeds": 1, "steps": 40, "judge_steps": 60, "bank_size": 500}
    options = parse(parser, "data", "pack", quick=quick, quickly="10 labels a class, one seed, few steps")
    if not options.report:
        run(options)
    show(report(read_rows(options.out)), options)


if __name__ == "__main__":
    main()
