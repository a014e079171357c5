"""The algorithm of Voynov & Babenko (ICML 2020) to compare with: a plain transcription, and its authors' own code.

Their code is anvoynov/GANLatentDiscovery, imported from a checkout; what it needs of old libraries is put back for it.
"""

from __future__ import annotations

import argparse
import copy
import importlib.util
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from unittest import mock

import numpy as np
import torch
from harness import Loop, importing
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import resnet18

from ganaug.generators import SNGAN, Generator

# -- the transcription --------------------------------------------------------------------------------------------


def plain_images(generator: nn.Module, latents: Tensor, labels: Tensor | None) -> Tensor:
    """What the generator draws, by the layers of SN-GAN's table 4 as torch has them: nothing folded or reordered."""
    if not isinstance(generator, SNGAN):
        images: Tensor = generator(latents, labels)
        return images
    x = generator.dense(latents).unflatten(1, (-1, generator.bottom_size, generator.bottom_size))
    for block in generator.blocks:
        h = F.interpolate(F.relu(plain_norm(block.norm1, x, labels), inplace=True), scale_factor=2)
        h = F.conv2d(h, block.conv1.weight, block.conv1.bias, padding=1)
        h = F.relu(plain_norm(block.norm2, h, labels), inplace=True)
        h = F.conv2d(h, block.conv2.weight, block.conv2.bias, padding=1)
        x = h + block.shortcut(F.interpolate(x, scale_factor=2))
    return generator.to_image(F.relu(plain_norm(generator.norm, x, labels), inplace=True)).tanh()


def plain_norm(norm: nn.BatchNorm2d, x: Tensor, labels: Tensor | None) -> Tensor:
    out = F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)
    if not hasattr(norm, "gain"):
        return out
    return out * norm.gain(labels)[:, :, None, None] + norm.offset(labels)[:, :, None, None]


def plain_generator(generator: Generator, device: str) -> Generator:
    """A copy for :func:`plain_images` whose weights require gradients, as a network just loaded does."""
    latents, labels = generator.sample_latents(2), generator.sample_labels(2)
    torch.testing.assert_close(
        plain_images(generator, latents, labels), generator(latents, labels), atol=1e-4, rtol=1e-4
    )
    return copy.deepcopy(generator).eval().requires_grad_(True).to(device).to(memory_format=torch.contiguous_format)


def plain_reconstructor(kind: str, channels: int, num_directions: int, width: int) -> nn.ModuleDict:
    """LeNet or ResNet-18 over a pair of images, with a head for the direction and one for the magnitude."""
    if kind == "resnet18":
        features: nn.Module = resnet18()
        features.conv1 = nn.Conv2d(2 * channels, 64, 7, stride=2, padding=3, bias=False)
        features.fc = nn.Identity()
        heads = [nn.Linear(512, num_directions), nn.Linear(512, 1)]
    else:
        layers: list[nn.Module] = []
        for before, after in pairwise((2 * channels, 6 * width, 16 * width, 120 * width)):
            layers += [nn.Conv2d(before, after, 5), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]
        features = nn.Sequential(*layers[:-1], nn.AdaptiveAvgPool2d(1), nn.Flatten())
        inner = 84 * width
        heads = [
            nn.Sequential(nn.Linear(120 * width, inner), nn.BatchNorm1d(inner), nn.ReLU(), nn.Linear(inner, outputs))
            for outputs in (num_directions, 1)
        ]
    return nn.ModuleDict({"features": features, "direction": heads[0], "magnitude": heads[1]})


def plain_step(
    generator: Generator, settings: argparse.Namespace, device: str
) -> tuple[Callable[[], float], nn.Linear, nn.ModuleDict]:
    """The paper's algorithm, written down without a thought for speed.

    Returns a function that takes a step and returns its accuracy; and what learns, directions as columns and the parts
    of the reconstructor.
    """
    torch.manual_seed(0)
    generator = plain_generator(generator, device)
    columns = nn.Linear(settings.directions, generator.latent_dim, bias=False).to(device)
    nn.init.normal_(columns.weight, std=0.1)
    reconstructor = plain_reconstructor(
        settings.reconstructor, generator.channels, settings.directions, settings.reconstructor_width
    ).to(device)
    optimizers = [torch.optim.Adam(network.parameters(), lr=1e-4) for network in (columns, reconstructor)]

    def step() -> float:
        for network in (generator, columns, reconstructor):
            network.zero_grad()
        latents = torch.randn(settings.batch, generator.latent_dim).to(device)
        labels = generator.sample_labels(settings.batch)
        indices = torch.randint(settings.directions, (settings.batch,), device=device)
        magnitudes = 12 * torch.rand(settings.batch, device=device) - 6
        magnitudes = torch.where(magnitudes < 0, magnitudes.clamp(max=-0.5), magnitudes.clamp(min=0.5))
        one_hot = torch.zeros(settings.batch, settings.directions, device=device)
        for row in range(settings.batch):
            one_hot[row, indices[row]] = magnitudes[row]

        shift = F.linear(one_hot, F.normalize(columns.weight, dim=0))
        images = plain_images(generator, latents, labels)
        shifted = plain_images(generator, latents + shift, labels)
        features = reconstructor["features"](torch.cat([images, shifted], dim=1))
        logits, predicted = reconstructor["direction"](features), reconstructor["magnitude"](features)[:, 0]
        direction_loss = F.cross_entropy(logits, indices)
        magnitude_loss = 0.25 * F.l1_loss(predicted, magnitudes)
        loss = direction_loss + magnitude_loss
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
        accuracy = (logits.argmax(1) == indices).float().mean()
        shown = [value.item() for value in (accuracy, loss, direction_loss, magnitude_loss)]
        return shown[0]

    return step, columns, reconstructor


class PlainReconstructor(nn.Module):
    """The transcription's reconstructor, called as ours."""

    def __init__(self, parts: nn.ModuleDict) -> None:
        super().__init__()
        self.parts = parts

    def forward(self, images: Tensor, shifted: Tensor) -> tuple[Tensor, Tensor]:
        features = self.parts["features"](torch.cat([images, shifted], dim=1))
        return self.parts["direction"](features), self.parts["magnitude"](features)[:, 0]


# -- the authors' code --------------------------------------------------------------------------------------------


class StandIn(nn.Module):
    """Our generator as the authors' trainer expects one."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator
        self.dim_z = self.dim_shift = generator.latent_dim

    def forward(self, z: Tensor, classes: Tensor | None = None) -> Tensor:
        return plain_images(self.generator, z, classes)

    def gen_shifted(self, z: Tensor, shift: Tensor, classes: Tensor | None = None) -> Tensor:
        return self(z + shift, classes)


class BigGANStandIn(StandIn):
    """The trainer takes a generator for class-conditional when its class has BigGAN in its name."""

    def mixed_classes(self, count: int) -> Tensor | None:
        return self.generator.sample_labels(count)


@contextmanager
def todays_torch(device: str) -> Iterator[None]:
    """Let the authors' code of 2020 run: NumPy and torch have lost functions, and on a CPU nothing may go to CUDA."""
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        if not hasattr(np, "product"):
            stack.enter_context(mock.patch.object(np, "product", np.prod, create=True))
        stack.enter_context(mock.patch.object(torch, "solve", lambda b, a: (torch.linalg.solve(a, b), None)))
        if device == "cpu":
            for kind in (Tensor, nn.Module):
                stack.enter_context(mock.patch.object(kind, "cuda", lambda self, *_, **__: self))
            for name in ("rand", "randint", "randn", "zeros"):
                stack.enter_context(mock.patch.object(torch, name, staying_on_cpu(getattr(torch, name))))
        yield


def staying_on_cpu(factory: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def call(*arguments: object, **options: object) -> Tensor:
        if options.get("device") == "cuda":
            options["device"] = "cpu"
        return factory(*arguments, **options)

    return call


def published_train(generator: Generator, options: argparse.Namespace) -> Loop:
    """The authors' ``Trainer.train``, whole, but for its log: that is where a step ends, and our clock stands there."""
    torch.manual_seed(0)
    wrap = BigGANStandIn if generator.num_classes else StandIn
    stand_in = wrap(plain_generator(generator, options.device))
    # Stand-ins for what only its logging and plots need, where that is missing.
    optional = ("matplotlib", "scipy", "scipy.stats", "tensorboardX")
    missing = [name for name in optional if importlib.util.find_spec(name.partition(".")[0]) is None]
    stand_ins = {name: mock.MagicMock() for name in missing}
    with importing(options.published, **stand_ins) as load, todays_torch(options.device):
        latent_deformator, predictors, trainers = map(load, ("latent_deformator", "latent_shift_predictor", "trainer"))
        # "unit" directions are their PROJECTIVE; their LeNet of width 2 is our width 1.
        deformator = latent_deformator.LatentDeformator(
            shift_dim=generator.latent_dim,
            input_dim=options.directions,
            type=latent_deformator.DeformatorType.PROJECTIVE,
            random_init=True,
        )
        if options.reconstructor == "lenet":
            predictor = predictors.LeNetShiftPredictor(
                options.directions, generator.channels, width=2 * options.reconstructor_width
            )
        else:
            predictor = predictors.LatentShiftPredictor(options.directions)
    stand_in, deformator, predictor = (network.to(options.device) for network in (stand_in, deformator, predictor))

    def train(steps: int, after_step: Callable[[], object]) -> None:
        with tempfile.TemporaryDirectory() as folder, todays_torch(options.device):
            params = trainers.Params(n_steps=steps, batch_size=options.batch, directions_count=options.directions)
            trainer = trainers.Trainer(params, out_dir=folder)
            trainer.log = lambda *_: after_step()
            trainer.train(stand_in, deformator, predictor)

    return train
