"""Images of files as one sequence: held in memory where they fit, else decoded whenever they are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor
from tqdm.auto import tqdm

from ganaug.files import in_threads
from ganaug.folders import PATIENCE, fitted, open_image

HELD = 768 * 2**20
"""Bytes of pixels up to which a folder's images are held in memory."""


class StreamedImages:
    """Images of files that are decoded whenever they are asked for; to be indexed as the tensor that they would be.

    Args:
        files: paths, one for each image.
        size, channels: of the images.
        crop: keep the middle of the shorter side; else both sides are resized, see :func:`ganaug.folders.fitted`.

    Shape:
        - ``images[index]`` with ``(M,)`` int64, a slice or an int: ``(M, channels, size, size)`` uint8, or one less
    """

    dtype = torch.uint8
    ndim = 4

    def __init__(self, files: Sequence[str | Path], *, size: int, channels: int, crop: bool = False) -> None:
        self.files = [str(file) for file in files]
        self.shape = torch.Size((len(self.files), channels, size, size))
        self.crop = crop

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: Tensor | slice | int) -> Tensor:
        if isinstance(index, int):
            return self._read(self.files[index])
        chosen = self.files[index] if isinstance(index, slice) else [self.files[each] for each in index.tolist()]
        images = torch.empty(len(chosen), *self.shape[1:], dtype=torch.uint8)
        for image, pixels in zip(images, in_threads(self._read, chosen), strict=True):
            image[:] = pixels
        return images

    def split(self, batch_size: int) -> Iterator[Tensor]:
        """All images, in batches."""
        for start in range(0, len(self), batch_size):
            yield self[start : start + batch_size]

    def is_floating_point(self) -> bool:
        return False

    def _read(self, file: str) -> Tensor:
        channels, size = self.shape[1:3]
        return fitted(open_image(file, channels=channels), size, crop=self.crop)


Images: TypeAlias = Tensor | StreamedImages
"""``(N, C, H, W)`` uint8, in memory or streamed from disk: both have a length and a shape, and take a tensor of
indices."""


def images_of(files: Sequence[str | Path], *, size: int, channels: int, crop: bool = False) -> Images:
    """The images of files: a tensor where they fit into :data:`HELD` bytes, else :class:`StreamedImages`.

    Raises:
        DataError: a file is damaged or missing.
    """
    streamed = StreamedImages(files, size=size, channels=channels, crop=crop)
    if streamed.shape.numel() > HELD:
        return streamed
    images = torch.empty(streamed.shape, dtype=torch.uint8)
    read = in_threads(streamed._read, streamed.files)
    for image, pixels in zip(images, tqdm(read, "reading", len(images), leave=False, delay=PATIENCE), strict=True):
        image[:] = pixels
    return images
