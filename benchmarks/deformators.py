"""Whether converted deformator files hold the directions of the published code, from the same weights.

    python benchmarks/deformators.py --published CHECKOUT

CHECKOUT is a checkout of anvoynov/GANLatentDiscovery. Its deformators, with random weights, are written as
``deformator_*.pt``, and the shifts that their ``forward`` makes of all axes at magnitudes -6, -1, 2 and 6 are compared
with magnitude x length x direction: max |a - b| / max |a|, in float32 on the CPU.

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
from generators import importing
from torch import Tensor

from ganaug.checkpoints import directions_from_deformator

Row = tuple[str, float]


def error(theirs: Tensor, ours: Tensor) -> float:
    return ((theirs - ours).abs().max() / theirs.abs().max()).item()


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
            yield f"{kind}, {count} of {dim}", error(theirs, ours)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--published", type=Path, metavar="CHECKOUT", required=True)
    parser.add_argument("--dim", type=int, default=128, help="latent length")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    print(f"torch {torch.__version__}, float32, CPU, seed {arguments.seed}\n")
    print("| deformator, random weights | relative error |\n| --- | --- |")
    with tempfile.TemporaryDirectory() as scratch:
        for title, value in deformators(arguments.published.resolve(), Path(scratch), arguments.dim):
            print(f"| {title} | {value:.1e} |", flush=True)


if __name__ == "__main__":
    main()
