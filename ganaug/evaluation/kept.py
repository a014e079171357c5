"""Judges of real images, trained once for the same images and settings, and kept in a folder."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ganaug.data import LabelledImages
from ganaug.errors import EvaluationError, FileError
from ganaug.evaluation.change import shares
from ganaug.evaluation.judges import ConvNet, Segmenter, find_object, predict, train_classifier, train_segmenter
from ganaug.evaluation.labelled import Labelled
from ganaug.files import check_regular, read_safetensors, write_safetensors
from ganaug.streams import StreamedImages

FORMAT = "ganaug judge 1"
"""Changes whenever networks or their training do."""
MASKED = 2000
"""Test images on which a segmenter is measured."""
N = TypeVar("N", ConvNet, Segmenter)


class Judges(NamedTuple):
    """What reads labels and finds objects, and how well on real test images.

    Attributes:
        classifier: maps images in [-1, 1] to logits.
        segmenter: where masks are known.
        right: share of the test images that the classifier reads right.
        classes: the same of the images of each class.
        iou: mean intersection over union of the segmenter on 2,000 test images.
        identity: of the images, settings, and the user's own classifier: what is measured with others is another thing.
    """

    classifier: nn.Module
    segmenter: nn.Module | None
    right: float
    classes: dict[int, float]
    iou: float | None
    identity: str


def judges_of(
    data: Labelled,
    *,
    steps: int,
    seed: int,
    device: torch.device,
    own: nn.Module | None = None,
    folder: str | Path | None = None,
    show_progress: bool = True,
) -> Judges:
    """The classifier, and the segmenter where masks are known: found in a folder, or trained and kept there.

    Args:
        own: the classifier, in place of a trained one; maps images in [-1, 1] to logits.
        folder: where judges are kept, ``.judge-HASH.safetensors``; None keeps none.

    Raises:
        EvaluationError: a file of such a name holds no judge, or not the one that was written.
        FileError: the judge can't be written.
    """
    training, test = data.training, data.test
    settings = {"steps": steps, "seed": seed, "images": _fingerprint(training), "test": _fingerprint(test)}
    shared: dict[str, Any] = {"steps": steps, "seed": seed, "device": device, "show_progress": show_progress}
    where = None if folder is None else Path(folder)

    def read(classifier: nn.Module) -> dict[str, Any]:
        right = (predict(classifier, test.images) == test.labels).float()
        return {"right": right.mean().item(), "classes": shares(right, test.labels)}

    if own is None:
        classifier: nn.Module
        outputs = int(training.labels.max()) + 1
        classifier, found = _kept(
            where,
            {"judge": "classifier", "outputs": outputs, **settings},
            lambda: ConvNet(training.images.shape[1], outputs),
            lambda: train_classifier(training.images, training.labels, **shared),
            read,
            device,
        )
    else:
        classifier, found = own, read(own)
    identity = _digest([settings, None if own is None else _weights(own)])
    classes = {int(label): float(share) for label, share in found["classes"].items()}
    if training.masks is None or test.masks is None:
        return Judges(classifier, None, found["right"], classes, None, identity)
    masks, true = training.masks, test.masks[:MASKED] > 127

    def iou(segmenter: nn.Module) -> dict[str, Any]:
        seen = find_object(segmenter, test.images[:MASKED])
        return {"iou": ((seen & true).sum((1, 2, 3)) / (seen | true).sum((1, 2, 3)).clamp(min=1)).mean().item()}

    segmenter, outlined = _kept(
        where,
        {"judge": "segmenter", **settings},
        lambda: Segmenter(training.images.shape[1]),
        lambda: train_segmenter(training.images, masks, **shared),
        iou,
        device,
    )
    return Judges(classifier, segmenter, found["right"], classes, outlined["iou"], identity)


def _kept(
    folder: Path | None,
    identity: dict[str, Any],
    build: Callable[[], N],
    train: Callable[[], N],
    measure: Callable[[nn.Module], dict[str, Any]],
    device: torch.device,
) -> tuple[N, dict[str, Any]]:
    """A network and its figures: what was kept for the same identity, else trained, measured, and kept."""
    digest = _digest(identity)
    path = None if folder is None else folder / f".judge-{digest[:12]}.safetensors"
    if path is not None and os.path.lexists(path):
        network = build().to(device).to(memory_format=torch.channels_last)
        return network, _load(path, network, digest)
    network = train()
    figures = measure(network)
    if path is not None:
        about = {"format": FORMAT, "identity": digest, "weights": _weights(network), "figures": json.dumps(figures)}
        write_safetensors(path, network.state_dict(), metadata={**about, "settings": json.dumps(identity)})
    return network, figures


def _load(path: Path, network: nn.Module, digest: str) -> dict[str, Any]:
    """Put kept weights into a network, in evaluation mode; returns its figures."""
    try:
        check_regular(path)
        with safe_open(str(path), "pt") as file:
            about = file.metadata() or {}
        if about.get("format") != FORMAT or about.get("identity") != digest:
            raise EvaluationError("it is another one's")
        network.load_state_dict(read_safetensors(path))
        if about.get("weights") != _weights(network):
            raise EvaluationError("it was changed")
        figures: dict[str, Any] = json.loads(about["figures"])
    except (EvaluationError, FileError, SafetensorError, RuntimeError, LookupError, ValueError) as error:
        raise EvaluationError(
            f"{path} does not hold the judge that ganaug kept there. Delete it, or move it away: a new one is trained."
        ) from error
    network.eval()
    return figures


def _fingerprint(data: LabelledImages) -> str:
    """SHA-256 of labelled images: of their pixels, or of what is streamed the paths, sizes and times of the files."""
    digest = hashlib.sha256(str(tuple(data.images.shape)).encode())
    if isinstance(data.images, StreamedImages):
        for file in data.images.files:
            found = os.stat(file)
            digest.update(f"{file}\0{found.st_size}\0{found.st_mtime_ns}\n".encode(errors="surrogateescape"))
    for part in (data.images, data.labels, data.masks):
        if isinstance(part, Tensor):
            digest.update(part.contiguous().numpy().data)
    return digest.hexdigest()


def _weights(network: nn.Module) -> str:
    """SHA-256 of all tensors of a network."""
    digest = hashlib.sha256(type(network).__name__.encode())
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps([FORMAT, content], sort_keys=True).encode()).hexdigest()
