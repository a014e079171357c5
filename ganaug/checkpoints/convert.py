"""Other people's checkpoints, read without running anything that they hold and made generators of ours."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ganaug.checkpoints.layout import Layout, State, layouts, nearest
from ganaug.checkpoints.pickles import check_held, is_torch_file, read_checkpoint, read_nvidia_pickle
from ganaug.devices import own_defaults
from ganaug.errors import FileError, GeneratorError
from ganaug.generators import Generator

WRAPPERS = ("g_ema", "G_ema", "netG_state_dict", "generator_state_dict", "generator", "netG", "state_dict")
"""Where a checkpoint may keep its generator; averaged weights before those that were averaged."""

PLAIN = (Tensor, nn.Parameter)

PREFIXES = ("generator.", "netG.", "G.")
"""Of a generator's tensors where its discriminator's lie beside them."""


@own_defaults
def convert_checkpoint(path: str | Path, /, *, arch: str = "auto", **options: Any) -> Generator:
    """Read a checkpoint (``.pth``, ``.pt``, ``.tar``, ``.bin``, NVIDIA's ``.pkl``) and build the generator in it.

    Known layouts, bare or under a key such as ``netG_state_dict`` or ``g_ema``: the PyTorch tutorial's DCGAN; SN-GAN of
    anvoynov/GANLatentDiscovery (its folder, or the ``generator.pt`` in it with ``args.json`` beside); ProGAN of
    ptrblck/prog_gans_pytorch_inference; BigGAN of ajbrock/BigGAN-PyTorch; BigGAN-deep of pytorch-pretrained-biggan
    (with its ``config.json`` beside it); StyleGAN2 of rosinality/stylegan2-pytorch and of NVIDIA's
    stylegan2-ada-pytorch; StyleGAN3 of NVIDIA's stylegan3; and an MLP, any ``nn.Sequential`` of
    linear layers and batch norms. Nothing in a pickle is run.

    Args:
        path: the checkpoint, or an SN-GAN's folder.
        arch: "auto", or the architecture that the checkpoint has to be of: a key of
            :data:`ganaug.generators.ARCHITECTURES`.
        options: what a checkpoint does not say, arguments of its layout's ``build``. MLP: ``activation``,
            ``batch_norm_eps``; StyleGAN2: ``truncation``, ``latent_space``, ...; BigGAN, BigGAN-deep: ``truncation``.

    Raises:
        GeneratorError: the file is missing, damaged, holds more than tensors and plain containers, or has a layout
            that ganaug does not know (what was found is listed, and the nearest layout); it is not of the architecture
            ``arch`` (what does not fit is listed); or an option that the architecture does not take.
    """
    path = Path(path)
    if path.suffix == ".pkl" and not is_torch_file(path):
        generator = _from_nvidia(path, options)
    else:
        generator = _from_torch(_file(path), arch, options)
    if arch not in ("auto", generator.architecture):
        raise GeneratorError(f"{path} holds a {generator.architecture}, not a {arch}. Leave arch out, or say that.")
    return generator


def _from_nvidia(path: Path, options: Mapping[str, Any]) -> Generator:
    """The generator in a pickle of NVIDIA's, StyleGAN2 unless it is recognised as another."""
    read = read_nvidia_pickle(path)
    state = read["tensors"]
    nvidias = [layout for layout in layouts() if "init_kwargs" in layout.arguments]
    layout = next((layout for layout in nvidias if layout.reads(state)), nvidias[0])
    layout.check_options(options)
    return layout.generator(state, path, {**options, "init_kwargs": read["init_kwargs"]}).check()


def _from_torch(path: Path, arch: str, options: Mapping[str, Any]) -> Generator:
    """The generator in a file of ``torch.save``."""
    content = read_checkpoint(path)
    state = _state_dict(content, path)
    layout = _layout(state, arch)
    for prefix in PREFIXES if layout is None else ():
        part = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
        if part and (layout := _layout(part, arch)) is not None:
            state = part
            break
    if layout is None:
        raise GeneratorError(_unknown(path, content, state))
    layout.check_options(options)
    held = content if isinstance(content, Mapping) else {}
    beside = {name: held[name] for name in layout.beside if type(held.get(name)) in PLAIN}
    check_held(beside, path)
    state |= beside
    try:
        return layout.generator(state, path, options).check()
    except (FileError, GeneratorError) as error:
        if isinstance(error, GeneratorError) and str(path) in str(error):
            raise
        raise GeneratorError(f"{path}: {error}") from error


def _file(path: Path) -> Path:
    """The checkpoint in a folder, or the file itself."""
    if not path.is_dir():
        return path
    if not (path / "generator.pt").is_file():
        raise GeneratorError(
            f"{path} is a folder without generator.pt. Only an SN-GAN of GANLatentDiscovery is a folder, with "
            "args.json and generator.pt; of any other give the checkpoint's file."
        )
    return path / "generator.pt"


def _layout(state: State, arch: str) -> Layout | None:
    """The layout that a state dict is read as; with ``arch`` one of these architectures', whatever its names are."""
    choice = [layout for layout in layouts() if arch in ("auto", layout.architecture)]
    if not choice:
        known = dict.fromkeys(layout.architecture for layout in layouts())
        raise GeneratorError(f"arch should be auto or one of {', '.join(known)}; got {arch!r}.")
    recognised = next((layout for layout in choice if layout.reads(state)), None)
    if recognised or arch == "auto":
        return recognised
    return max(choice, key=lambda layout: sum(layout.belongs(name, tensor) for name, tensor in state.items()))


def _state_dict(content: Any, path: Path) -> dict[str, Tensor]:
    """The generator's tensors, wherever the checkpoint keeps them."""
    for _ in range(2):
        if isinstance(content, Mapping):
            inner = next((content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)), None)
            content = content if inner is None else inner
    if not isinstance(content, Mapping):
        return {}
    state = {str(name): value for name, value in content.items() if type(value) in PLAIN}
    check_held(state, path)
    return {_plain(name): _float32(tensor) for name, tensor in state.items()}


def _plain(name: str) -> str:
    """A tensor's name without what DataParallel and torch.compile put before it."""
    while name.startswith(("module.", "_orig_mod.")):
        name = name.partition(".")[2]
    return name


def _float32(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def _unknown(path: Path, content: Any, state: State) -> str:
    """What to say of a checkpoint in no known layout."""
    if state.keys() and state.keys() <= {"linear.weight", "linear.bias", "log_mat_half"}:
        return (
            f"{path} holds directions, not a generator. Give the generator that they belong to, converted before: "
            "ganaug convert FILE --generator FOLDER --out PACK."
        )
    shown = [f"{name} {tuple(tensor.shape)}" for name, tensor in list(state.items())[:8]]
    found = (
        "; ".join(shown)
        if shown
        else f"no tensors, but {type(content).__name__} with {list(content)[:8]!s:.500}"
        if isinstance(content, Mapping)
        else type(content).__name__
    )
    known = ", ".join(layout.title for layout in layouts())
    return (
        f"{path} has a layout that ganaug does not know: {found}. {nearest(state)}Known: {known}. "
        "For a network of your own use Generator.from_module."
    )
