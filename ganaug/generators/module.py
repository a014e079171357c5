"""Any network of the user's own, made a generator."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganaug.errors import GeneratorError
from ganaug.generators.generator import Generator, LabelForm, LatentShape

USUAL_RANGES = ((-1.0, 1.0), (0.0, 1.0), (0.0, 255.0))


class ModuleGenerator(Generator):
    """A network of the user's own; made by :meth:`Generator.from_module`, which explains the arguments and checks them.

    Raises:
        GeneratorError: an impossible argument, or arguments that contradict each other.
    """

    architecture = "module"
    rebuildable = False

    def __init__(
        self,
        module: nn.Module,
        *,
        latent_dim: int,
        image_size: int,
        channels: int,
        num_classes: int = 0,
        latent_shape: LatentShape = "vector",
        value_range: tuple[float, float] = (-1.0, 1.0),
        labels: LabelForm = "index",
        embedding: Callable[[Tensor], Any] | None = None,
        label_keyword: str | None = None,
    ) -> None:
        super().__init__(latent_dim=latent_dim, image_size=image_size, channels=channels, num_classes=num_classes)
        if not isinstance(module, nn.Module):
            raise GeneratorError(
                f"module should be an nn.Module, got {type(module).__name__}. Wrap what draws in one: its forward "
                "takes the latents, and its attributes hold the weights."
            )
        for name, value, known in (
            ("latent_shape", latent_shape, get_args(LatentShape)),
            ("labels", labels, get_args(LabelForm)),
        ):
            if value not in known:
                raise GeneratorError(f"{name} should be {' or '.join(map(repr, known))}, got {value!r}.")
        if num_classes == 0 and (labels != "index" or embedding is not None or label_keyword is not None):
            raise GeneratorError(
                "labels, embedding and label_keyword say how labels go in, but num_classes is 0, which means that none "
                "do. Pass num_classes as well, or none of them."
            )
        if (labels == "embedding") != callable(embedding):
            raise GeneratorError(
                'labels="embedding" and embedding=... go together: a module or function from int64 labels of shape '
                f"(N,) to what the network takes. Got labels={labels!r} and embedding={embedding!r:.60}."
            )
        if label_keyword is not None and not (isinstance(label_keyword, str) and label_keyword.isidentifier()):
            raise GeneratorError(
                f"label_keyword should be the name of an argument of the network's forward, got {label_keyword!r}."
            )
        self.module = module
        self.latent_shape = latent_shape
        self.value_range = _checked_value_range(value_range)
        self.labels = labels
        self.embedding = embedding
        self.label_keyword = label_keyword

    def synthesize(self, latents: Tensor, labels: Tensor | None) -> Tensor:
        latents = latents.clone()  # some networks normalise theirs in place
        args: list[Any] = [latents[:, :, None, None] if self.latent_shape == "map" else latents]
        keywords: dict[str, Any] = {}
        if labels is not None:
            given = labels
            if self.embedding is not None:
                given = self.embedding(labels)
            elif self.labels == "one_hot":
                given = F.one_hot(labels, self.num_classes).to(latents.dtype)
            if self.label_keyword is None:
                args.append(given)
            else:
                keywords[self.label_keyword] = given
        images = self.module(*args, **keywords)
        if not isinstance(images, Tensor):
            raise GeneratorError(f"the network returned {_explained(images)}")
        if not images.is_floating_point():
            advice = (
                "return them with .float() and pass value_range=(0, 255)"
                if images.dtype == torch.uint8
                else "return their real part"
                if images.is_complex()
                else "return them with .float() and pass their value_range"
            )
            raise GeneratorError(f"the network returned images of {images.dtype}, expected floats: {advice}.")
        images = images.float()
        low, high = self.value_range
        return images if (low, high) == (-1, 1) else (images - low) * (2 / (high - low)) - 1

    @property
    def config(self) -> dict[str, Any]:
        names = ("latent_dim", "image_size", "channels", "num_classes", "latent_shape", "labels", "label_keyword")
        return {
            "architecture": self.architecture,
            **{name: getattr(self, name) for name in names},
            "value_range": list(self.value_range),
            **({} if self.class_names is None else {"class_names": list(self.class_names)}),
        }

    def _save_pretrained(self, save_directory: Path) -> None:
        raise GeneratorError(
            "a generator made with Generator.from_module can't be saved, for ganaug can't build your network again. "
            "Keep its weights with your own code, and hand it over when a pack is loaded: "
            "DirectionPack.from_pretrained(path, generator=generator)."
        )

    def _call_failed(self, error: Exception, labels: Tensor | None) -> str:
        shape = (2, self.latent_dim, 1, 1) if self.latent_shape == "map" else (2, self.latent_dim)
        keyword = f"{self.label_keyword}=" if self.label_keyword else ""
        called = "latents" if labels is None else f"latents, {keyword}labels"
        and_labels = "" if labels is None else f' and labels of shape (2,) as "{self.labels}"'
        other_shape = "map" if self.latent_shape == "vector" else "vector"
        how = "num_classes" if labels is None else "num_classes, labels and label_keyword"
        return (
            f"calling module({called}) with latents of shape {shape}{and_labels} failed ({type(error).__name__}: "
            f'{error}). Check latent_dim, latent_shape (the other one is "{other_shape}"), {how}.'
        )

    def _check_shape(self, images: Tensor) -> None:
        size, shape = self.image_size, tuple(images.shape)
        expected = (2, self.channels, size, size)
        if shape == expected:
            return
        if len(shape) != 4:
            advice = "Return four dimensions: images, channels, height, width."
        elif shape[0] != 2:
            advice = "Return one image for each latent."
        elif shape[1:] == (size, size, self.channels):
            advice = "Its channels come last: return images.permute(0, 3, 1, 2)."
        elif shape[2] != shape[3]:
            advice = "Its images are not square: crop or pad them."
        else:
            told = {"channels": (self.channels, shape[1]), "image_size": (size, shape[2])}
            wrong = [f"{name}={said} should be {found}" for name, (said, found) in told.items() if said != found]
            advice = f"By that, {' and '.join(wrong)}."
        raise GeneratorError(
            f"the network returned shape {shape} for two latents, expected {expected}, which is (N, channels, "
            f"image_size, image_size). {advice}"
        )

    def _check_values(self, images: Tensor) -> None:
        start, end = self.value_range
        low, high = (start + (value.item() + 1) / 2 * (end - start) for value in images.aminmax())
        guess = _nearest_range(low, high)
        outside = max(start - low, high - end) > 5e-4 * (end - start)
        other_half = guess == (0, 1) and guess != self.value_range and low >= 0 and (high - low > 0.5 or end >= 100)
        if not outside and not other_half:
            return
        if guess is None:
            advice = (
                f"That is no usual range: end the network with tanh or .clamp({start:g}, {end:g}), or pass the "
                "value_range that it has."
            )
        elif guess == self.value_range:
            advice = f"If it leaves its range by design, as StyleGAN does, end it with .clamp({start:g}, {end:g})."
        else:
            advice = f"It looks like value_range=({guess[0]:g}, {guess[1]:g}): pass that."
        raise GeneratorError(
            f"the network returned values from {low:.3g} to {high:.3g}, expected value_range=({start:g}, {end:g}). "
            f"{advice}"
        )


def _checked_value_range(value_range: tuple[float, float]) -> tuple[float, float]:
    try:
        low, high = map(float, value_range)
    except (TypeError, ValueError):
        low = high = math.nan
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise GeneratorError(
            "value_range should be two numbers, of black and of white, such as (-1, 1), (0, 1) or (0, 255), got "
            f"{value_range!r}."
        )
    return low, high


def _nearest_range(low: float, high: float) -> tuple[float, float] | None:
    """The usual range whose ends lie nearest to what was seen, in widths; None where none is near."""
    apart = {(start, end): (abs(low - start) + abs(high - end)) / (end - start) for start, end in USUAL_RANGES}
    nearest = min(apart, key=apart.__getitem__)
    return nearest if apart[nearest] < 0.99 else None


def _explained(returned: Any) -> str:
    """What was returned in place of a tensor, and how to wrap the network that returned it."""
    kind = type(returned).__name__
    if isinstance(returned, Mapping):
        found, part = f"{kind} of {', '.join(map(repr, list(returned)[:6]))}", "[key]"
    elif isinstance(returned, (tuple, list)):
        found, part = f"{kind} of {', '.join(type(item).__name__ for item in returned[:6])}", "[0]"
    elif is_dataclass(returned):
        found, part = f"{kind} of {', '.join(field.name for field in fields(returned)[:6])}", ".field"
    else:
        found, part = kind, " as a tensor"
    return (
        f"{found}, expected the images alone. Wrap it in an nn.Module that keeps it as self.net and whose forward "
        f"returns self.net(...){part}."
    )


def check_is_generator(given: Any) -> None:
    """:class:`GeneratorError` unless it is a :class:`Generator`; a bare network is told how to become one."""
    if isinstance(given, Generator):
        return
    if isinstance(given, nn.Module):
        raise GeneratorError(
            f"expected a ganaug Generator, got a bare {type(given).__name__}. Make it one: "
            "Generator.from_module(network, latent_dim=..., image_size=..., channels=...)."
        )
    raise GeneratorError(
        f"expected a ganaug Generator, got {type(given).__name__}. Generator.from_pretrained loads one from a folder "
        "or the Hub."
    )
