"""Judges: a small classifier and a small segmenter, trained on real images."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm.auto import tqdm

from ganaug.devices import autocast, own_defaults
from ganaug.errors import EvaluationError
from ganaug.evaluation.arguments import check_counts, check_images, check_labels, check_masks
from ganaug.images import uint8_to_signed
from ganaug.streams import Images


class ConvNet(nn.Sequential):
    """Six 3 x 3 convolutions with batch norm, three poolings and a linear layer.

    Shape:
        - input: ``(N, channels, H, W)`` float in [-1, 1]
        - output: ``(N, num_outputs)`` logits
    """

    def __init__(self, channels: int, num_outputs: int, *, width: int = 32) -> None:
        layers: list[nn.Module] = []
        for in_width, out_width in ((channels, width), (width, 2 * width), (2 * width, 4 * width)):
            for first, second in ((in_width, out_width), (out_width, out_width)):
                layers += [nn.Conv2d(first, second, 3, padding=1, bias=False), nn.BatchNorm2d(second), nn.ReLU()]
            layers.append(nn.MaxPool2d(2))
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4 * width, num_outputs)]
        super().__init__(*layers)


@own_defaults
def train_classifier(
    images: Images,
    labels: Tensor,
    *,
    steps: int = 1000,
    batch_size: int = 128,
    learning_rate: float = 2e-3,
    seed: int = 0,
    precision: str = "bfloat16",
    device: str | torch.device = "cpu",
    show_progress: bool = True,
) -> ConvNet:
    """Train a :class:`ConvNet` on labelled images with random crops, AdamW and a one-cycle learning rate.

    Args:
        images: ``(N, C, H, W)`` uint8.
        labels: ``(N,)`` int64, from 0.

    Returns:
        The classifier in evaluation mode.

    Raises:
        EvaluationError: images, labels or numbers of another kind; the message says which and how to convert them.
    """
    check_images(images)
    check_labels(labels, len(images))
    check_counts(steps=steps, batch_size=batch_size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = ConvNet(images.shape[1], int(labels.max()) + 1)
    network.to(device).to(memory_format=torch.channels_last)
    rng = torch.Generator().manual_seed(seed)

    def loss() -> Tensor:
        index = torch.randint(len(images), (batch_size,), generator=rng)
        dy, dx = torch.randint(5, (2,), generator=rng).tolist()
        batch = F.pad(uint8_to_signed(images[index]), (2, 2, 2, 2), mode="reflect")
        batch = batch[..., dy : dy + images.shape[-2], dx : dx + images.shape[-1]].to(device)
        with autocast(device, precision):
            return F.cross_entropy(network(batch), labels[index].to(device))

    fit(network, loss, steps=steps, learning_rate=learning_rate, title="classifier" if show_progress else None)
    return network


def fit(
    network: nn.Module, loss: Callable[[], Tensor], *, steps: int, learning_rate: float = 2e-3, title: str | None = None
) -> None:
    """Minimise the loss of one batch after the other with AdamW and a one-cycle learning rate; evaluation mode then.

    Args:
        loss: draws the next batch; called once a step.
        learning_rate: the highest.
        title: of the progress bar; None for no bar.
    """
    optimizer = torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps)
    for _ in tqdm(range(steps), title, leave=False, disable=title is None):
        value = loss()
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        schedule.step()
    network.eval()


@own_defaults
@torch.no_grad()
def predict(network: nn.Module, images: Images, *, batch_size: int = 500, precision: str = "bfloat16") -> Tensor:
    """The most likely class of each image.

    Args:
        images: ``(N, C, H, W)`` uint8, or float in [-1, 1].

    Returns:
        ``(N,)`` int64 on the CPU.

    Raises:
        EvaluationError: images of another shape, type or range; batches of none.
    """
    check_images(images, floats=True, channels=_channels(network))
    check_counts(batch_size=batch_size)
    device = _device_of(network, images)
    predictions = []
    for batch in images.split(batch_size):
        batch = uint8_to_signed(batch) if batch.dtype == torch.uint8 else batch
        with autocast(device, precision):
            predictions.append(network(batch.to(device)).argmax(1).cpu())
    return torch.cat(predictions)


class Segmenter(nn.Module):
    """A two-level U-Net (Ronneberger et al., MICCAI 2015).

    Shape:
        - input: ``(N, channels, H, W)`` float in [-1, 1], H and W divisible by 4
        - output: ``(N, 1, H, W)`` logits of the object
    """

    def __init__(self, channels: int, *, width: int = 24) -> None:
        super().__init__()
        self.down1 = _block(channels, width)
        self.down2 = _block(width, 2 * width)
        self.bottom = _block(2 * width, 4 * width)
        self.up2 = _block(6 * width, 2 * width)
        self.up1 = _block(3 * width, width)
        self.head = nn.Conv2d(width, 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        first = self.down1(images)
        second = self.down2(F.max_pool2d(first, 2))
        h = self.bottom(F.max_pool2d(second, 2))
        h = self.up2(torch.cat([F.interpolate(h, scale_factor=2), second], dim=1))
        h = self.up1(torch.cat([F.interpolate(h, scale_factor=2), first], dim=1))
        logits: Tensor = self.head(h)
        return logits


def _block(in_width: int, out_width: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in (in_width, out_width):
        layers += [nn.Conv2d(width, out_width, 3, padding=1, bias=False), nn.BatchNorm2d(out_width), nn.ReLU()]
    return nn.Sequential(*layers)


@own_defaults
def train_segmenter(
    images: Images,
    masks: Tensor,
    *,
    steps: int = 1000,
    batch_size: int = 64,
    learning_rate: float = 2e-3,
    seed: int = 0,
    precision: str = "bfloat16",
    device: str | torch.device = "cpu",
    show_progress: bool = True,
) -> Segmenter:
    """Train a :class:`Segmenter` with binary cross-entropy, AdamW and a one-cycle learning rate.

    Args:
        images: ``(N, C, H, W)`` uint8.
        masks: ``(N, 1, H, W)`` uint8, 255 inside the object.

    Returns:
        The segmenter in evaluation mode.

    Raises:
        EvaluationError: images, masks or numbers of another kind; the message says which and how to convert them.
    """
    check_images(images)
    check_masks(masks, images)
    _check_sides(images)
    check_counts(steps=steps, batch_size=batch_size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Segmenter(images.shape[1])
    network.to(device).to(memory_format=torch.channels_last)
    rng = torch.Generator().manual_seed(seed)

    def loss() -> Tensor:
        index = torch.randint(len(images), (batch_size,), generator=rng)
        with autocast(device, precision):
            logits = network(uint8_to_signed(images[index]).to(device))
        return F.binary_cross_entropy_with_logits(logits.float(), masks[index].to(device) / 255)

    fit(network, loss, steps=steps, learning_rate=learning_rate, title="segmenter" if show_progress else None)
    return network


@own_defaults
@torch.no_grad()
def find_object(network: nn.Module, images: Images, *, batch_size: int = 500, precision: str = "bfloat16") -> Tensor:
    """Where the object is: ``(N, 1, H, W)`` bool on the CPU, for images ``(N, C, H, W)`` in [-1, 1] or uint8.

    Raises:
        EvaluationError: images of another shape, type or range, or with a side that 4 does not divide.
    """
    check_images(images, floats=True, channels=_channels(network))
    check_counts(batch_size=batch_size)
    if isinstance(network, Segmenter):
        _check_sides(images)
    device = _device_of(network, images)
    found = []
    for batch in images.split(batch_size):
        batch = uint8_to_signed(batch) if batch.dtype == torch.uint8 else batch
        with autocast(device, precision):
            found.append((network(batch.to(device)) > 0).cpu())
    return torch.cat(found)


def _device_of(network: nn.Module, images: Images) -> torch.device:
    """Where a network is; where it has no tensors, there where the images are."""
    tensors = chain(network.parameters(), network.buffers())
    there = images.device if isinstance(images, Tensor) else torch.device("cpu")
    return next((tensor.device for tensor in tensors), there)


def _channels(network: nn.Module) -> int | None:
    """How many channels the images of a judge have, where its first convolution says it."""
    first = next((module for module in network.modules() if isinstance(module, nn.Conv2d)), None)
    return first.in_channels if first is not None and isinstance(network, (ConvNet, Segmenter)) else None


def _check_sides(images: Images) -> None:
    height, width = images.shape[-2:]
    if height % 4 or width % 4:
        raise EvaluationError(
            f"a segmenter takes images whose sides 4 divides, got {height} x {width}. Pad or resize images and masks."
        )
