"""StyleGAN2's generator (Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", CVPR 2020, and
"Training Generative Adversarial Networks with Limited Data", NeurIPS 2020, for the one that is trained with ADA)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from ganaug.generators.layers import stage_widths
from ganaug.generators.style import ModulatedConv2d, StyleGenerator, ToRGB, check_clamp


def binomial() -> Tensor:
    """The filter [1, 3, 3, 1] in both axes; it sums to four, for doubling leaves three zeros beside each pixel."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    return torch.outer(taps, taps) / 16


class StyledLayer(ModulatedConv2d):
    """Modulation, 3 x 3 convolution, demodulation, constant noise and leaky ReLU (figure 2d).

    The gain of the leaky ReLU, the square root of two, is taken before it: in the bias, the noise and the demodulation.
    """

    noise: Tensor

    def __init__(self, in_width: int, out_width: int, w_dim: int, size: int, clamp: float | None, *, up: bool) -> None:
        super().__init__(in_width, out_width, 3, w_dim)
        self.register_buffer("noise", torch.zeros(size, size))
        self.clamp, self.up = clamp, up

    def forward(self, x: Tensor, w: Tensor, low_pass: Tensor) -> Tensor:
        style = self.affine(w)
        squares = F.linear(style.square(), self.weight.square().sum((2, 3)))
        demodulation = math.sqrt(2) * (squares + 1e-8).rsqrt()
        x = x * style[:, :, None, None]
        if self.up:
            x = F.conv_transpose2d(x, self.weight.transpose(0, 1), stride=2)
            x = F.conv2d(x, low_pass.expand(x.shape[1], 1, -1, -1), padding=1, groups=x.shape[1])
        else:
            x = F.conv2d(x, self.weight, padding=1)
        shift = self.noise + self.bias[:, None, None]
        x = torch.addcmul(shift.to(x.dtype), x, demodulation[:, :, None, None].to(x.dtype))
        x = F.leaky_relu(x, 0.2, inplace=True)
        return x if self.clamp is None else x.clamp(-self.clamp, self.clamp)


class SynthesisBlock(nn.Module):
    """All that happens at one resolution: one or two styled layers, and the image so far, doubled, added to (skip)."""

    def __init__(
        self, in_width: int, out_width: int, w_dim: int, size: int, channels: int, clamp: float | None, *, first: bool
    ) -> None:
        super().__init__()
        layers = [] if first else [StyledLayer(in_width, out_width, w_dim, size, clamp, up=True)]
        self.layers = nn.ModuleList([*layers, StyledLayer(out_width, out_width, w_dim, size, clamp, up=False)])
        self.to_rgb = ToRGB(out_width, channels, w_dim, clamp)

    def forward(self, x: Tensor, image: Tensor | None, ws: Sequence[Tensor], low_pass: Tensor) -> tuple[Tensor, Tensor]:
        for layer, w in zip(self.layers, ws[:-1], strict=True):
            x = layer(x, w, low_pass)
        added: Tensor = self.to_rgb(x, ws[-1])
        if image is None:
            return x, added
        kernel = low_pass.expand(image.shape[1], 1, -1, -1)
        return x, F.conv_transpose2d(image, kernel, stride=2, padding=1, groups=image.shape[1]) + added


class StyleGAN2(StyleGenerator):
    """The generator of StyleGAN2 and StyleGAN2-ADA, with directions in z or in w.

    The equalised learning rate is a training device: here its scales are part of the weights, and so is the strength
    of the noise, which is the stored one, the same in every image. What the network draws is clamped to [-1, 1], as
    the originals' is when it is shown.

    Args:
        z_dim: length of one z, drawn from N(0, I) and normalised.
        w_dim: length of one w, what the mapping network makes of z.
        channels: 1 (grey) or 3 (colour).
        image_size: 4, 8, 16, ... pixels.
        num_classes: number of classes; positive gives the mapping network the class beside z.
        widths: feature maps at each resolution from 4 pixels up; by default the paper's configuration F, 512 up to 64
            pixels and then halved with every doubling.
        mapping_layers: depth of the mapping network.
        clamp: bound on every layer's output, for networks trained in half precision; None for none.
        truncation: psi; every w is ``w_avg + psi * (w - w_avg)``.
        latent_space: "z" or "w". With "w" latents are w, ``latent_dim`` is ``w_dim``, and :meth:`sample_latents`
            maps a fresh z, truncation included. Class-conditional generators have their class in w, so that they take
            "z" only.
        layers: ``(first, stop)``, for "w" only: directions change the w of layers ``first`` to ``stop - 1`` and of no
            other. Layers are numbered as in NVIDIA's code, from 0 to ``2 * log2(image_size) - 3``, coarse to fine: the
            convolution at 4 pixels is 0, those at 8 pixels are 1 and 2, and so on; a toRGB layer has the number of the
            convolution after it. Latents are ``2 * w_dim`` long, the w of the other layers and then that of these;
            :meth:`sample_latents` draws the same for both.

    See :class:`Generator` for shapes.
    """

    low_pass: Tensor

    architecture = "stylegan2"
    recomputes = False

    def __init__(
        self,
        *,
        z_dim: int = 512,
        w_dim: int = 512,
        channels: int = 3,
        image_size: int = 1024,
        num_classes: int = 0,
        widths: Sequence[int] | None = None,
        mapping_layers: int = 8,
        clamp: float | None = None,
        truncation: float = 1.0,
        latent_space: str = "z",
        layers: Sequence[int] | None = None,
    ) -> None:
        stages = stage_widths(image_size, widths, features=32768)
        check_clamp("clamp", clamp)
        super().__init__(
            z_dim=z_dim,
            w_dim=w_dim,
            mapping_layers=mapping_layers,
            num_layers=2 * len(stages),
            truncation=truncation,
            latent_space=latent_space,
            layers=layers,
            image_size=image_size,
            channels=channels,
            num_classes=num_classes,
        )
        self.register_buffer("low_pass", binomial())
        self.const = nn.Parameter(torch.randn(1, stages[0], 4, 4))
        self.blocks = nn.ModuleList(
            SynthesisBlock(stages[max(stage - 1, 0)], width, w_dim, 4 << stage, channels, clamp, first=stage == 0)
            for stage, width in enumerate(stages)
        )

    def synthesize(self, latents: Tensor, labels: Tensor | None) -> Tensor:
        ws = self.layer_latents(latents, labels)
        x = self.const.expand(len(latents), -1, -1, -1)
        image: Tensor | None = None
        for k, block in enumerate(self.blocks):
            inputs = (x, image, ws[max(2 * k - 1, 0) : 2 * k + 2], self.low_pass)
            x, image = checkpoint(block, *inputs, use_reentrant=False) if self.recomputes else block(*inputs)
        assert image is not None
        return image.clamp(-1, 1)
