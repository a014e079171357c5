"""Whether arguments are possible, and whether a generator draws what was said of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any, Protocol

import torch
from torch import Tensor

from ganaug.errors import GeneratorError, listed

ROUNDING = 1e-5
"""Two images in [-1, 1] nowhere further apart are the same: a layer may round differently from row to row."""

GREY_LEVEL = 2 / 255
"""One step of an 8-bit image in [-1, 1]; rounding, which differs between batches, stays below it."""


class Checked(Protocol):
    """What the checks need of a generator; how an error is put is its own matter."""

    num_classes: int

    @property
    def device(self) -> torch.device: ...
    def __call__(self, latents: Tensor, labels: Tensor | None, /) -> Any: ...
    def sample_latents(self, count: int, *, rng: torch.Generator | None = None) -> Tensor: ...
    def sample_labels(self, count: int, *, rng: torch.Generator | None = None) -> Tensor | None: ...
    def named_buffers(self) -> Iterator[tuple[str, Tensor]]: ...
    def get_buffer(self, target: str) -> Tensor: ...
    def _call_failed(self, error: Exception, labels: Tensor | None) -> str: ...
    def _check_shape(self, images: Tensor) -> None: ...
    def _check_values(self, images: Tensor) -> None: ...


def check_integers(*arguments: tuple[str, Any, int]) -> None:
    """Raise :class:`GeneratorError` unless each ``(name, value, least)`` has an integer of at least ``least``."""
    for name, value, least in arguments:
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise GeneratorError(f"{name} should be an integer of at least {least}, got {value!r}.")


def difference(a: Tensor, b: Tensor) -> float:
    """The largest difference of two values in the same place."""
    return (a - b).abs().max().item()


@torch.no_grad()
def check(generator: Checked) -> None:
    """Draw two images and compare them with what the generator promises; see :meth:`Generator.check`."""
    with _own_rng(generator):
        _first_draw(generator)


@torch.no_grad()
def check_repeatable(generator: Checked) -> None:
    """What :func:`check` does, on the same two images, and two more for what a single call can't show.

    Raises:
        GeneratorError: as :func:`check`; or another image for the same latent, be it called again or in another
            batch; or the same image for two labels.
    """
    with _own_rng(generator):
        latents, labels, images = _first_draw(generator)
        mates, mixed = generator.sample_latents(1, rng=torch.Generator().manual_seed(1)), labels
        if labels is not None and generator.num_classes > 1:
            label, last = int(labels[0]), generator.num_classes - 1
            mates, mixed = latents[:1], labels.new_tensor([0 if label == last else last, label])
        mate, again = _trial(generator, torch.cat([mates, latents[:1]]), mixed)
        change = difference(again, images[0])
        if change >= GREY_LEVEL:
            repeated = difference(_trial(generator, latents, labels), images)
            raise GeneratorError(_why_unsteady(change, repeated))
    if mixed is not None and mixed[0] != mixed[1] and difference(mate, again) < ROUNDING:
        raise GeneratorError(
            f"the same latent with labels {int(mixed[0])} and {int(mixed[1])} gave the same image: "
            "the network ignores its labels. Check how they go in (labels, label_keyword), or pass num_classes=0 "
            "and wrap it so that it takes latents alone."
        )


def _own_rng(generator: Checked) -> AbstractContextManager[None]:
    """What is drawn from torch's global random state within leaves no trace."""
    return torch.random.fork_rng([generator.device] if generator.device.type == "cuda" else [])


def _first_draw(generator: Checked) -> tuple[Tensor, Tensor | None, Tensor]:
    """Two latents, one label for both (or None), and their images, checked."""
    rng = torch.Generator().manual_seed(0)
    latents, labels = generator.sample_latents(2, rng=rng), generator.sample_labels(1, rng=rng)
    labels = labels if labels is None else labels.expand(2)
    images = _trial(generator, latents, labels)
    if difference(images[0], images[1]) < ROUNDING:
        raise GeneratorError("two different latents gave the same image: the generator ignores its latents.")
    return latents, labels, images


def _trial(generator: Checked, latents: Tensor, labels: Tensor | None) -> Tensor:
    """Draw two images and check what one call shows."""
    before = {name: buffer.clone() for name, buffer in generator.named_buffers()}
    try:
        images: Tensor = generator(latents, labels)
    except GeneratorError:
        raise
    except Exception as error:  # a network of anyone's may raise anything
        raise GeneratorError(generator._call_failed(error, labels)) from error
    finally:
        changed = [name for name, buffer in generator.named_buffers() if not _same(buffer, before.get(name, buffer))]
        for name in changed:
            generator.get_buffer(name).data = before[name]
    if changed:
        raise GeneratorError(
            f"drawing images changed the network's buffers ({listed(changed)}), which were put back: in evaluation "
            "mode they should stay as they are. Update running statistics only if self.training."
        )
    generator._check_shape(images)
    if not torch.isfinite(images).all():
        raise GeneratorError("the generator returned NaN or Inf for latents drawn from N(0, I). Check its weights.")
    generator._check_values(images)
    return images


def _same(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors have the same values, NaN included."""
    return torch.equal(a.nan_to_num(), b.nan_to_num())


def _why_unsteady(change: float, repeated: float) -> str:
    """What is wrong when one latent gives two images: ``change`` apart in two batches, ``repeated`` in equal calls."""
    if repeated >= GREY_LEVEL:
        return (
            f"the same latents drawn twice gave images that differ by up to {repeated:.2g} (of 2), in evaluation "
            "mode: the network draws noise, or drops out, on every call. Make it a function of its latents: fix "
            'the noise (StyleGAN: noise_mode="const" or randomize_noise=False), call F.dropout with '
            "training=self.training, and register submodules, which eval() does not reach in a plain list."
        )
    return (
        f"the same latent in two batches gave images that differ by up to {change:.2g} (of 2), in evaluation mode: "
        "an image depends on the rest of its batch, as with batch norm in training mode. Use running statistics: "
        "F.batch_norm with training=self.training, track_running_stats=True, and submodules registered, for eval() "
        "does not reach them in a plain list."
    )
