"""The original generators, with random weights, each beside what ganaug converts its state to.

The compiled operators of rosinality's code are replaced: ``op.fused_act`` by plain PyTorch, written below, and the
compilation of ``op.upfirdn2d`` is left out so that its own CPU path runs. NVIDIA's code takes its own reference path
on a CPU.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import math
import pickle
import sys
import tempfile
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import torch
from harness import importing
from packaging.version import parse
from pytorch_pretrained_biggan import BigGAN as PublishedBigGANDeep
from pytorch_pretrained_biggan import BigGANConfig
from torch import Tensor, nn
from torch.nn import functional as F

from ganaug.checkpoints import (
    biggan_pytorch,
    convert_checkpoint,
    prog_gans_pytorch_inference,
    pytorch_pretrained_biggan,
    read_nvidia_pickle,
    stylegan2_nvidia,
    stylegan2_rosinality,
    stylegan3_nvidia,
)
from ganaug.generators import Generator


class Row(NamedTuple):
    """Two networks that should draw the same: ``original(*inputs)`` and ``generator(*inputs)``, latents and labels."""

    title: str
    original: Callable[..., Tensor]
    generator: Generator
    inputs: tuple[Tensor, ...]


Builder = Callable[[argparse.Namespace, int], Iterator[Row]]
"""The rows of an architecture, of so many pixels; none for a size that it is not made for."""


def converted(content: object) -> Generator:
    """As ``ganaug convert`` reads a file."""
    with tempfile.TemporaryDirectory() as folder:
        torch.save(content, Path(folder, "checkpoint.pth"))
        return convert_checkpoint(Path(folder, "checkpoint.pth"))


def from_nvidia_pickle(original: nn.Module) -> Mapping[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "network.pkl")
        path.write_bytes(pickle.dumps({"G": None, "D": None, "G_ema": original}))
        return read_nvidia_pickle(path)


def randomise_batch_norms(network: nn.Module) -> None:
    """Gains and biases that are not those of the start."""
    for norm in (module for module in network.modules() if isinstance(module, nn.BatchNorm2d)):
        norm.weight.add_(torch.randn_like(norm.weight) / 4)
        norm.bias.add_(torch.randn_like(norm.bias) / 4)


# -- one generator function for each architecture -----------------------------------------------------------------


def dcgan(options: argparse.Namespace, size: int) -> Iterator[Row]:
    widths = [64 << k for k in range(size.bit_length() - 4, -1, -1)]
    layers: list[nn.Module] = [nn.ConvTranspose2d(100, widths[0], 4, 1, 0, bias=False)]
    for before, after in pairwise([*widths, 3]):
        layers += [nn.BatchNorm2d(before), nn.ReLU(True), nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False)]
    main = nn.Sequential(*layers, nn.Tanh())
    for layer in layers:
        if isinstance(layer, nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, 0.0, 0.05)
    randomise_batch_norms(main)
    main(torch.randn(16, 100, 1, 1))  # running statistics
    main.eval()
    generator = converted({f"main.{name}": tensor for name, tensor in main.state_dict().items()})
    yield Row(f"DCGAN {size}", lambda z: main(z[:, :, None, None]), generator, (torch.randn(options.batch, 100),))


def sngan(options: argparse.Namespace, size: int) -> Iterator[Row]:
    with importing(options.published) as load, tempfile.TemporaryDirectory() as folder:
        code, reader = load("models.SNGAN.sn_gen_resnet"), load("models.SNGAN.load")
        for model in (name for name, pixels in reader.MODELS.items() if pixels == size):
            network = code.make_resnet_generator(
                code.SN_RES_GEN_CONFIGS[model], size, 3, distribution=code.NormalDistribution(128)
            ).train()
            network.model(torch.randn(8, 128))  # running statistics
            randomise_batch_norms(network)
            torch.save(network.state_dict(), Path(folder, "generator.pt"))
            config = {"model": model, "latent_dim": 128, "image_channels": 3}
            Path(folder, "args.json").write_text(json.dumps(config))
            original = reader.load_model_from_state_dict(folder).model.eval()
            yield Row(f"SN-GAN {size}", original, convert_checkpoint(Path(folder)), (torch.randn(options.batch, 128),))


def progan(options: argparse.Namespace, size: int) -> Iterator[Row]:
    """The original network is written for 1024 pixels; its first stages are the network of a lower resolution."""
    with importing(options.progan) as load:
        network = load("model").Generator().eval()
    features = network.features[: 2 * size.bit_length() - 4]
    network.output.conv = nn.Conv2d(features[-1].conv.out_channels, 3, 1, bias=False)
    for layer in [*features, network.output]:
        nn.init.normal_(layer.conv.weight)
        variance = (0.1 if layer is network.output else 2) / layer.conv.weight[0].numel()
        layer.wscale.scale.fill_(math.sqrt(variance))
        nn.init.normal_(layer.wscale.b, std=0.2)
    state = {f"features.{name}": tensor for name, tensor in features.state_dict().items()}
    state |= {f"output.{name}": tensor for name, tensor in network.output.state_dict().items()}
    yield Row(
        f"ProGAN {size}",
        lambda z: network.output(features(z[:, :, None, None])),
        prog_gans_pytorch_inference.build(state),
        (torch.randn(options.batch, 512),),
    )


# As in BigGAN-PyTorch's launch script and its converter of the models on TF Hub.
BIGGAN_LATENTS = {32: 80, 64: 100, 128: 120, 256: 140, 512: 128}
BIGGAN_ATTENTION = {32: "16", 64: "32", 128: "64", 256: "128", 512: "64"}


def biggan(options: argparse.Namespace, size: int) -> Iterator[Row]:
    """Orthogonal weights, one step of power iteration, and random batch-norm statistics, gains and attention."""
    if size not in BIGGAN_LATENTS:
        return
    with importing(options.biggan) as load, contextlib.redirect_stdout(io.StringIO()):
        network = load("BigGAN").Generator(
            G_ch=options.ch,
            dim_z=BIGGAN_LATENTS[size],
            resolution=size,
            G_attn=BIGGAN_ATTENTION[size],
            n_classes=10,
            shared_dim=128,
            hier=True,
            SN_eps=1e-6,
            no_optim=True,
        )
    network.train()(torch.randn(4, network.dim_z), network.shared(torch.arange(4)))
    for name, tensor in network.state_dict().items():
        if name.endswith("stored_mean"):
            tensor.add_(0.1 * torch.randn_like(tensor))
        elif name.endswith("stored_var"):
            tensor.mul_(0.5 + torch.rand_like(tensor))
        elif name.endswith("gamma"):
            tensor.fill_(0.8)
        elif name.startswith("output_layer.0"):
            tensor.add_(0.3 * torch.randn_like(tensor))
    network.eval()
    inputs = (torch.randn(options.batch, network.dim_z), torch.randint(10, (options.batch,)))
    yield Row(
        f"BigGAN {size}, ch {options.ch}",
        lambda z, labels: network(z, network.shared(labels)),
        biggan_pytorch.build(network.state_dict()),
        inputs,
    )


# Feature maps, in units of ch, before each doubling and after the last; 128 and more as published.
DEEP_WIDTHS = {
    32: (16, 8, 4, 2),
    64: (16, 8, 4, 2, 1),
    128: (16, 16, 8, 4, 2, 1),
    256: (16, 16, 8, 8, 4, 2, 1),
    512: (16, 16, 8, 8, 4, 2, 1, 1),
}


def biggan_deep(options: argparse.Namespace, size: int) -> Iterator[Row]:
    if size not in DEEP_WIDTHS:
        return
    layers = [[up, before, after if up else before] for before, after in pairwise(DEEP_WIDTHS[size]) for up in (0, 1)]
    layers += [[0, 2, 1]] if size == 32 else []  # the package ends on ch feature maps
    config = {
        "output_dim": size,
        "z_dim": 128,
        "class_embed_dim": 128,
        "channel_width": options.ch,
        "num_classes": 10,
        "layers": [[bool(up), before, after] for up, before, after in layers],
        "attention_layer_position": 8 if size >= 128 else 4,
        "eps": 1e-4,
        "n_stats": 51,
    }
    network = PublishedBigGANDeep(BigGANConfig.from_dict(config))
    for name, tensor in network.state_dict().items():
        if name.endswith("running_means"):
            tensor.normal_(0, 0.3)
        elif name.endswith("running_vars"):
            tensor.uniform_(0.5, 1.5)
        elif name.endswith("gamma"):
            tensor.fill_(0.7)
        elif name in ("generator.bn.weight", "generator.bn.bias"):
            tensor.normal_(1, 0.3)
    for _ in range(5):  # power iteration
        network.train()(torch.randn(2, 128), torch.eye(10)[:2], 1.0)
    network.eval()
    generator = pytorch_pretrained_biggan.build(network.state_dict(), config=config, truncation=0.4)
    yield Row(
        f"BigGAN-deep {size}, ch {options.ch}",
        lambda z, labels: network(z, F.one_hot(labels, 10).float(), 0.4),
        generator,
        (generator.sample_latents(options.batch), torch.randint(10, (options.batch,))),
    )


class PlainLeakyReLU(nn.Module):
    """rosinality's FusedLeakyReLU in plain PyTorch."""

    def __init__(self, channel: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channel))

    def forward(self, x: Tensor) -> Tensor:
        return plain_leaky_relu(x, self.bias)


def plain_leaky_relu(x: Tensor, bias: Tensor) -> Tensor:
    return F.leaky_relu(x + bias.view(1, -1, *[1] * (x.ndim - 2)), 0.2) * math.sqrt(2)


def randomise_style(network: nn.Module) -> None:
    """As after training: no bias, noise strength or mean of w is zero any more, and images lie in [-1, 1] mostly."""
    for name, tensor in network.state_dict().items():
        if name.endswith((".bias", "noise_strength", "noise.weight", "w_avg", "input.affine.weight")):
            tensor.add_(torch.randn_like(tensor) * (10 if "style" in name or ".fc" in name else 0.1))
        elif name.endswith("magnitude_ema"):
            tensor.mul_(0.5 + torch.rand(()))
        elif "rgb" in name and name.endswith(("torgb.weight", ".conv.weight")):
            tensor.mul_(0.2)
    network.eval().requires_grad_(False)


def stylegan2(options: argparse.Namespace, size: int) -> Iterator[Row]:
    plain = types.ModuleType("op.fused_act")
    vars(plain).update(FusedLeakyReLU=PlainLeakyReLU, fused_leaky_relu=plain_leaky_relu)
    compiled = mock.patch("torch.utils.cpp_extension.load", return_value=None)
    with compiled, importing(options.stylegan2, **{"op.fused_act": plain}) as load:
        network = load("model").Generator(size, 512, 8)
        randomise_style(network)
        z, mean = torch.randn(options.batch, 512), network.mean_latent(1000)
        state = {**network.state_dict(), "latent_avg": mean}
        yield Row(
            f"StyleGAN2 {size} (rosinality), psi 0.5",
            lambda z: network([z], truncation=0.5, truncation_latent=mean, randomize_noise=False)[0],
            stylegan2_rosinality.build(state, truncation=0.5),
            (z,),
        )
        yield Row(
            f"StyleGAN2 {size} (rosinality), in w",
            lambda w: network([w], input_is_latent=True, randomize_noise=False)[0],
            stylegan2_rosinality.build(state, latent_space="w"),
            (network.style(z),),
        )


@contextmanager
def nvidia(checkout: Path) -> Iterator[Callable[[str], Any]]:
    sys.modules.setdefault("requests", types.ModuleType("requests"))  # dnnlib imports it, to download
    versions = types.ModuleType("pkg_resources")  # of old setuptools, for the version of torch only
    vars(versions).update(parse_version=parse)
    with importing(checkout, pkg_resources=versions) as load:
        yield load


def nvidia_row(
    title: str,
    network: nn.Module,
    build: Callable[..., Generator],
    classes: int,
    psi: float,
    options: argparse.Namespace,
    **how: Any,
) -> Row:
    read = from_nvidia_pickle(network)

    def original(z: Tensor, labels: Tensor | None = None) -> Tensor:
        one_hot = torch.zeros(len(z), 0) if labels is None else F.one_hot(labels, classes)
        images: Tensor = network(z, one_hot, truncation_psi=psi, force_fp32=True, **how)
        return images

    generator = build(read["tensors"], init_kwargs=read["init_kwargs"], truncation=psi)
    labels = (torch.randint(classes, (options.batch,)),) if classes else ()
    return Row(
        f"{title}, {classes} classes, psi {psi}", original, generator, (torch.randn(options.batch, 512), *labels)
    )


def stylegan2_ada(options: argparse.Namespace, size: int) -> Iterator[Row]:
    with nvidia(options.stylegan2_ada) as load:
        for classes, clamp, psi in ((0, None, 1.0), (10, 256, 0.5)):
            network = load("training.networks").Generator(
                z_dim=512,
                c_dim=classes,
                w_dim=512,
                img_resolution=size,
                img_channels=3,
                mapping_kwargs={"num_layers": 2 if classes else 8},
                synthesis_kwargs={"channel_base": 16384, "num_fp16_res": 4 if clamp else 0, "conv_clamp": clamp},
            )
            randomise_style(network)
            title = f"StyleGAN2-ADA {size} (NVIDIA)"
            yield nvidia_row(title, network, stylegan2_nvidia.build, classes, psi, options, noise_mode="const")


def stylegan3(options: argparse.Namespace, size: int) -> Iterator[Row]:
    radial = {"conv_kernel": 1, "use_radial_filters": True}
    with nvidia(options.stylegan3) as load:
        for config, classes, psi in (("T", 0, 1.0), ("R", 10, 0.5)):
            network = load("training.networks_stylegan3").Generator(
                z_dim=512,
                c_dim=classes,
                w_dim=512,
                img_resolution=size,
                img_channels=3,
                channel_base=options.channel_base * (1 + (config == "R")),
                channel_max=512 * (1 + (config == "R")),
                mapping_kwargs=load("dnnlib").EasyDict(num_layers=2),
                magnitude_ema_beta=0.999,
                **(radial if config == "R" else {}),
            )
            randomise_style(network)
            getattr(network.synthesis, network.synthesis.layer_names[-1]).weight.mul_(0.3)  # toRGB
            yield nvidia_row(f"StyleGAN3-{config} {size}", network, stylegan3_nvidia.build, classes, psi, options)


BUILT_HERE: dict[str, Builder] = {"dcgan": dcgan, "biggan-deep": biggan_deep}
FROM_CHECKOUT: dict[str, Builder] = {
    "published": sngan,
    "progan": progan,
    "biggan": biggan,
    "stylegan2": stylegan2,
    "stylegan2-ada": stylegan2_ada,
    "stylegan3": stylegan3,
}
