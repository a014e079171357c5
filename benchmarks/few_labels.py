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
theirs too, still reads after shifts (and before), how far the regenerated image is from the image, and how far a shift
moves it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from policies import (
    LATENT,
    Images,
    accuracy,
    build,
    identity,
    jsonable,
    small_network,
    strengths,
    trained,
    uses_generator,
    with_latents,
)
from rows import RESULTS, append_row, check_no_two, interval, matching, provenance, read_rows
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
    "LatentShift any, redrawn",
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
    rows = read_rows(options.out)
    pack = DirectionPack.from_pretrained(options.pack)
    training, test = (dataset(options.dataset, options.data, train) for train in (True, False))
    network = wide_resnet16 if options.dataset == "cifar10" else small_network

    def measure(kind: str, policy: str, strength: Mapping[str, Any], per_class: int, seed: int) -> float:
        about = {"dataset": options.dataset, "kind": kind, "policy": policy, "per_class": per_class, "seed": seed}
        about |= {"steps": options.steps}
        about |= {"pack": f"{pack.name} {identity(pack)}" if uses_generator(policy) else ""}
        about |= {"strength": jsonable(strength)}
        if found := matching(rows, **about):
            return found[0]["accuracy"]
        data = few(training, per_class, seed)
        shares = {name: SHARE if name in LATENT else value for name, value in strength.items()}
        reach = next((value for name, value in strength.items() if name in LATENT), 0.0)
        built = build(policy, shares, pack, banks=options.banks, bank_size=options.bank_size, magnitude=(-reach, reach))
        if built.shift is not None:
            data = with_latents(data, pack)
        learned, cost = trained(built, data, steps=options.steps, seed=seed, network=network, device=options.device)
        judged = test if kind == "test" else few(training, per_class, seed, validation=True)
        row = {**about, "accuracy": accuracy(learned, judged)}
        row |= {"augment_ms": round(cost, 3), **provenance(options.device)}
        append_row(options.out, row)
        rows.append(row)
        print(f"{kind:6} {policy:30} {per_class:4} a class, seed {seed:3}: {row['accuracy']:.4f}", flush=True)
        return row["accuracy"]

    for per_class in options.labels:
        for policy in options.policies:
            chosen = {}
            for name in policy.split(" + "):
                values = MAGNITUDES if name in LATENT else strengths(name)
                scores = [
                    measure("search", name, {name: value}, per_class, SEARCH_SEED)
                    for value in values
                    if len(values) > 1
                ]
                chosen[name] = values[max(range(len(scores)), key=scores.__getitem__)] if scores else values[0]
            for seed in range(options.seeds):
                measure("test", policy, chosen, per_class, seed)
    about = {"kind": "why", "pack": f"{pack.name} {identity(pack)}", "dataset": options.dataset}
    about |= {"judge_steps": options.judge_steps}
    if not matching(rows, **about):
        for reasons in why(training, pack, options):
            append_row(options.out, {**about, **reasons, **provenance(options.device)})


@torch.no_grad()
def why(data: Images, pack: DirectionPack, options: argparse.Namespace) -> Iterator[dict[str, float]]:
    """What decides whether shifting can help, for each magnitude."""
    with torch.enable_grad():
        classifier = train_classifier(data.images, data.labels, steps=options.judge_steps, device=options.device)
    some = with_latents(few(data, 200, SEARCH_SEED), pack)
    assert some.latents is not None
    redrawn = reconstruction_error(pack, some.images)
    for reach in MAGNITUDES:
        settings = {**LATENT["LatentShift any"], "direction": list(range(pack.num_directions))}
        shift = LatentShift(**settings, pack=pack, p=1.0, magnitude=(-reach, reach))
        torch.manual_seed(0)
        shifted = shift(some.images, some.labels, Latents(some.latents))[0]
        read = [(predict(classifier, images) == some.labels).float().mean().item() for images in (some.images, shifted)]
        moved = (shifted.float() - some.images.float()).abs().mean().item() / 255
        yield {"magnitude": reach, "label_before": read[0], "label_after": read[1], "redrawn": redrawn, "moved": moved}


def report(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = []
    for name in dict.fromkeys(row["dataset"] for row in rows if "dataset" in row):
        tests = matching(rows, kind="test", dataset=name)
        check_no_two(tests, "policy", "per_class", "seed")
        counts = sorted({row["per_class"] for row in tests})
        lines += [f"| {name}: test accuracy | " + " | ".join(f"{count} a class" for count in counts) + " |"]
        lines += ["| --- |" + " --- |" * len(counts)]
        for policy in dict.fromkeys(row["policy"] for row in tests):
            cells = []
            for count in counts:
                found = [row["accuracy"] for row in matching(tests, policy=policy, per_class=count)]
                mean, half = interval(found) if found else (float("nan"), 0.0)
                cells.append(f"{mean:.3f} ± {half:.3f} ({len(found)})")
            lines.append(f"| {policy} | " + " | ".join(cells) + " |")
        lines.append("")
    lines += ["| pack | magnitude within | label read before | after | moved by | redrawn differs by |"]
    lines += ["| --- | --- | --- | --- | --- | --- |"]
    lines += [
        f"| {row['pack']} | {row['magnitude']:g} | {row['label_before']:.3f} | {row['label_after']:.3f} "
        f"| {row['moved']:.3f} | {row['redrawn']:.3f} |"
        for row in matching(rows, kind="why")
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the data sets")
    parser.add_argument("--dataset", choices=("fashion-mnist", "cifar10"), default="fashion-mnist")
    parser.add_argument("--pack", help="a pack with an encoder")
    parser.add_argument("--labels", type=int, nargs="+", default=list(LABELS))
    parser.add_argument("--policies", nargs="+", default=list(POLICIES))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=900)
    parser.add_argument("--judge-steps", type=int, default=1000)
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--banks", type=Path, default=Path("runs/banks"), help="folder of latent banks, where one is used"
    )
    parser.add_argument("--bank-size", type=int, default=20_000)
    parser.add_argument("--out", type=Path, default=RESULTS / "few_labels.jsonl")
    parser.add_argument("--report", action="store_true", help="only the table of what is in --out")
    parser.add_argument("--quick", action="store_true", help="10 labels a class, one seed, few steps, into runs/quick")
    if "--quick" in sys.argv:
        parser.set_defaults(
            labels=[10], seeds=1, steps=40, judge_steps=60, bank_size=500, out=Path("runs/quick/few_labels.jsonl")
        )
    options = parser.parse_args()
    if not options.report:
        if options.data is None or options.pack is None:
            parser.error("--data (the folder of the data sets) and --pack are needed")
        run(options)
    lines = report(read_rows(options.out))
    print(lines)
    if options.report:
        options.out.with_suffix(".md").write_text(lines + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
