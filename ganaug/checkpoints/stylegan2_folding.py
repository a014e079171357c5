"""What both layouts of StyleGAN2 become: our weights, with the scales of training multiplied in."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ganaug.errors import GeneratorError
from ganaug.generators import StyleGAN2, load_weights
from ganaug.generators.style import MAPPING_LEARNING_RATE
from ganaug.generators.stylegan2 import binomial

AVERAGED_LATENTS = 10_000  # for w's mean where a checkpoint has none


def built(
    raw: Mapping[str, Tensor],
    *,
    clamp: float | None,
    truncation: float,
    latent_space: str,
    layers: Sequence[int] | None,
    origin: str,
) -> StyleGAN2:
    """The frozen generator of a checkpoint's tensors under our names, scales and gains not yet multiplied in.

    Args:
        raw: names are ours, and also ``noise_strength`` and ``low_pass`` where the original keeps them. Without
            ``w_avg`` w's mean is estimated from 10 000 w.
        clamp, truncation, latent_space, layers: see :class:`StyleGAN2`.
        origin: where the tensors come from, for the error.

    Raises:
        GeneratorError: mis-shaped tensors, or another filter.
    """
    w_dim = raw["blocks.0.to_rgb.affine.weight"].shape[1]
    num_classes = raw["embedding.weight"].shape[1] if "embedding.weight" in raw else 0
    stages = sum(re.fullmatch(r"blocks\.\d+\.to_rgb\.bias", name) is not None for name in raw)
    with torch.device("meta"):
        generator = StyleGAN2(
            z_dim=raw["mapping.0.weight"].shape[1] - w_dim * (num_classes > 0),
            w_dim=w_dim,
            channels=raw["blocks.0.to_rgb.bias"].numel(),
            image_size=2 << stages,
            num_classes=num_classes,
            widths=[raw[f"blocks.{k}.to_rgb.affine.bias"].shape[0] for k in range(stages)],
            mapping_layers=sum(re.fullmatch(r"mapping\.\d+\.bias", name) is not None for name in raw),
            clamp=clamp,
            truncation=truncation,
            latent_space=latent_space,
            layers=layers,
        )
    load_weights(generator, _folded(raw, origin), origin=origin)
    if "w_avg" not in raw:
        _estimate_w_avg(generator)
    return generator


@torch.no_grad()
def _estimate_w_avg(generator: StyleGAN2) -> None:
    rng = torch.Generator().manual_seed(0)
    psi, generator.truncation = generator.truncation, 1.0
    w = generator.map(torch.randn(AVERAGED_LATENTS, generator.z_dim, generator=rng).to(generator.device))
    generator.w_avg, generator.truncation = w.mean(0), psi


def count(pattern: str, state: Mapping[str, Tensor]) -> int:
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
