"""Images in a sample: which they are, whether they can be shifted, and what looks like one but stands elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from operator import is_, itemgetter
from typing import Any

import numpy as np
import PIL.Image
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from ganaug.errors import TransformError
from ganaug.images import as_batch, check_kind, in_channels, plain, resized, to_unit
from ganaug.inversion import Latents
from ganaug.transforms.bounds import Bounds, check_images
from ganaug.transforms.sources import Inversions, Source

SMALLEST = 8
"""Pixels a side from which on a plain tensor of another size than the first image is taken for a second one."""

ONE = (
    "LatentShift takes one image, or one batch of images, in a sample; found {count} in a sample of {kinds}. Shift "
    "views one by one, [shift(v) for v in views], or with views=True, all by draws of their own and with the same "
    "labels. What is no image has no place beside one: shift before it is added."
)
TO_IMAGE = {
    True: "v2.ToImage()(image) makes one, height by width by channels, a tensor",
    False: "torch.from_numpy(images).permute(0, 3, 1, 2) makes a batch (N, H, W, C) a tensor, torch.from_numpy(images) "
    "one (N, C, H, W)",
}


def find_images(sample: Any, flat: Sequence[Any], labels: Any, *, views: bool = False) -> list[tuple[int, Any]]:
    """The images of a sample, each with its place among the sample's parts: an image, a batch, or a list of images.

    By the rule of all v2 transforms a plain tensor is an image only if it is the first and there is no PIL image and no
    ``tv_tensors.Image``. Several single images are one batch if they are a list with as many labels, or a list of PIL
    images without labels.

    Raises:
        TransformError: no image, or another beside it and no ``views``; arrays that should be images.
    """
    places: list[int] = []
    others: list[tuple[int, Tensor | NDArray[Any]]] = []
    explicit = False
    for place, item in enumerate(flat):
        if isinstance(item, Tensor) and not isinstance(item, tv_tensors.TVTensor):
            if item is not labels:
                others.append((place, item))
        elif isinstance(item, (PIL.Image.Image, tv_tensors.TVTensor)) and not isinstance(item, Latents):
            places.append(place)
            explicit = explicit or isinstance(item, (PIL.Image.Image, tv_tensors.Image))
        elif isinstance(item, np.ndarray) and item is not labels:
            others.append((place, item))
    k = next((k for k, (_, item) in enumerate(others) if isinstance(item, Tensor)), None)
    if not explicit and k is not None:
        places.append(others.pop(k)[0])
    first = flat[places[0]] if places else None
    if arrays := [item for _, item in others if isinstance(item, np.ndarray) and _is_picture(item, first)]:
        raise TransformError(
            f"images should be tensors or PIL images, got an array of {arrays[0].dtype} of shape {arrays[0].shape}; "
            f"{TO_IMAGE[arrays[0].ndim < 4]}."
        )
    if others and _is_image(first):
        seconds = [place for place, item in others if isinstance(item, Tensor) and _is_second(item, first)]
        places = sorted(places + seconds)
    lists = _lists(sample, flat, set(places), labels) if _is_single(first) else []
    inside = {place + k for place, images in lists for k in range(len(images))} if lists else ()
    found = lists + [(place, flat[place]) for place in places if place not in inside]
    if not found or (len(found) > 1 and not views):
        for images in _lists_of_images(sample) if found and labels is not None else ():
            if (rows := _rows(labels)) not in (None, 1, len(images)):
                raise TransformError(f"the sample has a list of {len(images)} images and {rows} labels; one for each.")
        if not flat:
            raise TransformError("the sample is empty: no image was found in it. Leave out empty batches.")
        kinds = ", ".join(type(item).__name__ for item in flat[:12]) or "nothing"
        raise TransformError(ONE.format(count=len(places), kinds=kinds))
    return sorted(found, key=itemgetter(0))


def _is_image(item: Any) -> bool:
    return isinstance(item, PIL.Image.Image) or (isinstance(item, Tensor) and item.ndim in (3, 4))


def _is_single(item: Any) -> bool:
    """Whether this is one image and no batch."""
    return isinstance(item, PIL.Image.Image) or (
        isinstance(item, Tensor) and item.ndim == 3 and not isinstance(item, Latents)
    )


def _size(image: Any) -> tuple[int, ...]:
    return (image.height, image.width) if isinstance(image, PIL.Image.Image) else tuple(image.shape[-2:])


def _is_second(item: Tensor, first: Any) -> bool:
    """Whether a plain tensor beside the first image looks like an image, a batch, or something of an image's pixels."""
    if not v2.functional.is_pure_tensor(item) or item.ndim < 3:
        return False
    if tuple(item.shape[-2:]) == _size(first):
        return True
    if min(item.shape[-2:]) < SMALLEST:
        return False
    if item.ndim == 3 and not _is_single(first):
        return bool(item.shape[0] == first.shape[-3] != len(first))
    return item.shape[-3] in (1, 2, 3, 4)


def _is_picture(item: NDArray[Any], first: Any) -> bool:
    """Whether an array, none of the labels, looks like an image or a batch of them."""
    if not _is_image(first):
        return item.ndim >= 2
    if item.ndim == 2:
        return isinstance(first, PIL.Image.Image) and item.shape == _size(first)
    if item.ndim < 3:
        return False
    if _size(first) in (item.shape[-2:], item.shape[-3:-1]):
        return True
    of_pixels = item.dtype.kind in "uf" and item.shape[-1] in (1, 3, 4) and min(item.shape[-3:-1]) >= SMALLEST
    return of_pixels and (item.ndim > 3 or _is_single(first))


def _lists(sample: Any, flat: Sequence[Any], placed: set[int], labels: Any) -> list[tuple[int, Any]]:
    """Lists of single images that are batches, as the labels say, each with the place of its first."""
    found: list[tuple[int, Any]] = []
    for images in _lists_of_images(sample):
        of_each = labels is not None and _rows(labels) == len(images)
        pictures = isinstance(images, list) and all(isinstance(image, PIL.Image.Image) for image in images)
        if of_each or (labels is None and pictures):
            start = found[-1][0] + len(found[-1][1]) if found else 0  # an image may stand in several lists
            here = range(start, len(flat) - len(images) + 1)
            place = next((k for k in here if all(map(is_, images, flat[k : k + len(images)]))), None)
            if place is not None and not placed.isdisjoint(range(place, place + len(images))):
                found.append((place, list(images)))
    return found


def _lists_of_images(part: Any) -> Iterator[Sequence[Any]]:
    if isinstance(part, Mapping):
        for value in part.values():
            yield from _lists_of_images(value)
    elif isinstance(part, (list, tuple)):
        if part and all(map(_is_single, part)):
            yield part
        else:
            for value in part:
                if isinstance(value, (list, tuple, Mapping)):
                    yield from _lists_of_images(value)


def _rows(labels: Any) -> int | None:
    """How many labels these are, or None for one."""
    if isinstance(labels, (Tensor, np.ndarray)):
        return len(labels) if labels.ndim else None
    return len(labels) if isinstance(labels, (list, tuple)) else None


def checked_batch(image: Any, source: Source, bounds: Bounds) -> Tensor:
    """The image or batch as ``(N, C, H, W)``; a list of images in the source's size, channels and [0, 1].

    Raises:
        TransformError: no images that the source can shift; of values that are none, when ``bounds`` are settled.
    """
    if isinstance(image, Tensor):
        check_kind(image)
    if isinstance(image, list):
        batches = [to_unit(in_channels(checked_batch(one, source, bounds), source.channels)) for one in image]
        return torch.cat([resized(batch, (source.image_size, source.image_size)) for batch in batches])
    if isinstance(image, PIL.Image.Image) and image.mode not in ("RGB", "L"):
        raise TransformError(f"a PIL image should have mode RGB or L, got {image.mode}. {_converted(image, source)}")
    if isinstance(image, Tensor) and image.ndim not in (3, 4):
        raise TransformError(
            f"expected a batch of images of shape (N, {source.channels}, H, W) or one image of shape "
            f"({source.channels}, H, W), got a tensor of shape {tuple(image.shape)}."
        )
    batch = as_batch(image)
    if batch.shape[1] not in (1, source.channels):
        got = f"a tensor of shape {tuple(image.shape)}" if isinstance(image, Tensor) else "a PIL image"
        raise TransformError(
            f"{source.title} draws images of {source.channels} channel(s), got {batch.shape[1]} in {got}. "
            f"{channel_advice(batch.shape, source.channels)}"
        )
    if 0 in batch.shape[2:]:
        raise TransformError(f"the images have no pixels: shape {tuple(batch.shape)}.")
    check_images(batch, bounds)
    return batch


def _converted(image: PIL.Image.Image, source: Source) -> str:
    mode = "RGB" if source.channels == 3 else "L"
    if image.mode[0] in "IF":
        return (
            "Scale it to 0..255 first (convert alone clips): for 16 bits "
            f"PIL.Image.fromarray((numpy.asarray(image) / 257).astype('uint8')).convert({mode!r})."
        )
    return f"Convert it first: image.convert({mode!r})."


def channel_advice(shape: Sequence[int], channels: int) -> str:
    """The line that makes images of shape ``(N, C, H, W)`` ones of 1 or 3 channels."""
    if shape[1] > 4 and shape[-1] in (1, 3, 4):
        return "Their channels come last: images.movedim(-1, -3)."
    if shape[1] == 2:
        return "If the second is alpha, leave it out: images[..., :1, :, :]."
    convert = "" if channels == 3 else ", then v2.Grayscale()"
    if shape[1] == 4:
        return f"If the fourth is alpha, leave it out: images[..., :3, :, :]{convert}. v2.RGB() takes 1 or 3."
    return f"Convert images first with {'v2.RGB()' if channels == 3 else 'v2.Grayscale()'}."


def find_latents(flat: Sequence[Any], count: int) -> list[Latents | None]:
    """The stored latents of each of ``count`` images or batches of a sample; the same for all if there are one.

    Raises:
        TransformError: more of them than images, or fewer, but not one.
    """
    found: list[Latents | None] = [item for item in flat if isinstance(item, Latents)]
    if len(found) not in (0, 1, count):
        alone = all(each is not None and each.ndim == 1 for each in found)
        raise TransformError(
            f"a sample holds one Latents, or one for each image or batch ({count} here); got {len(found)}."
            + (" Those of a batch are one, (N, latent_dim): Latents(torch.stack(latents))." if alone else "")
        )
    return (found or [None]) * (count if len(found) < 2 else 1)


def refuse_plain_latents(
    sample: Any, flat: Sequence[Any], labels: Any, count: int, source: Inversions, *, single: bool, num_labels: int
) -> None:
    """``TransformError`` for a plain tensor or array that stands where stored latents would, having lost their type."""
    size = source.pack.latent_dim
    shapes = [(count, size), (size,)] if single else [(count, size)]
    lost = [
        item
        for item in flat
        if (isinstance(item, np.ndarray) and item.dtype.kind == "f" and item.shape in shapes)
        or (v2.functional.is_pure_tensor(item) and item.is_floating_point() and tuple(item.shape) in shapes)
    ]
    lost = [item for item in lost if item is not labels or not _are_labels(item, num_labels, size)]
    keyed = [
        value
        for key, value in (sample.items() if isinstance(sample, Mapping) else ())
        if isinstance(key, str) and key.lower() in ("latent", "latents") and not isinstance(value, Latents)
    ]
    if any(value is not None for value in [*lost, *keyed]):
        got = f"floats of shape {tuple(lost[0].shape)}" if lost else f"a {type(keyed[0]).__name__}"
        raise TransformError(
            f"expected stored latents of {source.title} to be Latents, got {got} where they would stand. Pass "
            "ganaug.transforms.Latents(...) of them (arithmetic and NumPy lose the type). If they are something else, "
            'take them out of the sample, or use source="sample".'
        )


def _are_labels(item: Any, num_classes: int, latent_dim: int) -> bool:
    """Whether floats of the shape of latents that stand where labels stand are soft labels."""
    if num_classes:
        return num_classes == latent_dim
    rows = plain(item) if isinstance(item, Tensor) else torch.from_numpy(item)
    return bool((rows >= 0).all() and ((rows.sum(-1) - 1).abs() < 0.02).all())
