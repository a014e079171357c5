"""What ``ganaug evaluate`` prints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from ganaug.data import read_dataset
from ganaug.devices import in_channels_last
from ganaug.errors import PackError
from ganaug.evaluation.change import measure_change
from ganaug.evaluation.dvn import direction_variation_naturalness
from ganaug.evaluation.judges import find_object, predict, train_classifier, train_segmenter
from ganaug.evaluation.labels import invert_images, label_hits, safe_ranges
from ganaug.packs import DirectionPack


def evaluate_pack(
    pack: DirectionPack,
    root: str | Path,
    *,
    dataset: str,
    indices: Sequence[int],
    interval: tuple[float, float] | None = None,
    samples: int = 1000,
    measure_ranges: bool = False,
    rate: float = 0.95,
    dvn: bool = False,
    judge_steps: int = 1000,
    seed: int = 0,
    command: str = "",
) -> Iterator[str]:
    """Measure directions with judges trained on real images; put the figures into ``pack.scores``.

    Labels are read off fresh images of a class-conditional generator. An unconditional one can only change real images
    in a classifier's pipeline, so with an encoder they are read off inverted real test images.

    Args:
        root: folder of the data sets.
        dataset: which one, a key of :data:`DATASETS`; its images have the generator's size and channels, its labels
            are the generator's.
        indices: the directions to measure.
        interval: of the uniform magnitudes; each direction's safe range by default.
        samples: fresh latents per direction.
        measure_ranges: measure all safe ranges first and put them into the pack; see :func:`safe_ranges`.
        dvn: also measure direction variation naturalness.
        judge_steps: training steps of the classifier and of the segmenter.
        command: kept beside the figures, so that they can be printed again.

    Yields:
        Lines to print.

    Raises:
        PackError: the images are not the generator's, or safe ranges are wanted and the classifier does not read
            unshifted samples at the rate.
    """
    training, test = (read_dataset(dataset, root, train=train) for train in (True, False))
    generator = in_channels_last(pack.generator)
    if training.images.shape[1:] != (generator.channels, generator.image_size, generator.image_size):
        raise PackError(
            f"{dataset} has images of {tuple(training.images.shape[1:])}, which are not pack {pack.name!r}'s."
        )
    classifier = train_classifier(training.images, training.labels, seed=seed, steps=judge_steps)
    right = (predict(classifier, test.images) == test.labels).float().mean().item()
    yield f"judge: a classifier trained on real {dataset} reads {right:.4f} of the real test images right"
    segmenter = None
    if training.masks is not None and test.masks is not None:
        segmenter = train_segmenter(training.images, training.masks, seed=seed, steps=judge_steps)
        found, true = find_object(segmenter, test.images[:2000]), test.masks[:2000] > 127
        iou = ((found & true).sum((1, 2, 3)) / (found | true).sum((1, 2, 3)).clamp(min=1)).mean().item()
        yield f"judge: a segmenter trained on the known masks reaches IoU {iou:.4f} on 2,000 real test images"
    real = None
    if generator.num_classes == 0 and pack.has_encoder:
        chosen = torch.randperm(len(test.images), generator=torch.Generator().manual_seed(seed))[:samples]
        real = invert_images(pack, test.images[chosen], test.labels[chosen])
        samples = len(chosen)
        yield f"an unconditional generator with an encoder: labels are read off {samples} real test images, shifted"
    unshifted = label_hits(generator, pack.directions[0], classifier, magnitudes=[0.0], samples=samples, seed=seed + 1)
    if generator.num_classes:
        yield f"unshifted samples read as their label: {unshifted[0] / samples:.4f}"
    if measure_ranges:
        if generator.num_classes and unshifted[0] < rate * samples:
            raise PackError(
                f"the classifier reads {unshifted[0] / samples:.4f} of unshifted samples as their label, less than the "
                f"rate of {rate} that safe ranges must keep. Train it longer (--judge-steps), or lower --rate."
            )
        count = min(samples, 400)
        reach = max(direction.range[1] for direction in pack)
        measured = safe_ranges(
            generator,
            pack.directions,
            classifier,
            rate=rate,
            max_magnitude=reach,
            samples=count,
            seed=seed + 3,
            real=real,
        )
        for direction, safe_range in zip(pack, measured, strict=True):
            direction.safe_range = safe_range or (0.0, 0.0)
        yield f"{len(pack.usable())} of {pack.num_directions} directions have a safe range at rate {rate}"
    yield f"{'direction':>22} {'range':>14} {'label':>7} {'mask_iou':>9} {'outside':>8} {'inside':>7}" + (
        f" {'dvn':>6}" if dvn else ""
    )
    for index in indices:
        if interval is None and not pack[index].is_usable:
            yield f"{pack[index].label:>22} changes the label at every magnitude measured"
            continue
        low, high = interval or pack[index].reach
        row: dict[str, float] = {}
        if segmenter is not None and real is None:
            change = measure_change(
                generator,
                pack.directions[index],
                (low, high),
                classifier=classifier,
                segmenter=segmenter,
                samples=samples,
                seed=seed + 2,
            )
            row = change._asdict()
        else:
            grid = [low + (high - low) * k / 10 for k in range(11)]
            hits = label_hits(
                generator,
                pack.directions[index],
                classifier,
                magnitudes=grid,
                samples=samples,
                seed=seed + 2,
                real=real,
            )
            row = {"label": sum(hits) / (len(grid) * samples)}
        if dvn:
            row["dvn"] = direction_variation_naturalness(generator, pack.directions[index], training.images, seed=seed)
        pack.add_scores(index, {key: round(value, 4) for key, value in row.items()}, command=command)
        cells = [f"{row[key]:{width}.4f}" if key in row else " " * width for key, width in COLUMNS]
        yield (
            f"{pack[index].label:>22} {low:+6.2f},{high:+6.2f}  "
            + " ".join(cells)
            + (f" {row['dvn']:6.3f}" if dvn else "")
        )


def pairwise_cosines(pack: DirectionPack) -> str:
    """How alike the directions of a pack of two or more are: a line to print."""
    cosines = (pack.directions @ pack.directions.T).abs().fill_diagonal_(0)
    count = len(cosines)
    first, second = divmod(int(cosines.argmax()), count)
    mean, largest = cosines.sum().item() / (count * (count - 1)), cosines.max().item()
    return f"|cosine| of two directions: mean {mean:.3f}, largest {largest:.3f} ({first} and {second})"


COLUMNS = (("label", 7), ("mask_iou", 9), ("outside", 8), ("inside", 7))
