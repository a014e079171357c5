"""Train the SN-GAN that a shipped pack belongs to.

    python training/train_generator.py training/digits.toml --data DATA --out runs/digits-generator [--resume]
    python training/train_generator.py mine.toml --images FOLDER --out runs/mine    # your own, in class subfolders

Spectral normalisation and hinge loss (Miyato et al., ICLR 2018), a projection discriminator when there are classes
(Miyato & Koyama, ICLR 2018), and averaged generator weights (Yazici et al., ICLR 2019) whose batch-norm statistics
are measured afresh at the end. The recipe's [generator] and [generator_training] tables hold every setting.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torchvision.utils import save_image
from tqdm.auto import trange

from ganaug.data import DATASETS, LabelledImages, images_in_folder
from ganaug.devices import autocast
from ganaug.errors import UserError
from ganaug.evaluation import predict, train_classifier
from ganaug.folders import find_classes
from ganaug.generators import SNGAN
from ganaug.images import uint8_to_signed
from ganaug.settings import read_toml


class DownBlock(nn.Module):
    """Residual block of the discriminator; halves the resolution by average pooling if asked."""

    def __init__(self, in_width: int, out_width: int, *, down: bool, first: bool = False) -> None:
        super().__init__()
        self.down, self.first = down, first
        self.conv1 = spectral_norm(nn.Conv2d(in_width, out_width, 3, padding=1))
        self.conv2 = spectral_norm(nn.Conv2d(out_width, out_width, 3, padding=1))
        needs_projection = down or in_width != out_width
        self.shortcut = spectral_norm(nn.Conv2d(in_width, out_width, 1)) if needs_projection else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv2(F.relu(self.conv1(x if self.first else F.relu(x))))
        if self.down:
            # Average pooling and a 1 x 1 convolution commute; this order is four times cheaper.
            return F.avg_pool2d(h, 2) + self.shortcut(F.avg_pool2d(x, 2))
        return h + self.shortcut(x)


class Discriminator(nn.Module):
    """SN-GAN's ResNet discriminator (ICLR 2018, table 4), with the class projected in when there are classes."""

    def __init__(self, channels: int, widths: Sequence[int], downs: Sequence[bool], num_classes: int) -> None:
        super().__init__()
        inputs = (channels, *widths[:-1])
        self.blocks = nn.Sequential(
            *(
                DownBlock(in_width, out_width, down=down, first=k == 0)
                for k, (in_width, out_width, down) in enumerate(zip(inputs, widths, downs, strict=True))
            )
        )
        self.score = spectral_norm(nn.Linear(widths[-1], 1))
        self.embedding = spectral_norm(nn.Embedding(num_classes, widths[-1])) if num_classes else None

    def forward(self, images: Tensor, labels: Tensor | None) -> Tensor:
        features = F.relu(self.blocks(images)).sum((2, 3))
        score: Tensor = self.score(features).squeeze(1)
        if self.embedding is not None:
            score = score + (self.embedding(labels) * features).sum(1)
        return score


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def generator_loss(fake: Tensor) -> Tensor:
    return -fake.mean()


def own_images(folder: Path, generator: dict[str, Any]) -> LabelledImages:
    """Class subfolders of images, in order of name, at the generator's size."""
    size = generator.get("bottom_size", 4) * 2 ** (len(generator["widths"]) - 1)
    classes = [folder / name for name in find_classes(folder)]
    wanted = generator.get("num_classes", 0)
    if not classes or wanted not in (0, len(classes)):
        raise SystemExit(f"{folder} holds {len(classes)} class subfolders, and the recipe's num_classes is {wanted}.")
    images = [images_in_folder(path, size=size, channels=generator["channels"]) for path in classes]
    labels = torch.arange(len(classes)).repeat_interleave(torch.tensor([len(each) for each in images]))
    return LabelledImages(torch.cat(images), labels)


@torch.no_grad()
def measure_batch_norm(generator: SNGAN, *, batches: int, batch_size: int, seed: int) -> None:
    """Set the batch-norm statistics to their plain average over fresh batches in training mode."""
    norms = [module for module in generator.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    generator.train()
    rng = torch.Generator().manual_seed(seed)
    for _ in range(batches):
        generator(generator.sample_latents(batch_size, rng=rng), generator.sample_labels(batch_size, rng=rng))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    generator.eval()


def report(generator: SNGAN, data: LabelledImages, out: Path, *, seed: int, judge_steps: int) -> None:
    """Write a sheet of samples; for class-conditional generators print how many are read as their label."""
    rng = torch.Generator().manual_seed(seed)
    rows = generator.num_classes or 8
    labels = torch.arange(generator.num_classes).repeat_interleave(16) if generator.num_classes else None
    with torch.no_grad():
        images = generator(generator.sample_latents(16 * rows, rng=rng), labels)
    save_image(images * 0.5 + 0.5, out / "samples.png", nrow=16)
    if generator.num_classes:
        classifier = train_classifier(data.images, data.labels, seed=seed, steps=judge_steps)
        wanted = generator.sample_labels(5000, rng=rng)
        assert wanted is not None
        with torch.no_grad():
            images = torch.cat([generator(generator.sample_latents(500, rng=rng), y) for y in wanted.split(500)])
        agreement = (predict(classifier, images) == wanted).float().mean().item()
        print(f"{agreement:.4f} of 5,000 samples are read as their label by a classifier trained on the real images")


def train(
    recipe: Path,
    data: Path | None,
    out: Path,
    *,
    images: Path | None = None,
    resume: bool = False,
    device: str = "cpu",
    preview_every: int = 10**9,
    checkpoint_every: int = 500,
    judge_steps: int = 1000,
) -> SNGAN:
    settings = read_toml(recipe)
    options = settings["generator_training"]
    seed, iterations, batch_size = options["seed"], options["iterations"], options["batch_size"]
    out.mkdir(parents=True, exist_ok=True)
    checkpoint = out / "checkpoint.pt"
    if checkpoint.exists() and not resume:
        raise SystemExit(
            f"{out} holds the checkpoint of an earlier run: go on with --resume, or choose another folder."
        )
    real_data = own_images(images, settings["generator"]) if images else DATASETS[options["dataset"]](data, train=True)

    numbers = map(str, range(settings["generator"].get("num_classes", 0)))
    class_names = find_classes(images) if images else list(numbers)

    torch.manual_seed(seed)
    generator = SNGAN(**settings["generator"]).to(device, memory_format=torch.channels_last)
    discriminator = Discriminator(
        generator.channels,
        options["discriminator_widths"],
        options["discriminator_downs"],
        generator.num_classes,
    ).to(device, memory_format=torch.channels_last)
    average = AveragedModel(generator, multi_avg_fn=get_ema_multi_avg_fn(options["average"]), use_buffers=False)
    betas = tuple(options["betas"])
    generator_optimizer = torch.optim.Adam(generator.parameters(), lr=options["generator_lr"], betas=betas)
    discriminator_optimizer = torch.optim.Adam(discriminator.parameters(), lr=options["discriminator_lr"], betas=betas)
    schedules = [
        torch.optim.lr_scheduler.LambdaLR(optimizer, lambda i: min(1.0, 4 * (1 - i / iterations)))
        for optimizer in (generator_optimizer, discriminator_optimizer)
    ]
    parts = {
        "generator": generator,
        "discriminator": discriminator,
        "average": average,
        "generator_optimizer": generator_optimizer,
        "discriminator_optimizer": discriminator_optimizer,
        "generator_schedule": schedules[0],
        "discriminator_schedule": schedules[1],
    }
    start = 0
    if resume and checkpoint.exists():
        saved = torch.load(checkpoint, map_location=device, weights_only=True)
        for name, part in parts.items():
            part.load_state_dict(saved[name])
        torch.set_rng_state(saved["random_state"].cpu())
        start = saved["iteration"]

    def draw() -> tuple[Tensor, Tensor | None]:
        return generator.sample_latents(batch_size), generator.sample_labels(batch_size)

    progress = trange(start, iterations, initial=start, total=iterations, desc=out.name)
    for iteration in progress:
        index = torch.randint(len(real_data.images), (batch_size,))
        real = uint8_to_signed(real_data.images[index]).to(device, memory_format=torch.channels_last)
        real_labels = real_data.labels[index].to(device) if generator.num_classes else None
        latents, labels = draw()
        with autocast(device, options["precision"]):
            with torch.no_grad():
                fake = generator(latents, labels)
            both = discriminator(
                torch.cat([real, fake.float()]), None if real_labels is None else torch.cat([real_labels, labels])
            )
            loss_d = discriminator_loss(*both.float().chunk(2))
        discriminator_optimizer.zero_grad()
        loss_d.backward()
        discriminator_optimizer.step()

        latents, labels = draw()
        discriminator.requires_grad_(False)
        with autocast(device, options["precision"]):
            loss_g = generator_loss(discriminator(generator(latents, labels), labels).float())
        generator_optimizer.zero_grad()
        loss_g.backward()
        generator_optimizer.step()
        discriminator.requires_grad_(True)
        average.update_parameters(generator)
        for schedule in schedules:
            schedule.step()

        done = iteration + 1
        if done % 20 == 0:
            progress.set_postfix(d=f"{loss_d.item():.2f}", g=f"{loss_g.item():.2f}")
        if done % checkpoint_every == 0 or done == iterations:
            if not (torch.isfinite(loss_d) and torch.isfinite(loss_g)):
                raise SystemExit(
                    f"the loss is no longer finite at iteration {done}; the last checkpoint is {checkpoint}."
                )
            state = {name: part.state_dict() for name, part in parts.items()}
            torch.save({**state, "random_state": torch.get_rng_state(), "iteration": done}, f"{checkpoint}.part")
            os.replace(f"{checkpoint}.part", checkpoint)
        if done % preview_every == 0 or done == iterations:
            averaged = SNGAN(**settings["generator"])
            averaged.load_state_dict(average.module.state_dict())
            measure_batch_norm(averaged, batches=100, batch_size=100, seed=seed)
            averaged.name_classes(class_names if averaged.num_classes else None)
            averaged.freeze().save_pretrained(out)
            report(averaged, real_data, out, seed=seed, judge_steps=judge_steps)
    return averaged


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path, help="TOML file with [generator] and [generator_training]")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", type=Path, help="folder with the data sets")
    source.add_argument("--images", type=Path, help="folder with class subfolders of images, instead of a data set")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for the generator, samples.png and checkpoint.pt"
    )
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument(
        "--preview-every", type=int, default=10**9, help="iterations between looks at the averaged weights"
    )
    parser.add_argument("--checkpoint-every", type=int, default=500, help="iterations between checkpoints")
    parser.add_argument("--judge-steps", type=int, default=1000, help="steps of the classifier that reads the samples")
    try:
        train(**vars(parser.parse_args()))
    except UserError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
