"""Attacks in a process of their own, with a limit on its memory: run as ``python -m tests.attacks.child``.

Standard input names, one a line and as JSON, what is to be opened and how; each is answered with a line: what came of
it, in how many seconds. What is not answered hung, or ended the process.
"""

from __future__ import annotations

import hashlib
import json
import resource
import sys
import time
import warnings

import torch

from ganaug.checkpoints import convert_checkpoint
from ganaug.errors import UserError
from ganaug.generators import Generator
from ganaug.packs import DirectionPack
from ganaug.transforms import LatentShift

MEMORY = 2**30


def drawn(generator):
    """Of two images, whether they are sound, and their hash."""
    latents = generator.sample_latents(2, rng=torch.Generator().manual_seed(0))
    labels = torch.zeros(2, dtype=torch.int64) if generator.num_classes else None
    with torch.no_grad():
        images = generator(latents, labels)
    assert torch.isfinite(images).all(), "images are not finite"
    assert images.shape == (2, generator.channels, generator.image_size, generator.image_size)
    rounded = (images * 1000).round().to(torch.int16)
    return hashlib.sha256(rounded.numpy().tobytes()).hexdigest()


def converted(path):
    return drawn(convert_checkpoint(path))


def generator(path):
    return drawn(Generator.from_pretrained(path))


def pack(path):
    pack = DirectionPack.from_pretrained(path).load()
    _ = pack.preview, pack.domain
    again = pack.save_pretrained(f"{path}-again")
    assert DirectionPack.from_pretrained(again).scores == pack.scores
    return drawn(pack.generator)


def bank(path):
    """What a bank serves of each class."""
    shift = LatentShift(bank=path, p=1.0)
    torch.manual_seed(0)
    served, _ = shift(torch.zeros(6, 3, 32, 32, dtype=torch.uint8), torch.arange(6) % 3)
    return hashlib.sha256(served.numpy().tobytes()).hexdigest()


OPENS = {"checkpoint": converted, "generator": generator, "pack": pack, "bank": bank}


def attacked(kind, path):
    """What came of it: "refused" or "drew HASH", else what is wrong."""
    try:
        return f"drew {OPENS[kind](path)}"
    except UserError as error:
        text = str(error)
        clean = len(text) <= 4000 and all(char == "\n" or char.isprintable() for char in text)
        return "refused" if clean and text.strip() else f"WRONG a message of {len(text)}: {text[:300]!r}"
    except BaseException as error:
        return f"WRONG {type(error).__name__}: {str(error)[:500]!r}"


def main():
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    with open("/proc/self/statm") as file:
        base = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (base + MEMORY, base + MEMORY))
    for line in sys.stdin:
        kind, path = json.loads(line)
        start = time.perf_counter()
        told = attacked(kind, path)
        print(json.dumps([told, time.perf_counter() - start]), flush=True)


if __name__ == "__main__":
    main()
