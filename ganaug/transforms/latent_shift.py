"""LatentShift: augmentation along discovered directions, as a torchvision transform."""

from __future__ import annotations

import numbers
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import PIL.Image
import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten  # torchvision's own; torch has no public one
from torchvision import tv_tensors
from torchvision.transforms import v2

from ganaug.draws import seeded
from ganaug.errors import TransformError
from ganaug.images import as_batch, check_unit_range, like
from ganaug.inversion import Latents
from ganaug.packs import DirectionPack
from ganaug.transforms.bank import LatentBank
from ganaug.transforms.choice import BLENDS, Choice, Magnitude, check_probability
from ganaug.transforms.domain import DomainGate
from ganaug.transforms.labels import check_labels_getter, checked_classes, find_labels
from ganaug.transforms.sources import SOURCES, Source, choose_source, sources_of_bank, sources_of_pack

DEFAULT_PACK = "digits"


class LatentShift(v2.Transform):  # type: ignore[misc]  # torchvision has no types, so its classes are Any
    """Shift a share of the images along discovered directions; labels are returned as they came.

    ``source`` is where the shifted images come from:

    - ``sample``: an image, with probability ``p``, is replaced by G(z + epsilon * d, label) with a fresh latent z,
      direction d and magnitude epsilon. Needs labels and a class-conditional generator.
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
        blend: of inverted images: ``"add"`` the change, or ``"replace"`` the image by its shifted reconstruction.
        num_ops: how many different directions shift each image at once, each by its own magnitude; as RandAugment's.
            Safe ranges are measured one direction at a time, so with many the label may be lost sooner.
        weights: one number for each direction of a list, proportional to how often it is drawn (with ``num_ops``, to
            how often it is drawn next out of those not drawn yet).
        bank: a :class:`LatentBank`, or the path of one: images shifted beforehand are served from it.
        check_domain: compare the first 64 images with those that the pack is for, and refuse images of another kind;
            packs without an encoder do not know their kind.
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
        >>> generator, labels = shift.pack.generator, torch.arange(8)
        >>> images = (generator(generator.sample_latents(8), labels) + 1) / 2  # stand-ins: digits on photographs
        >>> shifted, labels = shift(images, labels)
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
        check_domain: bool = True,
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
        self.labels_getter = check_labels_getter(labels_getter)
        self.bank = bank if bank is None or isinstance(bank, LatentBank) else LatentBank(bank)
        self.pack: DirectionPack | None = None
        self._domain_gate: DomainGate | None = None
        if self.bank is not None:
            chosen = direction is not None or weights is not None or magnitude != "safe" or num_ops != 1
            if chosen or source == "invert":
                raise TransformError(
                    "a bank holds images of directions and magnitudes chosen when it was built, so direction, weights, "
                    'magnitude, num_ops and source="invert" cannot be given with it.'
                )
            self._sources = sources_of_bank(self.bank)
            return
        if direction is None:
            raise TransformError('give a direction (a name, an index, a list, or "any") or a bank.')
        self.pack = pack if isinstance(pack, DirectionPack) else DirectionPack.from_pretrained(pack)
        if weights is not None and (isinstance(direction, (str, numbers.Integral))):
            raise TransformError(f"weights belong to a list of directions, got direction={direction!r}.")
        choice = Choice(self.pack, direction, num_ops=num_ops, weights=weights, magnitude=magnitude)
        self._sources = sources_of_pack(choice, source, blend=blend)
        self._domain_gate = DomainGate(self.pack) if check_domain else None

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
        place = _place_of_image(flat)
        image = flat[place]
        batch = _checked_batch(image, self._sources["auto"])
        if self._domain_gate is not None and not self._domain_gate.open:
            self._domain_gate.check(batch)
        labels = find_labels(sample, self.labels_getter)
        latents = next((item for item in flat if isinstance(item, Latents)), None)
        source = choose_source(
            self._sources,
            self.source,
            is_batch=isinstance(image, Tensor) and image.ndim == 4,
            has_labels=labels is not None,
            has_latents=latents is not None,
        )
        classes = checked_classes(
            labels,
            len(batch),
            source.num_classes,
            needed_by=source.title if source.needs_labels else None,
            mixed=not source.needs_labels,
        )
        params = self.make_params([batch, classes, latents], source=source.name)
        flat[place] = self.transform(image, params)
        output = tree_unflatten(flat, spec)
        return (output, params) if self.return_params else output

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
        """Draw what is done to each of N images, and find the latents that it takes.

        Args:
            flat_inputs: the batch of images ``(N, C, H, W)``, its classes ``(N,)`` or None, and its stored latents
                ``(N, latent_dim)`` or None; what is None may be left out at the end.
            source: ``"sample"``, ``"invert"`` or ``"bank"``; by default the transform's own (``"auto"`` samples).

        Returns:
            ``source``; on the CPU ``replace`` ``(N,)`` bool, which images are shifted, ``indices`` ``(N,)`` of their
            directions (-1 elsewhere), ``magnitudes`` ``(N,)`` (0 elsewhere), both ``(N, num_ops)`` where that is more
            than one; ``latents`` ``(N, latent_dim)`` before the shift: fresh ones, stored ones, or those that inversion
            finds (0 elsewhere), or from a bank ``entries`` ``(N,)``; and ``classes`` ``(N,)``, as they came, or as the
            encoder reads them (-1 elsewhere).

        Raises:
            TransformError: no such source, or latents of another shape.
        """
        source = self.source if source is None else source
        if source not in self._sources:
            raise TransformError(f"source should be one of {', '.join(self._sources)}; got {source!r}.")
        images, classes, latents = [*flat_inputs, None, None][:3]
        chosen, rng = self._sources[source], _rank_generator()
        replace = torch.rand(len(images), generator=rng) < self.p
        params = chosen.make_params(images, classes, replace, latents=latents, rng=rng)
        where = replace if params["indices"].ndim == 1 else replace[:, None]
        for name, elsewhere in (("indices", -1), ("magnitudes", 0.0)):
            params[name] = params[name].where(where, elsewhere)
        return {"source": chosen.name, "replace": replace, **params}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """The batch, or the one image, with the images that ``params`` says shifted; ``params`` stays as it is."""
        rows = params["replace"].nonzero().squeeze(1)
        if not len(rows):
            return inpt
        batch = as_batch(inpt)
        here = rows.to(batch.device)
        shifted = self._sources[params["source"]].images(params, rows, batch[here])
        output = shifted if len(rows) == len(batch) else batch.index_copy(0, here, shifted)
        return like(output, inpt)


def _place_of_image(flat: Sequence[Any]) -> int:
    """Where the image, or the batch of images, is among the parts of a sample, by the rule of all v2 transforms: a
    plain tensor is one only if it is the first and there is no PIL image and no ``tv_tensors.Image``."""
    places = [
        place
        for place, item in enumerate(flat)
        if isinstance(item, (PIL.Image.Image, tv_tensors.TVTensor)) and not isinstance(item, Latents)
    ]
    if not any(isinstance(flat[place], (PIL.Image.Image, tv_tensors.Image)) for place in places):
        places += [place for place, item in enumerate(flat) if v2.functional.is_pure_tensor(item)][:1]
    if len(places) != 1:
        raise TransformError(
            f"LatentShift takes one image, or one batch of images, in a sample; found {len(places)} in a sample of "
            f"{', '.join(type(item).__name__ for item in flat) or 'nothing'}."
        )
    return places[0]


def _checked_batch(image: Any, source: Source) -> Tensor:
    """The image or batch as ``(N, C, H, W)``, if the source has images of its channels."""
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
            f"{source.title} draws images of {source.channels} channel(s), got {batch.shape[1]} in {got}. "
            f"Convert images first with {'v2.RGB()' if source.channels == 3 else 'v2.Grayscale()'}."
        )
    if 0 in batch.shape[2:]:
        raise TransformError(f"the images have no pixels: shape {tuple(batch.shape)}.")
    check_unit_range(batch)
    return batch


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
