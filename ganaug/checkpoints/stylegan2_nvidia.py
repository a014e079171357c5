"""StyleGAN2s of NVlabs/stylegan2-ada-pytorch, and those that NVlabs/stylegan3 trains."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from ganaug.checkpoints.layout import Layout, register, renamed
from ganaug.checkpoints.stylegan2_folding import built, count
from ganaug.errors import GeneratorError
from ganaug.generators import StyleGAN2
from ganaug.generators.style import MAPPING_LEARNING_RATE

# What the originals' options have to be for the tensors to mean what they mean here.
NVIDIA_OPTIONS = {
    "architecture": "skip",
    "activation": "lrelu",
    "use_noise": True,
    "kernel_size": 3,
    "lr_multiplier": MAPPING_LEARNING_RATE,
}


def build(
    state: Mapping[str, Tensor],
    *,
    init_kwargs: Mapping[str, Any] | None = None,
    truncation: float = 1.0,
    latent_space: str = "z",
    layers: Sequence[int] | None = None,
    origin: str = "the checkpoint",
) -> StyleGAN2:
    """Build the frozen generator of a state dict in NVIDIA's layout.

    Args:
        state: the tensors of ``G_ema`` in a pickle of NVlabs/stylegan2-ada-pytorch, by their names there.
        init_kwargs: what the network in the pickle was built with; see :func:`read_nvidia_pickle`.
        truncation, latent_space, layers: see :class:`StyleGAN2`.
        origin: where ``state`` comes from, for the error.

    Raises:
        GeneratorError: missing, extra or mis-shaped tensors; another architecture, filter or non-linearity.
    """
    raw = renamed(state, _names(state), layout="StyleGAN2 (NVIDIA)", origin=origin)
    clamp = _clamp(init_kwargs or {}, origin)
    return built(raw, clamp=clamp, truncation=truncation, latent_space=latent_space, layers=layers, origin=origin)


def _names(state: Mapping[str, Tensor]) -> dict[str, tuple[str, int]]:
    """Of each foreign tensor our name, and its dimensions."""
    names = {"synthesis.b4.const": ("const", 3), "mapping.w_avg": ("w_avg", 1)}
    if any(name.startswith("mapping.embed.") for name in state):
        names |= {"mapping.embed.weight": ("embedding.weight", 2), "mapping.embed.bias": ("embedding.bias", 1)}
    for k in range(max(1, count(r"mapping\.fc(\d+)\.", state))):
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


register(
    Layout(
        title="StyleGAN2-ADA (NVlabs/stylegan2-ada-pytorch)",
        architecture=StyleGAN2.architecture,
        build=build,
        has=("mapping.fc0.weight", "synthesis.b4.const", "synthesis.b4.conv1.noise_const"),
        pattern=r"mapping\.(fc\d+|embed|w_avg).*|synthesis\.b\d+\..+",
        rank=50,
    )
)
