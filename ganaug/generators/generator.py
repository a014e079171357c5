"""The frozen generator every other part of ganaug builds on."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from huggingface_hub import HfApi, ModelHubMixin
from torch import Tensor, nn
from typing_extensions import Self

from ganaug.devices import own_defaults, sent
from ganaug.errors import FileError, GeneratorError
from ganaug.files import read_json, write_json
from ganaug.generators.checks import check, check_integers, check_repeatable
from ganaug.generators.fetch import CONFIG_MOST, WEIGHTS_MOST, fetch
from ganaug.generators.hub import at_the_hub, check_place, check_repository, why_not_pushed
from ganaug.generators.network import FrozenNetwork, bounded, load_network, read_weights
from ganaug.marks import folder_made
from ganaug.places import is_folder
from ganaug.swaps import located, put_in_place, scratch_folder, steadily, writing_alone

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "generator.safetensors"
CARD_FILE = "README.md"

LARGEST = 4096
"""Pixels on a side. A file of a few kilobytes may ask for any number of doublings."""

LatentShape = Literal["vector", "map"]
LabelForm = Literal["index", "one_hot", "embedding"]

ARCHITECTURES: dict[str, type[Generator]] = {}
"""Every architecture by its name; a class with an ``architecture`` of its own enters itself."""


class Generator(
    FrozenNetwork,
    ModelHubMixin,
    library_name="ganaug",
    tags=["ganaug", "gan", "image-generation"],
    paper_url="https://arxiv.org/abs/2002.03754",
):
    """A network from latents to images in [-1, 1].

    Architectures subclass it and implement :meth:`synthesize`; a network of your own becomes one with
    :meth:`from_module`. Generators that :meth:`from_pretrained`, :meth:`from_module` and ``ganaug convert`` return
    are frozen: in evaluation mode, no weight requiring a gradient.

    Args:
        latent_dim: length of one latent.
        image_size: height and width of the images, in pixels.
        channels: 1 (grey) or 3 (colour).
        num_classes: number of classes, 0 for an unconditional generator.

    Shape:
        - latents: ``(N, latent_dim)`` float, drawn from N(0, I) by :meth:`sample_latents`
        - labels: ``(N,)`` int64 in ``[0, num_classes)``, for class-conditional generators only
        - output: ``(N, channels, image_size, image_size)`` float in [-1, 1]

    Example:
        >>> from ganaug.generators import SNGAN
        >>> generator = SNGAN(latent_dim=8, channels=1, widths=(16, 16, 16, 16)).freeze()
        >>> generator(generator.sample_latents(2)).shape
        torch.Size([2, 1, 32, 32])
    """

    architecture: ClassVar[str] = ""
    """The name in :data:`ARCHITECTURES` and config.json; a subclass that gives none stays out of both."""
    rebuildable: ClassVar[bool] = True
    """Whether :attr:`config` and weights are enough to build the network again."""
    recomputes: bool | None = None
    """Whether gradients with respect to the latents compute activations again instead of keeping them; None where the
    architecture can't."""
    latent_space: str = "z"
    """What the latents are: "z", drawn from N(0, I), or "w", what a mapping network makes of it."""
    class_names: tuple[str, ...] | None = None
    """What the classes are called, in order; None where nobody has said. See :meth:`name_classes`."""
    directions_within: slice = slice(None)
    """The coordinates of a latent that directions may change, a range without gaps; all of them by default."""

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if not (name := cls.__dict__.get("architecture")):
            return
        known = ARCHITECTURES.get(name, cls)
        # A module that is imported again defines its classes again.
        if (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise GeneratorError(
                f"{cls.__module__}.{cls.__qualname__} and {known.__module__}.{known.__qualname__} are both of "
                f"architecture {name!r}. Give the new class another name."
            )
        ARCHITECTURES[name] = cls

    def __init__(self, *, latent_dim: int, image_size: int, channels: int, num_classes: int = 0) -> None:
        super().__init__()
        check_integers(("latent_dim", latent_dim, 1), ("image_size", image_size, 1), ("num_classes", num_classes, 0))
        if image_size > LARGEST:
            got = image_size if image_size < 10**9 else "far more"
            raise GeneratorError(f"image_size should be at most {LARGEST} pixels, got {got}.")
        if type(channels) is not int or channels not in (1, 3):
            raise GeneratorError(f"channels should be 1 (grey) or 3 (colour), got {channels!r}.")
        self.latent_dim = latent_dim
        self.image_size = image_size
        self.channels = channels
        self.num_classes = num_classes

    # -- what a generator does -------------------------------------------------------------------------------------

    def synthesize(self, latents: Tensor, labels: Tensor | None) -> Tensor:
        """Draw images from checked latents ``(N, latent_dim)`` and labels ``(N,)`` (None if unconditional)."""
        raise GeneratorError(f"{type(self).__name__} does not implement synthesize(latents, labels).")

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images ``(N, channels, image_size, image_size)`` in [-1, 1] of latents ``(N, latent_dim)``.

        Raises:
            GeneratorError: latents of another shape; labels missing, out of range, of another number, or given to
                an unconditional generator.
        """
        if latents.ndim != 2 or latents.shape[1] != self.latent_dim:
            raise GeneratorError(
                f"latents should have shape (N, {self.latent_dim}), got {tuple(latents.shape)}. "
                f"This generator's latent_dim is {self.latent_dim}."
            )
        if self.num_classes == 0 and labels is not None:
            raise GeneratorError("labels were given, but this generator is unconditional: call it with latents alone.")
        if self.num_classes > 0:
            self.check_labels(labels, len(latents))
        return self.synthesize(latents, labels if labels is None else labels.long())

    @torch.no_grad()
    def fused(self) -> Self:
        """A frozen copy that draws the same images, to rounding, in less time: for evaluation, not to be saved.

        Batch norms are folded into the convolutions before them where that is exact, and an upsampling by nearest
        neighbours into the one after it. The generator itself, frozen, where its architecture has nothing to fuse.
        """
        if type(self)._fuse is Generator._fuse:
            return self.freeze()
        fused = copy.deepcopy(self).freeze()
        fused._fuse()
        return fused.freeze()

    def _fuse(self) -> None:
        """Replace layers of a frozen copy by cheaper ones; architectures that know how override it."""

    def check_labels(self, labels: Tensor | None, count: int) -> None:
        """Raise :class:`GeneratorError` unless ``labels`` is ``(count,)`` integers in ``[0, num_classes)``."""
        wanted = f"labels of shape ({count},) with integers from 0 to {self.num_classes - 1}"
        if labels is None:
            raise GeneratorError(f"this generator is class-conditional and needs {wanted}; none were given.")
        if labels.is_floating_point() or labels.shape != (count,):
            raise GeneratorError(f"expected {wanted}, got {labels.dtype} of shape {tuple(labels.shape)}.")
        if labels.device.type == "cpu" and count and not 0 <= int(labels.min()) <= int(labels.max()) < self.num_classes:
            raise GeneratorError(f"expected {wanted}, got values from {int(labels.min())} to {int(labels.max())}.")

    def sample_latents(self, count: int, *, rng: torch.Generator | None = None) -> Tensor:
        """Draw ``(count, latent_dim)`` float32 latents from N(0, I), on the generator's device.

        With ``rng`` (a ``torch.Generator``) the draw is made on that generator's device and then moved.
        """
        device = rng.device if rng is not None else self.device
        latents = torch.randn(count, self.latent_dim, generator=rng, device=device, dtype=torch.float32)
        return sent(latents, self.device)

    def sample_labels(self, count: int, *, rng: torch.Generator | None = None) -> Tensor | None:
        """Draw ``(count,)`` uniform labels, or None for an unconditional generator."""
        if self.num_classes == 0:
            return None
        device = rng.device if rng is not None else self.device
        return sent(torch.randint(self.num_classes, (count,), generator=rng, device=device), self.device)

    def check(self) -> Self:
        """Draw two images and compare them with what the generator promises; returns the generator itself.

        Buffers and torch's global random state are afterwards as they were before.

        Raises:
            GeneratorError: the network can't be called with such latents (and labels), or changes its buffers when it
                is; a wrong shape or type, NaN or Inf, values outside [-1, 1], or an image that does not depend on its
                latent.
        """
        check(self)
        return self

    def _call_failed(self, error: Exception, labels: Tensor | None) -> str:
        given = f"latents of shape (2, {self.latent_dim})" + ("" if labels is None else " and labels of shape (2,)")
        return f"calling the network with {given} failed ({error}). Check latent_dim and num_classes."

    def _check_shape(self, images: Tensor) -> None:
        expected = (2, self.channels, self.image_size, self.image_size)
        if not isinstance(images, Tensor) or images.shape != expected or not images.is_floating_point():
            got = f"{images.dtype} {tuple(images.shape)}" if isinstance(images, Tensor) else type(images).__name__
            raise GeneratorError(
                f"the generator returned {got} for two latents, expected floats of shape {expected}. "
                "Check latent_dim, image_size and channels."
            )

    def _check_values(self, images: Tensor) -> None:
        low, high = images.min().item(), images.max().item()
        if low < -1.001 or high > 1.001 or (low >= 0 and high - low > 0.5):
            raise GeneratorError(
                f"the generator returned values from {low:.3g} to {high:.3g}, expected [-1, 1]. "
                "Rescale its output: for [0, 1] return 2 * x - 1, for [0, 255] return x / 127.5 - 1."
            )

    # -- weights and configuration ----------------------------------------------------------------------------------

    @property
    def config(self) -> dict[str, Any]:
        """What it takes to build the network again: its architecture's name and constructor arguments."""
        arguments = self._hub_mixin_config
        if not isinstance(arguments, dict):
            raise GeneratorError(f"{type(self).__name__} has no constructor arguments to build it again with.")
        named = {} if self.class_names is None else {"class_names": list(self.class_names)}
        return {"architecture": self.architecture, **arguments, **named}

    def name_classes(self, names: Sequence[str] | None) -> Self:
        """Say what the classes are called, in order, or with None that nobody knows; returns the generator itself.

        Raises:
            GeneratorError: not one name of its own for each class.
        """
        if names is None:
            self.class_names = None
            return self
        is_list = isinstance(names, Sequence) and not isinstance(names, str)
        if not is_list or not all(isinstance(name, str) and name.strip() and name.isprintable() for name in names):
            raise GeneratorError(f"class_names should be a list of texts, got {names!r:.100}.")
        if len(names) != self.num_classes or len({name.casefold() for name in names}) != len(names):
            raise GeneratorError(
                f"class_names should be {self.num_classes} different names, one for each class, got {len(names)}: "
                f"{', '.join(names):.200}."
            )
        self.class_names = tuple(names)
        return self

    @staticmethod
    @own_defaults
    def from_module(
        module: nn.Module,
        *,
        latent_dim: int,
        image_size: int,
        channels: int,
        num_classes: int = 0,
        class_names: Sequence[str] | None = None,
        latent_shape: LatentShape = "vector",
        value_range: tuple[float, float] = (-1.0, 1.0),
        labels: LabelForm = "index",
        embedding: Callable[[Tensor], Any] | None = None,
        label_keyword: str | None = None,
    ) -> Generator:
        """Make any network a generator, and check on four images that it is what was said of it.

        The network itself is frozen: put in evaluation mode, no weight requiring a gradient. The check leaves weights,
        buffers and torch's random state as they were.

        Args:
            module: called as ``module(latents)``, or ``module(latents, labels)`` when ``num_classes`` is positive;
                returns images, a tensor ``(N, channels, image_size, image_size)`` of any float type, which becomes
                float32. They depend on latents and labels alone: no noise, no dropout, no statistics of the batch.
            latent_dim, image_size, channels, num_classes: see :class:`Generator`.
            class_names: what the classes are called, in order.
            latent_shape: the latents that ``module`` takes: ``"vector"`` for ``(N, latent_dim)``, ``"map"`` for
                ``(N, latent_dim, 1, 1)``, as DCGANs do.
            value_range: black and white in what ``module`` returns: (-1, 1), (0, 1), (0, 255) or any other. The
                generator's images are rescaled to [-1, 1].
            labels: how they go in: ``"index"`` for int64 ``(N,)``, ``"one_hot"`` for float ``(N, num_classes)``,
                ``"embedding"`` for ``embedding(labels)``.
            embedding: from int64 ``(N,)`` to what ``module`` takes, such as BigGAN's ``G.shared``. A module, or a
                function that ``pickle`` finds by its name if the generator is to be pickled.
            label_keyword: labels go in under this name, ``module(latents, label_keyword=labels)``, not by position.

        Raises:
            GeneratorError: an impossible argument, or what the module takes or returns differs from what was said of
                it: its shape, type or range; it can't be called so; NaN or Inf; it ignores its latents or its labels;
                it changes its buffers; or it draws another image for the same latent, called again or in another
                batch.

        Example:
            >>> from torch import nn
            >>> net = nn.Sequential(nn.ConvTranspose2d(100, 3, 32), nn.Sigmoid())
            >>> generator = Generator.from_module(
            ...     net, latent_dim=100, image_size=32, channels=3, latent_shape="map", value_range=(0, 1)
            ... )
            >>> generator(generator.sample_latents(2)).shape
            torch.Size([2, 3, 32, 32])
        """
        build: Callable[..., Generator] = ARCHITECTURES["module"]
        generator = build(
            module,
            latent_dim=latent_dim,
            image_size=image_size,
            channels=channels,
            num_classes=num_classes,
            latent_shape=latent_shape,
            value_range=value_range,
            labels=labels,
            embedding=embedding,
            label_keyword=label_keyword,
        )
        check_repeatable(generator.name_classes(class_names).freeze())
        return generator

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **options: Any) -> Self:
        """Load a frozen generator from a folder or a Hub id; options as in ``huggingface_hub.hf_hub_download``.

        Raises:
            GeneratorError: nothing is found there, or what is found is damaged, of an unknown architecture, or has
                another hash than its config names.
        """
        # Not super().from_pretrained, which reads config.json without our checks.
        name = str(pretrained_model_name_or_path)
        if not is_folder(name):
            return cls._from_pretrained(model_id=name, **options)
        return steadily(Path(name), CONFIG_FILE, lambda: cls._from_pretrained(model_id=name, **options))

    def save_pretrained(self, save_directory: str | Path, **options: Any) -> str | None:
        """Write config.json, generator.safetensors and a card into a folder, where a generator may be replaced.

        Args:
            options: as of ``huggingface_hub.ModelHubMixin.save_pretrained``.

        At every moment a reader finds the whole old generator or the whole new one.

        Raises:
            GeneratorError: the path is a file, or the folder holds a pack, or files of these names of anybody else's.
            FileError: the folder can't be written to.
        """
        folder, push = Path(save_directory), options.pop("push_to_hub", False)
        check_place(folder, CONFIG_FILE, WEIGHTS_FILE)
        of_files = {name: options.pop(name) for name in ("config", "model_card_kwargs") if name in options}
        with folder_made(folder), scratch_folder(folder) as scratch:
            super().save_pretrained(scratch, **of_files)
            with writing_alone(folder):
                check_place(folder, CONFIG_FILE, WEIGHTS_FILE)
                if os.path.lexists(folder / CARD_FILE):  # somebody may have written there
                    (scratch / CARD_FILE).unlink()
                put_in_place(scratch, folder)
        repo_id = options.pop("repo_id", None) or folder.name
        return self.push_to_hub(repo_id, **of_files, **options) if push else None

    def push_to_hub(self, repo_id: str, **options: Any) -> str:
        """Upload the generator as one commit; returns the commit's address.

        Args:
            repo_id: ``"org/name"``; made if it does not exist.
            options: as of ``huggingface_hub.ModelHubMixin.push_to_hub``: private, token, commit_message, ...

        Raises:
            GeneratorError: the Hub can't be reached, refuses, or takes ``repo_id`` for no name of a repository.
        """
        token, revision = options.get("token"), options.get("branch")
        with at_the_hub(lambda error: why_not_pushed(repo_id, error), GeneratorError):
            full_id = HfApi(token=token).create_repo(repo_id, private=options.get("private"), exist_ok=True).repo_id
            check_repository(full_id, "a generator", token=token, revision=revision)
            address: str = super().push_to_hub(repo_id, **options)
        return address

    def _save_pretrained(self, save_directory: Path) -> None:
        self.save_weights(save_directory / WEIGHTS_FILE)
        write_json(save_directory / CONFIG_FILE, {**self.config, "sha256": self.weights_sha256()})

    @classmethod
    @own_defaults
    def _from_pretrained(
        cls,
        *,
        model_id: str,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
        token: str | bool | None = None,
        **unknown: Any,
    ) -> Self:
        if unknown:
            raise TypeError(f"from_pretrained got options that it does not know: {', '.join(unknown)}.")

        if is_folder(model_id):
            folder = Path(model_id)
        else:
            try:
                folder = fetch(
                    model_id,
                    {CONFIG_FILE: CONFIG_MOST, WEIGHTS_FILE: WEIGHTS_MOST},
                    needed=lambda config: (WEIGHTS_FILE,),
                    revision=revision,
                    cache_dir=cache_dir,
                    force_download=force_download,
                    local_files_only=local_files_only,
                    token=token,
                )
            except GeneratorError as error:
                raise GeneratorError(f"there is no folder {model_id!r} of a generator, and {error}") from error
        weights = located(folder, WEIGHTS_FILE)
        try:
            config = read_json(located(folder, CONFIG_FILE))
        except FileError as error:
            raise GeneratorError(str(error)) from error
        sha256 = config.pop("sha256", None)
        generator = build_generator(config, weights=weights, sha256=sha256)
        if not isinstance(generator, cls):
            raise GeneratorError(f"{model_id} holds a {type(generator).__name__}, not a {cls.__name__}.")
        return generator


@own_defaults
def build_generator(config: Mapping[str, Any], *, weights: Path, sha256: str | None = None) -> Generator:
    """Build a frozen generator from its config and a safetensors file of its weights.

    Raises:
        GeneratorError: an unknown architecture, arguments it doesn't take, a damaged file, missing, extra or
            mis-shaped tensors, or weights whose SHA-256 is not ``sha256``.
    """
    arguments = dict(config)
    class_names = arguments.pop("class_names", None)
    name = arguments.pop("architecture", None)
    kind = ARCHITECTURES.get(name) if isinstance(name, str) else None
    if kind is None or not kind.rebuildable:
        hint = (
            f"Known: {', '.join(sorted(name for name, known in ARCHITECTURES.items() if known.rebuildable))}."
            if kind is None
            else "It was made with Generator.from_module: build it the same way and pass it as generator=…"
        )
        raise GeneratorError(f"{weights.parent}: unknown generator architecture {name!r}. {hint}")
    state = read_weights(weights)
    try:
        with bounded(state, config=config, origin="it"), torch.device("meta"):
            generator: Generator = kind(**arguments).name_classes(class_names)
    except (TypeError, ValueError, RuntimeError, OverflowError, MemoryError) as error:
        where = weights.with_name(CONFIG_FILE)
        raise GeneratorError(f"{where}: config does not fit architecture {name!r}: {error}") from error
    return load_network(generator, state, origin=weights, sha256=sha256)
