"""BigGAN and BigGAN-deep.

Brock et al., "Large Scale GAN Training for High Fidelity Natural Image Synthesis", ICLR 2019.

Checkpoints keep each weight beside what spectral norm divides it by. The division is made once, on conversion: the
networks here are plain convolutions and linear layers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from ganaug.devices import sent
from ganaug.errors import GeneratorError
from ganaug.generators.generator import Generator
from ganaug.generators.layers import UpsampledConv2d

BOTTOM_SIZE = 4


# Feature maps at 4 pixels and after each block, in units of ch: the paper's appendix B, 32 and 64 as in BigGAN-PyTorch.
WIDTHS = {
    32: (4, 4, 4, 4),
    64: (16, 16, 8, 4, 2),
    128: (16, 16, 8, 4, 2, 1),
    256: (16, 16, 8, 8, 4, 2, 1),
    512: (16, 16, 8, 8, 4, 2, 1, 1),
}


# Whether each block of BigGAN-deep doubles the resolution, and its feature maps before and after in units of ch.
DEEP_128 = (
    (False, 16, 16),
    (True, 16, 16),
    (False, 16, 16),
    (True, 16, 8),
    (False, 8, 8),
    (True, 8, 4),
    (False, 4, 4),
    (True, 4, 2),
    (False, 2, 2),
    (True, 2, 1),
)


class BatchNorm(nn.Module):
    """Batch norm with fixed statistics: one row of them, or ``n_stats`` rows for truncations from 0 to 1.

    Between two rows the statistics are mixed as ``pytorch-pretrained-biggan`` mixes them, for its images are to be
    matched: the lower row gets as its weight the fraction by which the truncation lies above it.
    """

    means: Tensor
    variances: Tensor

    def __init__(self, width: int, *, eps: float, n_stats: int = 1, truncation: float = 1.0) -> None:
        super().__init__()
        self.eps = eps
        # By division, to the rounding of the package: where 0.58 / 0.02 falls short of 29 it falls short here too.
        self.fraction, row = math.modf(truncation / (1 / (n_stats - 1)) if n_stats > 1 else 0.0)
        self.row = int(row)
        self.register_buffer("means", torch.zeros(n_stats, width))
        self.register_buffer("variances", torch.ones(n_stats, width))

    def at_truncation(self, rows: Tensor) -> Tensor:
        if not self.fraction:
            return rows[self.row]
        return self.fraction * rows[self.row] + (1 - self.fraction) * rows[min(self.row + 1, len(rows) - 1)]

    def normalised(self, x: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
        """One pass over ``x``, ``(N, C, H, W)``, with ``gain`` and ``bias`` of shape ``(C,)`` or ``(N, C)``."""
        scale = gain * (self.at_truncation(self.variances) + self.eps).rsqrt()
        shift = bias - self.at_truncation(self.means) * scale
        return torch.addcmul(shift[..., None, None].to(x.dtype), x, scale[..., None, None].to(x.dtype))


class PlainBatchNorm(BatchNorm):
    """Batch norm with a gain and bias for each feature map."""

    def __init__(self, width: int, **statistics: Any) -> None:
        super().__init__(width, **statistics)
        self.gain = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        return self.normalised(x, self.gain, self.bias)


class ConditionalBatchNorm(BatchNorm):
    """Batch norm whose gain and bias are linear in the condition: the class's embedding and a part of the latent."""

    def __init__(self, width: int, condition_dim: int, **statistics: Any) -> None:
        super().__init__(width, **statistics)
        self.gain = nn.Linear(condition_dim, width, bias=False)
        self.bias = nn.Linear(condition_dim, width, bias=False)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        return self.normalised(x, 1 + self.gain(condition), self.bias(condition))


class Attention(nn.Module):
    """Self-attention to a map of half the resolution (Zhang et al., "Self-Attention GANs", ICML 2019)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        if width < 8:
            raise GeneratorError(f"attention needs 8 feature maps or more, got {width}: raise ch or leave it out.")
        self.theta = nn.Conv2d(width, width // 8, 1, bias=False)
        self.phi = nn.Conv2d(width, width // 8, 1, bias=False)
        self.g = nn.Conv2d(width, width // 2, 1, bias=False)
        self.o = nn.Conv2d(width // 2, width, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        value = F.max_pool2d(self.g(x), 2)
        width = value.shape[1]
        query, key, value = (
            # One head. Zeros that lengthen queries and keys change nothing, and let CPUs too use the fused kernel:
            # it is faster and never holds the weights of all pairs.
            F.pad(features.flatten(2).mT, (0, width - features.shape[1]))[:, None]
            for features in (self.theta(x), F.max_pool2d(self.phi(x), 2), value)
        )
        seen = F.scaled_dot_product_attention(query, key, value, scale=1.0)[:, 0]
        out: Tensor = x + self.gamma * self.o(seen.mT.unflatten(2, x.shape[2:]))
        return out


class UpBlock(nn.Module):
    """BigGAN's residual block: doubles the resolution by nearest neighbours."""

    def __init__(self, in_width: int, out_width: int, condition_dim: int, **statistics: Any) -> None:
        super().__init__()
        self.bn1 = ConditionalBatchNorm(in_width, condition_dim, **statistics)
        self.conv1 = UpsampledConv2d(in_width, out_width, 3, padding=1)
        self.bn2 = ConditionalBatchNorm(out_width, condition_dim, **statistics)
        self.conv2 = nn.Conv2d(out_width, out_width, 3, padding=1)
        self.conv_sc = nn.Conv2d(in_width, out_width, 1)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        h = self.conv1(F.relu(self.bn1(x, condition), inplace=True))
        h = self.conv2(F.relu(self.bn2(h, condition), inplace=True))
        # A 1 x 1 convolution and nearest-neighbour doubling commute; this order is four times cheaper.
        out: Tensor = h.add_(F.interpolate(self.conv_sc(x), scale_factor=2))
        return out


class BottleneckBlock(nn.Module):
    """BigGAN-deep's residual block: a quarter of the feature maps inside, and a shortcut that only drops some."""

    def __init__(
        self, in_width: int, out_width: int, condition_dim: int, *, upsamples: bool, **statistics: Any
    ) -> None:
        super().__init__()
        middle = in_width // 4
        self.norms = nn.ModuleList(
            ConditionalBatchNorm(width, condition_dim, **statistics) for width in (in_width, middle, middle, middle)
        )
        conv_3x3 = UpsampledConv2d if upsamples else nn.Conv2d
        self.convs = nn.ModuleList(
            [
                nn.Conv2d(in_width, middle, 1),
                conv_3x3(middle, middle, 3, padding=1),
                nn.Conv2d(middle, middle, 3, padding=1),
                nn.Conv2d(middle, out_width, 1),
            ]
        )
        self.upsamples = upsamples
        self.out_width = out_width

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        h = x
        for norm, conv in zip(self.norms, self.convs, strict=True):
            h = conv(F.relu(norm(h, condition), inplace=True))
        shortcut = x[:, : self.out_width]
        return h.add_(F.interpolate(shortcut, scale_factor=2) if self.upsamples else shortcut)


class TruncatedGenerator(Generator):
    """What BigGAN and BigGAN-deep share: the truncation trick (the paper's section 3.1)."""

    recomputes = False

    def __init__(self, *, latent_dim: int, image_size: int, num_classes: int, eps: float, truncation: float) -> None:
        if not isinstance(eps, int | float) or eps < 0:
            raise GeneratorError(f"eps should be a number of at least 0, got {eps!r}.")
        if not isinstance(truncation, int | float) or not 0 < truncation <= 1:
            raise GeneratorError(f"truncation should be a number above 0 and at most 1, got {truncation!r}.")
        if num_classes == 0:
            raise GeneratorError("BigGAN is class-conditional: num_classes should be at least 1, got 0.")
        super().__init__(latent_dim=latent_dim, image_size=image_size, channels=3, num_classes=num_classes)
        self.truncation = truncation

    def sample_latents(self, count: int, *, rng: torch.Generator | None = None) -> Tensor:
        """Draw ``(count, latent_dim)`` float32 latents, on the generator's device.

        From N(0, I) at truncation 1, as BigGAN is trained. Below it from N(0, I) with coordinates outside [-2, 2]
        drawn again, times the truncation, as the models on TF Hub and ``pytorch-pretrained-biggan`` do.
        """
        if self.truncation == 1:
            return super().sample_latents(count, rng=rng)
        device = rng.device if rng is not None else self.device
        unset = torch.empty(count, self.latent_dim, device=device, dtype=torch.float32)
        latents = nn.init.trunc_normal_(unset, generator=rng)
        return sent(latents.mul_(self.truncation), self.device)

    def _layer(self, layer: nn.Module, h: Tensor, condition: Tensor) -> Tensor:
        out: Tensor = checkpoint(layer, h, condition, use_reentrant=False) if self.recomputes else layer(h, condition)
        return out

    def _fuse(self) -> None:
        for module in list(self.modules()):
            for name, child in list(module.named_children()):
                if isinstance(child, UpsampledConv2d):
                    setattr(module, name, child.as_transposed())


class BigGAN(TruncatedGenerator):
    """BigGAN's generator, in the layout of github.com/ajbrock/BigGAN-PyTorch.

    Args:
        latent_dim: length of one latent; hierarchical ones split evenly between the first layer and the blocks.
        image_size: 32, 64, 128, 256 or 512 pixels.
        num_classes: number of classes.
        ch: the paper's channel multiplier; 96 in its models.
        shared_dim: length of the class embedding that all batch norms share.
        hierarchical: whether each block sees a part of the latent; otherwise the first layer sees all of it.
        attention: resolutions, in pixels, after whose block self-attention stands.
        eps: added to the variances of batch norm; 1e-5 in BigGAN-PyTorch, 1e-4 in the models ported from TF Hub.
        truncation: above 0 and at most 1; see :meth:`sample_latents`. Directions are those of z either way.

    See :class:`Generator` for shapes. Class-conditional, RGB.
    """

    architecture = "biggan"

    def __init__(
        self,
        *,
        latent_dim: int = 120,
        image_size: int = 128,
        num_classes: int = 1000,
        ch: int = 96,
        shared_dim: int = 128,
        hierarchical: bool = True,
        attention: Sequence[int] = (64,),
        eps: float = 1e-5,
        truncation: float = 1.0,
    ) -> None:
        if image_size not in WIDTHS:
            raise GeneratorError(f"BigGAN's image_size should be one of {list(WIDTHS)}, got {image_size!r}.")
        if ch < 1 or shared_dim < 1:
            raise GeneratorError(f"BigGAN's ch and shared_dim should be at least 1, got {ch} and {shared_dim}.")
        widths = [ch * multiple for multiple in WIDTHS[image_size]]
        resolutions = [BOTTOM_SIZE << block for block in range(1, len(widths))]
        if not set(attention) <= set(resolutions):
            raise GeneratorError(f"attention should list resolutions out of {resolutions}, got {attention!r}.")
        if hierarchical and latent_dim % len(widths):
            raise GeneratorError(
                f"a hierarchical latent of {image_size} pixels splits into {len(widths)} equal parts, but latent_dim "
                f"is {latent_dim}: choose a multiple of {len(widths)}, or hierarchical=False."
            )
        super().__init__(
            latent_dim=latent_dim, image_size=image_size, num_classes=num_classes, eps=eps, truncation=truncation
        )
        self.hierarchical = hierarchical
        part = latent_dim // len(widths) if hierarchical else 0
        self.shared = nn.Embedding(num_classes, shared_dim)
        self.linear = nn.Linear(part or latent_dim, widths[0] * BOTTOM_SIZE**2)
        self.blocks = nn.ModuleList()
        for resolution, (in_width, out_width) in zip(resolutions, pairwise(widths), strict=True):
            layers: list[nn.Module] = [UpBlock(in_width, out_width, shared_dim + part, eps=eps)]
            if resolution in attention:
                layers.append(Attention(out_width))
            self.blocks.append(nn.ModuleList(layers))
        self.output_layer = nn.Sequential(
            PlainBatchNorm(widths[-1], eps=eps), nn.ReLU(inplace=True), nn.Conv2d(widths[-1], 3, 3, padding=1)
        )

    def synthesize(self, latents: Tensor, labels: Tensor | None) -> Tensor:
        embedded = self.shared(labels)
        if self.hierarchical:
            first, *parts = latents.chunk(len(self.blocks) + 1, dim=1)
            conditions = [torch.cat([embedded, part], dim=1) for part in parts]
        else:
            first, conditions = latents, [embedded] * len(self.blocks)
        h = self.linear(first).unflatten(1, (-1, BOTTOM_SIZE, BOTTOM_SIZE))
        for block, condition in zip(self.blocks, conditions, strict=True):
            assert isinstance(block, nn.ModuleList)
            for layer in block:
                h = self._layer(layer, h, condition)
        images: Tensor = self.output_layer(h).tanh()
        return images


class BigGANDeep(TruncatedGenerator):
    """BigGAN-deep's generator, as in ``pytorch-pretrained-biggan``.

    Every batch norm is conditioned on the whole latent beside the class's embedding, and has statistics for ``n_stats``
    truncations from 0 to 1.

    Args:
        latent_dim: length of one latent.
        num_classes: number of classes.
        class_embed_dim: length of the class embedding.
        ch: the paper's channel multiplier; 128 in its models.
        layers: for each block whether it doubles the resolution, and its feature maps before and after, in units of
            ``ch``; a block keeps their number or halves it. By default those of 128 pixels.
        attention_layer_position: the block before which self-attention stands; None for none.
        eps: added to the variances of batch norm.
        n_stats: how many truncations there are statistics for.
        truncation: above 0 and at most 1: that of the latents (see :meth:`sample_latents`) and the statistics.

    See :class:`Generator` for shapes; ``image_size`` is 4 doubled by ``layers``. Class-conditional, RGB.
    """

    architecture = "biggan-deep"

    def __init__(
        self,
        *,
        latent_dim: int = 128,
        num_classes: int = 1000,
        class_embed_dim: int = 128,
        ch: int = 128,
        layers: Sequence[Sequence[int]] = DEEP_128,
        attention_layer_position: int | None = 8,
        eps: float = 1e-4,
        n_stats: int = 51,
        truncation: float = 1.0,
    ) -> None:
        if (
            not layers
            or not all(isinstance(layer, list | tuple) and len(layer) == 3 for layer in layers)
            or not all(isinstance(number, int) for layer in layers for number in layer)
            or any(before < 1 or after not in (before, before / 2) for _, before, after in layers)
            or any(above[2] != below[1] for above, below in pairwise(layers))
        ):
            raise GeneratorError(
                "layers should list (doubles, before, after) with each block's feature maps those after the block "
                f"before it, kept or halved; got {layers!r}."
            )
        if ch < 4 or class_embed_dim < 1 or n_stats < 1:
            raise GeneratorError(
                "BigGAN-deep's ch should be at least 4, class_embed_dim and n_stats at least 1, got "
                f"{ch}, {class_embed_dim} and {n_stats}."
            )
        super().__init__(
            latent_dim=latent_dim,
            image_size=BOTTOM_SIZE << sum(bool(upsamples) for upsamples, _, _ in layers),
            num_classes=num_classes,
            eps=eps,
            truncation=truncation,
        )
        statistics = {"eps": eps, "n_stats": n_stats, "truncation": truncation}
        condition_dim = latent_dim + class_embed_dim
        self.shared = nn.Embedding(num_classes, class_embed_dim)
        self.linear = nn.Linear(condition_dim, ch * layers[0][1] * BOTTOM_SIZE**2)
        self.layers = nn.ModuleList()
        for i, (upsamples, before, after) in enumerate(layers):
            if i == attention_layer_position:
                self.layers.append(Attention(ch * before))
            self.layers.append(
                BottleneckBlock(ch * before, ch * after, condition_dim, upsamples=bool(upsamples), **statistics)
            )
        width = ch * layers[-1][2]
        self.norm = PlainBatchNorm(width, **statistics)
        self.to_image = nn.Conv2d(width, 3, 3, padding=1)

    def synthesize(self, latents: Tensor, labels: Tensor | None) -> Tensor:
        condition = torch.cat([latents, self.shared(labels)], dim=1)
        h = self.linear(condition).unflatten(1, (-1, BOTTOM_SIZE, BOTTOM_SIZE))
        for layer in self.layers:
            h = self._layer(layer, h, condition)
        images: Tensor = self.to_image(F.relu(self.norm(h), inplace=True)).tanh()
        return images
