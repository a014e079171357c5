"""Foreign checkpoints, read once with ``weights_only=True`` and made generators of ours."""

from __future__ import annotations

import argparse
import inspect
import pickle
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ganaug.checkpoints.pickles import read_nvidia_pickle
from ganaug.errors import FileError, GeneratorError, listed
from ganaug.files import UNREADABLE, read_json
from ganaug.generators import DCGAN, MLP, SNGAN, BigGAN, BigGANDeep, Generator, ProGAN, StyleGAN2, StyleGAN3
from ganaug.generators.biggan import BIGGAN_DIMENSIONS, DEEP_DIMENSIONS, looks_like_biggan, looks_like_biggan_deep
from ganaug.generators.mlp import looks_like_mlp
from ganaug.generators.progan import looks_like_progan
from ganaug.generators.stylegan2 import looks_like_stylegan2
from ganaug.generators.stylegan3 import looks_like_stylegan3

WRAPPERS = ("g_ema", "G_ema", "netG_state_dict", "generator_state_dict", "generator", "netG", "state_dict")


"""Where a checkpoint may keep its generator; averaged weights before those that were averaged."""


PREFIXES = ("generator.", "netG.", "G.")


"""Of a generator's tensors where its discriminator's lie beside them."""


TORCH_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"  # of files before torch 1.6


State = Mapping[str, Tensor]


class Layout(NamedTuple):
    """The names that one published code gives to the tensors of a generator.

    Attributes:
        title: what the layout is called.
        builds: the architecture whose ``from_checkpoint`` reads it.
        has: some tensors that each such checkpoint has.
        pattern: what each tensor matches, written as ``name:dimensions``.
        recognises: whether a state dict is meant to be one; by default it is one that has all of these tensors.
        config: the file beside the checkpoint that goes into ``from_checkpoint`` as ``config``.
    """

    title: str
    builds: type[Any]
    has: tuple[str, ...]
    pattern: str
    recognises: Callable[[State], bool] | None = None
    config: str | None = None

    @property
    def architecture(self) -> str:
        name: str = self.builds.architecture
        return name

    def reads(self, state: State) -> bool:
        return self.recognises(state) if self.recognises else state.keys() >= set(self.has)

    def belongs(self, name: str, tensor: Tensor) -> bool:
        return re.fullmatch(self.pattern, f"{name}:{tensor.ndim}") is not None

    def build(self, state: State, path: Path, options: Mapping[str, Any]) -> Generator:
        arguments = dict(options)
        if "origin" in _parameters(self.builds):
            arguments["origin"] = str(path)
        if self.config and (beside := path.with_name(self.config)).exists():
            arguments["config"] = read_json(beside)
        generator: Generator = self.builds.from_checkpoint(state, **arguments)
        return generator


def _check_options(options: Mapping[str, Any], builds: type[Any]) -> None:
    known = _parameters(builds) - {"state", "config", "init_kwargs", "origin"}
    if unknown := sorted(options.keys() - known):
        raise GeneratorError(
            f"{builds.architecture} has no option {', '.join(unknown)} for conversion; it has "
            f"{', '.join(sorted(known)) or 'none'}."
        )


def _parameters(builds: type[Any]) -> set[str]:
    return set(inspect.signature(builds.from_checkpoint).parameters)


NORM = r"(weight|bias|running_mean|running_var):1|num_batches_tracked:0"


LAYOUTS = (
    Layout(
        "DCGAN (PyTorch tutorial)",
        DCGAN,
        ("main.0.weight", "main.1.running_mean", "main.3.weight"),
        rf"main\.\d+\.(weight:4|{NORM})",
    ),
    Layout(
        "SN-GAN (anvoynov/GANLatentDiscovery)",
        SNGAN,
        ("model.0.weight", "model.2.conv1.weight", "model.2.model.0.running_mean"),
        rf"model\.0\.(weight:2|bias:1)|model\.\d+\.(model\.\d\.)?(weight:4|{NORM})"
        r"|model\.\d+\.(conv[12]|bypass\.1)\.(weight:4|bias:1)",
        config="args.json",
    ),
    Layout(
        "ProGAN (ptrblck/prog_gans_pytorch_inference)",
        ProGAN,
        ("features.0.conv.weight", "features.0.wscale.scale", "output.conv.weight"),
        r"(features\.\d+|output)\.(conv\.weight:4|wscale\.(scale|b):1)",
        looks_like_progan,
    ),
    Layout(
        "StyleGAN2 (rosinality/stylegan2-pytorch)",
        StyleGAN2,
        ("style.1.weight", "input.input", "conv1.conv.modulation.weight"),
        r"input\.input:4|style\.\d+\.(weight:2|bias:1)|latent_avg:\d|noises\.noise_\d+:4"
        r"|(conv1|to_rgb1|convs\.\d+|to_rgbs\.\d+)\.(conv\.|noise\.|activate\.|bias:|upsample\.).*",
        looks_like_stylegan2,
    ),
    Layout(
        "StyleGAN2-ADA (NVlabs/stylegan2-ada-pytorch)",
        StyleGAN2,
        ("mapping.fc0.weight", "synthesis.b4.const", "synthesis.b4.conv1.noise_const"),
        r"mapping\.(fc\d+|embed|w_avg).*|synthesis\.b\d+\..+",
        looks_like_stylegan2,
    ),
    Layout(
        "StyleGAN3 (NVlabs/stylegan3)",
        StyleGAN3,
        ("mapping.fc0.weight", "synthesis.input.freqs", "synthesis.input.phases"),
        r"mapping\.(fc\d+|embed|w_avg).*|synthesis\.(input|L\d+_\d+_\d+)\..+",
        looks_like_stylegan3,
    ),
    Layout(
        "BigGAN (ajbrock/BigGAN-PyTorch)",
        BigGAN,
        tuple(BIGGAN_DIMENSIONS),
        r"(shared|linear|blocks\.\d+\.\d|output_layer\.\d)\..+",
        looks_like_biggan,
    ),
    Layout(
        "BigGAN-deep (pytorch-pretrained-biggan)",
        BigGANDeep,
        tuple(DEEP_DIMENSIONS),
        r"embeddings\.weight:2|generator\.(gen_z|layers\.\d+|bn|conv_to_rgb)\..+",
        looks_like_biggan_deep,
        config="config.json",
    ),
    Layout("MLP (nn.Sequential)", MLP, (), rf"(\w+\.)?\d+\.(weight:2|{NORM})", looks_like_mlp),
)


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
        options: what a checkpoint does not say, for the architecture's ``from_checkpoint``. MLP: ``activation``,
            ``batch_norm_eps``; StyleGAN2: ``truncation``, ``latent_space``, ...; BigGAN, BigGAN-deep: ``truncation``.

    Raises:
        GeneratorError: the file is missing, damaged, holds more than tensors and plain containers, or has a layout
            that ganaug does not know (what was found is listed, and the nearest layout); it is not of the architecture
            ``arch`` (what does not fit is listed); or an option that the architecture does not take.
    """
    generator = _converted(Path(path), arch, options)
    if arch not in ("auto", generator.architecture):
        raise GeneratorError(f"{path} holds a {generator.architecture}, not a {arch}. Leave arch out, or say that.")
    return generator


def _converted(path: Path, arch: str, options: Mapping[str, Any]) -> Generator:
    if path.suffix == ".pkl" and not _is_torch_file(path):
        read = read_nvidia_pickle(path)
        builds = StyleGAN3 if looks_like_stylegan3(read["tensors"]) else StyleGAN2
        _check_options(options, builds)
        return builds.from_checkpoint(
            read["tensors"], init_kwargs=read["init_kwargs"], origin=str(path), **options
        ).check()
    if path.is_dir():
        if not (path / "generator.pt").is_file():
            raise GeneratorError(
                f"{path} is a folder without generator.pt. Only an SN-GAN of GANLatentDiscovery is a folder, with "
                "args.json and generator.pt; of any other give the checkpoint's file."
            )
        path /= "generator.pt"
    content = read_checkpoint(path)
    state = _state_dict(content)
    layout = _layout(state, arch)
    for prefix in PREFIXES if layout is None else ():
        part = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
        if part and (layout := _layout(part, arch)) is not None:
            state = part
            break
    if layout is None:
        raise GeneratorError(_unknown(path, content, state))
    _check_options(options, layout.builds)
    if layout.builds is StyleGAN2 and isinstance(content, Mapping) and isinstance(content.get("latent_avg"), Tensor):
        state["latent_avg"] = content["latent_avg"]
    try:
        return layout.build(state, path, options).check()
    except (FileError, GeneratorError) as error:
        if isinstance(error, GeneratorError) and str(path) in str(error):
            raise
        raise GeneratorError(f"{path}: {error}") from error


def read_checkpoint(path: Path) -> Any:
    """What a file of ``torch.save`` holds: tensors and plain containers. Nothing else is unpickled.

    Raises:
        GeneratorError: the file is missing or damaged, or holds anything else.
    """
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):  # rosinality's checkpoints hold their options
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise GeneratorError(f"there is no file {path}.") from error
    except pickle.UnpicklingError as error:
        raise GeneratorError(
            f"{path} is refused: it is damaged, or holds more than tensors and plain containers, and running what a "
            f"pickle asks for is not safe. Save a plain state dict instead. ({str(error).partition(chr(10))[0]})"
        ) from error
    except UNREADABLE as error:
        raise GeneratorError(f"{path} can't be read as a checkpoint; is it whole? ({error})") from error


def _layout(state: State, arch: str) -> Layout | None:
    """The layout that a state dict is read as; with ``arch`` one of these architectures', whatever its names are."""
    choice = [layout for layout in LAYOUTS if arch in ("auto", layout.architecture)]
    if not choice:
        known = dict.fromkeys(layout.architecture for layout in LAYOUTS)
        raise GeneratorError(f"arch should be auto or one of {', '.join(known)}; got {arch!r}.")
    recognised = next((layout for layout in choice if layout.reads(state)), None)
    return recognised if arch == "auto" else recognised or choice[0]


def _state_dict(content: Any) -> dict[str, Tensor]:
    """The generator's tensors, wherever the checkpoint keeps them."""
    for _ in range(2):
        if isinstance(content, Mapping):
            inner = next((content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)), None)
            content = content if inner is None else inner
    if not isinstance(content, Mapping):
        return {}
    return {_plain(str(name)): _float32(value) for name, value in content.items() if isinstance(value, Tensor)}


def _plain(name: str) -> str:
    """A tensor's name without what DataParallel and torch.compile put before it."""
    while name.startswith(("module.", "_orig_mod.")):
        name = name.partition(".")[2]
    return name


def _float32(tensor: Tensor) -> Tensor:
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise GeneratorError(f"a tensor of shape {tuple(tensor.shape)} has more elements than are stored; refused.")
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def _is_torch_file(path: Path) -> bool:
    """Whether ``torch.save`` wrote a file, whatever it is called."""
    try:
        with path.open("rb") as file:
            return file.read(len(TORCH_MAGIC)).startswith((b"PK", TORCH_MAGIC))
    except OSError:
        return False


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
        else f"no tensors, but {type(content).__name__} with {list(content)[:8]}"
        if isinstance(content, Mapping)
        else type(content).__name__
    )
    return (
        f"{path} has a layout that ganaug does not know: {found}. {_nearest(state)}"
        f"Known: {', '.join(layout.title for layout in LAYOUTS)}. For a network of your own use Generator.from_module."
    )


def _nearest(state: State) -> str:
    """The known layout that shares most names with a state dict, and what keeps them apart; "" if none shares any."""
    heads = {name.partition(".")[0] for name in state}
    head = f"{heads.pop()}." if len(heads) == 1 else ""
    best, text = (0.0, 0), ""
    for layout in LAYOUTS:
        known = f"{layout.has[0].partition('.')[0]}." if layout.has else ""
        for theirs, ours in (("", ""), (head, known), (head, "")) if head else (("", ""),):
            names = {ours + name.removeprefix(theirs): name for name in state}
            foreign = [theirs for name, theirs in names.items() if not layout.belongs(name, state[theirs])]
            missing = [name for name in layout.has if name not in names]
            score = (1 - len(foreign) / max(1, len(names)), len(layout.has) - len(missing))
            if score <= best or (theirs and missing):
                continue
            begin = f"these begin with {theirs!r}" + f" where it has {ours!r}" * bool(ours)
            differences = [
                *([begin] if theirs else []),
                *([f"it would also have {listed(missing)}"] if missing else []),
                *([f"these do not belong: {listed(foreign)}"] if foreign else []),
            ]
            best = score
            text = (
                f"Nearest: {layout.title}, but {', and '.join(differences) or 'with other shapes'}. Is it whole, and a "
                f"generator's? With arch {layout.architecture} all that does not fit is listed. "
            )
    return text
