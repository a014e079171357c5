"""LatentShift: augmentation along discovered directions, as a torchvision transform."""

from __future__ import annotations

import numbers
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten  # torchvision's own; torch has no public one
from torchvision import tv_tensors
from torchvision.transforms import v2

from ganaug.devices import check_dtype, own_defaults
from ganaug.draws import seeded
from ganaug.errors import TransformError
from ganaug.images import as_batch, in_channels, like
from ganaug.packs import DirectionPack
from ganaug.transforms.bank import LatentBank
from ganaug.transforms.bounds import Bounds
from ganaug.transforms.choice import Choice, Magnitude, check_probability
from ganaug.transforms.domain import DomainGate
from ganaug.transforms.inputs import checked_batch, find_images, find_latents, refuse_plain_latents
from ganaug.transforms.labels import check_labels_getter, checked_classes, find_labels, refuse_unclear_labels
from ganaug.transforms.names import ClassNames
from ganaug.transforms.sources import Inversions, check_source, choose_source, sources_of_bank, sources_of_pack

DEFAULT_PACK = "digits"
UNSUPPORTED = tuple(
    getattr(tv_tensors, name) for name in ("BoundingBoxes", "KeyPoints", "Mask", "Video") if hasattr(tv_tensors, name)
)


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
    their device; the pack's own stay where they are.

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
        return_params: return ``(output, params)`` with what was done to each image, see :meth:`make_params`; with
            ``views`` a list of such params, one for each view.
        labels_getter: how the labels are found in the input, as in ``v2.CutMix``: ``"default"`` takes the second
            item, a label-like key, or one of those that data sets use (``target``, ``y``, ``class``, ...); a callable
            gets the input and returns them; None says that there are none.
        classes: names of the data set's classes, in the order of its labels (torchvision's ``dataset.classes``). Labels
            then are places in this list, or names in it, and are drawn as the generator's classes of the same names
            (whatever their capitals), or of the same numbers where the generator's have no names.
        views: shift all images of a sample, each by draws of its own and with the same labels. Without it a second
            image is refused.
        dtype: what the networks run in: ``"float32"``, ``"bfloat16"``, or ``"auto"``, which is bfloat16 where the
            machine has instructions for it (CPUs with AVX-512 BF16 or AMX, GPUs since Ampere), else float32; inside
            the caller's own ``torch.autocast`` it is that one's type. Draws are the same in all of them, and images
            float32 in between. Of the pack ``digits`` bfloat16 moves the pixels of inverted and
            shifted images by 0.0014 of full scale on average.

    Shape:
        - images: ``(N, C, H, W)`` or ``(C, H, W)``, uint8 in [0, 255] or float in [0, 1], or a PIL image (RGB or L), or
          a list of single ones, of any sizes, with a list of labels (``{"image": [...], "label": [...]}``, as
          ``datasets.Dataset.with_transform`` gives them). C is the generator's, or 1: grey images are shifted in
          colour by a generator of colour and come out grey. Other sizes than the generator's are resampled. The output
          has the same type, mode, shape, dtype and device.
        - labels: ``(N,)`` integers in ``[0, num_classes)`` (a tensor, an array or a list), names, or ``(N,
          num_classes)`` soft or one-hot ones; an integer beside one image. Soft labels must be one-hot for ``sample``
          (place LatentShift before MixUp); ``invert`` takes the likeliest class.

    What stands in a sample and might be meant otherwise is refused: a second image, labels that can't be found beside a
    class-conditional generator, labels that mean "ignore this" (negative, 255), latents that are no :class:`Latents`.

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

    @own_defaults
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
        classes: Sequence[str] | None = None,
        views: bool = False,
        dtype: str = "auto",
    ) -> None:
        super().__init__()
        self.p = check_probability(p)
        check_source(source, blend)
        self.direction, self.magnitude, self.source, self.blend = direction, magnitude, source, blend
        self.num_ops, self.weights, self.return_params = num_ops, weights, return_params
        self.labels_getter = check_labels_getter(labels_getter)
        self.dtype = check_dtype(dtype)
        self.classes, self.views = classes, views
        self.bank = bank if bank is None or isinstance(bank, LatentBank) else LatentBank(bank)
        self.pack: DirectionPack | None = None
        self._domain_gate: DomainGate | None = None
        self._sender_rank = 0
        if self.bank is not None:
            chosen = direction is not None or weights is not None or magnitude != "safe" or num_ops != 1
            if chosen or source == "invert":
                raise TransformError(
                    "a bank holds images of directions and magnitudes chosen when it was built, so direction, weights, "
                    'magnitude, num_ops and source="invert" cannot be given with it.'
                )
            self._sources = sources_of_bank(self.bank)
            self._names = self._class_names()
            return
        if direction is None:
            raise TransformError('give a direction (a name, an index, a list, or "any") or a bank.')
        self.pack = pack if isinstance(pack, DirectionPack) else DirectionPack.from_pretrained(pack)
        if weights is not None and (isinstance(direction, (str, numbers.Integral))):
            raise TransformError(f"weights belong to a list of directions, got direction={direction!r}.")
        choice = Choice(self.pack, direction, num_ops=num_ops, weights=weights, magnitude=magnitude)
        self._sources = sources_of_pack(choice, source, blend=blend, dtype=self.dtype)
        self._domain_gate = DomainGate(self.pack) if check_domain else None
        self._names = self._class_names()

    def _class_names(self) -> ClassNames:
        source = self._sources["auto"]
        return ClassNames(self.classes, source.class_names, source.num_classes, source.title)

    def extra_repr(self) -> str:
        if self.pack is None:
            return f"bank={str(self.bank.path) if self.bank else None!r}, p={self.p}"
        shown = f"direction={self.direction!r}, pack={self.pack.name!r}, p={self.p}, magnitude={self.magnitude!r}"
        given = {"source": "auto", "blend": "add", "num_ops": 1, "weights": None, "dtype": "auto"}
        return shown + "".join(
            f", {name}={getattr(self, name)!r}" for name, usual in given.items() if getattr(self, name) != usual
        )

    @own_defaults
    def forward(self, *inputs: Any) -> Any:
        sample = inputs if len(inputs) > 1 else inputs[0]
        flat, spec = tree_flatten(sample)
        self.check_inputs(flat)
        labels = find_labels(sample, self.labels_getter)
        found = find_images(sample, flat, labels, views=self.views)
        all_latents, all_params = find_latents(flat, len(found)), []
        for (place, image), latents in zip(found, all_latents, strict=True):
            params = self._params_of(image, labels, latents, sample, flat)
            shifted = self.transform(image, params)
            if isinstance(image, list):
                flat[place : place + len(image)] = shifted
            else:
                flat[place] = shifted
            all_params.append(params)
        output = tree_unflatten(flat, spec)
        return (output, all_params if self.views else all_params[0]) if self.return_params else output

    def _params_of(self, image: Any, labels: Any, latents: Any, sample: Any, flat: list[Any]) -> dict[str, Any]:
        """Check one image, batch or list of images of a sample, and draw what is done to it."""
        usual = self._sources["auto"]
        bounds = Bounds()
        batch = checked_batch(image, usual, bounds)
        if self._domain_gate is not None and not self._domain_gate.open:
            self._domain_gate.check(batch)
        single = not isinstance(image, list) and not (isinstance(image, Tensor) and image.ndim == 4)
        inverts = self._sources.get("invert")
        if isinstance(inverts, Inversions) and latents is None and self.source != "sample" and inverts.pack.has_encoder:
            num_labels = self._names.num_labels(usual.num_classes)
            refuse_plain_latents(sample, flat, labels, len(batch), inverts, single=single, num_labels=num_labels)
        if labels is None and usual.num_classes and self.labels_getter is not None:
            refuse_unclear_labels(sample, len(batch), usual.num_classes, single=single, names=self._names)
        source = choose_source(
            self._sources,
            self.source,
            is_batch=not single,
            has_labels=labels is not None,
            has_latents=latents is not None,
        )
        classes = checked_classes(
            labels,
            len(batch),
            source.num_classes,
            needed_by=source.title if source.needs_labels else None,
            mixed=not source.needs_labels,
            names=self._names,
            bounds=bounds,
        )
        return self.make_params([batch, classes, latents], source=source.name, bounds=bounds)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_sender_rank": self._rank()}

    def _rank(self) -> int:
        """This process's rank under torch.distributed, and in a worker that it spawned; else 0."""
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            return torch.distributed.get_rank()
        if torch.utils.data.get_worker_info() is not None:
            return self._sender_rank or int(os.environ.get("RANK", "0"))
        return 0

    def _rank_generator(self) -> torch.Generator | None:
        """None, torch's global generator; beyond rank 0 one of the rank's own, seeded from the global one."""
        rank = self._rank()
        return seeded(int(torch.randint(2**62, (), device="cpu")), rank) if rank else None

    def check_inputs(self, flat_inputs: list[Any]) -> None:
        for item in flat_inputs:
            if isinstance(item, UNSUPPORTED):
                raise TransformError(
                    f"LatentShift changes whole images, so a {type(item).__name__} in the sample might no longer fit. "
                    "Apply it to images and class labels only."
                )
            if isinstance(item, Tensor) and item.is_nested:
                raise TransformError("a sample's tensors should be dense, got a nested one. Pass a list of its images.")

    def make_params(
        self, flat_inputs: list[Any], *, source: str | None = None, bounds: Bounds | None = None
    ) -> dict[str, Any]:
        """Draw what is done to each of N images, and find the latents that it takes.

        Args:
            flat_inputs: the batch of images ``(N, C, H, W)``, its classes ``(N,)`` or None, and its stored latents
                ``(N, latent_dim)`` or None; what is None may be left out at the end.
            source: ``"sample"``, ``"invert"`` or ``"bank"``; by default the transform's own (``"auto"`` samples).
            bounds: of what is used here, settled with those of latents.

        Returns:
            ``source``; on the CPU ``replace`` ``(N,)`` bool, which images are shifted, ``indices`` ``(N,)`` of their
            directions (-1 elsewhere), ``magnitudes`` ``(N,)`` (0 elsewhere), both ``(N, num_ops)`` where that is more
            than one; ``latents`` ``(N, latent_dim)`` before the shift: fresh ones, stored ones, or those that
            inversion finds (0 elsewhere), on the images' device; or from a bank ``entries`` ``(N,)``; and
            ``classes`` ``(N,)``, the generator's, as they came, or as the encoder reads them (-1 elsewhere). All but
            ``source`` are tensors.

        Raises:
            TransformError: no such source, or latents of another shape.
        """
        source = self.source if source is None else source
        if source not in self._sources:
            raise TransformError(f"source should be one of {', '.join(self._sources)}; got {source!r}.")
        images, classes, latents = [*flat_inputs, None, None][:3]
        bounds = Bounds() if bounds is None else bounds
        chosen, rng = self._sources[source], self._rank_generator()
        if latents is not None and isinstance(chosen, Inversions):
            latents = chosen.checked_latents(latents, images, bounds)
        bounds.settle()
        replace = torch.rand(len(images), generator=rng, device="cpu", dtype=torch.float32) < self.p
        params = chosen.make_params(images, classes, replace, latents=latents, rng=rng)
        where = replace if params["indices"].ndim == 1 else replace[:, None]
        for name, elsewhere in (("indices", -1), ("magnitudes", 0.0)):
            params[name] = params[name].where(where, elsewhere)
        return {"source": chosen.name, "replace": replace, **params}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """The batch, list or image, with the images that ``params`` says shifted; ``params`` stays as it is."""
        if isinstance(inpt, list):
            return self._transform_list(inpt, params)
        rows = params["replace"].nonzero().squeeze(1)
        if not len(rows):
            return inpt
        batch, source = as_batch(inpt), self._sources[params["source"]]
        here = rows.to(batch.device, non_blocking=True)
        shifted = source.images(params, rows, in_channels(batch[here], source.channels))
        shifted = in_channels(shifted, batch.shape[1])
        output = shifted if len(rows) == len(batch) else batch.index_copy(0, here, shifted)
        return like(output, inpt)

    def _transform_list(self, images: list[Any], params: dict[str, Any]) -> list[Any]:
        """Images of any sizes, those of one kind drawn at once."""
        kinds: dict[Any, list[int]] = {}
        for row in params["replace"].nonzero().squeeze(1).tolist():
            batch = as_batch(images[row])
            kinds.setdefault((batch.shape, batch.dtype, batch.device), []).append(row)
        output = list(images)
        for rows in kinds.values():
            theirs = {name: value[rows] if isinstance(value, Tensor) else value for name, value in params.items()}
            shifted = self.transform(torch.cat([as_batch(images[row]) for row in rows]), theirs)
            for row, one in zip(rows, shifted.split(1), strict=True):
                output[row] = like(one, images[row])
        return output
