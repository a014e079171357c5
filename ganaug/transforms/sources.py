"""Where LatentShift's images come from: fresh samples, inversions of the images themselves, or a bank.

Each source draws and finds all it needs in ``make_params`` and makes images of that in ``images``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ganaug.devices import running_in, sent
from ganaug.errors import TransformError
from ganaug.images import from_unit, in_channels, plain, resized, to_unit
from ganaug.inversion import invert_resized
from ganaug.transforms.bank import LatentBank
from ganaug.transforms.bounds import Bounds
from ganaug.transforms.choice import BLENDS, Choice
from ganaug.transforms.functional import inverted, offsets, sampled
from ganaug.transforms.names import Names

SOURCES = ("auto", "sample", "invert")


def unknown(count: int) -> Tensor:
    """Classes ``(count,)`` that nobody knows."""
    return torch.full((count,), -1, device="cpu", dtype=torch.int64)


def picked(values: Tensor, rows: Tensor, device: torch.device) -> Tensor:
    """Some rows of values, on a device."""
    return sent(values[sent(rows, values.device)], device)


def _refuse_latents(low: float, high: float) -> None:
    raise TransformError("stored latents should be finite numbers, got NaN or infinities.")


class Samples:
    """Fresh images of the same classes, G(z + epsilon * d, label) with a fresh latent z for each."""

    name, needs_labels = "sample", True

    def __init__(self, choice: Choice, *, dtype: str) -> None:
        self.choice, self.pack, self.dtype = choice, choice.pack, dtype
        self.title = f"pack {self.pack.name!r}"
        self.channels, self.num_classes = self.pack.generator.channels, self.pack.generator.num_classes
        self.image_size = self.pack.generator.image_size
        self.class_names: Names = self.pack.generator.class_names

    def make_params(
        self,
        images: Tensor,
        classes: Tensor | None,
        replace: Tensor,
        *,
        latents: Tensor | None = None,
        rng: torch.Generator | None = None,
    ) -> dict[str, Any]:
        """``indices`` and ``magnitudes`` as :meth:`Choice.draw` gives them, ``latents`` ``(N, latent_dim)``, and
        ``classes`` ``(N,)`` as they came, -1 where none did."""
        count = len(images)
        generator, _ = self.pack.networks(images.device)
        indices, magnitudes = self.choice.draw(count, rng=rng)
        fresh = generator.sample_latents(count, rng=torch.default_generator if rng is None else rng)
        classes = unknown(count) if classes is None else classes
        return {"indices": indices, "magnitudes": magnitudes, "latents": fresh, "classes": classes}

    def images(self, params: Mapping[str, Any], rows: Tensor, images: Tensor) -> Tensor:
        """The images ``(M, C, H, W)`` of the rows ``(M,)`` that replace those given; same size, dtype and device."""
        device = images.device
        classes = picked(params["classes"], rows, device)
        if classes.is_cpu and (classes < 0).any():
            raise TransformError("fresh images need classes, and the params hold none: make_params([images, classes]).")
        generator, _ = self.pack.networks(device)
        shift = offsets(self.pack.directions, params["indices"][rows], params["magnitudes"][rows])
        latents = picked(params["latents"], rows, device)
        with running_in(self.dtype, device):
            drawn = sampled(generator, latents, sent(shift, device), classes, size=images.shape[-2:])
        return from_unit(drawn, images.dtype)


class Inversions:
    """The images themselves, changed as G(z + epsilon * d) - G(z) changes, with the latents z that the encoder finds.

    Args:
        blend: ``"add"`` the change, or ``"replace"`` the image by the shifted reconstruction.
    """

    name, needs_labels = "invert", False

    def __init__(self, choice: Choice, *, blend: str, dtype: str) -> None:
        self.choice, self.pack, self.blend, self.dtype = choice, choice.pack, blend, dtype
        self.title = f"pack {self.pack.name!r}"
        self.channels, self.num_classes = self.pack.generator.channels, self.pack.generator.num_classes
        self.image_size = self.pack.generator.image_size
        self.class_names: Names = self.pack.generator.class_names

    def make_params(
        self,
        images: Tensor,
        classes: Tensor | None,
        replace: Tensor,
        *,
        latents: Tensor | None = None,
        rng: torch.Generator | None = None,
    ) -> dict[str, Any]:
        """As :meth:`Samples.make_params`, but ``latents`` are the stored ones where they are given, else those that
        the encoder finds of the images to be shifted (0 elsewhere), and so are ``classes`` (-1 elsewhere)."""
        count, rows, device = len(images), replace.nonzero().squeeze(1), images.device
        self.pack.networks(device)  # refused before anything is moved
        indices, magnitudes = self.choice.draw(count, rng=rng)
        known = latents
        if known is None:
            known = torch.zeros(count, self.pack.latent_dim, device=device, dtype=torch.float32)
        if len(rows) and (latents is None or (classes is None and self.num_classes)):
            here = sent(rows, device)
            given = None if classes is None else sent(classes, device)[here]
            found, read = invert_resized(self.pack, in_channels(images[here], self.channels), given, dtype=self.dtype)
            if latents is None:
                known = known.index_copy(0, here, found)
            if classes is None and read is not None:
                classes = sent(unknown(count), device).index_copy(0, here, read)
        classes = unknown(count) if classes is None else classes
        return {"indices": indices, "magnitudes": magnitudes, "latents": known, "classes": classes}

    def images(self, params: Mapping[str, Any], rows: Tensor, images: Tensor) -> Tensor:
        """As :meth:`Samples.images`, of the images given."""
        device = images.device
        generator, _ = self.pack.networks(device)
        shift = offsets(self.pack.directions, params["indices"][rows], params["magnitudes"][rows])
        labels = picked(params["classes"], rows, device) if self.num_classes else None
        latents = picked(params["latents"], rows, device).float()
        with running_in(self.dtype, device):
            shifted = inverted(generator, to_unit(images), latents, sent(shift, device), labels, blend=self.blend)
        return from_unit(shifted, images.dtype)

    def checked_latents(self, latents: Tensor, images: Tensor, bounds: Bounds) -> Tensor:
        """Stored latents as ``(N, latent_dim)`` float32 where the images are; ``TransformError`` for what are none, of
        values that are none when ``bounds`` are settled."""
        shape = (len(images), self.pack.latent_dim)
        rows = plain(latents[None] if latents.ndim == 1 else latents)
        if rows.shape != shape:
            why = "There should be one for each image."
            if rows.ndim != 2 or rows.shape[1] != self.pack.latent_dim:
                why = "They belong to another generator, or were turned round; run ganaug invert again."
            raise TransformError(
                f"stored latents should have shape {shape} for {self.title}, got {tuple(rows.shape)}. {why}"
            )
        if rows.is_meta:
            raise TransformError("stored latents should be finite numbers, got latents on meta.")
        most = torch.finfo(torch.float32).max
        bounds.check(rows, -most, most, _refuse_latents)
        return rows.to(images.device, torch.float32, non_blocking=not images.is_cpu, copy=True)


class Bank:
    """Images of the same classes out of a :class:`LatentBank`, shifted when it was built."""

    name, needs_labels = "bank", True

    def __init__(self, bank: LatentBank) -> None:
        self.bank = bank
        self.title = f"bank {str(bank.path)!r}"
        self.channels, self.num_classes = bank.channels, bank.num_classes
        self.image_size = bank.images.shape[-1]
        self.class_names: Names = bank.class_names

    def make_params(
        self,
        images: Tensor,
        classes: Tensor | None,
        replace: Tensor,
        *,
        latents: Tensor | None = None,
        rng: torch.Generator | None = None,
    ) -> dict[str, Any]:
        """``entries`` ``(N,)`` of the bank, one of each image's class, with their ``indices`` and ``magnitudes``."""
        if classes is None:
            raise TransformError(f"{self.title} serves images by their labels: make_params([images, classes]).")
        entries = self.bank.draw(classes.cpu(), rng=rng)
        indices, magnitudes = self.bank.indices[entries], self.bank.magnitudes[entries]
        return {"indices": indices, "magnitudes": magnitudes, "entries": entries, "classes": classes}

    def images(self, params: Mapping[str, Any], rows: Tensor, images: Tensor) -> Tensor:
        """As :meth:`Samples.images`, out of the bank."""
        served = sent(self.bank.images[params["entries"][rows]], images.device)
        if served.shape == images.shape and images.dtype == torch.uint8:
            return served
        return from_unit(resized(to_unit(served), images.shape[-2:]), images.dtype)


Source = Samples | Inversions | Bank


def check_source(source: str, blend: str) -> None:
    """``TransformError`` unless there are such a source and such a blend."""
    if source not in SOURCES:
        raise TransformError(f"source should be one of {', '.join(SOURCES)}; got {source!r}.")
    if blend not in BLENDS:
        raise TransformError(f"blend should be one of {', '.join(BLENDS)}; got {blend!r}.")


def sources_of_bank(bank: LatentBank) -> dict[str, Source]:
    """The only source there is, under every name it may be asked for by."""
    source = Bank(bank)
    return {"auto": source, "sample": source, "bank": source}


def sources_of_pack(choice: Choice, wanted: str, *, blend: str, dtype: str) -> dict[str, Source]:
    """The two sources of a pack; ``"auto"``, where nothing else is known, samples.

    Raises:
        TransformError: the pack has not what the wanted source needs.
    """
    pack = choice.pack
    if wanted == "invert" and not pack.has_encoder:
        raise TransformError(
            f'source="invert" needs a pack with an encoder, and pack {pack.name!r} has none. '
            f'Use source="sample" on images with labels, or train one: ganaug train-encoder {pack.name}.'
        )
    # Loaded now, so that DataLoader workers that are forked later share these weights.
    pack.load()
    if wanted == "sample" and pack.generator.num_classes == 0:
        raise TransformError(
            f'source="sample" needs a class-conditional generator, and the one of pack {pack.name!r} is '
            'unconditional and cannot keep labels. Use source="invert" with a pack that has an encoder.'
        )
    samples = Samples(choice, dtype=dtype)
    return {"auto": samples, "sample": samples, "invert": Inversions(choice, blend=blend, dtype=dtype)}


def choose_source(
    sources: Mapping[str, Source], wanted: str, *, is_batch: bool, has_labels: bool, has_latents: bool
) -> Source:
    """The source for what came; ``"auto"`` samples where it can and inverts elsewhere.

    Raises:
        TransformError: neither is possible; the message names both ways out.
    """
    source = sources[wanted]
    if wanted != "auto" or isinstance(source, Bank):
        return source
    if is_batch and has_labels and not has_latents and source.num_classes:
        return source
    if source.pack.has_encoder:
        return sources["invert"]
    if source.num_classes == 0:
        got = f"{source.title} has an unconditional generator and no encoder, so it can't keep labels."
    elif not is_batch:
        got = f"got one image, but {source.title} has no encoder."
    else:
        got = f"got images without labels, but {source.title} has no encoder."
    raise TransformError(
        f"{got} LatentShift works on a batch of images with their labels and a pack whose generator is "
        "class-conditional (after the DataLoader, beside v2.CutMix), or on images alone with a pack that has an "
        f"encoder (ganaug train-encoder {source.pack.name})."
    )
