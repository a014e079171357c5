"""StyleGAN3s of NVlabs/stylegan3."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ganaug.checkpoints.layout import Layout, register, renamed
from ganaug.errors import GeneratorError, listed
from ganaug.generators import StyleGAN3, load_weights
from ganaug.generators.checks import difference
from ganaug.generators.style import MAPPING_LEARNING_RATE
from ganaug.generators.stylegan3 import AliasFreeLayer

FILTERS = ("up_filter", "down_filter")


FILTER_ERROR = 1e-4  # of a checkpoint's filters, relative to the largest tap; rounding is less, another design more


LAYER = re.compile(r"(synthesis\.L(\d+)_(\d+)_(\d+))\.")  # of NVIDIA's names: number, pixels with margin, feature maps


# NVIDIA's options that are arguments here, and the other ones that it may have: the tensors say what they are, or they
# matter in training only.
ARGUMENTS = {
    "channel_base", "channel_max", "num_critical", "first_cutoff", "first_stopband", "last_stopband_rel", "margin_size",
    "output_scale", "filter_size", "lrelu_upsampling", "conv_clamp",
}  # fmt: skip


OTHER_OPTIONS = {
    "z_dim", "c_dim", "w_dim", "img_resolution", "img_channels", "num_layers", "conv_kernel", "use_radial_filters",
    "mapping_kwargs", "magnitude_ema_beta", "num_fp16_res",
}  # fmt: skip


MAPPING_OPTIONS = {"num_layers", "lr_multiplier", "w_avg_beta"}


def build(
    state: Mapping[str, Tensor],
    *,
    init_kwargs: Mapping[str, Any] | None = None,
    truncation: float = 1.0,
    latent_space: str = "z",
    layers: Sequence[int] | None = None,
    origin: str = "the checkpoint",
) -> StyleGAN3:
    """Build the frozen generator of a state dict in the layout of NVlabs/stylegan3.

    Args:
        state: the tensors of ``G_ema``, by their names there.
        init_kwargs: what the network was built with; see :func:`read_nvidia_pickle`. What is missing is read off
            the tensors or has the original's default; that the filters fit it is checked.
        truncation, latent_space, layers: see :class:`StyleGAN3`.
        origin: where ``state`` comes from, for the error.

    Raises:
        GeneratorError: missing, extra or mis-shaped tensors; layers or filters other than ``init_kwargs`` give, or
            an option among them that is unknown here.
    """
    prefixes = _layer_prefixes(state)
    raw = renamed(state, _names(state, prefixes), layout="StyleGAN3 (NVIDIA)", origin=origin)
    options, learning_rate = _options(init_kwargs or {}, origin)
    w_dim = raw["w_avg"].shape[0]
    num_classes = raw["embedding.weight"].shape[1] if "embedding.weight" in raw else 0
    num_layers = len(prefixes) - 1
    image_size = int(prefixes[-1].split("_")[1])
    widths = [raw[f"blocks.{k}.bias"].shape[0] for k in range(num_layers)]
    # Widths in the middle have only those of both ends to follow from.
    options = {"channel_base": widths[-1] * image_size, "channel_max": max(widths), **options}
    with torch.device("meta"):
        generator = StyleGAN3(
            z_dim=raw["mapping.0.weight"].shape[1] - w_dim * (num_classes > 0),
            w_dim=w_dim,
            channels=raw["to_rgb.bias"].shape[0],
            image_size=image_size,
            num_classes=num_classes,
            num_layers=num_layers,
            conv_kernel=raw["blocks.0.weight"].shape[-1],
            use_radial_filters=any(name.endswith("down_filter") and raw[name].ndim == 2 for name in raw),
            mapping_layers=sum(re.fullmatch(r"mapping\.\d+\.bias", name) is not None for name in raw),
            truncation=truncation,
            latent_space=latent_space,
            layers=layers,
            **options,
        )
    designed = [f"synthesis.L{k}_{signal.size}_{signal.width}" for k, signal in enumerate(generator.signals)]
    if others := [f"{ours} for {theirs}" for ours, theirs in zip(designed, prefixes, strict=True) if ours != theirs]:
        raise GeneratorError(
            f"{origin} has other layers than follow from {options}, which gives {listed(others)}. Pass as "
            "init_kwargs what the network was built with."
        )
    folded = _folded(raw, learning_rate) | _filters(raw, generator, origin)
    return load_weights(generator, folded, origin=origin)


def _layer_prefixes(state: Mapping[str, Tensor]) -> list[str]:
    """How the names of each layer begin, toRGB last; at least two, with question marks where there is no such layer."""
    found = {int(match[2]): match[1] for name in state if (match := LAYER.match(name))}
    count = min(len(state), max(found, default=0) + 1)
    return [found.get(k, f"synthesis.L{k}_?_?") for k in range(max(2, count))]


def _names(state: Mapping[str, Tensor], prefixes: list[str]) -> dict[str, tuple[str, int]]:
    """Of each foreign tensor our name, and its dimensions. What ours do not have ends in "magnitude_ema"."""
    names = {"mapping.w_avg": ("w_avg", 1)}
    names |= {
        f"synthesis.input.{kind}": (f"fourier.{kind}", ndim)
        for kind, ndim in (
            ("weight", 2),
            ("affine.weight", 2),
            ("affine.bias", 1),
            ("freqs", 2),
            ("phases", 1),
            ("transform", 2),
        )
    }
    if any(name.startswith("mapping.embed.") for name in state):
        names |= {"mapping.embed.weight": ("embedding.weight", 2), "mapping.embed.bias": ("embedding.bias", 1)}
    depth = sum(re.fullmatch(r"mapping\.fc\d+\.weight", name) is not None for name in state)
    for k in range(max(1, depth)):
        names |= {f"mapping.fc{k}.{kind}": (f"mapping.{k}.{kind}", ndim) for kind, ndim in (("weight", 2), ("bias", 1))}
    kinds = {"weight": 4, "bias": 1, "affine.weight": 2, "affine.bias": 1, "magnitude_ema": 0}
    for k, prefix in enumerate(prefixes):
        ours = f"blocks.{k}" if k < len(prefixes) - 1 else "to_rgb"
        names |= {f"{prefix}.{kind}": (f"{ours}.{kind}", ndim) for kind, ndim in kinds.items()}
        for kind in FILTERS if ours != "to_rgb" else ():
            if (tensor := state.get(f"{prefix}.{kind}")) is not None:  # there is none where the rate stays the same
                names[f"{prefix}.{kind}"] = (f"{ours}.{kind}", 2 if kind == "down_filter" and tensor.ndim == 2 else 1)
    return names


def _options(init_kwargs: Mapping[str, Any], origin: str) -> tuple[dict[str, Any], float]:
    """Arguments among NVIDIA's options, and the mapping network's learning rate; unknown options are refused."""
    mapping = init_kwargs.get("mapping_kwargs") or {}
    unknown = (init_kwargs.keys() - ARGUMENTS - OTHER_OPTIONS) | (mapping.keys() - MAPPING_OPTIONS)
    if unknown:
        told = ", ".join(f"{name}={init_kwargs.get(name, mapping.get(name))!r}" for name in sorted(unknown))
        raise GeneratorError(
            f"{origin} was built with {told}, which StyleGAN3 here does not know. Use Generator.from_module with the "
            "original code."
        )
    arguments = {name: value for name, value in init_kwargs.items() if name in ARGUMENTS}
    return arguments, mapping.get("lr_multiplier", MAPPING_LEARNING_RATE)


def _folded(raw: Mapping[str, Tensor], learning_rate: float) -> dict[str, Tensor]:
    """Our weights: learning-rate scales, norms, average magnitudes and the leaky ReLU's gain multiplied in."""
    folded = {}
    for name, tensor in raw.items():
        head, _, kind = name.rpartition(".")
        exact = tensor.double()
        if name == "embedding.weight":
            exact = exact.T / math.sqrt(tensor.shape[1]) + raw["embedding.bias"].double()
        elif head.startswith("mapping."):
            exact = exact * learning_rate * math.sqrt(2) / (math.sqrt(tensor.shape[1]) if kind == "weight" else 1)
        elif kind == "weight" and (head == "fourier" or head.endswith(".affine")):
            exact = exact / math.sqrt(tensor.shape[1])
        elif name == "to_rgb.weight":
            exact = exact * (tensor.shape[1] * raw["to_rgb.magnitude_ema"].double()).rsqrt()
        elif kind == "weight":
            exact = exact / exact.flatten(1).norm(dim=1)[:, None, None, None]
        elif kind == "bias" and head.startswith("blocks.") and not head.endswith(".affine"):
            exact = exact * math.sqrt(2)
        elif kind == "magnitude_ema":
            name, exact = f"{head}.gain", math.sqrt(2) * exact.rsqrt()
        folded[name] = exact.to(tensor.dtype)
    return {name: tensor for name, tensor in folded.items() if name not in ("embedding.bias", "to_rgb.gain")}


def _filters(raw: Mapping[str, Tensor], generator: StyleGAN3, origin: str) -> dict[str, Tensor]:
    """The checkpoint's filters, with the upsampling ones scaled as ours; they have to be those of the design."""
    filters = {}
    for k, layer in enumerate(generator.blocks):
        assert isinstance(layer, AliasFreeLayer)
        held = [raw.get(f"blocks.{k}.{kind}", torch.ones(1)) for kind in FILTERS]
        fit = [found.shape == getattr(layer, kind).shape for found, kind in zip(held, FILTERS, strict=True)]
        # Filters of another shape are not designed: options that are not this network's may give any size.
        wanted = layer.designed_filters() if all(fit) else (None, None)
        for kind, found, fits, designed, scale in zip(FILTERS, held, fit, wanted, (layer.up, 1), strict=True):
            name, found = f"blocks.{k}.{kind}", scale * found
            if not fits or (designed is not None and not difference(found, designed) <= FILTER_ERROR * designed.max()):
                raise GeneratorError(
                    f"{origin}: the {kind} of layer {k} is not the one that follows from the network's options. Pass "
                    "as init_kwargs what it was built with; for another design use Generator.from_module with the "
                    "original code."
                )
            filters[name] = found
    return filters


register(
    Layout(
        title="StyleGAN3 (NVlabs/stylegan3)",
        architecture=StyleGAN3.architecture,
        build=build,
        has=("mapping.fc0.weight", "synthesis.input.freqs", "synthesis.input.phases"),
        pattern=r"mapping\.(fc\d+|embed|w_avg).*|synthesis\.(input|L\d+_\d+_\d+)\..+",
        rank=60,
    )
)
