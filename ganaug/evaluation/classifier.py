"""A small classifier that reads labels off images: the judge of whether a change keeps the label."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm.auto import tqdm

from ganaug.evaluation.data import to_float
from ganaug.generators.precision import autocast


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


def train_classifier(
    images: Tensor,
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
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = ConvNet(images.shape[1], int(labels.max()) + 1)
    network.to(device).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps)
    rng = torch.Generator().manual_seed(seed)
    for _ in tqdm(range(steps), "classifier", leave=False, disable=not show_progress):
        index = torch.randint(len(images), (batch_size,), generator=rng)
        dy, dx = torch.randint(5, (2,), generator=rng).tolist()
        batch = F.pad(to_float(images[index]), (2, 2, 2, 2), mode="reflect")
        batch = batch[..., dy : dy + images.shape[-2], dx : dx + images.shape[-1]].to(device)
        with autocast(device, precision):
            loss = F.cross_entropy(network(batch), labels[index].to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    network.eval()
    return network


@torch.no_grad()
def predict(network: nn.Module, images: Tensor, *, batch_size: int = 500, precision: str = "bfloat16") -> Tensor:
    """The most likely class of each image.

    Args:
        images: ``(N, C, H, W)`` uint8, or float in [-1, 1].

    Returns:
        ``(N,)`` int64 on the CPU.
    """
    device = next(network.parameters()).device
    predictions = []
    for batch in images.split(batch_size):
        batch = to_float(batch) if batch.dtype == torch.uint8 else batch
        with autocast(device, precision):
            predictions.append(network(batch.to(device)).argmax(1).cpu())
    return torch.cat(predictions)
