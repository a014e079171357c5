"""Whether converted generators draw the images of their original code, from the same weights and latents, and how fast.

    python benchmarks/generators.py [--progan PATH] [--stylegan2 PATH] [--stylegan2-ada PATH] [--stylegan3 PATH]
        [--biggan PATH] [--published PATH] [--only dcgan biggan-deep ...] [--sizes 32 64 128] [--batch 2]
        [--speed --batch 8]
    python benchmarks/generators.py --published PATH --only deformators [--dim 128]

Each PATH is a checkout: ptrblck/prog_gans_pytorch_inference, rosinality/stylegan2-pytorch,
NVlabs/stylegan2-ada-pytorch, NVlabs/stylegan3, ajbrock/BigGAN-PyTorch, and anvoynov/GANLatentDiscovery for its SN-GAN.
BigGAN-deep is that of the package pytorch-pretrained-biggan, DCGAN the layers of PyTorch's tutorial, built here. The
original network is built with random weights and statistics (no published file is needed), its state is converted, and
both draw the same latents on the CPU; NVIDIA's also go through NVIDIA's own pickle and back. Sizes that an architecture
isn't made for are left out. One row for each network:

float32   max |a - b| / max |a| of the original's images a and ours b, as ganaug loads and runs it
fused     the same of ``generator.fused()``
bfloat16  the same of the fused network in channels_last under autocast to bfloat16, after the root mean square of
          a - b relative to that of a
clamped   the share of values outside [-1, 1] in the original's images, which are clamped before they are compared
seconds   with --speed, of a forward pass, medians of runs that alternate: the original and ours in float32, and ours as
          in the column bfloat16; behind ours how many times as fast as the original it is

deformators compares converted direction files instead: the published code's deformators, with random weights, are
written as ``deformator_*.pt``, and the shifts that their ``forward`` makes of all axes at magnitudes -6, -1, 2 and 6
are compared with magnitude x length x direction: max |a - b| / max |a|, in float32 on the CPU.
"""

from __future__ import annotations

import argparse
import copy
import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from harness import alternating, header, importing, line, script_parser, this_cpu
from originals import BUILT_HERE, FROM_CHECKOUT, Builder, Row
from published import todays_torch
from torch import Tensor

from ganaug.checkpoints import directions_from_deformator
from ganaug.devices import autocast

DEFORMATORS = "deformators"
COLUMNS = ["network, random weights", "float32", "fused", "bfloat16 rms", "bfloat16 max", "clamped"]
SPEED_COLUMNS = ["original s", "ours s", "ours bfloat16 s"]


def largest(ours: Tensor, wanted: Tensor) -> float:
    return ((ours - wanted).abs().max() / wanted.abs().max()).item()


def root_mean_square(ours: Tensor, wanted: Tensor) -> float:
    return ((ours - wanted).square().mean() / wanted.square().mean()).sqrt().item()


def compare(row: Row, *, repeats: int) -> list[str]:
    """The cells of a row; speed if ``repeats`` is positive."""
    fused = row.generator.fused()
    quick = copy.deepcopy(fused).to(memory_format=torch.channels_last)

    def in_bfloat16() -> Tensor:
        with autocast("cpu", "bfloat16"):
            return quick(*row.inputs)

    calls = {"original": lambda: row.original(*row.inputs), "ours": lambda: row.generator(*row.inputs)}
    calls["bfloat16"] = in_bfloat16
    images = {name: call().float() for name, call in calls.items()}
    wanted = images["original"].clamp(-1, 1)
    errors = [largest(images["ours"], wanted), largest(fused(*row.inputs), wanted)]
    errors += [root_mean_square(images["bfloat16"], wanted), largest(images["bfloat16"], wanted)]
    cells = [row.title, *(f"{error:.1e}" for error in errors), f"{(images['original'].abs() > 1).float().mean():.1%}"]
    if repeats:
        seconds = alternating(calls, runs=repeats)
        theirs = seconds.pop("original")
        cells += [f"{theirs:.3f}", *(f"{value:.3f}, x {theirs / value:.2f}" for value in seconds.values())]
    return cells


def deformators(checkout: Path, folder: Path, dim: int) -> Iterator[tuple[str, float]]:
    """The largest relative error of the shifts of each kind of deformator."""
    with todays_torch("cpu"), importing(checkout) as load:
        code = load("latent_deformator")
        for kind, count in (("LINEAR", dim), ("LINEAR", dim // 2), ("PROJECTIVE", dim), ("ORTHO", dim)):
            deformator = code.LatentDeformator(
                dim, input_dim=count, type=code.DeformatorType[kind], random_init=True, bias=False
            )
            root = folder / f"{kind}-{count}"
            (root / "models").mkdir(parents=True)
            path = root / "models" / "deformator_10000.pt"
            torch.save(deformator.state_dict(), path)
            name = {"LINEAR": "linear", "PROJECTIVE": "proj", "ORTHO": "ortho"}[kind]
            (root / "args.json").write_text(json.dumps({"deformator": name}))
            directions, lengths = directions_from_deformator(path)
            magnitudes = torch.tensor([-6.0, -1.0, 2.0, 6.0])
            theirs = torch.stack([deformator(magnitude * torch.eye(count)) for magnitude in magnitudes])
            ours = magnitudes[:, None, None] * lengths[:, None] * directions
            yield f"{kind}, {count} of {dim}", largest(ours, theirs)


def compare_deformators(options: argparse.Namespace) -> None:
    torch.manual_seed(options.seed)
    print(f"torch {torch.__version__}, float32, CPU, seed {options.seed}\n")
    print(header("deformator, random weights", "relative error"))
    with tempfile.TemporaryDirectory() as scratch:
        for title, value in deformators(options.published, Path(scratch), options.dim):
            print(line(title, f"{value:.1e}"), flush=True)


def compare_generators(options: argparse.Namespace, builders: Mapping[str, Builder]) -> None:
    print(f"{this_cpu()}, seed {options.seed}, batch {options.batch}\n")
    print(header(*COLUMNS, *(SPEED_COLUMNS if options.speed else [])))
    for build in builders.values():
        for size in options.sizes:
            torch.manual_seed(options.seed)
            for row in build(options, size):
                print(line(*compare(row, repeats=options.repeats if options.speed else 0)), flush=True)


@torch.no_grad()
def main() -> None:
    parser = script_parser(__doc__, "seed")
    for name in FROM_CHECKOUT:
        parser.add_argument(f"--{name}", type=Path, metavar="PATH")
    known = [*BUILT_HERE, *FROM_CHECKOUT, DEFORMATORS]
    parser.add_argument("--only", nargs="+", choices=known, help="of what could be compared")
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 64, 128], help="32 to 1024 pixels, powers of two")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--repeats", type=int, default=5, help="that each median is taken over")
    parser.add_argument("--ch", type=int, default=64, help="of both BigGANs; their papers' are 96 and 128")
    parser.add_argument("--channel-base", type=int, default=32768, help="of StyleGAN3-T; R has twice as many")
    parser.add_argument("--dim", type=int, default=128, help="latent length of deformators")
    options = parser.parse_args()
    checkouts = {name: getattr(options, name.replace("-", "_")) for name in FROM_CHECKOUT}
    for name, checkout in checkouts.items():
        setattr(options, name.replace("-", "_"), checkout and checkout.resolve())
    rows = {name: build for name, build in FROM_CHECKOUT.items() if checkouts[name]} | BUILT_HERE
    chosen = options.only or list(rows)
    for name in chosen:
        checkout = "published" if name == DEFORMATORS else name
        if name not in rows and not checkouts[checkout]:
            parser.error(f"--only {name} needs its checkout: --{checkout} PATH")
    if DEFORMATORS in chosen:
        compare_deformators(options)
    if networks := [name for name in chosen if name != DEFORMATORS]:
        compare_generators(options, {name: rows[name] for name in networks})


if __name__ == "__main__":
    main()
