"""StyleGAN2s of rosinality/stylegan2-pytorch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from ganaug.checkpoints.layout import Layout, register, renamed
from ganaug.checkpoints.stylegan2_folding import built, count
from ganaug.generators import StyleGAN2


def build(
    state: Mapping[str, Tensor],
    *,
    truncation: float = 1.0,
    latent_space: str = "z",
    layers: Sequence[int] | None = None,
    origin: str = "the checkpoint",
) -> StyleGAN2:
    """Build the frozen generator of a state dict in rosinality's layout.

    Args:
        state: the tensors of ``g_ema``, and ``latent_avg``, which checkpoints keep beside ``g_ema``, under that name;
            without it w's mean is estimated from 10 000 w.
        truncation, latent_space, layers: see :class:`StyleGAN2`.
        origin: where ``state`` comes from, for the error.

    Raises:
        GeneratorError: missing, extra or mis-shaped tensors; another filter.
    """
    raw = renamed(state, _names(state), layout="StyleGAN2 (rosinality)", origin=origin)
    return built(raw, clamp=None, truncation=truncation, latent_space=latent_space, layers=layers, origin=origin)


def _names(state: Mapping[str, Tensor]) -> dict[str, tuple[str, int]]:
    """Of each foreign tensor our name, and its dimensions."""
    names = {"input.input": ("const", 4)}
    if "latent_avg" in state:
        names["latent_avg"] = ("w_avg", state["latent_avg"].ndim)
    for k in range(max(1, count(r"style\.(\d+)\.", state) - 1)):  # style.0 is the normalisation
        names |= {f"style.{k + 1}.{kind}": (f"mapping.{k}.{kind}", ndim) for kind, ndim in (("weight", 2), ("bias", 1))}

    def modulated(theirs: str, ours: str) -> None:
        names[f"{theirs}.conv.weight"] = (f"{ours}.weight", 5)
        names[f"{theirs}.conv.modulation.weight"] = (f"{ours}.affine.weight", 2)
        names[f"{theirs}.conv.modulation.bias"] = (f"{ours}.affine.bias", 1)

    noises = 0
    for block in range(1 + (count(r"convs\.(\d+)\.", state) + 1) // 2):
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


register(
    Layout(
        title="StyleGAN2 (rosinality/stylegan2-pytorch)",
        architecture=StyleGAN2.architecture,
        build=build,
        has=("style.1.weight", "input.input", "conv1.conv.modulation.weight"),
        pattern=r"input\.input:4|style\.\d+\.(weight:2|bias:1)|latent_avg:\d|noises\.noise_\d+:4"
        r"|(conv1|to_rgb1|convs\.\d+|to_rgbs\.\d+)\.(conv\.|noise\.|activate\.|bias:|upsample\.).*",
        beside=("latent_avg",),
        rank=40,
    )
)
