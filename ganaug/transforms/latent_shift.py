"""LatentShift: augmentation along discovered directions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import PIL.Image
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._pytree import tree_flatten, tree_unflatten
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2._utils import _parse_labels_getter

from ganaug.directions import DirectionPack

DEFAULT_PACK = "digits"
SOURCES = ("auto", "sample", "invert")


class LatentShift(v2.Transform):  # type: ignore[misc]  # torchvision has no types, so its classes are Any
    """Replace a share of a batch by generated images of the same labels, shifted along a discovered direction.

    Works on batches beside ``v2.CutMix``: for each image that is drawn, with probability ``p``, a fresh latent z is
    drawn and G(z + epsilon * d, label) takes its place, where d is the direction and epsilon the magnitude. Labels
    are returned as they came. Needs a pack with a class-conditional generator.

    Random draws come from torch's global generator. The generator follows the images to their device.

    Args:
        direction: a name or an index of the pack, a list of them (drawn uniformly for each image), or ``"any"``
            (uniform over the pack's usable directions).
        pack: a :class:`~ganaug.DirectionPack`, or what ``DirectionPack.from_pretrained`` takes: a bundled name, a
            folder or a Hub id.
        p: probability with which each image is replaced.
        magnitude: ``"safe"`` (uniform over the pack's safe range of the direction), a number (always that far), or
            ``(low, high)`` (uniform), in latent units.
        source: ``"sample"`` as above; ``"auto"`` takes what the pack and the input allow.
        labels_getter: how the labels are found in the input, as in ``v2.CutMix``: ``"default"`` takes the second
            item or a label-like key; or a callable that gets the input and returns them.

    Shape:
        - images: ``(N, C, H, W)`` uint8 in [0, 255] or float in [0, 1], C as the generator's; other sizes than the
          generator's are resampled. The output has the same shape, dtype and device.
        - labels: ``(N,)`` integers in ``[0, num_classes)``.

    Raises:
        ValueError: arguments or inputs that don't fit the pack; the message says what came and what was expected.

    Example:
        >>> import torch
        >>> from ganaug import transforms
        >>> shift = transforms.LatentShift(direction="background", p=0.5)
        >>> images, labels = torch.rand(8, 3, 32, 32), torch.arange(8)
        >>> images, labels = shift(images, labels)
    """

    def __init__(
        self,
        direction: str | int | Sequence[str | int],
        *,
        pack: str | DirectionPack = DEFAULT_PACK,
        p: float = 0.5,
        magnitude: str | float | tuple[float, float] = "safe",
        source: str = "auto",
        labels_getter: str | Callable[[Any], Any] = "default",
    ) -> None:
        super().__init__()
        if not isinstance(p, (int, float)) or not 0 <= p <= 1:
            raise ValueError(f"p is a probability and should be in [0, 1], got {p!r}.")
        if source not in SOURCES:
            raise ValueError(f"source should be one of {', '.join(SOURCES)}; got {source!r}.")
        self.pack = pack if isinstance(pack, DirectionPack) else DirectionPack.from_pretrained(pack)
        if source == "invert":
            raise ValueError(
                f'source="invert" needs a pack with an encoder, and pack {self.pack.name!r} has none. '
                'Use source="sample" on batches of images and labels.'
            )
        self.direction = direction
        self.indices = _indices(self.pack, direction)
        self.magnitude = magnitude
        self._low_high = torch.tensor([_interval(self.pack, index, magnitude) for index in self.indices])
        self.p = float(p)
        self.source = source
        self._labels_getter = _parse_labels_getter(labels_getter)

    def extra_repr(self) -> str:
        return f"direction={self.direction!r}, pack={self.pack.name!r}, p={self.p}, magnitude={self.magnitude!r}"

    def forward(self, *inputs: Any) -> Any:
        sample = inputs if len(inputs) > 1 else inputs[0]
        flat, spec = tree_flatten(sample)
        needs_transform = self._needs_transform_list(flat)
        self.check_inputs(flat)
        images = next((item for item, needed in zip(flat, needs_transform, strict=True) if needed), None)
        labels = self._labels(sample, images)
        params = {**self.make_params([images]), "labels": labels}
        transformed = [
            self.transform(item, params) if needed and item is not labels else item
            for item, needed in zip(flat, needs_transform, strict=True)
        ]
        return tree_unflatten(transformed, spec)

    def check_inputs(self, flat_inputs: list[Any]) -> None:
        names = ("BoundingBoxes", "KeyPoints", "Mask", "Video")
        unsupported = tuple(getattr(tv_tensors, name) for name in names if hasattr(tv_tensors, name))
        for item in flat_inputs:
            if isinstance(item, unsupported):
                raise ValueError(
                    f"LatentShift replaces whole images, so a {type(item).__name__} in the sample would no longer fit. "
                    "Apply it to images and class labels only."
                )

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw which images are replaced, and for those the directions, magnitudes and latents.

        Returns:
            ``replace`` ``(N,)`` bool; and, M being the number of images replaced, ``indices`` ``(M,)`` of directions,
            ``magnitudes`` ``(M,)`` and ``latents`` ``(M, latent_dim)``, all on the CPU.
        """
        replace = torch.rand(len(flat_inputs[0])) < self.p
        count = int(replace.sum())
        chosen = torch.randint(len(self.indices), (count,))
        low, high = self._low_high[chosen].unbind(1)
        return {
            "replace": replace,
            "indices": torch.tensor(self.indices)[chosen],
            "magnitudes": low + (high - low) * torch.rand(count),
            "latents": torch.randn(count, self.pack.latent_dim),
        }

    @torch.no_grad()
    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        replace: Tensor = params["replace"]
        if not replace.any():
            return inpt
        generator = self.pack.generator.to(inpt.device)
        latents = params["latents"] + params["magnitudes"][:, None] * self.pack.directions[params["indices"]]
        replace = replace.to(inpt.device)
        shifted = generator(latents.to(inpt.device), params["labels"].to(inpt.device)[replace])
        shifted = ((shifted + 1) / 2).clamp(0, 1)
        if shifted.shape[-2:] != inpt.shape[-2:]:
            shifted = F.interpolate(shifted, inpt.shape[-2:], mode="bilinear", antialias=True)
        output = inpt.as_subclass(Tensor).clone()
        output[replace] = (
            (shifted * 255).round().to(torch.uint8) if inpt.dtype == torch.uint8 else shifted.to(inpt.dtype)
        )
        return tv_tensors.wrap(output, like=inpt) if isinstance(inpt, tv_tensors.TVTensor) else output

    def _labels(self, sample: Any, images: Any) -> Tensor:
        """The checked labels of a checked batch of images."""
        generator = self.pack.generator
        ways_out = (
            "LatentShift works on a batch of images with their labels and a pack whose generator is class-conditional "
            "(after the DataLoader, beside v2.CutMix), or on images alone with a pack that has an encoder."
        )
        if generator.num_classes == 0:
            raise ValueError(
                f"pack {self.pack.name!r} has an unconditional generator and no encoder, so it can't keep labels. "
                + ways_out
            )
        if isinstance(images, PIL.Image.Image) or (isinstance(images, Tensor) and images.ndim == 3):
            raise ValueError(f"got one image, but pack {self.pack.name!r} has no encoder. {ways_out}")
        if not isinstance(images, Tensor) or images.ndim != 4:
            got = f"a tensor of shape {tuple(images.shape)}" if isinstance(images, Tensor) else type(images).__name__
            raise ValueError(f"expected a batch of images of shape (N, {generator.channels}, H, W), got {got}.")
        if images.shape[1] != generator.channels:
            raise ValueError(
                f"pack {self.pack.name!r} draws images of {generator.channels} channel(s), got {images.shape[1]} in a "
                f"batch of shape {tuple(images.shape)}."
            )
        if images.dtype != torch.uint8:
            if not images.is_floating_point():
                raise ValueError(f"images should be uint8 in [0, 255] or float in [0, 1], got {images.dtype}.")
            low, high = (bound.item() for bound in torch.aminmax(images)) if images.numel() else (0.0, 0.0)
            if not (low >= 0 and high <= 1):
                raise ValueError(
                    f"float images should be in [0, 1], got values from {low:.3g} to {high:.3g}. "
                    "Place LatentShift before v2.Normalize."
                )
        if isinstance(sample, Tensor) or (isinstance(sample, (tuple, list)) and len(sample) < 2):
            raise ValueError(f"got images without labels, but pack {self.pack.name!r} has no encoder. {ways_out}")
        labels = self._labels_getter(sample)
        if not isinstance(labels, Tensor):
            raise ValueError(f"the labels should be a tensor, got {type(labels).__name__}.")
        if labels.ndim == 2 or labels.is_floating_point():
            raise ValueError(
                f"the labels should be class indices of shape ({len(images)},), got {labels.dtype} of shape "
                f"{tuple(labels.shape)}. Place LatentShift before v2.CutMix and v2.MixUp."
            )
        generator.check_labels(labels, len(images))
        return labels


def _indices(pack: DirectionPack, direction: str | int | Sequence[str | int]) -> list[int]:
    if isinstance(direction, str) and direction == "any":
        usable = pack.usable()
        if not usable:
            raise ValueError(f"no direction of pack {pack.name!r} keeps the label at any measured magnitude.")
        return usable
    if isinstance(direction, (str, int)):
        return [pack.index(direction)]
    if not isinstance(direction, Sequence) or not direction:
        raise ValueError(
            f'direction should be a name, an index, a non-empty list of them, or "any"; got {direction!r}.'
        )
    return [pack.index(one) for one in direction]


def _interval(pack: DirectionPack, index: int, magnitude: str | float | tuple[float, float]) -> tuple[float, float]:
    if isinstance(magnitude, str):
        if magnitude == "safe":
            return pack.range_of(index)
    else:
        bounds = magnitude if isinstance(magnitude, (tuple, list)) else (magnitude, magnitude)
        if len(bounds) == 2 and all(map(_is_finite, bounds)) and bounds[0] <= bounds[1]:
            return float(bounds[0]), float(bounds[1])
    raise ValueError(
        f'magnitude should be "safe", a finite number, or (low, high) with low <= high; got {magnitude!r}.'
    )


def _is_finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
