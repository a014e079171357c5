"""RandomLatentShift: LatentShift for kornia pipelines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from kornia.augmentation import IntensityAugmentationBase2D
from torch import Tensor

from ganaug.devices import check_dtype, own_defaults, running_in
from ganaug.errors import TransformError
from ganaug.images import check_kind, from_unit, in_channels, to_unit
from ganaug.inversion import invert_resized
from ganaug.packs import DirectionPack
from ganaug.transforms.bounds import Bounds, check_images
from ganaug.transforms.choice import BLENDS, Choice, Magnitude, check_probability
from ganaug.transforms.domain import DomainGate
from ganaug.transforms.functional import inverted, offsets
from ganaug.transforms.inputs import channel_advice
from ganaug.transforms.latent_shift import DEFAULT_PACK


class RandomLatentShift(IntensityAugmentationBase2D):
    """Shift images along discovered directions: inversion, as in :class:`LatentShift` with ``source="invert"``.

    kornia hands over images alone, so a class-conditional generator draws the class that the encoder reads.

    Args:
        direction: a name or an index of the pack, a list of them, or ``"any"``.
        pack: a :class:`~ganaug.DirectionPack` with an encoder, or what ``DirectionPack.from_pretrained`` takes.
        magnitude: ``"safe"``, a number, or ``(low, high)``, in latent units.
        blend: ``"add"`` the change to the image (gradients reach the input), or ``"replace"`` it (they do not).
        num_ops: how many different directions shift each image at once.
        weights: one number for each direction of a list.
        check_domain, dtype: as for :class:`LatentShift`.
        same_on_batch: one direction and magnitude for the whole batch.
        p: probability with which each image is shifted.
        keepdim: keep the input's shape, ``(C, H, W)`` included.

    Shape:
        - input: ``(C, H, W)`` or ``(B, C, H, W)`` float in [0, 1]; C is the generator's, or 1: grey images are shifted
          in colour by a generator of colour, and come out grey
        - output: ``(B, C, H, W)``

    Raises:
        TransformError: (a ``ValueError``) arguments or images that don't fit the pack; masks, boxes or keypoints, which
            might no longer fit.

    Example:
        >>> import torch
        >>> from ganaug import transforms
        >>> shift = transforms.RandomLatentShift(direction="background", p=1.0)
        >>> generator = shift.pack.generator
        >>> images = (generator(generator.sample_latents(4), torch.arange(4)) + 1) / 2  # digits on photographs
        >>> params = shift.forward_parameters(images.shape)
        >>> bool((shift(images, params=params) == shift(images, params=params)).all())
        True
    """

    @own_defaults
    def __init__(
        self,
        direction: str | int | Sequence[str | int],
        *,
        pack: str | Path | DirectionPack = DEFAULT_PACK,
        magnitude: Magnitude = "safe",
        blend: str = "add",
        num_ops: int = 1,
        weights: Sequence[float] | None = None,
        check_domain: bool = True,
        same_on_batch: bool = False,
        p: float = 0.5,
        keepdim: bool = False,
        dtype: str = "auto",
    ) -> None:
        super().__init__(p=check_probability(p), same_on_batch=same_on_batch, keepdim=keepdim)
        if blend not in BLENDS:
            raise TransformError(f"blend should be one of {', '.join(BLENDS)}; got {blend!r}.")
        self._run_in = check_dtype(dtype)
        self.pack = pack if isinstance(pack, DirectionPack) else DirectionPack.from_pretrained(pack)
        if not self.pack.has_encoder:
            raise TransformError(
                f"RandomLatentShift inverts images, and pack {self.pack.name!r} has no encoder. Train one "
                f"(ganaug train-encoder {self.pack.name}), or use LatentShift on images with labels."
            )
        self.pack.load()  # loaded now, before workers are forked
        self._choice = Choice(self.pack, direction, num_ops=num_ops, weights=weights, magnitude=magnitude)
        self._domain_gate = DomainGate(self.pack) if check_domain else None
        self.flags = {"direction": direction, "magnitude": magnitude, "blend": blend, "num_ops": num_ops}

    @own_defaults
    def forward(self, input: Tensor, params: dict[str, Tensor] | None = None, **options: Any) -> Tensor:
        if not isinstance(input, Tensor):
            raise TransformError(f"images should be a tensor, got a {type(input).__name__}.")
        check_kind(input)
        if input.ndim not in (3, 4) or 0 in input.shape[-2:] or input.dtype == torch.uint8:
            raise TransformError(
                f"images should be float in [0, 1] of shape (C, H, W) or (B, C, H, W), got {input.dtype} of shape "
                f"{tuple(input.shape)}."
            )
        if input.dtype == torch.bfloat16:  # of which kornia 0.7 takes none; float32 holds all of its values
            shifted: Tensor = super().forward(input.float(), params=params, **options)
            return shifted.to(torch.bfloat16)
        shifted = super().forward(input, params=params, **options)
        return shifted

    def generate_parameters(self, batch_shape: tuple[int, ...]) -> dict[str, Tensor]:
        indices, magnitudes = self._choice.draw(1 if self.same_on_batch else batch_shape[0])
        shape = (batch_shape[0], *indices.shape[1:])
        return {"indices": indices.expand(shape).clone(), "magnitudes": magnitudes.expand(shape).clone()}

    @own_defaults
    def apply_transform(
        self, input: Tensor, params: dict[str, Tensor], flags: dict[str, Any], transform: Tensor | None = None
    ) -> Tensor:
        generator = self.pack.generator
        if input.shape[1] not in (1, generator.channels):
            raise TransformError(
                f"pack {self.pack.name!r} draws images of {generator.channels} channel(s), got {input.shape[1]} in a "
                f"batch of shape {tuple(input.shape)}. {channel_advice(input.shape, generator.channels)}"
            )
        bounds = Bounds()
        check_images(input, bounds)
        bounds.settle()
        if self._domain_gate is not None and not self._domain_gate.open:
            self._domain_gate.check(input)
        # kornia 0.9 hands over the whole batch; before it, only the images to shift, and their parameters.
        gate = params["batch_prob"].cpu() > 0.5
        rows = gate.nonzero().squeeze(1) if len(gate) == len(input) else torch.arange(len(input), device="cpu")
        if not len(rows):
            return input
        here = rows.to(input.device)
        images = in_channels(to_unit(input[here]), generator.channels)
        latents, labels = invert_resized(self.pack, images, dtype=self._run_in)
        shift = offsets(self.pack.directions, params["indices"].cpu()[rows], params["magnitudes"].cpu()[rows])
        generator, _ = self.pack.networks(input.device)
        with running_in(self._run_in, input.device):
            shifted = inverted(generator, images, latents, shift.to(input.device), labels, blend=flags["blend"])
        return input.index_copy(0, here, from_unit(in_channels(shifted, input.shape[1]), input.dtype))

    def _refuse(self, *args: Any, **kwargs: Any) -> Any:
        raise TransformError(
            "RandomLatentShift changes whole images, so masks, boxes and keypoints might no longer fit. "
            "Apply it to images and class labels only."
        )

    apply_transform_mask = apply_transform_box = apply_transform_keypoint = _refuse
