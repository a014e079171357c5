"""LatentShift: augmentation along discovered directions, as a torchvision transform."""

from __future__ import annotations

import numbers
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2._utils import _parse_labels_getter

from ganaug.draws import seeded
from ganaug.errors import TransformError
from ganaug.images import as_batch, check_unit_range, from_unit, like, resized, to_unit
from ganaug.inversion import Latents
from ganaug.packs import DirectionPack
from ganaug.transforms.bank import LatentBank
from ganaug.transforms.choice import BLENDS, Choice, Magnitude, check_probability
from ganaug.transforms.functional import inverted, sampled

DEFAULT_PACK = "digits"


SOURCES = ("auto", "sample", "invert")


class LatentShift(v2.Transform):  # type: ignore[misc]  # as above
    """Shift a share of the images along discovered directions; labels are returned as they came.

    Two sources of images:

    - ``sample``: each image that is drawn, with probability ``p``, is replaced by G(z + epsilon * d, label) with a
      fresh latent z, direction d and magnitude epsilon. Needs labels and a class-conditional generator.
    - ``invert``: the pack's encoder E finds the image's own latent, and the *change* G(E(x) + epsilon * d) - G(E(x))
      is added to the image, so that detail which the generator cannot draw survives. Labels are used where they are
      given, else the class that the encoder reads.

    ``source="auto"`` samples for a batch of images with labels and a class-conditional generator, and inverts
    otherwise, or where stored latents come along, if the pack has an encoder. Random draws come from torch's global
    generator (under ``torch.distributed``, from one of each rank's own, seeded from it). Networks follow the images to
    their device; the pack's own stay where they are. Under ``torch.autocast`` they run in its type.

    Args:
        direction: a name or an index of the pack, a list of them (one is drawn for each image), or ``"any"`` (the
            pack's usable directions). Not given with ``bank``.
        pack: a :class:`~ganaug.DirectionPack`, or what ``DirectionPack.from_pretrained`` takes: a bundled name, a
            folder or a Hub id.
        p: probability with which each image is shifted.
        magnitude: ``"safe"`` (uniform over the pack's safe range of the direction), a number (always that far), or
            ``(low, high)`` (uniform), in latent units.
        source: ``"auto"``, ``"sample"`` or ``"invert"``.
        blend: of inverted images: ``"add"`` the change, or ``"replace"`` the image by the regenerated one.
        num_ops: how many different directions shift each image at once, each by its own magnitude; as RandAugment's.
            Safe ranges are measured one direction at a time, so with many the label may be lost sooner.
        weights: one number for each direction of a list, proportional to how often it is drawn (with ``num_ops``, to
            how often it is drawn next out of those not drawn yet).
        bank: a :class:`LatentBank`, or the path of one: images shifted beforehand are served instead of drawn.
        return_params: return ``(output, params)`` with what was done to each image, see :meth:`make_params`.
        labels_getter: how the labels are found in the input, as in ``v2.CutMix``: ``"default"`` takes the second
            item or a label-like key; a callable gets the input and returns them; None says that there are none.

    Shape:
        - images: ``(N, C, H, W)`` or ``(C, H, W)``, uint8 in [0, 255] or float in [0, 1], C as the generator's, or a
          PIL image (RGB or L). Other sizes than the generator's are resampled. The output has the same type, shape,
          dtype and device.
        - labels: ``(N,)`` integers in ``[0, num_classes)`` (a tensor, an array or a list), or ``(N, num_classes)`` soft
          ones; an integer beside one image. Soft labels must be one-hot for ``sample`` (place LatentShift before
          MixUp); ``invert`` takes the likeliest class.

    Raises:
        TransformError: (a ``ValueError``) arguments or inputs that don't fit the pack; the message says what came and
            what was expected.

    Example:
        >>> import torch
        >>> from ganaug import transforms
        >>> shift = transforms.LatentShift(direction="background", p=0.5)
        >>> images, labels = torch.rand(8, 3, 32, 32), torch.arange(8)
        >>> images, labels = shift(images, labels)
    """

    def __init__(
        self,
        direction: str | int | Sequence[str | int] | None = None,
        *,
        pack: str | Path | DirectionPack = DEFAULT_PACK,
        p: float = 0.5,
        magnitude: Magnitude = "safe",
        source: str = "auto",
        blend: str = "add",
        num_ops: int = 1,
        weights: Sequence[float] | None = None,
        bank: str | Path | LatentBank | None = None,
        return_params: bool = False,
        labels_getter: str | Callable[[Any], Any] | None = "default",
    ) -> None:
        super().__init__()
        self.p = check_probability(p)
        if source not in SOURCES:
            raise TransformError(f"source should be one of {', '.join(SOURCES)}; got {source!r}.")
        if blend not in BLENDS:
            raise TransformError(f"blend should be one of {', '.join(BLENDS)}; got {blend!r}.")
        self.direction, self.magnitude, self.source, self.blend = direction, magnitude, source, blend
        self.num_ops, self.weights, self.return_params = num_ops, weights, return_params
        self._has_default_getter = labels_getter == "default"
        self._labels_getter = _parse_labels_getter(labels_getter)
        self.bank = bank if bank is None or isinstance(bank, LatentBank) else LatentBank(bank)
        self.pack: DirectionPack | None = None
        if self.bank is not None:
            drawn = direction is not None or weights is not None or magnitude != "safe" or num_ops != 1
            if drawn or source == "invert":
                raise TransformError(
                    "a bank holds images of directions and magnitudes chosen when it was built, so direction, weights, "
                    'magnitude, num_ops and source="invert" cannot be given with it.'
                )
            return
        if direction is None:
            raise TransformError('give a direction (a name, an index, a list, or "any") or a bank.')
        self.pack = pack if isinstance(pack, DirectionPack) else DirectionPack.from_pretrained(pack)
        if weights is not None and (isinstance(direction, (str, numbers.Integral))):
            raise TransformError(f"weights belong to a list of directions, got direction={direction!r}.")
        if source == "invert" and not self.pack.has_encoder:
            raise TransformError(
                f'source="invert" needs a pack with an encoder, and pack {self.pack.name!r} has none. '
                'Use source="sample" on images with labels, or train one: ganaug train-encoder PACK.'
            )
        self._choice = Choice(self.pack, direction, num_ops=num_ops, weights=weights, magnitude=magnitude)
        # Loaded now, so that DataLoader workers that are forked later share these weights.
        if source == "sample" and self.pack.generator.num_classes == 0:
            raise TransformError(
                f'source="sample" needs a class-conditional generator, and the one of pack {self.pack.name!r} is '
                'unconditional and cannot keep labels. Use source="invert" with a pack that has an encoder.'
            )
        _ = self.pack.generator, self.pack.encoder

    def extra_repr(self) -> str:
        if self.pack is None:
            return f"bank={str(self.bank.path) if self.bank else None!r}, p={self.p}"
        shown = f"direction={self.direction!r}, pack={self.pack.name!r}, p={self.p}, magnitude={self.magnitude!r}"
        given = {"source": "auto", "blend": "add", "num_ops": 1, "weights": None}
        return shown + "".join(
            f", {name}={getattr(self, name)!r}" for name, usual in given.items() if getattr(self, name) != usual
        )

    def forward(self, *inputs: Any) -> Any:
        sample = inputs if len(inputs) > 1 else inputs[0]
        flat, spec = tree_flatten(sample)
        self.check_inputs(flat)
        places = [place for place, needed in enumerate(self._needs_transform_list(flat)) if needed]
        places = [place for place in places if not isinstance(flat[place], Latents)]
        if len(places) != 1:
            raise TransformError(
                f"LatentShift takes one image, or one batch of images, in a sample; found {len(places)} in a sample of "
                f"{', '.join(type(item).__name__ for item in flat) or 'nothing'}."
            )
        image = flat[places[0]]
        batch = self._checked_batch(image)
        is_batch = isinstance(image, Tensor) and image.ndim == 4
        labels = self._find_labels(sample)
        stored = [item for item in flat if isinstance(item, Latents)]
        can_sample = is_batch and labels is not None and not stored
        source = self._choose_source(can_sample=can_sample, is_batch=is_batch)
        classes = self._classes(labels, len(batch), source)
        params = self.make_params([batch, classes], source=source)
        if source == "invert" and stored:
            params["latents"] = self._checked_latents(stored[0], len(batch))
            params["stored"] = True
        flat[places[0]] = self.transform(image, params)
        output = tree_unflatten(flat, spec)
        shown = ("source", "replace", "indices", "magnitudes", "latents", "classes", "entries")
        return (output, {name: params[name] for name in shown if name in params}) if self.return_params else output

    def check_inputs(self, flat_inputs: list[Any]) -> None:
        names = ("BoundingBoxes", "KeyPoints", "Mask", "Video")
        unsupported = tuple(getattr(tv_tensors, name) for name in names if hasattr(tv_tensors, name))
        for item in flat_inputs:
            if isinstance(item, unsupported):
                raise TransformError(
                    f"LatentShift changes whole images, so a {type(item).__name__} in the sample might no longer fit. "
                    "Apply it to images and class labels only."
                )

    def make_params(self, flat_inputs: list[Any], *, source: str | None = None) -> dict[str, Any]:
        """Draw what is done to each of N images.

        Args:
            flat_inputs: the batch of images ``(N, C, H, W)``, and its classes ``(N,)`` or None.
            source: ``"sample"``, ``"invert"`` or ``"bank"``; by default the transform's own (``"auto"`` samples).

        Returns:
            ``source``; on the CPU ``replace`` ``(N,)`` bool, which images are shifted, ``indices`` ``(N,)`` of their
            directions (-1 elsewhere), ``magnitudes`` ``(N,)`` (0 elsewhere), both ``(N, num_ops)`` where that is more
            than one, and, but from a bank, ``latents``
            ``(N, latent_dim)`` before the shift: fresh ones, or those that inversion finds (0 elsewhere); from a bank
            ``entries`` ``(N,)``; and ``classes`` ``(N,)``, as they came, or as the encoder reads them (-1 elsewhere).
        """
        if source is None:
            source = "bank" if self.bank is not None else "invert" if self.source == "invert" else "sample"
        batch, classes = flat_inputs[0], flat_inputs[1] if len(flat_inputs) > 1 else None
        count, rng = len(batch), _rank_generator()
        replace = torch.rand(count, generator=rng) < self.p
        params: dict[str, Any] = {"source": source, "replace": replace, "classes": classes}
        if self.bank is not None:
            assert classes is not None
            entries = self.bank.draw(classes.cpu(), rng=rng)
            params["entries"] = entries
            indices, magnitudes = self.bank.indices[entries], self.bank.magnitudes[entries]
        else:
            assert self.pack is not None
            indices, magnitudes = self._choice.draw(count, rng=rng)
            if source == "sample":
                drawn = self.pack.generator.sample_latents(count, rng=torch.default_generator if rng is None else rng)
                params["latents"] = drawn.cpu()
            else:
                params["latents"] = torch.zeros(count, self.pack.latent_dim)
        where = replace if indices.ndim == 1 else replace[:, None]
        return {**params, "indices": indices.where(where, -1), "magnitudes": magnitudes.where(where, 0.0)}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        rows = params["replace"].nonzero().squeeze(1)
        if not len(rows):
            return inpt
        batch = as_batch(inpt)
        here = rows.to(batch.device)
        shifted = self._shifted(batch[here], params, rows)
        output = shifted if len(rows) == len(batch) else batch.index_copy(0, here, shifted)
        return like(output, inpt)

    def _shifted(self, images: Tensor, params: dict[str, Any], rows: Tensor) -> Tensor:
        """The images ``(M, C, H, W)`` of some rows, shifted; same dtype and device."""
        if self.bank is not None:
            served = self.bank.images[params["entries"][rows]].to(images.device)
            if served.shape == images.shape and images.dtype == torch.uint8:
                exact: Tensor = served
                return exact
            return from_unit(resized(to_unit(served), images.shape[-2:]), images.dtype)
        assert self.pack is not None
        here = rows.to(images.device)
        classes = None if params["classes"] is None else params["classes"].to(images.device)[here]
        offsets = self._choice.offsets(params["indices"][rows], params["magnitudes"][rows])
        if params["source"] == "sample":
            assert classes is not None
            unit = sampled(self.pack, params["latents"][rows], offsets, classes, images.shape[-2:], images.device)
        else:
            stored = params["latents"][rows] if params.get("stored") else None
            unit, found, drawn = inverted(self.pack, to_unit(images), offsets, classes, stored, blend=self.blend)
            params["latents"][rows] = found.cpu()
            if classes is None and drawn is not None:
                params["classes"] = torch.full(params["replace"].shape, -1).index_copy(0, rows, drawn.cpu())
        return from_unit(unit, images.dtype)

    # -- what came in -----------------------------------------------------------------------------------------------

    @property
    def _kind(self) -> str:
        return f"pack {self.pack.name!r}" if self.pack is not None else f"bank {self.bank and str(self.bank.path)!r}"

    @property
    def _num_classes(self) -> int:
        if self.bank is not None:
            return self.bank.num_classes
        assert self.pack is not None
        return self.pack.generator.num_classes

    def _checked_batch(self, image: Any) -> Tensor:
        source = self.bank if self.bank is not None else self.pack.generator if self.pack is not None else None
        assert source is not None
        if isinstance(image, PIL.Image.Image) and image.mode not in ("RGB", "L"):
            raise TransformError(
                f"a PIL image should have mode RGB or L, got {image.mode}. Convert it first: "
                f"image.convert({'RGB' if source.channels == 3 else 'L'!r})."
            )
        if isinstance(image, Tensor) and image.ndim not in (3, 4):
            raise TransformError(
                f"expected a batch of images of shape (N, {source.channels}, H, W) or one image of shape "
                f"({source.channels}, H, W), got a tensor of shape {tuple(image.shape)}."
            )
        batch = as_batch(image)
        if batch.shape[1] != source.channels:
            got = f"a tensor of shape {tuple(image.shape)}" if isinstance(image, Tensor) else "a PIL image"
            raise TransformError(
                f"{self._kind} draws images of {source.channels} channel(s), got {batch.shape[1]} in {got}. "
                f"Convert images first with {'v2.RGB()' if source.channels == 3 else 'v2.Grayscale()'}."
            )
        if 0 in batch.shape[2:]:
            raise TransformError(f"the images have no pixels: shape {tuple(batch.shape)}.")
        check_unit_range(batch)
        return batch

    def _find_labels(self, sample: Any) -> Any:
        """What stands where labels stand in the sample, or None."""
        if not self._has_default_getter:
            return self._labels_getter(sample)
        if isinstance(sample, (Tensor, PIL.Image.Image)):
            return None
        if isinstance(sample, (tuple, list)):
            if len(sample) < 2 or isinstance(sample[1], Latents):
                return None
            if not isinstance(sample[1], Mapping):
                return sample[1]
        try:
            return self._labels_getter(sample)
        except (ValueError, TypeError, KeyError, IndexError):
            return None

    def _choose_source(self, *, can_sample: bool, is_batch: bool) -> str:
        if self.bank is not None:
            return "bank"
        assert self.pack is not None
        if self.source != "auto":
            return self.source
        if can_sample and self._num_classes:
            return "sample"
        if self.pack.has_encoder:
            return "invert"
        if self._num_classes == 0:
            got = f"{self._kind} has an unconditional generator and no encoder, so it can't keep labels."
        elif not is_batch:
            got = f"got one image, but {self._kind} has no encoder."
        else:
            got = f"got images without labels, but {self._kind} has no encoder."
        raise TransformError(
            f"{got} LatentShift works on a batch of images with their labels and a pack whose generator is "
            "class-conditional (after the DataLoader, beside v2.CutMix), or on images alone with a pack that has an "
            "encoder (ganaug train-encoder PACK)."
        )

    def _classes(self, labels: Any, count: int, source: str) -> Tensor | None:
        """Checked classes ``(N,)`` of the labels, or None where none came or the generator takes none."""
        if labels is None and source != "invert":
            raise TransformError(
                f"no labels were found in the sample, and {self._kind} needs them to draw images of the same classes. "
                "Pass (images, labels), a dictionary with a label-like key, or labels_getter=..."
            )
        if labels is None or self._num_classes == 0:
            return None
        if isinstance(labels, numbers.Integral) and not isinstance(labels, bool):
            labels = torch.tensor(int(labels))
        elif isinstance(labels, (list, tuple, np.ndarray)):
            labels = _as_tensor(labels)
        if not isinstance(labels, Tensor):
            raise TransformError(
                f"the labels should be a tensor, an array or a list of integers, or an integer beside one image; got "
                f"{labels!r:.80}. Say where they are with labels_getter=..., or with None that there are none."
            )
        classes = labels.as_subclass(Tensor)
        if classes.ndim < (2 if classes.is_floating_point() else 1):
            classes = classes[None]
        got = f"{labels.dtype} of shape {tuple(labels.shape)}"
        wanted = (
            f"class indices of shape ({count},) from 0 to {self._num_classes - 1}, or soft labels of shape "
            f"({count}, {self._num_classes})"
        )
        if classes.is_floating_point():
            if classes.shape != (count, self._num_classes):
                raise TransformError(f"the labels should be {wanted}; got {got}.")
            if count and not ((classes >= 0).all() and ((classes.float().sum(1) - 1).abs() < 0.02).all()):
                raise TransformError(
                    f"soft labels should be probabilities, each row none negative and of sum 1; got values from "
                    f"{classes.min().item():.4g} to {classes.max().item():.4g}, sums from "
                    f"{classes.sum(1).min().item():.4g} to {classes.sum(1).max().item():.4g}."
                )
            likeliest, classes = classes.max(1)
            if source != "invert" and count and not likeliest.min() >= 0.99:
                raise TransformError(
                    f"an image of mixed labels can't be replaced by one of a single class, and row "
                    f"{int(likeliest.argmin())} is mixed. Place LatentShift before v2.CutMix and v2.MixUp, "
                    'or use source="invert".'
                )
            return classes
        if classes.shape != (count,) or classes.dtype == torch.bool:
            raise TransformError(f"the labels should be {wanted}; got {got}.")
        low, high = (int(bound) for bound in torch.aminmax(classes)) if count else (0, 0)
        if low < 0 or high >= self._num_classes:
            raise TransformError(f"the labels should be {wanted}; got values from {low} to {high}.")
        return classes.long()

    def _checked_latents(self, latents: Tensor, count: int) -> Tensor:
        assert self.pack is not None
        shape = (count, self.pack.latent_dim)
        plain = latents.as_subclass(Tensor)
        plain = plain[None] if plain.ndim == 1 else plain
        if plain.shape != shape:
            raise TransformError(
                f"stored latents should have shape {shape} for {self._kind}, got {tuple(plain.shape)}. "
                "They belong to another generator; run ganaug invert again."
            )
        return plain.cpu().clone()


def _as_tensor(labels: Any) -> Any:
    """A list or array of numbers as a tensor; anything else as it came."""
    try:
        return torch.as_tensor(np.asarray(labels))
    except (TypeError, ValueError):
        return labels


def _rank_generator() -> torch.Generator | None:
    """None, torch's global generator; under torch.distributed one of this rank's own, seeded from the global one."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        rank = torch.distributed.get_rank()
    elif torch.utils.data.get_worker_info() is not None:
        rank = int(os.environ.get("RANK", "0"))  # a spawned worker knows its rank only from its launcher
    else:
        rank = 0
    if rank == 0:
        return None
    return seeded(int(torch.randint(2**62, ())), rank)
