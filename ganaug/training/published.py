"""Packs of directions that the paper's published code found."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ganaug.checkpoints import directions_from_deformator
from ganaug.devices import own_defaults
from ganaug.gallery import preview
from ganaug.packs import DirectionPack, load_generator
from ganaug.packs.hub import loadable
from ganaug.training.recipe import check_free

REACH = 6.0
"""The published code shifts by magnitudes from -6 to 6."""


@own_defaults
def convert_deformator(file: str | Path, generator: str, out: str | Path) -> DirectionPack:
    """Make a pack of a ``deformator_*.pt`` of anvoynov/GANLatentDiscovery and save it, preview included.

    Directions have unit length here, so that magnitudes are not the file's: ranges are the file's -6 to 6. Those found
    in StyleGAN2's w need a generator converted with ``latent_space=w``.

    Args:
        file: see :func:`ganaug.checkpoints.directions_from_deformator`, which may warn.
        generator: whose directions they are: a folder, a pack, or a Hub id.
        out: folder for the pack; holds neither a pack nor a generator.

    Returns:
        The pack, as saved in ``out``.

    Raises:
        PackError: the file holds no directions, or those of a generator with another latent size.
        GeneratorError: the file or the generator is missing or damaged.
        DiscoveryError: ``out`` can't be written to, or holds a pack or a generator already.
    """
    file, out = Path(file), Path(out)
    directions, lengths = directions_from_deformator(file)
    pack = DirectionPack(
        directions,
        generator=load_generator(generator),
        ranges=[(-REACH * length, REACH * length) for length in lengths.tolist()],
        method={"name": "converted", "file": file.name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()},
        license="unknown",
        name=out.name,
    )
    check_free(out)
    pack.preview = preview(pack)
    pack.save_pretrained(out)
    pack.name = loadable(out)
    return pack
