"""Foreign checkpoints, read once with ``weights_only=True`` and made generators of ours."""

from __future__ import annotations

import argparse
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganaug.generators.base import UNREADABLE, Generator, GeneratorError, load_weights, read_json
from ganaug.generators.biggan import BigGAN, BigGANDeep, looks_like_biggan, looks_like_biggan_deep
from ganaug.generators.dcgan import DCGAN
from ganaug.generators.nvidia_pickle import read_nvidia_pickle
from ganaug.generators.progan import ProGAN, looks_like_progan
from ganaug.generators.stylegan2 import StyleGAN2, looks_like_stylegan2

WRAPPERS = ("netG_state_dict", "generator_state_dict", "generator", "g_ema", "netG", "state_dict")


def convert_checkpoint(path: str | Path) -> Generator:
    """Read a checkpoint (``.pth``, ``.pt``, ``.tar``, ``.bin``, NVIDIA's ``.pkl``) and build the generator in it.

    Known layouts, bare or under a key such as ``netG_state_dict`` or ``g_ema``: the PyTorch tutorial's DCGAN; ProGAN of
    ptrblck/prog_gans_pytorch_inference; BigGAN of ajbrock/BigGAN-PyTorch; BigGAN-deep of pytorch-pretrained-biggan
    (with its ``config.json`` beside it); StyleGAN2 of rosinality/stylegan2-pytorch and of NVIDIA's
    stylegan2-ada-pytorch. Nothing in a pickle is run.

    Raises:
        GeneratorError: the file is missing, damaged, holds more than tensors and plain containers, or has a layout
            that ganaug does not know (what was found is listed).
    """
    path = Path(path)
    if path.suffix == ".pkl":
        read = read_nvidia_pickle(path)
        return StyleGAN2.from_checkpoint(read["tensors"], init_kwargs=read["init_kwargs"], origin=str(path)).check()
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):  # rosinality's checkpoints hold their options
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise GeneratorError(f"there is no file {path}.") from error
    except pickle.UnpicklingError as error:
        raise GeneratorError(
            f"{path} is refused: it is damaged, or holds more than tensors and plain containers, and running what a "
            f"pickle asks for is not safe. Save a plain state dict instead. ({str(error).partition(chr(10))[0]})"
        ) from error
    except UNREADABLE as error:
        raise GeneratorError(f"{path} can't be read as a checkpoint; is it whole? ({error})") from error
    state = _state_dict(content)
    if dcgan_config := _dcgan_config(state):
        generator: Generator = DCGAN(**dcgan_config)
        kept = {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
        counters = {k: v for k, v in generator.state_dict().items() if k.endswith("num_batches_tracked")}
        return load_weights(generator, {**counters, **kept}, origin=str(path)).check()
    if looks_like_progan(state):
        return ProGAN.from_checkpoint(state, origin=str(path)).check()
    if looks_like_stylegan2(state):
        if isinstance(content, Mapping) and isinstance(content.get("latent_avg"), Tensor):
            state["latent_avg"] = content["latent_avg"]
        return StyleGAN2.from_checkpoint(state, origin=str(path)).check()
    try:
        if looks_like_biggan(state):
            return BigGAN.from_checkpoint(state).check()
        if looks_like_biggan_deep(state):
            beside = path.with_name("config.json")
            config = read_json(beside) if beside.exists() else None
            return BigGANDeep.from_checkpoint(state, config=config).check()
    except GeneratorError as error:
        raise GeneratorError(f"{path}: {error}") from error
    shown = [f"{name} {tuple(tensor.shape)}" for name, tensor in list(state.items())[:8]]
    found = (
        "; ".join(shown)
        if shown
        else f"no tensors, but {type(content).__name__} with {list(content)[:8]}"
        if isinstance(content, Mapping)
        else type(content).__name__
    )
    raise GeneratorError(
        f"{path} has a layout that ganaug does not know: {found}. Known: DCGAN (main.0.weight, ...), "
        "ProGAN, BigGAN, BigGAN-deep and StyleGAN2. For a network of your own use Generator.from_module."
    )


def _state_dict(content: Any) -> dict[str, Tensor]:
    """The generator's tensors, wherever the checkpoint keeps them."""
    for _ in range(2):
        if isinstance(content, Mapping):
            inner = next((content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)), None)
            content = content if inner is None else inner
    if not isinstance(content, Mapping):
        return {}
    return {str(name).removeprefix("module."): value for name, value in content.items() if isinstance(value, Tensor)}


def _dcgan_config(state: Mapping[str, Tensor]) -> dict[str, int] | None:
    """DCGAN's arguments read off the shapes, or None for another layout."""
    layers = sorted(
        (int(match[1]), tensor)
        for name, tensor in state.items()
        if (match := re.fullmatch(r"main\.(\d+)\.weight", name)) and tensor.ndim == 4
    )
    if len(layers) < 3 or any(tuple(tensor.shape[2:]) != (4, 4) for _, tensor in layers):
        return None
    first, last = layers[0][1], layers[-1][1]
    if first.shape[1] != last.shape[0] << (len(layers) - 2):
        return None
    return {
        "latent_dim": first.shape[0],
        "channels": last.shape[1],
        "width": last.shape[0],
        "image_size": 4 << (len(layers) - 1),
    }
