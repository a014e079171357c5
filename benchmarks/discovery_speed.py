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
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import torch
from harness import Loop, alternating, alternating_loops, append_row, looping, nothing, resident, script_parser
from published import PlainReconstructor, plain_step, published_train
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from ganaug.evaluation import reconstructor_accuracy
from ganaug.generators import SNGAN, BigGAN, Generator, ProGAN
from ganaug.training import DiscoverySettings
from ganaug.training.discovery import Run
from ganaug.training.discovery.reconstructor import default_reconstructor
from ganaug.training.recipe import read_recipe

OURS = {"ours, bfloat16": "bfloat16", "ours, float32": "float32"}
PLAIN, PUBLISHED = "transcription, float32", "published, float32"
RECIPE = Path(__file__).parents[1] / "training" / "mnist.toml"


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


def our_run(generator: Generator, settings: DiscoverySettings, device: str) -> Run:
    """As ``discover`` begins."""
    return Run(copy.deepcopy(generator).freeze().to(device).to(memory_format=torch.channels_last), settings, None)


# -- measuring ----------------------------------------------------------------------------------------------------


def variants(options: argparse.Namespace) -> list[str]:
    published = options.published and (options.reconstructor == "lenet" or options.channels == 3)
    return [*OURS, PLAIN, *([PUBLISHED] if published else [])]


def build(name: str, options: argparse.Namespace) -> Loop:
    if name in OURS:
        return our_train(options, options.widths, precision=OURS[name])
    generator = random_generator(options, options.widths)
    if name == PUBLISHED:
        return published_train(generator, options)
    return looping(plain_step(generator, options, options.device)[0])


def our_train(options: argparse.Namespace, widths: list[int], **settings: object) -> Loop:
    chosen = DiscoverySettings.from_mapping(
        {
            "num_directions": options.directions,
            "batch_size": options.batch,
            "reconstructor": options.reconstructor,
            "reconstructor_width": options.reconstructor_width,
            **settings,
        }
    )
    return looping(our_run(random_generator(options, widths), chosen, options.device).train_step)


def gigaflop(train: Loop) -> float:
    with FlopCounterMode(display=False) as counter:
        train(1, nothing)
    return counter.get_total_flops() / 1e9


def peak(size: int, device: str) -> float:
    """GFLOP a second of a square bfloat16 matrix product."""
    left, right = torch.randn(2, size, size, device=device).bfloat16()
    seconds = alternating({"product": lambda: left @ right}, runs=7)
    return 2 * size**3 / seconds["product"] / 1e9


# -- the parts ----------------------------------------------------------------------------------------------------


def step(options: argparse.Namespace) -> None:
    best = peak(options.peak_size, options.device)
    print(f"step    peak: {best:,.0f} GFLOP/s, bfloat16 product of {options.peak_size} x {options.peak_size} matrices")
    trains = {name: build(name, options) for name in variants(options)}
    work = {name: gigaflop(train) for name, train in trains.items()}
    seconds = alternating_loops(trains, runs=options.steps)
    ours = seconds[next(iter(OURS))]
    for name, value in seconds.items():
        print(
            f"step    {name:22} {value:9.4f} s, {value / ours:5.2f} times ours; {work[name]:8,.1f} GFLOP, "
            f"{work[name] / value:7,.0f} GFLOP/s, {work[name] / value / best:.3f} of the peak"
        )


def memory_beyond(train: Loop, device: str) -> float:
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
        seconds = alternating_loops(trains, runs=options.steps)
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
        append_row(options.out, {"run": name, "seconds": round(seconds, 3), "step": taken, "rca": rca})
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
    parser = script_parser(__doc__, "device")
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
