"""Features of images by a judge, and how far two sets of images are apart in them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganaug.devices import autocast, own_defaults
from ganaug.errors import EvaluationError
from ganaug.evaluation.arguments import check_counts, check_images
from ganaug.evaluation.judges import ConvNet, fit
from ganaug.images import uint8_to_signed
from ganaug.streams import Images

SUBSETS = 50
"""Random subsets that KID is the mean of."""
TURNS = 4


@contextmanager
def evaluating(*networks: nn.Module) -> Iterator[None]:
    """Networks in evaluation mode and without gradients; every module's own mode again afterwards."""
    modes = [(module, module.training) for network in networks for module in network.modules()]
    try:
        for network in networks:
            network.eval()
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode


class Read(NamedTuple):
    """What a judge sees in N images: its features ``(N, D)`` float32, and the class ``(N,)`` that it reads."""

    features: Tensor
    classes: Tensor


def last_linear(judge: nn.Module) -> nn.Linear:
    """The layer that a judge's logits come from, and whose inputs are its features.

    Raises:
        EvaluationError: it has none.
    """
    layers = [module for module in judge.modules() if isinstance(module, nn.Linear)]
    if not layers:
        raise EvaluationError(
            f"the features of a judge are what its last linear layer reads, and this {type(judge).__name__} has no "
            "nn.Linear. Leave judge out, and one is trained."
        )
    return layers[-1]


@own_defaults
def read(judge: nn.Module, images: Images, *, batch_size: int = 500, precision: str = "bfloat16") -> Read:
    """A judge's features of images ``(N, C, H, W)`` uint8, and its classes, both on the CPU.

    Raises:
        EvaluationError: the judge has no linear layer, or is no classifier of images in [-1, 1].
    """
    device = next(judge.parameters()).device
    kept: list[Tensor] = []
    hook = last_linear(judge).register_forward_pre_hook(lambda _, inputs: kept.append(inputs[0]))
    features, classes = [], []
    try:
        with evaluating(judge):
            for batch in images.split(batch_size):
                kept.clear()
                with autocast(device, precision):
                    logits = judge(uint8_to_signed(batch).to(device))
                if not kept or kept[-1].ndim != 2 or logits.ndim != 2:
                    raise EvaluationError(
                        f"the judge should give logits (N, classes) by a linear layer of (N, features), and gave "
                        f"{tuple(logits.shape)} for {tuple(batch.shape)}. Leave judge out, and one is trained."
                    )
                features.append(kept[-1].float().cpu())
                classes.append(logits.argmax(1).cpu())
    finally:
        hook.remove()
    return Read(torch.cat(features), torch.cat(classes))


@own_defaults
def train_rotation_judge(
    images: Images,
    *,
    steps: int = 1000,
    batch_size: int = 128,
    learning_rate: float = 2e-3,
    seed: int = 0,
    precision: str = "bfloat16",
    device: str | torch.device = "cpu",
    show_progress: bool = True,
) -> ConvNet:
    """Train a :class:`ConvNet` to tell by how many quarters an image was turned: features of images without labels
    (Gidaris et al., "Unsupervised Representation Learning by Predicting Image Rotations", ICLR 2018).

    Args:
        images: ``(N, C, H, H)`` uint8.

    Returns:
        The classifier of 0, 90, 180 and 270 degrees in evaluation mode.

    Raises:
        EvaluationError: images or numbers of another kind.
    """
    check_images(images)
    check_counts(steps=steps, batch_size=batch_size)
    if images.shape[2] != images.shape[3]:
        raise EvaluationError(f"images that are turned should be square, got {tuple(images.shape[2:])}. Crop them.")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = ConvNet(images.shape[1], TURNS)
    network.to(device).to(memory_format=torch.channels_last)
    rng = torch.Generator().manual_seed(seed)

    def loss() -> Tensor:
        batch, turns = turned(images[torch.randint(len(images), (batch_size,), generator=rng)])
        with autocast(device, precision):
            return F.cross_entropy(network(uint8_to_signed(batch).to(device)), turns.to(device))

    fit(network, loss, steps=steps, learning_rate=learning_rate, title="features" if show_progress else None)
    return network


def turned(images: Tensor) -> tuple[Tensor, Tensor]:
    """Images ``(N, C, H, H)``, each turned by its index modulo 4 quarters, and these ``(N,)``."""
    turns = torch.arange(len(images)) % TURNS
    output = torch.empty_like(images)
    for turn in range(TURNS):
        output[turn::TURNS] = torch.rot90(images[turn::TURNS], turn, (2, 3))
    return output, turns


class _AsGiven(nn.Module):
    """Features that were computed already, in place of images, for torchmetrics to compare."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Tensor) -> Tensor:
        return features


@own_defaults
def kernel_distance(first: Tensor, second: Tensor, *, subset_size: int, seed: int = 0) -> float:
    """KID of two sets of features ``(N, D)`` and ``(M, D)``, which may be negative: it is unbiased, zero on average for
    two sets of the same kind (Bińkowski et al., "Demystifying MMD GANs", ICLR 2018).

    Args:
        subset_size: of the random subsets, at most N and M.
    """
    from torchmetrics.image.kid import KernelInceptionDistance

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*will save all extracted features in buffer")
        metric = KernelInceptionDistance(_AsGiven(first.shape[1]), subsets=SUBSETS, subset_size=subset_size)
    metric.update(first.double(), real=True)
    metric.update(second.double(), real=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        mean, _ = metric.compute()
    return float(mean)


@own_defaults
def frechet_distance(first: Tensor, second: Tensor) -> float:
    """FID of two sets of features ``(N, D)`` and ``(M, D)`` (Heusel et al., NeurIPS 2017). Fewer images give a higher
    one: compare those of equal numbers only."""
    from torchmetrics.image.fid import FrechetInceptionDistance

    metric = FrechetInceptionDistance(_AsGiven(first.shape[1]))
    metric.update(first.double(), real=True)
    metric.update(second.double(), real=False)
    return max(0.0, float(metric.compute()))
