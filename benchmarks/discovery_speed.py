"""What a step of discovery costs: beside a plain transcription of the paper's algorithm, and beside its authors' code.

    python benchmarks/discovery_speed.py [--device cuda] [--published PATH] [--only step memory growth]
    python benchmarks/discovery_speed.py --generator biggan --reconstructor resnet18 [--pixels 128] [--batch 32]
    python benchmarks/discovery_speed.py --only rca --target 0.88 --max-minutes 60 --out curve.jsonl

On an SN-GAN, BigGAN or ProGAN with random weights; nothing is downloaded. PATH is a checkout of
github.com/anvoynov/GANLatentDiscovery, the code that goes with Voynov & Babenko (ICML 2020). Times are medians of steps
that alternate between the things compared, so that a machine whose speed drifts does not favour one; the ratios are of
those medians. The transcription and the authors' code draw with the same weights in stock layers (BigGAN and ProGAN in
ours, neither folded nor channels_last), and their Adam goes at 1e-4, in float32.

step    seconds a step, its arithmetic (torch's FLOP counter) and the share that it reaches of the machine's peak, which
        is measured: the median of a square bfloat16 matrix product of --peak-size
memory  peak memory of three steps beyond that before the first, each in a process of its own: of the allocator on CUDA,
        of the process (resident set, Linux) on a CPU
growth  our step's seconds by batch, directions and resolution, of SN-GAN (32, 64 and 128 pixels: the last of --widths
        repeated)
rca     seconds until RCA on 2,000 fresh pairs, measured every 250 steps off the clock, reaches --target: ours with the
        settings of --recipe, the transcription with the paper's, on the recipe's generator, K and reconstructor
"""

from __future__ import annotations

import argparse
import copy
import ctypes
import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import resnet18

from ganaug.evaluation import reconstructor_accuracy
from ganaug.generators import SNGAN, BigGAN, Generator, ProGAN
from ganaug.training import DiscoverySettings
from ganaug.training.discovery import Run
from ganaug.training.discovery.reconstructor import default_reconstructor
from ganaug.training.recipe import read_recipe

OURS = {"ours, bfloat16": "bfloat16", "ours, float32": "float32"}
PLAIN, PUBLISHED = "transcription, float32", "published, float32"
RECIPE = Path(__file__).parents[1] / "training" / "mnist.toml"

Train = Callable[[int, Callable[[], object]], object]
"""Takes that many steps and calls the function after each."""


# -- what is compared ---------------------------------------------------------------------------------------------


def random_generator(options: argparse.Namespace, widths: list[int]) -> Generator:
    torch.manual_seed(0)
    if options.generator == "biggan":
        return BigGAN(image_size=options.pixels).freeze()
    if options.generator == "progan":
        return ProGAN(image_size=options.pixels).freeze()
    generator = SNGAN(
        latent_dim=options.latent, channels=options.channels, num_classes=options.classes, widths=tuple(widths)
    )
    for module in generator.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        for _ in range(2):
            generator.train()(generator.sample_latents(16), generator.sample_labels(16))
    return generator.freeze()


def stepping(step: Callable[[], object]) -> Train:
    def train(steps: int, after_step: Callable[[], object]) -> None:
        for _ in range(steps):
            step()
            after_step()

    return train


def our_run(generator: Generator, settings: DiscoverySettings, device: str) -> Run:
    """As ``discover`` begins."""
    return Run(copy.deepcopy(generator).freeze().to(device).to(memory_format=torch.channels_last), settings, None)


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
def published_modules(path: Path) -> Iterator[SimpleNamespace]:
    """Import the authors' modules, with stand-ins for what only their logging and plots need, if it is missing."""
    missing = [name for name in ("matplotlib", "scipy", "tensorboardX") if importlib.util.find_spec(name) is None]
    with ExitStack() as stack:
        for name in [*missing, *(["scipy.stats"] if "scipy" in missing else [])]:
            sys.modules[name] = mock.MagicMock()
            stack.callback(sys.modules.pop, name)
        sys.path.append(str(path))
        stack.callback(sys.path.remove, str(path))
        modules = ("latent_deformator", "latent_shift_predictor", "trainer")
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in modules})


@contextmanager
def todays_torch(device: str) -> Iterator[None]:
    """Let the authors' code of 2020 run: NumPy has lost ``product``, and on a CPU nothing may go to CUDA."""
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        if not hasattr(np, "product"):
            stack.enter_context(mock.patch.object(np, "product", np.prod, create=True))
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


def published_train(generator: Generator, options: argparse.Namespace) -> Train:
    """The authors' ``Trainer.train``, whole, but for its log: that is where a step ends, and our clock stands there."""
    torch.manual_seed(0)
    wrap = BigGANStandIn if generator.num_classes else StandIn
    stand_in = wrap(plain_generator(generator, options.device))
    with published_modules(options.published) as code, todays_torch(options.device):
        # "unit" directions are their PROJECTIVE; their LeNet of width 2 is our width 1.
        deformator = code.latent_deformator.LatentDeformator(
            shift_dim=generator.latent_dim,
            input_dim=options.directions,
            type=code.latent_deformator.DeformatorType.PROJECTIVE,
            random_init=True,
        )
        if options.reconstructor == "lenet":
            predictor = code.latent_shift_predictor.LeNetShiftPredictor(
                options.directions, generator.channels, width=2 * options.reconstructor_width
            )
        else:
            predictor = code.latent_shift_predictor.LatentShiftPredictor(options.directions)
    stand_in, deformator, predictor = (network.to(options.device) for network in (stand_in, deformator, predictor))

    def train(steps: int, after_step: Callable[[], object]) -> None:
        with tempfile.TemporaryDirectory() as folder, todays_torch(options.device):
            params = code.trainer.Params(n_steps=steps, batch_size=options.batch, directions_count=options.directions)
            trainer = code.trainer.Trainer(params, out_dir=folder)
            trainer.log = lambda *_: after_step()
            trainer.train(stand_in, deformator, predictor)

    return train


# -- measuring ----------------------------------------------------------------------------------------------------


def variants(options: argparse.Namespace) -> list[str]:
    published = options.published and (options.reconstructor == "lenet" or options.channels == 3)
    return [*OURS, PLAIN, *([PUBLISHED] if published else [])]


def build(name: str, options: argparse.Namespace) -> Train:
    if name in OURS:
        return our_train(options, options.widths, precision=OURS[name])
    generator = random_generator(options, options.widths)
    if name == PUBLISHED:
        return published_train(generator, options)
    return stepping(plain_step(generator, options, options.device)[0])


def our_train(options: argparse.Namespace, widths: list[int], **settings: object) -> Train:
    chosen = DiscoverySettings.from_mapping(
        {
            "num_directions": options.directions,
            "batch_size": options.batch,
            "reconstructor": options.reconstructor,
            "reconstructor_width": options.reconstructor_width,
            **settings,
        }
    )
    return stepping(our_run(random_generator(options, widths), chosen, options.device).train_step)


def nothing() -> None:
    pass


def synchronize(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def alternating(trains: Mapping[str, Train], *, steps: int, device: str) -> dict[str, float]:
    """Median seconds of a step of each, the steps taken in turn; one round first is not counted."""
    *inner, outer = trains
    seconds: dict[str, list[float]] = {name: [] for name in trains}
    start = time.perf_counter()

    def lap(name: str) -> None:
        nonlocal start
        synchronize(device)
        seconds[name].append(time.perf_counter() - start)
        start = time.perf_counter()

    def others() -> None:
        lap(outer)
        for name in inner:
            trains[name](1, nothing)
            lap(name)

    trains[outer](steps + 1, others)
    return {name: statistics.median(values[1:]) for name, values in seconds.items()}


def gigaflop(train: Train) -> float:
    with FlopCounterMode(display=False) as counter:
        train(1, nothing)
    return counter.get_total_flops() / 1e9


def peak(size: int, device: str) -> float:
    """GFLOP a second of a square bfloat16 matrix product."""
    left, right = torch.randn(2, size, size, device=device).bfloat16()
    seconds = alternating({"product": stepping(lambda: left @ right)}, steps=7, device=device)
    return 2 * size**3 / seconds["product"] / 1e9


# -- the parts ----------------------------------------------------------------------------------------------------


def step(options: argparse.Namespace) -> None:
    best = peak(options.peak_size, options.device)
    print(f"step    peak: {best:,.0f} GFLOP/s, bfloat16 product of {options.peak_size} x {options.peak_size} matrices")
    trains = {name: build(name, options) for name in variants(options)}
    work = {name: gigaflop(train) for name, train in trains.items()}
    seconds = alternating(trains, steps=options.steps, device=options.device)
    ours = seconds[next(iter(OURS))]
    for name, value in seconds.items():
        print(
            f"step    {name:22} {value:9.4f} s, {value / ours:5.2f} times ours; {work[name]:8,.1f} GFLOP, "
            f"{work[name] / value:7,.0f} GFLOP/s, {work[name] / value / best:.3f} of the peak"
        )


def resident(field: str) -> int:
    """KiB of this process: VmRSS now, VmHWM at most."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1])


def memory_beyond(train: Train, device: str) -> float:
    """MiB that three steps need at most, beyond what this process holds before the first."""
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        train(3, nothing)
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    ctypes.CDLL(None).malloc_trim(0)  # hands freed memory back, which would hide what the steps take
    # Not getrusage: its ru_maxrss begins at the parent's. 5 sets VmHWM back to VmRSS.
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    train(3, nothing)
    return (resident("VmHWM") - before) / 1024


def memory(options: argparse.Namespace) -> None:
    ours = None
    for name in variants(options):
        command = [sys.executable, __file__, *sys.argv[1:], "--memory-of", name]
        mib = float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()[-1])
        ours = ours or mib
        print(f"memory  {name:22} {mib:9,.0f} MiB beyond that before the first step, {mib / ours:5.2f} times ours")


def growth(options: argparse.Namespace) -> None:
    longer = [options.widths + options.widths[-1:] * more for more in range(3)]
    tables = {
        "batch": {size: our_train(options, options.widths, batch_size=size) for size in (8, 16, 32, 64)},
        "directions": {count: our_train(options, options.widths, num_directions=count) for count in (16, 64, 128, 512)},
        "pixels": {2 ** (len(widths) + 1): our_train(options, widths) for widths in longer},
    }
    for title, rows in tables.items():
        trains = {str(value): train for value, train in rows.items()}
        work = {name: gigaflop(train) for name, train in trains.items()}
        seconds = alternating(trains, steps=options.steps, device=options.device)
        for before, name in pairwise([next(iter(trains)), *trains]):
            print(
                f"growth  {title:10} {name:>4} {seconds[name]:9.4f} s, {work[name]:8,.1f} GFLOP; to the row above: "
                f"time {seconds[name] / seconds[before]:5.2f}, arithmetic {work[name] / work[before]:5.2f}"
            )


def rca(options: argparse.Namespace) -> None:
    recipe = read_recipe(options.recipe, options.settings)
    generator, settings = recipe.load_generator(), recipe.settings
    kind = default_reconstructor(generator) if settings.reconstructor == "auto" else settings.reconstructor
    paper = argparse.Namespace(
        batch=32,
        directions=settings.num_directions,
        reconstructor=kind,
        reconstructor_width=settings.reconstructor_width,
    )
    run = our_run(generator, settings, options.device)
    one_step, columns, parts = plain_step(generator, paper, options.device)

    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.unlink(missing_ok=True)
    print(f"rca     {recipe.name}, K = {settings.num_directions}: seconds to RCA {options.target} on 2,000 fresh pairs")

    def our_rca() -> float:
        return accuracy(run.fused, run.matrix.rows.detach(), run.reconstructor, settings.precision)

    def plain_rca() -> float:
        return accuracy(run.fused, F.normalize(columns.weight.detach(), dim=0).T, PlainReconstructor(parts), "float32")

    cap = 60 * options.max_minutes
    seconds = reach("ours", run.train_step, our_rca, settings.steps, cap, options)
    cap = min(cap, options.max_ratio * seconds)
    reach("transcription", one_step, plain_rca, 1_000_000, cap, options)


class PlainReconstructor(nn.Module):
    """The transcription's reconstructor, called as ours."""

    def __init__(self, parts: nn.ModuleDict) -> None:
        super().__init__()
        self.parts = parts

    def forward(self, images: Tensor, shifted: Tensor) -> tuple[Tensor, Tensor]:
        features = self.parts["features"](torch.cat([images, shifted], dim=1))
        return self.parts["direction"](features), self.parts["magnitude"](features)[:, 0]


def accuracy(generator: Generator, rows: Tensor, reconstructor: nn.Module, precision: str) -> float:
    rca = reconstructor_accuracy(generator, rows, reconstructor, samples=2000, precision=precision)
    reconstructor.train()
    return rca


def reach(
    name: str,
    step: Callable[[], object],
    measure: Callable[[], float],
    limit: int,
    cap: float,
    options: argparse.Namespace,
) -> float:
    """Train until the target, ``cap`` seconds or ``limit`` steps; RCA is measured every 250 steps, off the clock."""
    seconds, taken, rca = 0.0, 0, 0.0
    while rca < options.target and taken < limit and seconds < cap:
        start = time.perf_counter()
        for _ in range(250):
            step()
        seconds += time.perf_counter() - start
        taken += 250
        rca = measure()
        with options.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"run": name, "seconds": round(seconds, 3), "step": taken, "rca": rca}) + "\n")
    verdict = "reached" if rca >= options.target else "NOT reached"
    print(f"rca     {name:14} {verdict} after {seconds:8,.1f} s and {taken:6,} steps: RCA {rca:.4f}", flush=True)
    return seconds


def describe(options: argparse.Namespace) -> str:
    if options.device.startswith("cuda"):
        machine = torch.cuda.get_device_name(options.device)
    else:
        machine = f"{torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}"
    lines = [f"torch {torch.__version__}, {options.device} ({machine})"]
    if set(options.only) - {"rca"}:
        generator = random_generator(options, options.widths)
        shape = f"{generator.channels} x {generator.image_size} x {generator.image_size}"
        widths = "-".join(map(str, options.widths)) if options.generator == "sngan" else "as in its paper"
        lines += [
            f"{options.generator}, widths {widths}, {shape}, {generator.num_classes} classes, latents of "
            f"{generator.latent_dim}; K = {options.directions}, batch {options.batch}, "
            f"{options.reconstructor} x {options.reconstructor_width}"
        ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--generator", choices=["sngan", "biggan", "progan"], default="sngan")
    parser.add_argument("--pixels", type=int, default=128, help="of BigGAN and ProGAN")
    parser.add_argument("--channels", type=int, default=3, help="this and the next three of SN-GAN")
    parser.add_argument("--widths", type=int, nargs="+", default=[256] * 4, help="four give 32 pixels, five 64")
    parser.add_argument("--latent", type=int, default=128)
    parser.add_argument("--classes", type=int, default=0)
    parser.add_argument("--directions", type=int, default=128)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--reconstructor", choices=["lenet", "resnet18"], default="lenet")
    parser.add_argument("--reconstructor-width", type=int, default=1, help="of the LeNet; ResNet-18 takes 1 only")
    parser.add_argument("--steps", type=int, default=10, help="that each median is taken over")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--peak-size", type=int, default=4096)
    parser.add_argument("--published", type=Path, help="checkout of the authors' code")
    parts = {"step": step, "memory": memory, "growth": growth, "rca": rca}
    parser.add_argument("--only", nargs="+", choices=parts, help="step and memory, and growth of SN-GAN, by default")
    parser.add_argument("--recipe", type=Path, default=RECIPE, help="of the part rca")
    parser.add_argument("--target", type=float, default=0.88, help="of the part rca")
    parser.add_argument("--settings", nargs="+", default=[], metavar="KEY=VALUE", help="of the recipe, in the part rca")
    parser.add_argument("--max-ratio", type=float, default=8, help="the transcription stops at so many times ours")
    parser.add_argument("--max-minutes", type=float, default=60, help="of each run of the part rca")
    parser.add_argument("--out", type=Path, default=Path("runs/discovery_rca.jsonl"), help="the curves of the part rca")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    options = parser.parse_args()
    is_sngan = options.generator == "sngan"
    options.only = options.only or ["step", "memory", *(["growth"] if is_sngan else [])]
    if not is_sngan and "growth" in options.only:
        parser.error("--only growth is SN-GAN's: its resolution follows from --widths")
    if len(options.widths) < 4:
        parser.error("LeNet needs 32 pixels: give --widths four numbers or more")
    if options.published and not (options.published / "trainer.py").is_file():
        parser.error(f"--published: there is no trainer.py in {options.published}")

    if options.memory_of:
        small = argparse.Namespace(**{**vars(options), "widths": [16] * 4, "pixels": 32, "batch": 4})
        build(options.memory_of, small)(1, nothing)  # torch's own code is in memory before the counting begins
        print(memory_beyond(build(options.memory_of, options), options.device))
        return
    print(describe(options))
    for name in options.only:
        parts[name](options)


if __name__ == "__main__":
    main()
