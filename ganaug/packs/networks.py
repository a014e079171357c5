"""The networks of a pack: loaded from where they lie, and compared with what the pack says of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganaug.checkpoints import generator_from_distribution
from ganaug.devices import own_defaults
from ganaug.errors import PackError, UserError
from ganaug.files import read_bytes, tensors_of
from ganaug.generators import Encoder, Generator, ModuleGenerator, build_encoder, build_generator
from ganaug.generators.generator import CONFIG_FILE, WEIGHTS_FILE
from ganaug.generators.module import check_is_generator
from ganaug.packs.domain import Domain
from ganaug.packs.format import DOMAIN_FILE, ENCODER_FILE
from ganaug.swaps import located, steadily


def network_entry(network: Generator | Encoder) -> dict[str, Any]:
    """What config.json says of a network: what builds it again, and the SHA-256 of its weights."""
    return {**network.config, "sha256": network.weights_sha256()}


def read_generator(pack: str, folder: Path | None, entry: Mapping[str, Any], origin: Mapping[str, Any]) -> Generator:
    """The generator that ``origin`` names, else the one in the pack's folder.

    Raises:
        PackError: it can't be had, or its files are damaged.
    """
    try:
        if "distribution" in origin:
            return generator_from_distribution(**origin)
        if "repo" in origin:
            return Generator.from_pretrained(origin["repo"], revision=origin["revision"])
        if folder is not None and entry.get("architecture") != ModuleGenerator.architecture:
            config = {key: value for key, value in entry.items() if key != "sha256"}
            return steadily(folder, CONFIG_FILE, lambda: build_generator(config, weights=located(folder, WEIGHTS_FILE)))
    except UserError as error:
        raise PackError(f"pack {pack!r}: {error}") from error
    raise PackError(
        f"pack {pack!r} belongs to a network of its author's own, which ganaug can't build. Build it, and pass it: "
        "DirectionPack.from_pretrained(..., generator=Generator.from_module(net, ...))."
    )


def read_encoder(pack: str, folder: Path | None, entry: Mapping[str, Any]) -> Encoder:
    """The encoder in the pack's folder; ``PackError`` if it is damaged or another one than ``entry`` says."""
    config = dict(entry)
    sha256 = config.pop("sha256", None)
    if not isinstance(sha256, str) or folder is None:
        raise PackError(f"pack {pack!r}: its config.json names no SHA-256 of its encoder's weights.")
    try:
        return steadily(
            folder, CONFIG_FILE, lambda: build_encoder(config, weights=located(folder, ENCODER_FILE), sha256=sha256)
        )
    except UserError as error:
        raise PackError(f"pack {pack!r}: {error}") from error


def read_domain(pack: str, folder: Path, sha256: str) -> Domain:
    """What the pack's own images look like; ``PackError`` if its file is damaged or another one than config.json's."""
    path = folder / DOMAIN_FILE
    try:
        content = steadily(folder, CONFIG_FILE, lambda: read_bytes(located(folder, DOMAIN_FILE)))
        if (found := hashlib.sha256(content).hexdigest()) != sha256:
            raise PackError(f"{path} has SHA-256 {found}, but config.json names {sha256}: the file was changed.")
        return Domain.of(tensors_of(content, path))
    except UserError as error:
        raise PackError(f"pack {pack!r}: {error}") from error


@own_defaults
def check_generator(pack: str, generator: Generator, directions: Tensor) -> None:
    """``PackError`` unless the directions can be those of the generator."""
    check_is_generator(generator)
    size = directions.shape[1]
    if generator.latent_dim != size:
        raise PackError(
            f"pack {pack!r} has directions of {size} dimensions, but its generator's latents have "
            f"{generator.latent_dim}."
        )
    within = torch.zeros(size, dtype=torch.bool)
    within[generator.directions_within] = True
    if directions[:, ~within].any():
        raise PackError(
            f"pack {pack!r} has directions that change coordinates which the generator keeps from them: its "
            f"layers={generator.config.get('layers')} leave {int(within.sum())} of {size}."
        )


def check_same_generator(pack: str, generator: Generator, entry: Mapping[str, Any]) -> None:
    """``PackError`` unless the generator is the one that config.json names."""
    wanted, found = entry.get("sha256"), generator.weights_sha256()
    if wanted != found:
        raise PackError(
            f"pack {pack!r} belongs to a generator whose weights have SHA-256 {wanted}, but this one's have {found}. "
            "Directions of one generator mean nothing in another; fetch the pack and its generator again."
        )
    config = generator.config  # the same weights may draw from other latents, or in another way
    apart = [
        f"{name}={config[name]!r} where the pack says {entry[name]!r}"
        for name in sorted(config.keys() & entry.keys())
        if json.dumps(config[name]) != json.dumps(entry[name])
    ]
    if apart:
        raise PackError(f"pack {pack!r}: the generator has {', '.join(apart)}. Build it as the pack says.")


def check_encoder(pack: str, encoder: Encoder, latent_dim: int, generator: Generator | None) -> None:
    """``PackError`` unless the encoder is for the generator's images, as far as they are known."""
    told = {"latent_dim": latent_dim}
    if generator is not None:
        told |= {name: getattr(generator, name) for name in ("image_size", "channels", "num_classes")}
    for name, wanted in told.items():
        if getattr(encoder, name) != wanted:
            raise PackError(
                f"the encoder has {name} {getattr(encoder, name)}, but pack {pack!r} has {wanted}: it belongs to "
                "another generator."
            )
