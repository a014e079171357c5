"""Image files, shifted in batches of one size, so that what becomes of a file depends on no other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ganaug.devices import padded, running_in
from ganaug.draws import seeded
from ganaug.files import in_threads
from ganaug.folders import read_image
from ganaug.images import from_unit, resized, signed_to_unit, to_unit, unit_to_signed
from ganaug.inversion import invert
from ganaug.transforms.choice import Choice
from ganaug.transforms.functional import offsets

MOST, PIXELS = 64, 64 * 64 * 64
"""Images, and their pixels, that networks get at once."""


LARGE = 2**20
"""Values of an image, from which on it is not held but decoded again when it is written."""


class Job(NamedTuple):
    """What is to be made of an image file.

    Attributes:
        file: of the image. name: what its draws depend on, besides the seed. label: the generator's class, or None.
        files: of its shifted copies, by their numbers. stored: latent ``(latent_dim,)`` and class, if found before.
    """

    file: str
    name: Path
    label: int | None
    files: dict[int, Path]
    stored: tuple[Tensor, Tensor] | None = None


class _Read(NamedTuple):
    """A job, its image ``(C, H, W)`` uint8, nothing in place of a large one, and that as the encoder has it,
    ``(C, S, S)`` in [-1, 1]."""

    job: Job
    picture: Tensor
    seen: Tensor


class Shifted(NamedTuple):
    """A job, its image, as :class:`_Read` has it, and what the generator draws ``(C, S, S)`` float32 in [-1, 1]:
    unshifted, where the change is to be added, and each copy."""

    job: Job
    picture: Tensor
    before: Tensor | None
    copies: list[Tensor]

    def images(self) -> list[Tensor]:
        """The shifted images ``(C, H, W)`` uint8."""
        picture = self.picture
        if not picture.numel():
            picture = read_image(self.job.file, channels=len(self.copies[0]))
        size = picture.shape[-2:]
        if self.before is None:
            return [from_unit(resized(signed_to_unit(copy[None]), size), torch.uint8)[0] for copy in self.copies]
        changes = [resized((copy - self.before)[None] / 2, size)[0] for copy in self.copies]
        return [from_unit((to_unit(picture) + change).clamp(0, 1), torch.uint8) for change in changes]


class FileShifter:
    """Shifts image files as :class:`~ganaug.transforms.LatentShift` shifts images, many at once.

    Files are decoded in threads and go through the networks in batches of one size, filled up where there are too few,
    so that a copy is the same to the last bit whatever else is made in the same call (on a GPU: up to rounding).

    Args:
        choice: of directions and magnitudes.
        source: ``"sample"`` or ``"invert"``.
        blend, dtype: as for ``LatentShift``.
        seed: with a file's name and a copy's number it is all that draws depend on.
    """

    def __init__(self, choice: Choice, *, source: str, blend: str, seed: int, device: torch.device, dtype: str) -> None:
        self.choice, self.pack, self.seed, self.device, self.dtype = choice, choice.pack, seed, device, dtype
        self.inverts, self.adds = source == "invert", source == "invert" and blend == "add"
        self.size = self.pack.generator.image_size
        self.batch = max(1, min(MOST, PIXELS // self.size**2))

    def __call__(self, jobs: Iterable[Job]) -> Iterator[Shifted]:
        """What becomes of each job, in their order."""
        read = in_threads(self._read, jobs, ahead=self.batch)
        while group := list(islice(read, self.batch)):
            yield from self._shifted(group)

    def _read(self, job: Job) -> _Read:
        picture = read_image(job.file, channels=self.pack.generator.channels)
        held = picture if picture.numel() < LARGE else torch.empty(0)
        if not self.inverts or job.stored is not None:
            return _Read(job, held, torch.empty(0))
        unit = resized(to_unit(picture)[None], (self.size, self.size))[0]
        return _Read(job, held, unit_to_signed(unit))

    @torch.no_grad()
    def _shifted(self, group: list[_Read]) -> Iterator[Shifted]:
        found = self._found(group) if self.inverts else [(None, each.job.label or 0) for each in group]
        rows, labels = [], []
        for (job, *_), (latent, label) in zip(group, found, strict=True):
            shifts = [self._drawn(job.name, copy, latent) for copy in job.files]
            own = [latent, *shifts] if self.adds and latent is not None else shifts
            rows += own
            labels += [label] * len(own)
        drawn = iter(self._draw(torch.stack(rows), torch.tensor(labels)) if rows else ())
        for job, picture, _ in group:
            before = next(drawn) if self.adds else None
            yield Shifted(job, picture, before, [next(drawn) for _ in job.files])

    def _found(self, group: list[_Read]) -> list[tuple[Tensor, int]]:
        """Latent and class of each image: stored ones, and of the others those that the encoder finds."""
        found = [None if each.job.stored is None else each.job.stored for each in group]
        missing = [row for row, each in enumerate(found) if each is None]
        if missing:
            images = torch.stack([group[row].seen for row in missing])
            known = [group[row].job.label for row in missing]
            given = None if None in known else torch.tensor([label for label in known if label is not None])
            latents, labels = self._in_one_size(
                lambda images, *given: invert(self.pack, images, *given, dtype=self.dtype), images, given
            )
            for row, latent, label in zip(missing, latents, labels, strict=True):
                found[row] = (latent, label)
        return [(each[0], int(each[1])) for each in found if each is not None]

    def _drawn(self, name: Path, copy: int, latent: Tensor | None) -> Tensor:
        """The shifted latent of a copy."""
        of_copy = [256 + copy] if copy else []  # beside the bytes of the name
        seed = torch.randint(2**62, (), generator=seeded(self.seed, *name.as_posix().encode(), *of_copy))
        rng = torch.Generator().manual_seed(int(seed))
        torch.rand(1, generator=rng)  # whether LatentShift shifts the image
        indices, magnitudes = self.choice.draw(1, rng=rng)
        if latent is None:
            latent = self.pack.generator.sample_latents(1, rng=rng)[0].cpu()
        return latent + offsets(self.pack.directions, indices, magnitudes)[0]

    def _draw(self, latents: Tensor, labels: Tensor) -> Tensor:
        generator, _ = self.pack.networks(self.device)
        classes = labels if generator.num_classes else None

        def draw(latents: Tensor, *labels: Tensor) -> tuple[Tensor, None]:
            with running_in(self.dtype, self.device):
                return generator(latents, *labels).float(), None

        return self._in_one_size(draw, latents, classes)[0]

    def _in_one_size(
        self, call: Callable[..., tuple[Tensor, Tensor | None]], rows: Tensor, labels: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """What a network makes of rows, and of their labels where there are some, on the CPU."""
        made = []
        for start in range(0, len(rows), self.batch):
            columns = [rows, *([] if labels is None else [labels])]
            parts = [column[start : start + self.batch] for column in columns]
            first, second = call(*(padded(part, self.batch).to(self.device) for part in parts))
            second = torch.zeros(len(first), dtype=torch.int64) if second is None else second
            made.append((first.cpu()[: len(parts[0])], second.cpu()[: len(parts[0])]))
        firsts, seconds = zip(*made, strict=True)
        return torch.cat(firsts), torch.cat(seconds)
