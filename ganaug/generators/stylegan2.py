"""StyleGAN2's generator (Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", CVPR 2020, and
"Training Generative Adversarial Networks with Limited Data", NeurIPS 2020, for the one that is trained with ADA)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from typing_extensions import Self

from ganaug.errors import GeneratorError
from ganaug.generators.layers import stage_widths
from ganaug.generators.layouts import renamed
from ganaug.generators.network import load_weights
from ganaug.generators.style import MAPPING_LEARNING_RATE, ModulatedConv2d, StyleGenerator, ToRGB, check_clamp

AVERAGED_LATENTS = 10_000  # for w's mean where a checkpoint has none


# What the originals' options have to be for the tensors to mean what they mean here.
NVIDIA_OPTIONS = {
    "architecture": "skip",
    "activation": "lrelu",
    "use_noise": True,
    "kernel_size": 3,
    "lr_multiplier": MAPPING_LEARNING_RATE,
}


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

    @classmethod
    def from_checkpoint(
        cls,
        state: Mapping[str, Tensor],
        *,
        init_kwargs: Mapping[str, Any] | None = None,
        truncation: float = 1.0,
        latent_space: str = "z",
        layers: Sequence[int] | None = None,
        origin: str = "the checkpoint",
    ) -> Self:
        """Build the frozen generator of a state dict in rosinality's or NVIDIA's layout.

        Args:
            state: the tensors of rosinality/stylegan2-pytorch's ``g_ema`` (and ``latent_avg``, which its checkpoints
                keep beside ``g_ema``, under that name; without it w's mean is estimated from 10 000 w), or of the
                ``G_ema`` in a pickle of NVlabs/stylegan2-ada-pytorch, by their names there.
            init_kwargs: what the network in NVIDIA's pickle was built with; see :func:`read_nvidia_pickle`.
            truncation, latent_space, layers: see :class:`StyleGAN2`.
            origin: where ``state`` comes from, for the error.

        Raises:
            GeneratorError: missing, extra or mis-shaped tensors; another architecture, filter or non-linearity.
        """
        nvidia = any(name.startswith("synthesis.") for name in state)
        names = _nvidia_names(state) if nvidia else _rosinality_names(state)
        raw = renamed(state, names, layout=f"StyleGAN2 ({'NVIDIA' if nvidia else 'rosinality'})", origin=origin)
        w_dim = raw["blocks.0.to_rgb.affine.weight"].shape[1]
        num_classes = raw["embedding.weight"].shape[1] if "embedding.weight" in raw else 0
        stages = sum(re.fullmatch(r"blocks\.\d+\.to_rgb\.bias", name) is not None for name in raw)
        with torch.device("meta"):
            generator = cls(
                z_dim=raw["mapping.0.weight"].shape[1] - w_dim * (num_classes > 0),
                w_dim=w_dim,
                channels=raw["blocks.0.to_rgb.bias"].numel(),
                image_size=2 << stages,
                num_classes=num_classes,
                widths=[raw[f"blocks.{k}.to_rgb.affine.bias"].shape[0] for k in range(stages)],
                mapping_layers=sum(re.fullmatch(r"mapping\.\d+\.bias", name) is not None for name in raw),
                clamp=_clamp(init_kwargs or {}, origin),
                truncation=truncation,
                latent_space=latent_space,
                layers=layers,
            )
        load_weights(generator, _folded(raw, origin), origin=origin)
        if "w_avg" not in raw:
            generator._estimate_w_avg()
        return generator

    @torch.no_grad()
    def _estimate_w_avg(self) -> None:
        rng = torch.Generator().manual_seed(0)
        psi, self.truncation = self.truncation, 1.0
        w = self.map(torch.randn(AVERAGED_LATENTS, self.z_dim, generator=rng).to(self.device))
        self.w_avg, self.truncation = w.mean(0), psi


def looks_like_stylegan2(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict has one of the layouts that :meth:`StyleGAN2.from_checkpoint` reads."""
    rosinality = {"style.1.weight", "input.input", "conv1.conv.modulation.weight"}
    nvidia = {"mapping.fc0.weight", "synthesis.b4.const", "synthesis.b4.conv1.noise_const"}
    return rosinality <= state.keys() or nvidia <= state.keys()


# Of each foreign tensor our name, and its dimensions. What ours do not have ends in "noise_strength" or "low_pass".


def _rosinality_names(state: Mapping[str, Tensor]) -> dict[str, tuple[str, int]]:
    names = {"input.input": ("const", 4)}
    if "latent_avg" in state:
        names["latent_avg"] = ("w_avg", state["latent_avg"].ndim)
    for k in range(max(1, _count(r"style\.(\d+)\.", state) - 1)):  # style.0 is the normalisation
        names |= {f"style.{k + 1}.{kind}": (f"mapping.{k}.{kind}", ndim) for kind, ndim in (("weight", 2), ("bias", 1))}

    def modulated(theirs: str, ours: str) -> None:
        names[f"{theirs}.conv.weight"] = (f"{ours}.weight", 5)
        names[f"{theirs}.conv.modulation.weight"] = (f"{ours}.affine.weight", 2)
        names[f"{theirs}.conv.modulation.bias"] = (f"{ours}.affine.bias", 1)

    noises = 0
    for block in range(1 + (_count(r"convs\.(\d+)\.", state) + 1) // 2):
        to_rgb = f"to_rgbs.{block - 1}" if block else "to_rgb1"
        modulated(to_rgb, f"blocks.{block}.to_rgb")
        names[f"{to_rgb}.bias"] = (f"blocks.{block}.to_rgb.bias", 4)
        if block:
            names[f"{to_rgb}.upsample.kernel"] = (f"blocks.{block}.to_rgb.low_pass", 2)
        for layer in range(2 if block else 1):
            theirs, ours = f"convs.{2 * block - 2 + layer}" if block else "conv1", f"blocks.{block}.layers.{layer}"
            modulated(theirs, ours)
            names[f"{theirs}.activate.bias"] = (f"{ours}.bias", 1)
            names[f"{theirs}.noise.weight"] = (f"{ours}.noise_strength", 1)
            names[f"noises.noise_{noises}"] = (f"{ours}.noise", 4)
            noises += 1
            if block and layer == 0:
                names[f"{theirs}.conv.blur.kernel"] = (f"{ours}.low_pass", 2)
    return names


def _nvidia_names(state: Mapping[str, Tensor]) -> dict[str, tuple[str, int]]:
    names = {"synthesis.b4.const": ("const", 3), "mapping.w_avg": ("w_avg", 1)}
    if any(name.startswith("mapping.embed.") for name in state):
        names |= {"mapping.embed.weight": ("embedding.weight", 2), "mapping.embed.bias": ("embedding.bias", 1)}
    for k in range(max(1, _count(r"mapping\.fc(\d+)\.", state))):
        names |= {f"mapping.fc{k}.{kind}": (f"mapping.{k}.{kind}", ndim) for kind, ndim in (("weight", 2), ("bias", 1))}
    largest = max([4, *(int(match[1]) for name in state if (match := re.match(r"synthesis\.b(\d+)\.", name)))])
    for block in range(largest.bit_length() - 2):
        theirs, ours = f"synthesis.b{4 << block}", f"blocks.{block}"
        names[f"{theirs}.resample_filter"] = (f"{ours}.low_pass", 2)
        pairs = [(f"{theirs}.torgb", f"{ours}.to_rgb")]
        for layer in range(2 if block else 1):
            conv, styled = f"{theirs}.conv{layer if block else 1}", f"{ours}.layers.{layer}"
            pairs.append((conv, styled))
            names[f"{conv}.noise_const"] = (f"{styled}.noise", 2)
            names[f"{conv}.noise_strength"] = (f"{styled}.noise_strength", 0)
            names[f"{conv}.resample_filter"] = (f"{styled}.low_pass", 2)
        for foreign, own in pairs:
            for kind, ndim in (("weight", 4), ("bias", 1), ("affine.weight", 2), ("affine.bias", 1)):
                names[f"{foreign}.{kind}"] = (f"{own}.{kind}", ndim)
    return names


def _count(pattern: str, state: Mapping[str, Tensor]) -> int:
    """One more than the largest number in the names that begin like the pattern, at most the number of tensors."""
    return min(len(state), max((int(match[1]) + 1 for name in state if (match := re.match(pattern, name))), default=0))


def _folded(raw: Mapping[str, Tensor], origin: str) -> dict[str, Tensor]:
    """Our weights: learning-rate scales, the leaky ReLU's gain and the noise's strength multiplied in."""
    gain = math.sqrt(2)
    folded = {"low_pass": binomial(), "w_avg": torch.zeros(raw["blocks.0.to_rgb.affine.weight"].shape[1])}
    for name, tensor in raw.items():
        head, _, kind = name.rpartition(".")
        exact = tensor.double()
        if kind == "low_pass":
            if tensor.shape != (4, 4) or not torch.allclose(4 * tensor / tensor.sum(), binomial(), atol=1e-5):
                raise GeneratorError(
                    f"{origin} upsamples with the filter {tensor.tolist()}, and StyleGAN2 here with [1, 3, 3, 1] only. "
                    "Use Generator.from_module with the original code."
                )
            continue
        if kind == "noise_strength" or name == "embedding.bias":
            continue
        if name == "w_avg":
            exact = exact.reshape(-1)
        elif name == "const":
            exact = exact.reshape(1, *tensor.shape[-3:])
        elif name == "embedding.weight":
            exact = exact.T / math.sqrt(tensor.shape[1]) + raw["embedding.bias"].double()
        elif head.startswith("mapping."):
            exact = exact * MAPPING_LEARNING_RATE * gain / (math.sqrt(tensor.shape[1]) if kind == "weight" else 1)
        elif head.endswith(".affine") and kind == "weight":
            exact = exact / math.sqrt(tensor.shape[1])
        elif kind == "weight":
            exact = exact.reshape(tensor.shape[-4:]) / math.sqrt(math.prod(tensor.shape[-3:]))
        elif kind == "noise":
            exact = exact.reshape(tensor.shape[-2:]) * raw[f"{head}.noise_strength"].double() * gain
        elif kind == "bias" and head.endswith(".to_rgb"):
            exact = exact.reshape(-1)
        elif kind == "bias" and not head.endswith(".affine"):
            exact = exact * gain
        folded[name] = exact.to(tensor.dtype)
    return folded


def _clamp(init_kwargs: Mapping[str, Any], origin: str) -> float | None:
    """The clamp of NVIDIA's options; those that would need other code are refused."""
    nested = [init_kwargs.get(name) or {} for name in ("mapping_kwargs", "synthesis_kwargs")]
    # The StyleGAN2 of NVlabs/stylegan3 takes the synthesis network's options as its own, and clamps by default.
    default = {"conv_clamp": 256} if "channel_base" in init_kwargs else {}
    options = {**default, **init_kwargs, **nested[0], **nested[1]}
    for name, wanted in NVIDIA_OPTIONS.items():
        if (given := options.get(name, wanted)) != wanted:
            raise GeneratorError(
                f"{origin} was built with {name}={given!r}; StyleGAN2 here has {name}={wanted!r} only. "
                "Use Generator.from_module with the original code."
            )
    clamp = options.get("conv_clamp")
    return None if clamp is None else float(clamp)
