"""Augmentation policies and the one way in which all of them train a classifier; for the benchmarks beside this file.

LatentShift goes on batches, as in a training loop, before everything else, for stored latents belong to the images as
they lie on disk. "invert" policies change the training images themselves, from latents that
``ganaug.inversion.invert`` finds once before the training; "sample" policies replace a share of the images by others
of the same labels from a bank, which is drawn once for all trainings.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, RandomSampler
from torchvision import tv_tensors
from torchvision.transforms import v2

from ganaug import transforms
from ganaug.evaluation import predict
from ganaug.evaluation.judges import ConvNet, fit
from ganaug.images import uint8_to_signed
from ganaug.inversion import Latents, invert
from ganaug.packs import DirectionPack


class Images(NamedTuple):
    """``(N, C, 32, 32)`` uint8, ``(N,)`` labels, and stored latents ``(N, latent_dim)`` or None."""

    images: Tensor
    labels: Tensor
    latents: Tensor | None = None


class AsDataset(Dataset[tuple[Any, ...]]):
    def __init__(self, data: Images) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data.images)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        sample = (tv_tensors.Image(self.data.images[index]), int(self.data.labels[index]))
        return sample if self.data.latents is None else (*sample, Latents(self.data.latents[index]))


# -- the policies ---------------------------------------------------------------------------------------------------


def jitter(strength: float) -> v2.Transform:
    return v2.ColorJitter(strength, strength, strength, min(0.5, strength / 2))


HAND_MADE: dict[str, tuple[Callable[[Any], v2.Transform], Sequence[Any]]] = {
    "ColorJitter": (jitter, (0.25, 0.5, 1.0)),
    "RandAugment": (lambda strength: v2.RandAugment(magnitude=strength), (5, 9, 15)),
    "TrivialAugmentWide": (lambda p: v2.RandomApply([v2.TrivialAugmentWide()], p), (0.5, 0.75, 1.0)),
    "AutoAugment": (lambda name: v2.AutoAugment(v2.AutoAugmentPolicy(name)), ("imagenet", "cifar10", "svhn")),
    "AugMix": (lambda severity: v2.AugMix(severity=severity), (1, 3, 6)),
    "RandomHorizontalFlip": (lambda p: v2.RandomHorizontalFlip(p), (0.5,)),
    "RandomErasing": (lambda p: v2.RandomErasing(p), (0.25, 0.5, 0.9)),
}
"""Per image; what each is made of, and the strengths that are tried."""

MIXING: dict[str, tuple[Callable[[Any], v2.Transform], Sequence[Any]]] = {
    "MixUp": (lambda alpha: v2.MixUp(alpha=alpha, num_classes=10), (0.2, 0.5, 1.0)),
    "CutMix": (lambda alpha: v2.CutMix(alpha=alpha, num_classes=10), (0.2, 0.5, 1.0)),
}

BACKGROUNDS = ("background", "background hue", "background warmth")
LATENT: dict[str, dict[str, Any]] = {
    "samples": {"source": "sample", "direction": 0, "magnitude": 0.0},
    "LatentShift background, sample": {"source": "sample", "direction": "background"},
    "LatentShift any, sample": {"source": "sample", "direction": "any"},
    "reconstructed": {"source": "invert", "direction": 0, "magnitude": 0.0, "blend": "replace"},
    "LatentShift backgrounds": {"source": "invert", "direction": BACKGROUNDS, "num_ops": 3},
    "LatentShift backgrounds, replaced": {
        "source": "invert",
        "direction": BACKGROUNDS,
        "num_ops": 3,
        "blend": "replace",
    },
    "LatentShift any": {"source": "invert", "direction": "any", "num_ops": 4},
    "LatentShift any, replaced": {"source": "invert", "direction": "any", "num_ops": 4, "blend": "replace"},
}
"""On batches; at all strengths the share of images that are shifted. "samples" and "reconstructed" are the controls,
which shift nothing. The background directions are those that the pack has of these names; of "any", four shift each
image at once."""
SHARES = (0.5, 0.75, 1.0)


def strengths(policy: str) -> Sequence[Any]:
    """What is tried of a policy that is no pair; one None where there is nothing to choose."""
    if policy in LATENT:
        return SHARES
    made = {**HAND_MADE, **MIXING}
    return made[policy][1] if policy in made else (None,)


class Policy(NamedTuple):
    """What is done to a batch, in this order; None for nothing."""

    shift: transforms.LatentShift | None = None
    augment: v2.Transform | None = None
    mix: v2.Transform | None = None


def identity(pack: DirectionPack) -> str:
    """Eight digits of a hash of the generator's weights and the directions."""
    weights, directions = pack.generator.weights_sha256(), pack.directions.numpy().tobytes()
    return hashlib.sha256(weights.encode() + directions).hexdigest()[:8]


def available(policy: str, pack: DirectionPack) -> bool:
    """Whether a pack has the names, classes or encoder that a policy needs."""
    for name in policy.split(" + "):
        needed = LATENT.get(name, {"source": ""})
        direction = needed.get("direction")
        names = direction if isinstance(direction, tuple) else (direction,)
        if isinstance(names[0], str) and names[0] != "any" and not set(names) & set(pack.names):
            return False
        if (needed["source"] == "sample" and not pack.num_classes) or (
            needed["source"] == "invert" and not pack.has_encoder
        ):
            return False
    return True


def bank(pack: DirectionPack, direction: Any, magnitude: Any, folder: Path, size: int) -> Path:
    """The path of a bank of so many images, built where there is none yet."""
    about = repr((identity(pack), [(each.range, each.safe_range) for each in pack], direction, magnitude, size))
    digest = hashlib.sha256(about.encode()).hexdigest()
    path = folder / f"{pack.name}-{re.sub('[^a-z0-9]+', '-', str(direction))}-{digest[:8]}.safetensors"
    if not path.exists():
        with torch.autocast("cpu", torch.bfloat16):
            transforms.LatentBank.build(pack, direction, size, path, magnitude=magnitude)
    return path


def build(
    policy: str,
    strength: Mapping[str, Any],
    pack: DirectionPack,
    *,
    banks: Path,
    bank_size: int,
    magnitude: tuple[float, float] | None = None,
) -> Policy:
    """A policy, or several joined by " + ", of the given strengths; safe magnitudes unless others are given."""
    parts: dict[str, Any] = {}
    for name in policy.split(" + "):
        value = strength.get(name)
        if name in HAND_MADE:
            parts["augment"] = HAND_MADE[name][0](value)
        elif name in MIXING:
            parts["mix"] = MIXING[name][0](value)
        elif name in LATENT:
            options = {"magnitude": magnitude or "safe", **LATENT[name]}
            direction = options["direction"]
            if isinstance(direction, tuple):
                options["direction"] = [name for name in direction if name in pack.names]
                options["num_ops"] = len(options["direction"])
            if direction == "any" and magnitude is not None:
                options["direction"] = list(range(pack.num_directions))
            if options["source"] == "sample":
                path = bank(pack, options["direction"], options["magnitude"], banks, bank_size)
                parts["shift"] = transforms.LatentShift(bank=path, p=value)
            else:
                parts["shift"] = transforms.LatentShift(**options, pack=pack, p=value, check_domain=False)
    return Policy(**parts)


def uses_generator(policy: str) -> bool:
    return any(name in LATENT for name in policy.split(" + "))


def jsonable(strength: Mapping[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in strength.items()}


# -- training -------------------------------------------------------------------------------------------------------


def augmented(policy: Policy, batch: Sequence[Any]) -> tuple[Tensor, Tensor]:
    """A batch as the policy leaves it: images and labels, mixed ones ``(N, 10)``."""
    images, labels = batch[:2]
    if policy.shift is not None:
        with torch.autocast("cpu", torch.bfloat16):
            images, labels = policy.shift(*batch)[:2]
    if policy.augment is not None:
        images = torch.stack([policy.augment(image) for image in images])
    if policy.mix is not None:
        images, labels = policy.mix(v2.functional.to_dtype(images, torch.float32, scale=True), labels)
    return images.as_subclass(Tensor), labels


def small_network(channels: int, num_outputs: int) -> nn.Module:
    return ConvNet(channels, num_outputs, width=16)


def trained(
    policy: Policy,
    data: Images,
    *,
    steps: int,
    seed: int,
    network: Callable[[int, int], nn.Module] = small_network,
    device: str = "cpu",
) -> tuple[nn.Module, float]:
    """A network trained under a policy, and milliseconds an image that the policy took.

    Not ``ganaug.evaluation.train_classifier``: that crops at random, takes no policy and no mixed labels, and its
    figures are not those in results.
    """
    torch.manual_seed(seed)
    model = network(data.images.shape[1], 10).to(device).to(memory_format=torch.channels_last)
    dataset = AsDataset(data)
    sampler = RandomSampler(dataset, replacement=True, num_samples=64 * steps)
    batches = iter(DataLoader(dataset, 64, sampler=sampler))
    seconds = 0.0

    def loss() -> Tensor:
        nonlocal seconds
        batch = next(batches)
        began = time.perf_counter()
        images, labels = augmented(policy, batch)
        seconds += time.perf_counter() - began
        images = images / 127.5 - 1 if images.dtype == torch.uint8 else 2 * images - 1
        with torch.autocast(torch.device(device).type, torch.bfloat16):
            return F.cross_entropy(model(images.to(device, memory_format=torch.channels_last)), labels.to(device))

    fit(model, loss, steps=steps, title="network")
    return model, 1000 * seconds / (64 * steps)


@torch.no_grad()
def with_latents(data: Images, pack: DirectionPack) -> Images:
    labels = data.labels if pack.num_classes else None
    pairs = [
        invert(pack, uint8_to_signed(images), None if labels is None else given)
        for images, given in zip(data.images.split(250), data.labels.split(250), strict=True)
    ]
    return data._replace(latents=torch.cat([latents for latents, _ in pairs]))


def tested(
    policy: str,
    strength: Mapping[str, Any],
    pack: DirectionPack,
    data: Images,
    judged: Mapping[str, Images],
    options: argparse.Namespace,
    *,
    magnitude: tuple[float, float] | None = None,
    **how: Any,
) -> dict[str, float]:
    """What is measured of a network that a policy trained: accuracies on what ``judged`` names, and what it cost."""
    built = build(policy, strength, pack, banks=options.banks, bank_size=options.bank_size, magnitude=magnitude)
    if built.shift is not None and built.shift.source == "invert":
        data = with_latents(data, pack)
    network, milliseconds = trained(built, data, steps=options.steps, **how)
    figures = {name: accuracy(network, images) for name, images in judged.items()}
    return {**figures, "augment_ms": round(milliseconds, 3)}


def accuracy(network: nn.Module, data: Images) -> float:
    return (predict(network, data.images) == data.labels).float().mean().item()
