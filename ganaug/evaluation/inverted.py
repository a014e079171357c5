"""What LatentShift does to real test images that it inverts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from ganaug.devices import own_defaults
from ganaug.evaluation.arguments import check_counts
from ganaug.evaluation.judges import find_object, predict
from ganaug.evaluation.kept import judges_of
from ganaug.evaluation.labelled import labelled_for
from ganaug.evaluation.reconstruction import reconstruction_error
from ganaug.evaluation.report import Report
from ganaug.images import uint8_to_signed
from ganaug.inversion import invert
from ganaug.packs import DirectionPack
from ganaug.transforms import LatentShift


@dataclass
class InversionReport(Report):
    """What :func:`evaluate_inverted` found.

    Attributes:
        title: what was shifted, and how.
        figures: ``label before`` the shift; ``reconstructed``, the mean absolute error of the images reconstructed
            without a shift; of a class-conditional generator ``class read by the encoder`` (how often rightly),
            ``label, class given`` and ``label, class read`` after the shift, of an unconditional one ``label``; where
            masks are known ``mask_iou`` and ``outside`` (mean absolute change outside the object). Shares of 1.
    """

    title: str
    figures: dict[str, float]

    def table(self) -> str:
        """The title, then one line for each figure."""
        return "\n".join([self.title, *(f"  {name:28} {value:.4f}" for name, value in self.figures.items())])

    def add_to(self, pack: DirectionPack, *, command: str) -> None:
        """Put the figures into ``pack.scores`` as ``real ...``, with the command that prints them."""
        for name, value in self.figures.items():
            pack.scores[f"real {name}"], pack.scores[f"real {name}_command"] = round(value, 4), command


@own_defaults
def evaluate_inverted(
    pack: DirectionPack,
    images: str | Path,
    *,
    direction: str | int = "background",
    blend: str = "add",
    samples: int = 1000,
    judge_steps: int = 1000,
    keep_judges: str | Path | None = None,
    seed: int = 0,
    device: str | torch.device | None = None,
) -> InversionReport:
    """Shift real test images as ``LatentShift(source="invert")`` does, and read them with judges of real images.

    Args:
        images: as for :func:`~ganaug.evaluation.evaluate`.
        direction: a name or an index.
        blend: see :class:`~ganaug.transforms.LatentShift`.
        samples: real test images.
        judge_steps: training steps of each judge.
        keep_judges: as for :func:`~ganaug.evaluation.evaluate`.
        seed: of which images are taken, and of the shifts.
        device: where judges and networks run; the CPU by default.

    Raises:
        TransformError, PackError: the pack has no encoder, or no such direction; the images are not the generator's.
        EvaluationError: numbers out of range.
        DataError: no such data set.
    """
    check_counts(samples=samples, judge_steps=judge_steps)
    target = torch.device(device or "cpu")
    shift = LatentShift(direction, pack=pack, p=1.0, source="invert", blend=blend, check_domain=False)
    data = labelled_for(pack, images)
    test = data.test
    chosen = torch.randperm(len(test.images), generator=torch.Generator().manual_seed(seed))[:samples]
    real, labels = test.images[chosen].to(target), test.labels[chosen]
    judges = judges_of(data, steps=judge_steps, seed=0, device=target, folder=keep_judges)
    classifier, segmenter = judges.classifier, judges.segmenter

    def agreement(pictures: torch.Tensor) -> float:
        return (predict(classifier, pictures) == labels).float().mean().item()

    figures = {"label before": agreement(real), "reconstructed": reconstruction_error(pack, real, samples=len(real))}
    with torch.no_grad():
        _, read = invert(pack, uint8_to_signed(real))
    if read is not None:
        figures["class read by the encoder"] = (read.cpu() == labels).float().mean().item()
    for given in (labels.to(target), None) if pack.num_classes else (labels.to(target),):
        torch.manual_seed(seed)
        shifted = shift(real) if given is None else shift(real, given)[0]
        key = "label" if not pack.num_classes else "label, class read" if given is None else "label, class given"
        figures[key] = agreement(shifted)
        if given is not None and segmenter is not None:
            figures |= _object_kept(segmenter, real, shifted)
    title = f"{pack.name}, {direction}, blend={blend}, {len(real)} real test images of {data.name}"
    return InversionReport(title, figures)


def _object_kept(segmenter: torch.nn.Module, images: torch.Tensor, shifted: torch.Tensor) -> dict[str, float]:
    """How well the object's mask stays, and how much changes outside of it, of uint8 images."""
    first, second = find_object(segmenter, images), find_object(segmenter, shifted)
    both, either = (first & second).sum((1, 2, 3)), (first | second).sum((1, 2, 3))
    change = (shifted.float() - images.float()).abs().mean(1, keepdim=True).cpu() / 255
    outside = ~(first | second)
    return {
        "mask_iou": (both / either.clamp(min=1)).mean().item(),
        "outside": ((change * outside).sum((1, 2, 3)) / outside.sum((1, 2, 3)).clamp(min=1)).mean().item(),
    }
