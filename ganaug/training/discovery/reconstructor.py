"""Reconstructors: which direction was taken, and how far (Voynov & Babenko 2020, section 3.2)."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import resnet18

from ganaug.errors import SettingsError
from ganaug.generators import Generator


class LeNet(nn.Sequential):
    """LeNet's three 5 x 5 convolutions with batch norm over a pair of images: ``120 * width`` features.

    Like LeNet-5, it sees images of less than 32 pixels in the middle of a 32 x 32 field.
    """

    def __init__(self, in_channels: int, *, width: int = 1) -> None:
        widths = (in_channels, 6 * width, 16 * width, 120 * width)
        layers: list[nn.Module] = []
        for in_width, out_width in pairwise(widths):
            layers += [nn.Conv2d(in_width, out_width, 5, bias=False), nn.BatchNorm2d(out_width), nn.ReLU()]
            layers += [nn.MaxPool2d(2)]
        layers[-1:] = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        super().__init__(*layers)

    def forward(self, x: Tensor) -> Tensor:
        height, width = (max(0, 32 - size) for size in x.shape[-2:])
        if height or width:
            x = F.pad(x, (width // 2, width - width // 2, height // 2, height - height // 2))
        for layer in self:
            x = layer(x)
        return x


class UnfoldedConv2d(nn.Conv2d):
    """A convolution that, on a CPU, becomes one matrix product where its output is at most 2 x 2.

    Convolution kernels tile over space and idle there: with 512 feature maps the product takes a quarter of the time.
    """

    def forward(self, x: Tensor) -> Tensor:
        size = (x.shape[-1] - 1) // self.stride[0] + 1
        if x.device.type != "cpu" or x.shape[-2] != x.shape[-1] or size > 2:
            return super().forward(x)
        columns = F.unfold(x, self.kernel_size, padding=1, stride=self.stride)
        # One row for each pixel: of three dimensions, torch would copy the weight for each image without a graph.
        out = F.linear(columns.transpose(1, 2).flatten(0, 1), self.weight.flatten(1))
        maps: Tensor = out.unflatten(0, (len(x), size, size)).permute(0, 3, 1, 2)
        return maps


def resnet18_features(in_channels: int) -> nn.Module:
    """torchvision's ResNet-18 up to its 512 pooled features, with a stem for a pair of images."""
    network: nn.Module = resnet18()
    for block in network.get_submodule("layer4").children():
        for name in ("conv1", "conv2"):
            conv = getattr(block, name)
            unfolded = UnfoldedConv2d(conv.in_channels, conv.out_channels, 3, conv.stride, 1, bias=False)
            unfolded.load_state_dict(conv.state_dict())
            setattr(block, name, unfolded)
    network.conv1 = nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)
    nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
    network.fc = nn.Identity()
    return network


class Reconstructor(nn.Module):
    """Sees two images and says along which direction, and how far, the second one was shifted.

    Args:
        kind: ``"lenet"`` or ``"resnet18"``.
        channels: of one image.
        num_directions: how many there are to tell apart.
        width: multiplies LeNet's feature maps; ResNet-18 takes 1 only.

    Shape:
        - images, shifted: ``(N, channels, H, W)`` float in [-1, 1]
        - output: direction logits ``(N, num_directions)`` and magnitudes ``(N,)``

    Raises:
        SettingsError: an unknown kind, or a ResNet-18 of another width.
    """

    def __init__(self, kind: str, channels: int, num_directions: int, *, width: int = 1) -> None:
        super().__init__()
        if kind == "lenet":
            self.features: nn.Module = LeNet(2 * channels, width=width)
            self.direction_head: nn.Module = _head(120 * width, 84 * width, num_directions)
            self.magnitude_head: nn.Module = _head(120 * width, 84 * width, 1)
        elif kind == "resnet18" and width == 1:
            self.features = resnet18_features(2 * channels)
            self.direction_head = nn.Linear(512, num_directions)
            self.magnitude_head = nn.Linear(512, 1)
        else:
            raise SettingsError(
                f'reconstructor should be "lenet" or "resnet18" (whose width is 1), got {kind!r} of width {width}.'
            )

    def forward(self, images: Tensor, shifted: Tensor) -> tuple[Tensor, Tensor]:
        features = self.features(torch.cat([images, shifted], dim=1))
        return self.direction_head(features), self.magnitude_head(features).squeeze(1)


def _head(in_width: int, width: int, out_width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(in_width, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, out_width))


def default_reconstructor(generator: Generator) -> str:
    """LeNet for grey images of at most 32 pixels, ResNet-18 elsewhere, as in the paper."""
    return "lenet" if generator.channels == 1 and generator.image_size <= 32 else "resnet18"
