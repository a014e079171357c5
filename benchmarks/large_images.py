"""What generators of 1024 pixels take: memory and seconds of drawing images, of a step of discovery, and a run's plan.

    python benchmarks/large_images.py [--size 1024] [--only progan stylegan2] [--parts images step plan]

ProGAN and StyleGAN2 of their papers' sizes with random weights; nothing is downloaded. Each line is measured in a
process of its own on the CPU, and memory is that process's largest resident set (Linux), weights and torch included.

images  four images at once in float32, as ``ganaug convert`` leaves the network, and again fused in bfloat16
step    of ``discover``: --pairs pairs in --micro-batches parts, ResNet-18, K directions, with recompute off and on; the
        median of three, after one that is not counted
plan    what ``ganaug train --dry-run`` says of a discovery with these settings and recompute on
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from typing import Any

import torch
from harness import alternating, resident, script_parser, this_cpu
from torch.utils.benchmark import timer

from ganaug.devices import autocast
from ganaug.generators import Generator, ProGAN, StyleGAN2
from ganaug.training import DiscoverySettings
from ganaug.training.discovery import Run
from ganaug.training.discovery.plan import plan

GENERATORS: dict[str, type[ProGAN] | type[StyleGAN2]] = {"progan": ProGAN, "stylegan2": StyleGAN2}
VARIANTS = {"images": ["float32", "fused bfloat16"], "step": ["recompute off", "recompute on"], "plan": [""]}


def settings(options: argparse.Namespace, recompute: str) -> dict[str, Any]:
    return {
        "num_directions": options.directions,
        "reconstructor": "resnet18",
        "batch_size": options.pairs,
        "micro_batches": options.micro_batches,
        "precision": options.precision,
        "recompute": recompute,
    }


@torch.no_grad()
def images(generator: Generator, variant: str) -> float:
    if variant == "fused bfloat16":
        generator = generator.fused().to(memory_format=torch.channels_last)
    with autocast("cpu", variant.split()[-1]):
        started = timer()
        generator(generator.sample_latents(4))
        return timer() - started


def step(generator: Generator, variant: str, options: argparse.Namespace) -> float:
    run = Run(generator, DiscoverySettings.from_mapping(settings(options, variant.split()[-1])))
    return alternating({"step": run.train_step}, runs=3)["step"]


def measure(name: str, part: str, variant: str, options: argparse.Namespace) -> None:
    torch.manual_seed(0)
    generator = GENERATORS[name](image_size=options.size).freeze().arrange()
    if part == "plan":
        print("\n".join(f"{name:10} {line}" for line in plan(generator, device="cpu", **settings(options, "on"))))
        return
    taken = images(generator, variant) if part == "images" else step(generator, variant, options)
    what = "4 images" if part == "images" else f"step of {options.pairs} pairs, {options.precision}"
    gib = resident("VmHWM") / 2**20
    print(f"{name:10} {f'{what}, {variant}':46} {taken:8.2f} s  {gib:6.2f} GiB at most")


def main() -> None:
    parser = script_parser(__doc__)
    parser.add_argument("--size", type=int, default=1024, help="pixels")
    parser.add_argument("--only", nargs="+", choices=GENERATORS, default=list(GENERATORS))
    parser.add_argument("--parts", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--pairs", type=int, default=4)
    parser.add_argument("--micro-batches", type=int, default=2)
    parser.add_argument("--directions", type=int, default=64)
    parser.add_argument("--precision", choices=["bfloat16", "float32"], default="bfloat16")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(*options.measure, options)
        return
    print(
        f"{this_cpu()}; {options.size} pixels, K = {options.directions}, {options.micro_batches} micro-batches",
        flush=True,
    )
    for name in options.only:
        for part in options.parts:
            for variant in VARIANTS[part]:
                command = [sys.executable, __file__, *sys.argv[1:], "--measure", name, part, variant]
                if (code := subprocess.run(command).returncode) < 0:
                    print(f"{name:10} {part} {variant}: killed by signal {-code}; out of memory?", flush=True)


if __name__ == "__main__":
    main()
