"""Whether converted generators draw the images of their original code, from the same weights and latents.

    python benchmarks/equality.py [--progan PATH] [--stylegan2 PATH] [--stylegan2-ada PATH] [--sizes 64 1024]

Each PATH is a checkout: ptrblck/prog_gans_pytorch_inference, rosinality/stylegan2-pytorch and
NVlabs/stylegan2-ada-pytorch. The original network is built with random weights (no published file is needed), its
state is converted, and both draw the same latents in float32 on the CPU; StyleGAN2-ADA also goes through NVIDIA's own
pickle and back. The originals return what leaves [-1, 1] here and there: it is clamped before the comparison, and the
share of such values is printed.

The error is max |a - b| / max |a|. It is taken in the memory format of the original, contiguous, and again in
channels_last, in which ganaug loads its weights: PyTorch's convolutions of that format sum in another order.

The compiled operators of rosinality's code are replaced: ``op.fused_act`` by plain PyTorch, written below, and the
compilation of ``op.upfirdn2d`` is left out so that its own CPU path runs. NVIDIA's code takes its own reference path
on a CPU.
"""

from __future__ import annotations

import argparse
import importlib
import math
import pickle
import sys
import tempfile
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganaug.generators import Generator
from ganaug.generators.nvidia_pickle import read_nvidia_pickle
from ganaug.generators.progan import ProGAN
from ganaug.generators.stylegan2 import StyleGAN2

Row = tuple[str, Tensor, Generator, tuple[Tensor | None, ...]]


@contextmanager
def importing(checkout: Path, **stand_ins: types.ModuleType) -> Iterator[Callable[[str], Any]]:
    """Import from a checkout, with modules that stand in for some of its own; all of them are forgotten afterwards."""
    known = set(sys.modules)
    sys.modules.update(stand_ins)
    try:
        with mock.patch.object(sys, "path", [str(checkout), *sys.path]):
            yield importlib.import_module
    finally:
        for name in set(sys.modules) - known:
            if name in stand_ins or str(checkout) in str(getattr(sys.modules[name], "__file__", "")):
                del sys.modules[name]


@torch.no_grad()
def progan(checkout: Path, size: int, batch: int) -> Iterator[Row]:
    """The original network is written for 1024 pixels; its first stages are the network of a lower resolution."""
    with importing(checkout) as load:
        original = load("model").Generator().eval()
    features = original.features[: 2 * size.bit_length() - 4]
    original.output.conv = nn.Conv2d(features[-1].conv.out_channels, 3, 1, bias=False)
    for layer in [*features, original.output]:
        nn.init.normal_(layer.conv.weight)
        variance = (0.1 if layer is original.output else 2) / layer.conv.weight[0].numel()
        layer.wscale.scale.fill_(math.sqrt(variance))
        nn.init.normal_(layer.wscale.b, std=0.2)
    state = {f"features.{name}": tensor for name, tensor in features.state_dict().items()}
    state |= {f"output.{name}": tensor for name, tensor in original.output.state_dict().items()}
    z = torch.randn(batch, 512)
    images = original.output(features(z[:, :, None, None]))
    generator = ProGAN.from_checkpoint(state)
    yield f"ProGAN {size}, {len(features)} of 18 layers", images, generator, (z,)
    yield f"ProGAN {size}, fused", images, generator.fused(), (z,)


class PlainLeakyReLU(nn.Module):
    """rosinality's FusedLeakyReLU in plain PyTorch."""

    def __init__(self, channel: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channel))

    def forward(self, x: Tensor) -> Tensor:
        return plain_leaky_relu(x, self.bias)


def plain_leaky_relu(x: Tensor, bias: Tensor) -> Tensor:
    return F.leaky_relu(x + bias.view(1, -1, *[1] * (x.ndim - 2)), 0.2) * math.sqrt(2)


@torch.no_grad()
def randomised(network: nn.Module) -> nn.Module:
    """As after training: no bias, noise strength or mean of w is zero any more, and images lie in [-1, 1] mostly."""
    for name, tensor in network.state_dict().items():
        if name.endswith((".bias", "noise_strength", "noise.weight", "w_avg")):
            tensor.add_(torch.randn_like(tensor) * (10 if "style" in name or ".fc" in name else 0.1))
        elif "rgb" in name and name.endswith(("torgb.weight", ".conv.weight")):
            tensor.mul_(0.2)
    return network.eval().requires_grad_(False)


@torch.no_grad()
def stylegan2(checkout: Path, size: int, batch: int) -> Iterator[Row]:
    plain = types.ModuleType("op.fused_act")
    vars(plain).update(FusedLeakyReLU=PlainLeakyReLU, fused_leaky_relu=plain_leaky_relu)
    compiled = mock.patch("torch.utils.cpp_extension.load", return_value=None)
    with compiled, importing(checkout, **{"op.fused_act": plain}) as load:
        original = randomised(load("model").Generator(size, 512, 8))
        z, mean = torch.randn(batch, 512), original.mean_latent(1000)
        for psi in (1.0, 0.5):
            images, _ = original([z], truncation=psi, truncation_latent=mean, randomize_noise=False)
            state = {**original.state_dict(), "latent_avg": mean}
            generator = StyleGAN2.from_checkpoint(state, truncation=psi)
            yield f"StyleGAN2 {size} (rosinality), psi {psi}", images, generator, (z,)
        w = original.style(z)
        images, _ = original([w], input_is_latent=True, randomize_noise=False)
        generator = StyleGAN2.from_checkpoint(state, latent_space="w")
        yield f"StyleGAN2 {size} (rosinality), in w", images, generator, (w,)


@torch.no_grad()
def stylegan2_ada(checkout: Path, size: int, batch: int) -> Iterator[Row]:
    sys.modules.setdefault("requests", types.ModuleType("requests"))  # dnnlib imports it, to download
    with importing(checkout) as load:
        networks = load("training.networks")
        for classes, clamp in ((0, None), (10, 256)):
            original = networks.Generator(
                z_dim=512,
                c_dim=classes,
                w_dim=512,
                img_resolution=size,
                img_channels=3,
                mapping_kwargs={"num_layers": 2 if classes else 8},
                synthesis_kwargs={"channel_base": 16384, "num_fp16_res": 4 if clamp else 0, "conv_clamp": clamp},
            )
            randomised(original)
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder, "network.pkl")
                path.write_bytes(pickle.dumps({"G": None, "D": None, "G_ema": original}))
                read = read_nvidia_pickle(path)
            z, labels = torch.randn(batch, 512), torch.randint(classes, (batch,)) if classes else None
            one_hot = F.one_hot(labels, classes) if labels is not None else torch.zeros(batch, 0)
            for psi in (1.0, 0.5):
                images = original(z, one_hot, truncation_psi=psi, noise_mode="const", force_fp32=True)
                generator = StyleGAN2.from_checkpoint(read["tensors"], init_kwargs=read["init_kwargs"], truncation=psi)
                yield (
                    f"StyleGAN2-ADA {size} (NVIDIA), {classes} classes, clamp {clamp}, psi {psi}",
                    images,
                    generator,
                    (z, labels),
                )


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    comparisons = {"progan": progan, "stylegan2": stylegan2, "stylegan2_ada": stylegan2_ada}
    for name in comparisons:
        parser.add_argument(f"--{name.replace('_', '-')}", type=Path, metavar="PATH")
    parser.add_argument("--sizes", type=int, nargs="+", default=[64], help="8 to 1024 pixels, powers of two")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    arguments = vars(parser.parse_args())
    torch.manual_seed(arguments["seed"])
    print(f"torch {torch.__version__}, float32, CPU, seed {arguments['seed']}, batch {arguments['batch']}\n")
    print("| network, random weights | relative error | in channels_last | clamped |\n| --- | --- | --- | --- |")
    for name, compare in comparisons.items():
        for size in arguments["sizes"] if arguments[name] else ():
            for title, images, generator, inputs in compare(arguments[name].resolve(), size, arguments["batch"]):
                wanted = images.clamp(-1, 1)
                errors = []
                for memory_format in (torch.contiguous_format, torch.channels_last):
                    drawn = generator.to(memory_format=memory_format)(*inputs)
                    errors.append(((wanted - drawn).abs().max() / wanted.abs().max()).item())
                clamped = (images.abs() > 1).float().mean().item()
                print(f"| {title} | {errors[0]:.1e} | {errors[1]:.1e} | {clamped:.1%} |", flush=True)


if __name__ == "__main__":
    main()
