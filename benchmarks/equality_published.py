"""Whether converted SN-GANs and directions are those of the published code, from the same weights.

    python benchmarks/equality_published.py --published CHECKOUT

CHECKOUT is a checkout of anvoynov/GANLatentDiscovery. Its SN-GAN is built with random weights and statistics (no
published file is needed), written as the folder it reads itself, with ``args.json`` and ``generator.pt``, and converted
from there; both draw the same latents. Its deformators are written as ``deformator_*.pt``, and the shifts that their
``forward`` makes of all axes at magnitudes -6, -1, 2 and 6 are compared with magnitude x length x direction.

The error is max |a - b| / max |a| on the CPU, in float32. For generators it is taken in the memory format of the
original, contiguous, again in channels_last, in which ganaug loads its weights (PyTorch's convolutions of that format
sum in another order), and again in float64, where nothing but rounding is left.

What that code needs of old libraries is put back for it: ``numpy.product``, ``torch.solve``, and ``device="cuda"`` of
one ``torch.randn`` taken out.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from equality import importing
from torch import Tensor, nn

from ganaug.directions.deformator import directions_from_deformator
from ganaug.generators import convert_checkpoint

Row = tuple[str, list[float]]


def error(theirs: Tensor, ours: Tensor) -> float:
    return ((theirs - ours).abs().max() / theirs.abs().max()).item()


@torch.no_grad()
def sngan(checkout: Path, folder: Path, batch: int) -> Iterator[Row]:
    with importing(checkout) as load:
        code, reader = load("models.SNGAN.sn_gen_resnet"), load("models.SNGAN.load")
        for model, size in reader.MODELS.items():
            for channels in (1, 3):
                config = code.SN_RES_GEN_CONFIGS[model]
                original = code.make_resnet_generator(
                    config, size, channels, distribution=code.NormalDistribution(128)
                ).train()
                original.model(torch.randn(8, 128))  # running statistics that are not those of the start
                for norm in (module for module in original.modules() if isinstance(module, nn.BatchNorm2d)):
                    norm.weight.add_(torch.randn_like(norm.weight) / 4)
                    norm.bias.add_(torch.randn_like(norm.bias) / 4)
                place = folder / f"{model}-{channels}"
                place.mkdir()
                torch.save(original.state_dict(), place / "generator.pt")
                options = {"model": model, "latent_dim": 128, "image_channels": channels}
                (place / "args.json").write_text(json.dumps(options))
                theirs = reader.load_model_from_state_dict(str(place)).model.eval()
                z = torch.randn(batch, 128)
                images, exact = theirs(z), theirs.double()(z.double())
                for fused in (False, True):
                    ours, precise = convert_checkpoint(place), convert_checkpoint(place).double()
                    if fused:
                        ours, precise = ours.fused(), precise.fused()
                    errors = [
                        error(images, ours.to(memory_format=memory_format)(z))
                        for memory_format in (torch.contiguous_format, torch.channels_last)
                    ]
                    title = f"SN-GAN {size}, {'grey' if channels == 1 else 'colour'}{', fused' if fused else ''}"
                    yield title, [*errors, error(exact, precise(z.double()))]


@torch.no_grad()
def deformators(checkout: Path, folder: Path, dim: int) -> Iterator[Row]:
    def randn(*size: Any, **options: Any) -> Tensor:
        return plain_randn(*size, **{**options, "device": "cpu"})

    def solve(b: Tensor, a: Tensor) -> tuple[Tensor, None]:
        return torch.linalg.solve(a, b), None

    plain_randn = torch.randn
    replaced = (
        mock.patch.object(np, "product", np.prod, create=True),
        mock.patch.object(torch, "solve", solve),
        mock.patch.object(torch, "randn", randn),
    )
    with replaced[0], replaced[1], replaced[2], importing(checkout) as load:
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
            yield f"deformator {kind}, {count} of {dim}", [error(theirs, ours)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--published", type=Path, metavar="CHECKOUT", required=True)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--dim", type=int, default=128, help="latent length of the deformators")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    print(f"torch {torch.__version__}, float32, CPU, seed {arguments.seed}, batch {arguments.batch}\n")
    print("| published code, random weights | relative error | in channels_last | in float64 |\n" + "| --- " * 4 + "|")
    with tempfile.TemporaryDirectory() as scratch:
        checkout, folder = arguments.published.resolve(), Path(scratch)
        for rows in (sngan(checkout, folder, arguments.batch), deformators(checkout, folder, arguments.dim)):
            for title, errors in rows:
                print(
                    f"| {title} | " + " | ".join(f"{value:.1e}" for value in errors) + " |" * (4 - len(errors)),
                    flush=True,
                )


if __name__ == "__main__":
    main()
