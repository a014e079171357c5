"""The pack: directions, and the generator they belong to."""

from __future__ import annotations

import copy
import difflib
import numbers
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from ganaug.devices import own_defaults
from ganaug.errors import PackError
from ganaug.generators import Encoder, Generator
from ganaug.generators.generator import CONFIG_FILE
from ganaug.packs.direction import (
    DEFAULT_RANGE,
    Direction,
    checked_directions,
    checked_name,
    checked_names,
    checked_ranges,
    checked_safe_ranges,
)
from ganaug.packs.domain import Domain
from ganaug.packs.format import PREVIEW_FILE, check_scores, checked_origin, read_pack, read_preview
from ganaug.packs.hub import find_pack, loadable, push_pack
from ganaug.packs.networks import (
    check_encoder,
    check_generator,
    check_same_generator,
    network_entry,
    read_domain,
    read_encoder,
    read_generator,
)
from ganaug.packs.write import write_pack
from ganaug.swaps import located, steadily


class DirectionPack:
    """Directions of one generator's latent space.

    A record: nothing is loaded when it is made, but when ``generator`` or ``encoder`` is first used, or by
    :meth:`load`. Iterating gives every :class:`Direction` in order of index; ``pack["background"]`` and ``pack[17]``
    give one.

    Args:
        directions: ``(K, latent_dim)`` float32, unit rows.
        generator: the generator they belong to, which is frozen; or None where ``generator_origin`` says where it is.
        names: name to index, as in ``{"background": 17}``.
        ranges: per direction, the magnitudes it was trained or looked at over, in latent units; (-6, 6) by default.
        safe_ranges: per direction, the magnitudes over which a held-out classifier reads the same label at the
            agreed rate, ``(0, 0)`` where there are none; None while nobody has measured them.
        method: how the directions were found, every setting included; JSON values only.
        scores: figures of the whole pack, each beside the command that prints it: ``{"rca": 0.9, "rca_command": ...}``.
        license: SPDX identifier of the pack.
        generator_origin: ``{"distribution", "version", "path", "file_sha256"}`` of a generator that lies in an
            installed Python distribution, or ``{"repo", "revision"}`` of one on the Hub; with it the weights are not
            written into the pack.
        encoder: finds the latents of real images; frozen.
        encoder_method: how the encoder was made, JSON values only.
        preview: the contact sheet.
        name: what loads the pack (a bundled name, a folder as it was typed, a Hub id), for messages.

    Attributes:
        commands: what prints the figures of single directions: ``{figure: command}``.

    Raises:
        PackError: directions that are not unit rows of finite floats, names or ranges that don't fit them, a
            generator with another latent size, or an encoder for another generator's images.
    """

    def __init__(
        self,
        directions: Tensor,
        *,
        generator: Generator | None = None,
        names: Mapping[str, int] | None = None,
        ranges: Sequence[Sequence[float]] | None = None,
        safe_ranges: Sequence[Sequence[float] | None] | None = None,
        method: Mapping[str, Any] | None = None,
        scores: Mapping[str, Any] | None = None,
        license: str = "apache-2.0",
        generator_origin: Mapping[str, Any] | None = None,
        encoder: Encoder | None = None,
        encoder_method: Mapping[str, Any] | None = None,
        preview: Image.Image | None = None,
        name: str = "unnamed",
    ) -> None:
        self._matrix = checked_directions(directions)
        count = len(self._matrix)
        named = checked_names(names or {}, count)
        reaches = [DEFAULT_RANGE] * count if ranges is None else checked_ranges(ranges, count)
        safe = [None] * count if safe_ranges is None else checked_safe_ranges(safe_ranges, count)
        self._items = [
            Direction(index, vector, named.get(index), reaches[index], safe[index])
            for index, vector in enumerate(self._matrix)
        ]
        check_scores(scores or {})
        self.scores: dict[str, Any] = dict(scores or {})
        self.commands: dict[str, str] = {}
        self.method = dict(method or {})
        self.license = license
        self.generator_origin = checked_origin(generator_origin or {})
        self.encoder_method = dict(encoder_method or {})
        self._preview = preview
        self._preview_file: Path | None = None
        self.name = name
        # Where networks that are not loaded yet lie, and what config.json says of them.
        self._folder: Path | None = None
        self._generator_entry: dict[str, Any] = {}
        self._encoder_entry: dict[str, Any] | None = None
        self._domain: Domain | None = None
        self._domain_sha256: str | None = None
        self._replicas: dict[torch.device, tuple[Generator, Encoder | None]] = {}
        if generator is not None:
            self._check_generator(generator)
        if encoder is not None:
            check_encoder(self.name, encoder.freeze(), self.latent_dim, generator)
        self._generator, self._encoder = generator, encoder

    # -- directions -------------------------------------------------------------------------------------------------

    @property
    def directions(self) -> Tensor:
        """``(K, latent_dim)`` float32, unit rows."""
        return self._matrix

    @property
    def num_directions(self) -> int:
        """K."""
        return len(self._matrix)

    @property
    def latent_dim(self) -> int:
        return self._matrix.shape[1]

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Direction]:
        return iter(self._items)

    def __getitem__(self, direction: str | int) -> Direction:
        return self._items[self.index(direction)]

    def index(self, direction: str | int) -> int:
        """The index of a direction given by name or index.

        Raises:
            PackError: no such name (the nearest ones are listed) or an index outside the pack.
        """
        if isinstance(direction, str):
            names = self.names
            if direction in names:
                return names[direction]
            near = difflib.get_close_matches(direction, names, n=3, cutoff=0.5)
            hint = f"Did you mean {', '.join(near)}? " if near else ""
            known = ", ".join(names) or "none"
            raise PackError(
                f"pack {self.name!r} has no direction named {direction!r}. {hint}Its names: {known}; "
                f"or use an index from 0 to {self.num_directions - 1}."
            )
        if isinstance(direction, bool) or not isinstance(direction, numbers.Integral):
            raise PackError(f"a direction is a name or an index, got {direction!r}.")
        direction = int(direction)
        if not 0 <= direction < self.num_directions:
            raise PackError(f"pack {self.name!r} has directions 0 to {self.num_directions - 1}, got index {direction}.")
        return direction

    @property
    def names(self) -> Mapping[str, int]:
        """Name to index, in alphabetical order; read-only, see :meth:`rename`."""
        named = {direction.name: direction.index for direction in self if direction.name is not None}
        return MappingProxyType(dict(sorted(named.items())))

    def named_first(self) -> list[Direction]:
        """All directions, those with a name before the others, each in order of index."""
        return sorted(self, key=lambda direction: (direction.name is None, direction.index))

    def usable(self) -> list[Direction]:
        """The directions with a safe range, in order of index; all of them while none was measured."""
        return [direction for direction in self if direction.is_usable]

    @property
    def is_measured(self) -> bool:
        """Whether anybody has measured safe ranges."""
        return any(direction.safe_range is not None for direction in self)

    def rename(self, index: str | int, name: str | None) -> None:
        """Give a direction a name, which it takes from another that has it, or take it away with None.

        Raises:
            PackError: no such direction, or what can't be a name.
        """
        direction = self[index]
        if name is not None:
            checked_name(name)
            if (holder := self.names.get(name)) is not None:
                self._items[holder].name = None
        direction.name = name

    def add_scores(self, index: str | int, figures: Mapping[str, float], *, command: str) -> None:
        """Put measured figures of a direction beside those that are there, with the command that prints them."""
        self[index].scores.update(figures)
        self.commands.update(dict.fromkeys(figures, command))

    def __repr__(self) -> str:
        return (
            f"DirectionPack({self.name!r}, {self.num_directions} directions of {self.latent_dim} dimensions, "
            f"names={dict(self.names)})"
        )

    # -- networks ---------------------------------------------------------------------------------------------------

    @property
    def generator(self) -> Generator:
        """The frozen generator, loaded at first use.

        Raises:
            PackError: it is not in the pack and was not handed over, or its weights are others than the pack's.
        """
        if self._generator is None:
            generator = read_generator(self.name, self._folder, self._generator_entry, self.generator_origin)
            self._check_generator(generator)
            if self._encoder is not None:
                check_encoder(self.name, self._encoder, self.latent_dim, generator)
            self._generator = generator
        return self._generator

    @property
    def encoder(self) -> Encoder | None:
        """The frozen inversion encoder, loaded at first use; None if the pack has none.

        Raises:
            PackError: when one is set that is not for images of the pack's generator; when the pack's own is damaged.
        """
        if self._encoder is None and self._encoder_entry is not None:
            encoder = read_encoder(self.name, self._folder, self._encoder_entry)
            check_encoder(self.name, encoder, self.latent_dim, self._generator)
            self._encoder = encoder
        return self._encoder

    @encoder.setter
    def encoder(self, encoder: Encoder | None) -> None:
        if encoder is not None:
            check_encoder(self.name, encoder.freeze(), self.latent_dim, self.generator)
        self._encoder, self._encoder_entry, self._replicas = encoder, None, {}
        self.domain = None

    @property
    def domain(self) -> Domain | None:
        """What the pack's own images look like to its encoder, read at first use; None where nobody has looked.

        Gone when another encoder is set.
        """
        if self._domain is None and self._domain_sha256 is not None and self._folder is not None:
            self._domain = read_domain(self.name, self._folder, self._domain_sha256)
        return self._domain

    @domain.setter
    def domain(self, domain: Domain | None) -> None:
        self._domain, self._domain_sha256 = domain, None

    @property
    def preview(self) -> Image.Image | None:
        """The contact sheet, read at first use; None if there is none.

        Raises:
            PackError: the pack's file is no PNG picture, or an immense one. A pack of which it is never asked for is
                sound without it.
        """
        if self._preview is None and self._preview_file is not None:
            self._preview = read_preview(located(self._preview_file.parent, PREVIEW_FILE))
        return self._preview

    @preview.setter
    def preview(self, preview: Image.Image | None) -> None:
        self._preview, self._preview_file = preview, None

    def load(self) -> DirectionPack:
        """Load the generator, and the encoder if there is one, now; returns the pack.

        Raises:
            PackError: as for ``generator`` and ``encoder``.
        """
        self.networks(self.generator.device)
        return self

    @property
    def has_encoder(self) -> bool:
        """Whether real images can be inverted; known without loading the encoder."""
        return self._encoder is not None or self._encoder_entry is not None

    @property
    def num_classes(self) -> int:
        """Of the generator, 0 if it is unconditional; known without loading it where a folder says it."""
        if self._generator is None and self._generator_entry:
            count = self._generator_entry.get("num_classes", 0)
            return count if isinstance(count, int) else 0
        return self.generator.num_classes

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """What the generator's classes are called, in order; None where nobody has said."""
        return self.generator.class_names

    def networks(self, device: torch.device | str) -> tuple[Generator, Encoder | None]:
        """The generator and encoder on a device: the pack's own where they are there, else copies kept for later.

        Raises:
            PackError: CUDA would be needed inside a forked process, where it does not work.
        """
        device = torch.device(device)
        if device.type == "cuda" and device.index is None:
            device = torch.device("cuda", 0 if torch.cuda._is_in_bad_fork() else torch.cuda.current_device())
        if self.generator.device == device:
            encoder = self.encoder
            return self.generator, encoder if encoder is None or encoder.device == device else encoder.to(device)
        if "cuda" in (device.type, self.generator.device.type) and torch.cuda._is_in_bad_fork():
            raise PackError(
                f"pack {self.name!r} would have to use CUDA inside a forked DataLoader worker, where CUDA does not "
                "work. Keep images and generator on the CPU in workers, apply the transform to batches after the "
                'DataLoader, or pass multiprocessing_context="spawn".'
            )
        if device not in self._replicas:
            self._replicas[device] = copy.deepcopy((self.generator, self.encoder))
            for network in self._replicas[device]:
                if network is not None:
                    network.to(device)
        return self._replicas[device]

    def generator_entry(self) -> dict[str, Any]:
        """What config.json says of the generator: what builds it again, and the SHA-256 of its weights."""
        return dict(self._generator_entry) or network_entry(self.generator)

    def encoder_entry(self) -> dict[str, Any] | None:
        """As :meth:`generator_entry`; None without an encoder."""
        if self._encoder_entry is not None:
            return dict(self._encoder_entry)
        return None if self._encoder is None else network_entry(self._encoder)

    def _check_generator(self, generator: Generator) -> None:
        check_generator(self.name, generator, self.directions)
        generator.freeze()
        if self._folder is not None:
            check_same_generator(self.name, generator, self._generator_entry)

    # -- copies -----------------------------------------------------------------------------------------------------

    def __deepcopy__(self, memo: dict[int, Any]) -> DirectionPack:
        """A pack of its own that shares the frozen generator and encoder, so that copies cost no second weights."""
        copied = type(self).__new__(type(self))
        memo[id(self)] = copied
        shared = ("_generator", "_encoder", "_replicas")
        for name, value in self.__dict__.items():
            setattr(copied, name, value if name in shared else copy.deepcopy(value, memo))
        return copied

    def __getstate__(self) -> dict[str, Any]:
        """Without replicas, and without the directions' vectors, which are rows of the matrix."""
        items = [replace(direction, vector=torch.empty(0)) for direction in self]
        return {**self.__dict__, "_replicas": {}, "_items": items}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        for direction, vector in zip(self._items, self._matrix, strict=True):
            direction.vector = vector

    # -- files and the Hub ------------------------------------------------------------------------------------------

    @classmethod
    @own_defaults
    def from_pretrained(
        cls,
        name: str | Path,
        *,
        revision: str | None = None,
        generator: Generator | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        token: str | bool | None = None,
    ) -> DirectionPack:
        """Load a bundled pack (``"digits"``), a folder (``"./digits"``) or a Hub repository (``"org/name"``).

        A bundled name comes before a folder of the same name; write ``"./name"`` for the folder. A ``Path`` is always a
        folder. Nothing is unpickled.

        Args:
            revision, cache_dir, local_files_only, token: for the Hub, as in ``huggingface_hub``.
            generator: for a pack whose generator ganaug can't build itself; its weights are compared with the pack's.

        Raises:
            PackError: nothing is found under the name, or what is found is not a whole and sound pack.
        """
        folder, called = find_pack(
            name, revision=revision, cache_dir=cache_dir, local_files_only=local_files_only, token=token
        )
        held = steadily(folder, CONFIG_FILE, lambda: read_pack(folder))
        pack = cls(**held.record, name=called)
        for index, figures in held.rows.items():
            pack[index].scores.update(figures)
        pack.commands.update(held.commands)
        pack._folder, pack._generator_entry, pack._encoder_entry = folder, held.generator, held.encoder
        pack._domain_sha256 = held.domain_sha256
        pack._preview_file = folder / PREVIEW_FILE if located(folder, PREVIEW_FILE).exists() else None
        if generator is not None:
            pack._check_generator(generator)
            pack._generator = generator
        return pack

    def save_pretrained(self, save_directory: str | Path, *, called: str | Path | None = None) -> Path:
        """Write the pack into a folder, made if need be; a pack there is replaced, other files are left alone.

        At every moment a reader finds the whole old pack or the whole new one.

        Args:
            called: the folder that the model card names, where the pack is moved there afterwards.

        Returns:
            The folder.

        Raises:
            PackError: the path is a file; the folder holds no pack, but files with the names of a pack's; or the pack
                holds what no reader would take.
        """
        folder = Path(save_directory)
        write_pack(self, folder, called=loadable(called or folder))
        return folder

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        token: str | None = None,
        revision: str | None = None,
        commit_message: str = "Push direction pack with ganaug",
    ) -> str:
        """Upload the pack, model card included, as one commit; returns the commit's address.

        Args:
            repo_id: ``"org/name"``; made if it does not exist.
            private, token, revision, commit_message: as in ``huggingface_hub``.

        Raises:
            PackError: the Hub can't be reached, refuses, or takes ``repo_id`` for no name of a repository.
        """
        return push_pack(self, repo_id, private=private, token=token, revision=revision, commit_message=commit_message)
