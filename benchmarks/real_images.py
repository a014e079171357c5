"""What LatentShift does to real images, through inversion: is the label still read, does the object's shape stay?

    python benchmarks/real_images.py digits --data DATA [--direction background] [--blend add] [--write]

On real test images of the data set (1,000 by default): ``LatentShift(direction, source="invert", p=1)`` over the safe
range, with their labels and with the labels that the encoder reads. A classifier and, where masks are known, a
segmenter, trained on the real training images, judge. Figures: label (share read right after the shift; beside it the
share before), mask_iou (of the object found before and after), outside (mean absolute change of the pixels outside it,
share of full scale), redrawn (mean absolute error of the image regenerated without a shift).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from ganaug import transforms
from ganaug.data import read_dataset
from ganaug.evaluation import find_object, predict, redrawing_error, train_classifier, train_segmenter
from ganaug.images import to_float
from ganaug.inversion import invert
from ganaug.packs import DirectionPack


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pack")
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--dataset", help="the pack's name by default")
    parser.add_argument("--direction", default="background")
    parser.add_argument("--blend", default="add", choices=("add", "replace"))
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--judge-steps", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help="put the figures into the pack, a folder")
    arguments = parser.parse_args()
    if arguments.write and not Path(arguments.pack).is_dir():
        parser.error(f"--write needs a pack's folder, and {arguments.pack!r} is none.")

    pack = DirectionPack.from_pretrained(arguments.pack)
    dataset = arguments.dataset or pack.name
    training, test = (read_dataset(dataset, arguments.data, train=train) for train in (True, False))
    order = torch.randperm(len(test.images), generator=torch.Generator().manual_seed(arguments.seed))
    chosen = order[: arguments.samples]
    images, labels = test.images[chosen], test.labels[chosen]
    with torch.enable_grad():
        classifier = train_classifier(training.images, training.labels, steps=arguments.judge_steps)
        segmenter = None
        if training.masks is not None:
            segmenter = train_segmenter(training.images, training.masks, steps=arguments.judge_steps)
    before = (predict(classifier, images) == labels).float().mean().item()
    figures = {"label before": before, "redrawn": redrawing_error(pack, images)}
    _, read = invert(pack, to_float(images))
    if read is not None:
        figures["class read by the encoder"] = (read == labels).float().mean().item()
    for given in (labels, None) if pack.num_classes else (labels,):
        shift = transforms.LatentShift(arguments.direction, pack=pack, p=1.0, source="invert", blend=arguments.blend)
        torch.manual_seed(arguments.seed)
        shifted = shift(images) if given is None else shift(images, given)[0]
        name = "label" if not pack.num_classes else "label, class read" if given is None else "label, class given"
        figures[name] = (predict(classifier, shifted) == labels).float().mean().item()
        if given is None or segmenter is None:
            continue
        first, second = find_object(segmenter, images), find_object(segmenter, shifted)
        both, either = (first & second).sum((1, 2, 3)), (first | second).sum((1, 2, 3))
        figures["mask_iou"] = (both / either.clamp(min=1)).mean().item()
        change = (shifted.float() - images.float()).abs().mean(1, keepdim=True) / 255
        outside = ~(first | second)
        figures["outside"] = ((change * outside).sum((1, 2, 3)) / outside.sum((1, 2, 3))).mean().item()
    print(f"{pack.name}, {arguments.direction}, blend={arguments.blend}, {len(images)} real test images of {dataset}")
    for name, value in figures.items():
        print(f"  {name:28} {value:.4f}")
    if arguments.write:
        command = f"python benchmarks/real_images.py {pack.name} --data DATA"
        for name in ("dataset", "direction", "blend", "samples", "judge_steps", "seed"):
            value = getattr(arguments, name)
            if value != parser.get_default(name) and value != pack.name:
                command += f" --{name.replace('_', '-')} {value}"
        for name, value in figures.items():
            key = "real " + name
            pack.scores[key], pack.scores[f"{key}_command"] = round(value, 4), command
        pack.save_pretrained(arguments.pack)


if __name__ == "__main__":
    main()
