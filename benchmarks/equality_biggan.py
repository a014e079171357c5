"""Images of our BigGAN beside those of its authors' PyTorch code, with the same random weights, latents and labels.

    python benchmarks/equality_biggan.py --original PATH [--ch 16] [--sizes 128 256] [--batch 2] [--repeats 3]

PATH is a checkout of github.com/ajbrock/BigGAN-PyTorch; nothing is downloaded. Its generator gets orthogonal weights,
one step of power iteration, and random batch-norm statistics, gains and attention. Printed for each size: the largest
difference between two pixels and the root mean square of all differences, each relative to the same of the images, in
float32 on the CPU; and the seconds of a forward pass, medians of runs that alternate between the two.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ganaug.generators.biggan import BigGAN

# As in BigGAN-PyTorch's launch script and its converter of the models on TF Hub.
LATENTS = {32: 80, 64: 100, 128: 120, 256: 140, 512: 128}
ATTENTION = {32: "16", 64: "32", 128: "64", 256: "128", 512: "64"}


def original_generator(path: str, *, size: int, ch: int, classes: int) -> nn.Module:
    sys.path.insert(0, path)
    from BigGAN import Generator  # type: ignore[import-not-found]

    with contextlib.redirect_stdout(io.StringIO()):
        generator: nn.Module = Generator(
            G_ch=ch,
            dim_z=LATENTS[size],
            resolution=size,
            G_attn=ATTENTION[size],
            n_classes=classes,
            shared_dim=128,
            hier=True,
            SN_eps=1e-6,
            no_optim=True,
        )
    with torch.no_grad():
        generator.train()(torch.randn(4, generator.dim_z), generator.shared(torch.arange(4) % classes))
        for name, tensor in generator.state_dict().items():
            if name.endswith("stored_mean"):
                tensor.add_(0.1 * torch.randn_like(tensor))
            elif name.endswith("stored_var"):
                tensor.mul_(0.5 + torch.rand_like(tensor))
            elif name.endswith("gamma"):
                tensor.fill_(0.8)
            elif name.startswith("output_layer.0"):
                tensor.add_(0.3 * torch.randn_like(tensor))
    return generator.eval()


def median_seconds(calls: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in seconds.items()}


@torch.no_grad()
def compare(original: nn.Module, *, batch: int, classes: int, repeats: int) -> None:
    ours = BigGAN.from_checkpoint(original.state_dict())
    fused = ours.fused()
    latents, labels = ours.sample_latents(batch), torch.arange(batch) % classes
    calls: dict[str, Callable[[], Tensor]] = {
        "original": lambda: original(latents, original.shared(labels)),
        "ours": lambda: ours(latents, labels),
        "ours, fused": lambda: fused(latents, labels),
    }
    expected = calls["original"]()
    seconds = median_seconds(calls, repeats)
    weights = sum(parameter.numel() for parameter in ours.parameters())
    print(f"{ours.image_size} pixels, {weights:,} parameters, standard deviation of the images {expected.std():.3f}")
    for name, call in calls.items():
        error = call() - expected
        print(
            f"  {name:12} largest error {error.abs().max() / expected.abs().max():.1e}, "
            f"root mean square {error.square().mean().sqrt() / expected.square().mean().sqrt():.1e}, "
            f"{seconds[name]:.3f} s"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--original", required=True, metavar="PATH")
    parser.add_argument("--ch", type=int, default=16)
    parser.add_argument("--sizes", type=int, nargs="+", default=[128], choices=sorted(LATENTS))
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    print(f"ch {options.ch}, batch {options.batch}, float32, CPU, {torch.get_num_threads()} threads")
    for size in options.sizes:
        torch.manual_seed(0)
        original = original_generator(options.original, size=size, ch=options.ch, classes=options.classes)
        compare(original, batch=options.batch, classes=options.classes, repeats=options.repeats)


if __name__ == "__main__":
    main()
