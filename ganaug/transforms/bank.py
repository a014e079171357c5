"""Latent banks: shifted images made beforehand, for jobs that have no time to make them."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from tqdm.auto import tqdm

from ganaug.devices import chosen_dtype, default_device, own_defaults, running_in
from ganaug.draws import seeded
from ganaug.errors import BankError, FileError
from ganaug.images import from_unit
from ganaug.locks import alone, replacing
from ganaug.marks import folder_made
from ganaug.packs import DirectionPack
from ganaug.places import did_you_mean, exists, kind_of
from ganaug.ranks import Ranks, sharing
from ganaug.transforms.choice import Choice, Magnitude
from ganaug.transforms.functional import offsets, sampled

FORMAT = "1"
CHUNK = 256
"""Images made at once; each chunk has random draws of its own, so that a build can go on where it stopped."""
FOOTER = b"ganaug bank, chunks: "
"""Ends a half-built bank, with the number of its chunks that are there; the finished file has none."""
TENSORS = {"images": "U8", "labels": "I64", "indices": "I64", "magnitudes": "F32"}
NUMPY = {"U8": np.uint8, "I64": np.int64, "F32": np.float32}
KINDS = {
    "images": (torch.uint8, 4),
    "labels": (torch.int64, 1),
    "indices": (torch.int64, 1),
    "magnitudes": (torch.float32, 1),
}


class LatentBank:
    """Shifted images of a class-conditional generator in one memory-mapped safetensors file, ordered by class.

    ``LatentShift(bank=path)`` serves from it. Opened in several processes, the file's pages are shared.

    Args:
        path: a file that :meth:`build` wrote.

    Attributes:
        images: ``(N, C, H, W)`` uint8, labels: ``(N,)`` int64 in ascending order, indices: ``(N,)`` int64 of the
            directions, magnitudes: ``(N,)`` float32; all mapped, not read. class_names: of the generator's classes, or
            None where nobody has named them.

    Raises:
        BankError: there is no such file, or it is damaged or no bank.
    """

    def __init__(self, path: str | Path) -> None:
        if not isinstance(path, (str, Path)):
            raise BankError(f"a bank is given as its path, got {path!r}.")
        self.path = Path(path)
        self._open()

    @own_defaults
    def _open(self) -> None:
        if not self.path.is_file():
            part = _scratch(self.path)
            half = f" {part} is half built: call LatentBank.build again to go on." if part.exists() else ""
            how = half or f"{did_you_mean(self.path)} ganaug bank PACK {self.path} --direction NAME builds one."
            what = f"{self.path} is {kind_of(self.path)}, not a bank." if exists(self.path) else ""
            raise BankError(what or f"there is no bank {self.path}.{how}")
        try:
            with safe_open(self.path, framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # safe_open is no mapping
        except (SafetensorError, KeyError, OSError) as error:  # KeyError: a type that PyTorch does not have
            raise BankError(f"{self.path} is not a whole safetensors file ({error}). Build it again.") from error
        classes = metadata.get("num_classes", "")
        if not (
            metadata.get("ganaug_bank") == FORMAT
            and re.fullmatch("[0-9]{1,9}", classes)
            and {name: (tensor.dtype, tensor.ndim) for name, tensor in tensors.items()} == KINDS
            and {len(tensor) for tensor in tensors.values()} == {len(tensors["labels"])}
            and 1 <= int(classes) <= len(tensors["labels"])
            and tensors["images"].shape[1] in (1, 3)
            and tensors["images"].numel()
        ):
            raise BankError(f"{self.path} is not a latent bank; LatentBank.build makes one.")
        self.images, self.labels = tensors["images"], tensors["labels"]
        self.indices, self.magnitudes = tensors["indices"], tensors["magnitudes"]
        self.metadata = metadata
        self.num_classes = int(classes)
        self.class_names = _class_names(metadata.get("class_names"), self.num_classes, self.path)
        self.channels = self.images.shape[1]
        edges = torch.searchsorted(self.labels, torch.arange(self.num_classes + 1, device="cpu"))
        self._starts, self._counts = edges[:-1], edges.diff()
        if (self.labels.diff() < 0).any() or (self._counts < 1).any() or edges[-1] != len(self):
            raise BankError(f"{self.path} has labels that are not those of a latent bank. Build it again.")

    def __getstate__(self) -> dict[str, Path]:
        return {"path": self.path}

    def __setstate__(self, state: dict[str, Path]) -> None:
        self.path = state["path"]
        self._open()

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return f"LatentBank({str(self.path)!r}, {len(self)} images of {self.num_classes} classes)"

    def draw(self, classes: Tensor, *, rng: torch.Generator | None = None) -> Tensor:
        """Entries ``(N,)`` drawn at random, one of each class ``(N,)``."""
        chances = torch.rand(len(classes), generator=rng, device="cpu", dtype=torch.float32)
        return self._starts[classes] + (chances * self._counts[classes]).long()

    @classmethod
    @own_defaults
    def build(
        cls,
        pack: str | Path | DirectionPack,
        direction: str | int | Sequence[str | int],
        size: int,
        path: str | Path,
        *,
        magnitude: Magnitude = "safe",
        seed: int = 0,
        dtype: str = "auto",
        device: str | torch.device | None = None,
        share: bool = False,
        show_progress: bool = True,
    ) -> LatentBank:
        """Make ``size`` shifted images, the same number of each class (give or take one), in a file.

        Interrupted, it goes on when called again; the result is that of the unbroken run. The space is reserved before
        anything is drawn.

        Args:
            pack, direction, magnitude, dtype: as for :class:`~ganaug.transforms.LatentShift`.
            path: of the file; an existing one is not overwritten.
            device: defaults to CUDA when there is one, else the CPU.
            share: under ``torchrun`` all processes call this, and each does its share, see :mod:`ganaug.ranks`.

        Raises:
            BankError: the file exists, the unfinished one is of other arguments, or the generator is unconditional;
                there is not room enough, the folder can't be written to, or another process builds this bank.
            ValueError: a direction or magnitude that does not fit the pack.
        """
        pack = pack if isinstance(pack, DirectionPack) else DirectionPack.from_pretrained(pack)
        choice, path = Choice(pack, direction, magnitude=magnitude), Path(path)
        if pack.generator.num_classes == 0:
            raise BankError(
                f"pack {pack.name!r} has an unconditional generator, so a bank's images would have no labels."
            )
        if not isinstance(size, int) or size < pack.generator.num_classes:
            raise BankError(
                f"size should be at least one image for each of {pack.generator.num_classes} classes, got {size!r}."
            )
        target = default_device(device)
        made = Made(choice, torch.arange(size, device="cpu") * pack.generator.num_classes // size, seed, target)
        made = made._replace(dtype=chosen_dtype(dtype, target))
        with sharing(share, target) as ranks:
            if ranks.rank:
                for _ in _chunks(made, ranks.gathered(0)[0], ranks):
                    pass
            else:
                with _building(path):
                    if os.path.lexists(path):
                        raise BankError(f"{path} exists. Delete it, or choose another path.")
                    _build(path, made, ranks, show_progress=show_progress)
            ranks.wait()
        return cls(path)


@contextmanager
def _building(path: Path) -> Iterator[None]:
    """Errors of the block are :class:`BankError`; no other process builds the same bank meanwhile."""
    try:
        with folder_made(path.parent), alone(path):
            yield
    except FileError as error:
        raise BankError(str(error)) from error
    except OSError as error:
        room = f", with {shutil.disk_usage(path.parent).free:,} bytes free" if path.parent.is_dir() else ""
        raise BankError(
            f"{path} can't be written ({error.strerror or error}{room}). Make room, or mend that; what was drawn is "
            "kept, and the same call goes on."
        ) from error


class Made(NamedTuple):
    """All that a bank's images depend on: their labels ``(N,)`` are in order of class."""

    choice: Choice
    labels: Tensor
    seed: int
    device: torch.device
    dtype: str = "float32"


def _chunks(made: Made, done: int, ranks: Ranks) -> Iterator[dict[str, Tensor]]:
    """The chunks from ``done`` on, in order; each process draws every ``size``-th, and all get all."""
    parts = made.labels.split(CHUNK)
    for start in range(done, len(parts), ranks.size):
        mine = start + ranks.rank
        own = None
        if mine < len(parts):
            rng = seeded(made.seed, mine)
            own = _chunk(made.choice, parts[mine], rng=rng, dtype=made.dtype, device=made.device)
        yield from (chunk for chunk in ranks.gathered(own) if chunk is not None)


def _build(path: Path, made: Made, ranks: Ranks, *, show_progress: bool) -> None:
    """Write a bank's file, chunk by chunk into one beside it, and note beside that how many chunks are there."""
    choice, size = made.choice, len(made.labels)
    generator = choice.pack.generator
    metadata = {
        "ganaug_bank": FORMAT,
        "pack": choice.pack.name,
        "generator_sha256": generator.weights_sha256(),
        "num_classes": str(generator.num_classes),
        "direction": json.dumps(choice.indices.tolist()),
        "ranges": json.dumps(choice.low_high.tolist()),
        "seed": str(made.seed),
    }
    if made.dtype != "float32":  # as all banks were that do not say
        metadata["dtype"] = made.dtype
    if generator.class_names is not None:
        metadata["class_names"] = json.dumps(generator.class_names)
    shapes = {name: [size] for name in TENSORS}
    shapes["images"] += [generator.channels, generator.image_size, generator.image_size]
    header, starts = _header(metadata, shapes)
    scratch = _scratch(path)
    data_bytes, num_chunks = sum(_bytes(name, shapes) for name in TENSORS), -(-size // CHUNK)
    end = len(header) + data_bytes
    if not os.path.lexists(scratch):
        _reserve(scratch, header, end)
    with scratch.open("r+b") as file:
        done = _chunks_in(file, scratch, header, end, num_chunks)
        with tqdm(
            total=size, initial=min(done * CHUNK, size), desc="bank", unit="images", disable=not show_progress
        ) as bar:
            for chunk, values_of in enumerate(_chunks(made, ranks.gathered(done)[0], ranks), done):
                first = chunk * CHUNK
                for name, values in values_of.items():
                    file.seek(len(header) + starts[name] + first * _bytes(name, shapes) // size)
                    file.write(values.numpy().astype(NUMPY[TENSORS[name]], copy=False).tobytes())
                file.flush()  # the footer counts the chunk only once it is there
                _write_footer(file, end, chunk + 1)
                bar.update(len(values_of["labels"]))
        file.truncate(end)
    os.replace(scratch, path)


def _chunk(
    choice: Choice, labels: Tensor, *, rng: torch.Generator, dtype: str, device: torch.device
) -> dict[str, Tensor]:
    """Shifted images of some labels, all a bank holds of them, on the CPU."""
    pack = choice.pack
    generator, _ = pack.networks(device)
    indices, magnitudes = choice.draw(len(labels), rng=rng)
    latents = pack.generator.sample_latents(len(labels), rng=rng).to(device)
    shift = offsets(pack.directions, indices, magnitudes).to(device)
    size = (generator.image_size, generator.image_size)
    with running_in(dtype, device):
        images = from_unit(sampled(generator, latents, shift, labels.to(device), size=size), torch.uint8)
    return {"images": images.cpu(), "labels": labels, "indices": indices, "magnitudes": magnitudes}


def _class_names(text: str | None, num_classes: int, path: Path) -> tuple[str, ...] | None:
    if text is None:
        return None
    try:
        names = json.loads(text)
    except (ValueError, RecursionError):
        names = None
    if (
        not (isinstance(names, list) and all(isinstance(name, str) for name in names) and len({*names}) == num_classes)
        or len(names) != num_classes
    ):
        raise BankError(f"{path} has class names that are none of a latent bank's. Build it again.")
    return tuple(names)


def _scratch(path: Path) -> Path:
    return path.with_name(path.name + ".part")


def _bytes(name: str, shapes: dict[str, list[int]]) -> int:
    return int(np.prod(shapes[name])) * np.dtype(NUMPY[TENSORS[name]]).itemsize


def _header(metadata: dict[str, str], shapes: dict[str, list[int]]) -> tuple[bytes, dict[str, int]]:
    """A safetensors header, and where each tensor's bytes begin after it (largest items first, so all are aligned)."""
    entries: dict[str, object] = {"__metadata__": metadata}
    starts, end = {}, 0
    for name in sorted(TENSORS, key=lambda name: -np.dtype(NUMPY[TENSORS[name]]).itemsize):
        starts[name] = end
        end += _bytes(name, shapes)
        entries[name] = {"dtype": TENSORS[name], "shape": shapes[name], "data_offsets": [starts[name], end]}
    text = json.dumps(entries).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text, starts


def _reserve(scratch: Path, header: bytes, end: int) -> None:
    """Make the file that the bank is built in, whole at once: with all the room that it takes, or not at all.

    Raises:
        BankError: there is not room enough.
    """
    size = end + len(FOOTER) + 8
    try:
        with replacing(scratch) as half, half.open("wb") as file:
            file.write(header)
            file.flush()
            _allocate(file, size)
            _write_footer(file, end, 0)
    except OSError as error:
        free = shutil.disk_usage(scratch.parent).free
        raise BankError(
            f"there is not room for {scratch}: it takes {size:,} bytes, and {free:,} are free ({error.strerror}). Make "
            "room, ask for a smaller size, or choose another path."
        ) from error


def _allocate(file: BinaryIO, size: int) -> None:
    """Give an open file so many bytes on the disk, those behind its position zero."""
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file.fileno(), 0, size)
            return
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):  # of file systems that can't
                raise
    for start in range(file.tell(), size, 2**20):
        file.write(bytes(min(2**20, size - start)))
    file.flush()


def _write_footer(file: BinaryIO, end: int, chunks: int) -> None:
    file.seek(end)
    file.write(FOOTER + chunks.to_bytes(8, "little"))
    file.flush()


def _chunks_in(file: BinaryIO, scratch: Path, header: bytes, end: int, num_chunks: int) -> int:
    """How many chunks a half-built bank holds; ``BankError`` if it is of other arguments, or none."""
    held = os.fstat(file.fileno()).st_size
    if file.read(len(header)) != header or held not in (end, end + len(FOOTER) + 8):
        raise BankError(f"{scratch} is a half-built bank of other arguments. Delete it, or choose another path.")
    file.seek(end)
    footer = file.read()
    chunks = int.from_bytes(footer[len(FOOTER) :], "little")
    return chunks if footer.startswith(FOOTER) and chunks <= num_chunks else 0
