"""The pack: directions, their names, ranges and scores, and the generator they belong to."""

from __future__ import annotations

import copy
import difflib
import hashlib
import json
import math
import numbers
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from ganaug.checkpoints import generator_from_distribution
from ganaug.errors import GeneratorError, PackError
from ganaug.files import read_json, write_json, write_safetensors
from ganaug.generators import Encoder, Generator, ModuleGenerator, build_encoder, build_generator
from ganaug.generators.generator import CONFIG_FILE, WEIGHTS_FILE
from ganaug.packs.card import model_card

FORMAT_VERSION = 1


DIRECTIONS_FILE = "directions.safetensors"


CARD_FILE = "README.md"


PREVIEW_FILE = "preview.png"


ENCODER_FILE = "encoder.safetensors"


PACK_FILES = (CONFIG_FILE, DIRECTIONS_FILE, WEIGHTS_FILE, ENCODER_FILE, CARD_FILE, PREVIEW_FILE)


CONFIG_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "directions_sha256": ((str,), "a string"),
    "generator": ((dict,), "an object"),
    "encoder": ((dict, type(None)), "an object or null"),
    "names": ((dict,), "an object"),
    "ranges": ((list,), "a list"),
    "safe_ranges": ((list, type(None)), "a list or null"),
    "method": ((dict,), "an object"),
    "scores": ((dict,), "an object"),
    "licence": ((str,), "a string"),
}


Range = tuple[float, float]


class DirectionPack:
    """Directions of one generator's latent space.

    Args:
        directions: ``(K, latent_dim)`` float32, unit rows.
        generator: the generator they belong to, which is frozen; or None to load it from ``generator_source`` at once.
        names: name to index, as in ``{"background": 17}``.
        ranges: per direction, the magnitudes it was trained or looked at over, in latent units.
        safe_ranges: per direction, the magnitudes over which a held-out classifier reads the same label at the
            agreed rate, or None where there are none; the whole list is None while nobody has measured them.
        method: how the directions were found, every setting included.
        scores: what was measured, each figure with the command that prints it.
        licence: SPDX identifier of the pack.
        generator_source: ``{"distribution", "version", "path", "file_sha256"}`` of a generator that lies in an
            installed Python distribution, or ``{"repo", "revision"}`` of one on the Hub; with it the weights are not
            written into the pack.
        encoder: finds the latents of real images; frozen.
        encoder_method: how the encoder was made, JSON values only.
        preview: the contact sheet.
        name: of the pack, for messages and the card.

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
        licence: str = "apache-2.0",
        generator_source: Mapping[str, Any] | None = None,
        encoder: Encoder | None = None,
        encoder_method: Mapping[str, Any] | None = None,
        preview: Image.Image | None = None,
        name: str = "unnamed",
    ) -> None:
        self.directions = _checked_directions(directions)
        self.names = _checked_names(names or {}, self.num_directions)
        self.ranges = (
            [(-6.0, 6.0)] * self.num_directions if ranges is None else _checked_ranges(ranges, len(directions))
        )
        self.safe_ranges = None if safe_ranges is None else _checked_safe_ranges(safe_ranges, len(directions))
        self.method = dict(method or {})
        self.scores = _checked_scores(scores or {}, self.num_directions)
        self.licence = licence
        self.generator_source = _checked_source(generator_source or {})
        self.preview = preview
        self.name = name
        self._generator_folder: Path | None = None
        self._generator_config: dict[str, Any] = {}
        if generator is None and self.generator_source:
            generator = self._load_generator()
        if generator is not None:
            self._generator_config = _network_entry(generator)
            self._check_generator(generator)
        self._generator = generator
        self._replicas: dict[torch.device, tuple[Generator, Encoder | None]] = {}
        self._encoder: Encoder | None = None
        self._encoder_entry: dict[str, Any] | None = None
        self.encoder_method = dict(encoder_method or {})
        if encoder is not None:
            self.encoder = encoder

    # -- looking --------------------------------------------------------------------------------------------------

    @property
    def num_directions(self) -> int:
        """K."""
        return len(self.directions)

    @property
    def latent_dim(self) -> int:
        return self.directions.shape[1]

    @property
    def generator(self) -> Generator:
        """The frozen generator, loaded at first use.

        Raises:
            PackError: it is not in the pack and was not handed over, or its weights are others than the pack's.
        """
        if self._generator is None:
            generator = self._load_generator()
            self._check_generator(generator)
            self._generator = generator
        return self._generator

    @property
    def encoder(self) -> Encoder | None:
        """The frozen inversion encoder, loaded at first use; None if the pack has none.

        Raises:
            PackError: when one is set that is not for images of the pack's generator; when the pack's own is damaged.
        """
        if self._encoder is None and self._encoder_entry is not None and self._generator_folder is not None:
            config = dict(self._encoder_entry)
            sha256 = config.pop("sha256", None)
            if not isinstance(sha256, str):
                raise PackError(f"pack {self.name!r}: its config.json names no SHA-256 of its encoder's weights.")
            try:
                encoder = build_encoder(config, weights=self._generator_folder / ENCODER_FILE, sha256=sha256)
            except GeneratorError as error:
                raise PackError(f"pack {self.name!r}: {error}") from error
            self._check_encoder(encoder)
            self._encoder = encoder
        return self._encoder

    @encoder.setter
    def encoder(self, encoder: Encoder | None) -> None:
        if encoder is not None:
            _ = self.generator  # to compare with
            self._check_encoder(encoder.freeze())
        self._encoder, self._replicas = encoder, {}
        self._encoder_entry = None if encoder is None else _network_entry(encoder)

    @property
    def has_encoder(self) -> bool:
        """Whether real images can be inverted; known without loading the encoder."""
        return self._encoder_entry is not None

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

    @property
    def num_classes(self) -> int:
        """Of the generator, 0 if it is unconditional; known without loading it."""
        count = self._generator_config.get("num_classes", 0)
        return count if isinstance(count, int) else 0

    def add_scores(self, index: int, figures: Mapping[str, float], *, command: str) -> None:
        """Put measured figures of a direction beside those that are there, with the command that prints them."""
        self.scores.setdefault("directions", {}).setdefault(str(index), {}).update(figures)
        self.scores.setdefault("directions_commands", {}).update(dict.fromkeys(figures, command))

    def index(self, direction: str | int) -> int:
        """The index of a direction given by name or index.

        Raises:
            PackError: no such name (the nearest ones are listed) or an index outside the pack.
        """
        if isinstance(direction, str):
            if direction in self.names:
                return self.names[direction]
            near = difflib.get_close_matches(direction, self.names, n=3, cutoff=0.5)
            hint = f"Did you mean {', '.join(near)}? " if near else ""
            known = ", ".join(sorted(self.names)) or "none"
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

    def name_of(self, index: int) -> str | None:
        """The name of a direction, or None."""
        return next((name for name, named in self.names.items() if named == index), None)

    def range_of(self, index: int) -> Range:
        """The safe range where it was measured, else the range the direction was trained over.

        Raises:
            PackError: the direction was measured and keeps the label nowhere.
        """
        if self.safe_ranges is None:
            return self.ranges[index]
        interval = self.safe_ranges[index]
        if interval is None:
            usable = [self.name_of(k) or k for k in self.usable()]
            raise PackError(
                f"direction {self.name_of(index) or index!r} of pack {self.name!r} changes the label at every "
                f"magnitude that was measured. Give a magnitude yourself, or take one of {usable}."
            )
        return interval

    def usable(self) -> list[int]:
        """Indices of the directions with a safe range; all of them while none was measured."""
        if self.safe_ranges is None:
            return list(range(self.num_directions))
        return [index for index, interval in enumerate(self.safe_ranges) if interval is not None]

    def rename(self, index: int, name: str | None) -> None:
        """Give a direction a name, or take it away with None."""
        index = self.index(index)
        names = {key: value for key, value in self.names.items() if value != index}
        self.names = _checked_names({**names, name: index} if name is not None else names, self.num_directions)

    def __repr__(self) -> str:
        return (
            f"DirectionPack({self.name!r}, {self.num_directions} directions of {self.latent_dim} dimensions, "
            f"names={self.names})"
        )

    # -- loading --------------------------------------------------------------------------------------------------

    @classmethod
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
        text = str(name)
        bundled = bundled_packs()
        if isinstance(name, str) and text in bundled:
            folder = bundled[text]
        elif Path(name).is_dir():
            folder, text = Path(name), Path(name).resolve().name
        elif isinstance(name, Path):
            raise PackError(f"there is no folder {text!r}. Pass a bundled name or a Hub id as a string.")
        else:
            folder = _download(
                text, revision=revision, cache_dir=cache_dir, local_files_only=local_files_only, token=token
            )
        return cls._from_folder(folder, name=text, generator=generator)

    @classmethod
    def _from_folder(cls, folder: Path, *, name: str, generator: Generator | None) -> DirectionPack:
        try:
            config = read_json(folder / CONFIG_FILE)
        except GeneratorError as error:
            raise PackError(f"{folder} is not a pack: {error}") from error
        version = config.get("format_version")
        if version != FORMAT_VERSION:
            is_generator = "architecture" in config
            remedy = (
                "load a generator with Generator.from_pretrained" if is_generator else "a newer pack needs a newer one"
            )
            raise PackError(
                f"{folder / CONFIG_FILE} has format_version {version!r}, this ganaug reads {FORMAT_VERSION}; {remedy}."
            )
        for key, (kinds, called) in CONFIG_TYPES.items():
            if not isinstance(config.get(key), kinds):
                raise PackError(
                    f"{folder / CONFIG_FILE} should have {called} as {key!r}, found {config.get(key)!r:.80}."
                )
        directions = _read_directions(folder / DIRECTIONS_FILE, config["directions_sha256"])
        space = config["generator"].get("latent_space", "z")
        for key, told in zip(("latent_space", "num_directions", "latent_dim"), (space, *directions.shape), strict=True):
            if config.get(key) != told:
                raise PackError(
                    f"{folder / CONFIG_FILE} should have {told!r} as {key!r}, found {config.get(key)!r:.80}."
                )
        preview = folder / PREVIEW_FILE
        try:
            pack = cls(
                directions,
                names=config["names"],
                ranges=config["ranges"],
                safe_ranges=config.get("safe_ranges"),
                method=config["method"],
                scores=config["scores"],
                licence=config["licence"],
                preview=_read_preview(preview) if preview.exists() else None,
                name=name,
            )
            pack.generator_source = _checked_source(config["generator"].get("source") or {})
        except PackError as error:
            raise PackError(f"{folder}: {error}") from error
        pack._generator_config = config["generator"]
        pack._generator_folder = folder
        if entry := dict(config.get("encoder") or {}):
            method = entry.pop("method", {})
            if not isinstance(method, dict):
                raise PackError(f"{folder / CONFIG_FILE} should have an object as the encoder's 'method'.")
            pack.encoder_method, pack._encoder_entry = method, entry
        if generator is not None:
            pack._check_generator(generator)
            pack._generator = generator
        return pack

    def _load_generator(self) -> Generator:
        entry, folder, source = self._generator_config, self._generator_folder, self.generator_source
        try:
            if "distribution" in source:
                return generator_from_distribution(**source)
            if "repo" in source:
                return Generator.from_pretrained(source["repo"], revision=source["revision"])
            if folder is not None and entry.get("architecture") != ModuleGenerator.architecture:
                config = {key: value for key, value in entry.items() if key not in ("sha256", "source")}
                return build_generator(config, weights=folder / WEIGHTS_FILE)
        except GeneratorError as error:
            raise PackError(f"pack {self.name!r}: {error}") from error
        raise PackError(
            f"pack {self.name!r} belongs to a network of its author's own, which ganaug can't build. Build it, and "
            "pass it: DirectionPack.from_pretrained(..., generator=Generator.from_module(net, ...))."
        )

    def _check_generator(self, generator: Generator) -> None:
        generator.freeze()
        if generator.latent_dim != self.latent_dim:
            raise PackError(
                f"pack {self.name!r} has directions of {self.latent_dim} dimensions, but its generator's latents have "
                f"{generator.latent_dim}."
            )
        within = torch.zeros(self.latent_dim, dtype=torch.bool)
        within[generator.directions_within] = True
        if self.directions[:, ~within].any():
            raise PackError(
                f"pack {self.name!r} has directions that change coordinates which the generator keeps from them: its "
                f"layers={generator.config.get('layers')} leave {int(within.sum())} of {self.latent_dim}."
            )
        wanted, found = self._generator_config.get("sha256"), generator.weights_sha256()
        if wanted != found:
            raise PackError(
                f"pack {self.name!r} belongs to a generator whose weights have SHA-256 {wanted}, but this one's have "
                f"{found}. Directions of one generator mean nothing in another; fetch the pack and its generator again."
            )
        config = generator.config  # the same weights may draw from other latents, or in another way
        apart = [
            f"{name}={config[name]!r} where the pack says {self._generator_config[name]!r}"
            for name in sorted(config.keys() & self._generator_config.keys())
            if json.dumps(config[name]) != json.dumps(self._generator_config[name])
        ]
        if apart:
            raise PackError(f"pack {self.name!r}: the generator has {', '.join(apart)}. Build it as the pack says.")

    def _check_encoder(self, encoder: Encoder) -> None:
        told = {"latent_dim": self.latent_dim}
        if self._generator is not None:
            names = ("image_size", "channels", "num_classes")
            told |= {name: getattr(self._generator, name) for name in names}
        for name, wanted in told.items():
            if getattr(encoder, name) != wanted:
                raise PackError(
                    f"the encoder has {name} {getattr(encoder, name)}, but pack {self.name!r} has {wanted}: it belongs "
                    "to another generator."
                )

    def __deepcopy__(self, memo: dict[int, Any]) -> DirectionPack:
        """A pack of its own that shares the frozen generator and encoder, so that copies cost no second weights."""
        copied = type(self).__new__(type(self))
        memo[id(self)] = copied
        shared = ("_generator", "_encoder", "_replicas")
        for name, value in self.__dict__.items():
            setattr(copied, name, value if name in shared else copy.deepcopy(value, memo))
        return copied

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_replicas": {}}

    # -- saving ---------------------------------------------------------------------------------------------------

    def config(self) -> dict[str, Any]:
        """What ``config.json`` holds, the hash of the directions' file aside.

        Raises:
            PackError: names, ranges, scores or a source that were set since and that no reader would take; scores or
                a method that JSON can't hold.
        """
        try:
            json.dumps([self.scores, self.method, self.encoder_method], allow_nan=False)
        except (TypeError, ValueError) as error:
            raise PackError(
                f"the scores, method and encoder_method of pack {self.name!r} should fit into JSON: {error}."
            ) from error
        if not isinstance(self.encoder_method, dict):
            raise PackError(f"encoder_method should be a dictionary, got {self.encoder_method!r:.80}.")
        encoder = self._encoder_entry if self._encoder is None else _network_entry(self._encoder)
        entry = {key: value for key, value in self._generator_config.items() if key != "source"}
        if self.generator_source:
            entry["source"] = _checked_source(self.generator_source)
        safe_ranges = self.safe_ranges
        return {
            "format_version": FORMAT_VERSION,
            "generator": entry,
            "encoder": encoder and {**encoder, "method": self.encoder_method},
            "latent_space": entry.get("latent_space", "z"),
            "num_directions": self.num_directions,
            "latent_dim": self.latent_dim,
            "names": dict(sorted(_checked_names(self.names, self.num_directions).items())),
            "ranges": _checked_ranges(self.ranges, self.num_directions),
            "safe_ranges": None if safe_ranges is None else _checked_safe_ranges(safe_ranges, self.num_directions),
            "scores": _checked_scores(self.scores, self.num_directions),
            "method": self.method,
            "licence": self.licence,
        }

    def save_pretrained(self, path: str | Path) -> Path:
        """Write the pack into a folder, made if need be; files there that are no pack's are left alone.

        Every file is written beside the folder first and moved in whole, ``config.json`` (which names the hash of the
        directions) last, so a reader never takes half a pack for a whole one.

        Returns:
            The folder.

        Raises:
            PackError: the path is a file, or the pack holds what no reader would take.
        """
        folder = Path(path)
        self._write(folder, called=folder.resolve().name)
        return folder

    def _write(self, folder: Path, *, called: str) -> None:
        """Write the pack into a folder, with a model card for the pack that is loaded as ``called``."""
        if folder.exists() and not folder.is_dir():
            raise PackError(f"{folder} is a file; a pack is a folder.")
        config = self.config()
        in_pack = not self.generator_source and self._generator_config.get("architecture") != "module"
        generator = self.generator if in_pack else None
        encoder = self.encoder
        folder.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".pack-", dir=folder))
        try:
            write_safetensors(scratch / DIRECTIONS_FILE, {"directions": self.directions})
            if generator is not None:
                generator.save_weights(scratch / WEIGHTS_FILE)
            if encoder is not None:
                encoder.save_weights(scratch / ENCODER_FILE)
            if self.preview is not None:
                self.preview.save(scratch / PREVIEW_FILE, optimize=True)
            digest = hashlib.sha256((scratch / DIRECTIONS_FILE).read_bytes())
            config["directions_sha256"] = digest.hexdigest()
            card = model_card(called, config, has_preview=self.preview is not None)
            (scratch / CARD_FILE).write_text(card, encoding="utf-8", errors="replace")
            write_json(scratch / CONFIG_FILE, config)
            written = {file.name for file in scratch.iterdir()}
            was_pack = _is_pack(folder)
            for file in sorted(scratch.iterdir(), key=lambda file: file.name == CONFIG_FILE):
                os.replace(file, folder / file.name)
            for name in (ENCODER_FILE, PREVIEW_FILE):
                if was_pack and name not in written:
                    (folder / name).unlink(missing_ok=True)
        finally:
            shutil.rmtree(scratch)

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
        api = HfApi(token=token)
        with _as_pack_errors(repo_id):
            repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
        with tempfile.TemporaryDirectory() as scratch:
            self._write(Path(scratch), called=repo_id)
            with _as_pack_errors(repo_id):
                commit = api.upload_folder(
                    repo_id=repo_id,
                    folder_path=scratch,
                    commit_message=commit_message,
                    revision=revision,
                    delete_patterns=[name for name in (ENCODER_FILE, PREVIEW_FILE) if not Path(scratch, name).exists()],
                )
        return str(commit.commit_url)


def bundled_packs() -> dict[str, Path]:
    """Names and folders of the packs that come with ganaug."""
    package = Path(__file__).resolve().parents[1]
    # In a wheel the packs lie inside the package; in a checkout they lie beside it.
    for root in (package / "pretrained_directions", package.parent / "pretrained_directions"):
        if root.is_dir():
            return {folder.name: folder for folder in sorted(root.iterdir()) if (folder / CONFIG_FILE).is_file()}
    return {}


@contextmanager
def _as_pack_errors(repo_id: str) -> Iterator[None]:
    # Bases of HfHubHTTPError are the errors of the HTTP library, another one in other versions of huggingface_hub.
    of_http = cast(tuple[type[Exception], ...], HfHubHTTPError.__bases__)
    expected: tuple[type[Exception], ...] = (HFValidationError, OSError, *of_http)
    try:
        yield
    except expected as error:
        raise PackError(
            f"{repo_id!r} could not be pushed to the Hub: {error} Log in (hf auth login) with an account that may "
            "write there, check the connection and the name (org/name), and push again."
        ) from error


def _download(repo_id: str, **options: Any) -> Path:
    known = f"Bundled packs: {', '.join(bundled_packs()) or 'none'}."
    if "/" not in repo_id or repo_id.startswith((".", "/", "~")) or repo_id.count("/") > 1:
        raise PackError(f"there is no bundled pack and no folder {repo_id!r}. {known} Hub ids look like org/name.")
    try:
        return Path(snapshot_download(repo_id, allow_patterns=list(PACK_FILES), **options))
    except RevisionNotFoundError as error:
        raise PackError(f"{repo_id} on the Hub has no revision {options.get('revision')!r}.") from error
    except GatedRepoError as error:
        raise PackError(f"{repo_id} on the Hub is gated: accept its terms there and log in (hf auth login).") from error
    except RepositoryNotFoundError as error:
        raise PackError(
            f"there is no bundled pack, no folder and no public Hub repository {repo_id!r}. {known} "
            "For a private repository, log in (hf auth login) or pass token=..."
        ) from error
    except LocalEntryNotFoundError as error:
        raise PackError(
            f"{repo_id} is not in the Hub cache and the Hub could not be reached (or local_files_only, "
            f"HF_HUB_OFFLINE is set). Go online once, or pass a folder. {known}"
        ) from error
    except (HFValidationError, HfHubHTTPError) as error:
        raise PackError(f"{repo_id!r} could not be fetched from the Hub: {error}") from error


def _network_entry(network: Generator | Encoder) -> dict[str, Any]:
    return {**network.config, "sha256": network.weights_sha256()}


def _read_directions(path: Path, sha256: str) -> Tensor:
    if not path.is_file():
        raise PackError(f"{path} is missing.")
    try:
        content = path.read_bytes()
        tensors = load(content)
    except (SafetensorError, OSError) as error:
        raise PackError(f"{path} is not a whole safetensors file ({error}). Fetch the pack again.") from error
    if set(tensors) != {"directions"}:
        raise PackError(f"{path} should hold one tensor named 'directions', found {sorted(tensors)}.")
    if (found := hashlib.sha256(content).hexdigest()) != sha256:
        raise PackError(
            f"{path} has SHA-256 {found}, but config.json names {sha256}: the file was changed, or is another pack's."
        )
    try:
        return _checked_directions(tensors["directions"])
    except PackError as error:
        raise PackError(f"{path}: {error}") from error


def _checked_directions(directions: Tensor) -> Tensor:
    if directions.ndim != 2 or directions.dtype != torch.float32 or 0 in directions.shape:
        raise PackError(
            f"directions should be float32 of shape (K, latent_dim), got {directions.dtype} {tuple(directions.shape)}."
        )
    lengths = directions.norm(dim=1)
    if not torch.isfinite(lengths).all() or (lengths - 1).abs().max() > 1e-3:
        worst = int((lengths - 1).abs().nan_to_num(math.inf).argmax())
        raise PackError(f"directions should be unit rows; row {worst} has length {lengths[worst].item():.4g}.")
    return directions.detach().cpu().contiguous()


def _checked_names(names: Mapping[Any, Any], count: int) -> dict[str, int]:
    for name, index in names.items():
        is_plain = isinstance(name, str) and name.isprintable() and 1 <= len(name) <= 80 and name == name.strip()
        if not is_plain or name == "any" or name.isdecimal():
            raise PackError(
                f'a direction\'s name is 1 to 80 printable characters, not "any" (which means every direction) and not '
                f"a number (which is an index); got {name!r:.100}."
            )
        if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < count:
            raise PackError(f"the name {name!r} should point to a direction from 0 to {count - 1}, got {index!r:.100}.")
    return dict(names)


def _checked_ranges(ranges: Sequence[Any], count: int) -> list[Range]:
    if len(ranges) != count:
        raise PackError(f"there should be one range for each of the {count} directions, got {len(ranges)}.")
    return [_checked_range(interval, index) for index, interval in enumerate(ranges)]


def _checked_safe_ranges(ranges: Sequence[Any], count: int) -> list[Range | None]:
    """As :func:`_checked_ranges`; None marks a direction that keeps the label nowhere."""
    if len(ranges) != count:
        raise PackError(
            f"there should be one safe range (or null) for each of the {count} directions, got {len(ranges)}."
        )
    return [None if interval is None else _checked_range(interval, index) for index, interval in enumerate(ranges)]


def _checked_range(interval: Any, index: int) -> Range:
    numbers = list(interval) if isinstance(interval, (list, tuple)) else []
    if len(numbers) != 2 or not all(
        isinstance(n, (int, float)) and not isinstance(n, bool) and abs(n) < 1e6 for n in numbers
    ):
        raise PackError(
            f"the range of direction {index} should be two finite numbers [low, high], got {interval!r:.100}."
        )
    if not numbers[0] <= 0 <= numbers[1] or numbers[0] == numbers[1]:
        raise PackError(f"the range of direction {index} should be an interval around 0, got {numbers}.")
    return float(numbers[0]), float(numbers[1])


def _checked_scores(scores: Mapping[str, Any], count: int) -> dict[str, Any]:
    rows = scores.get("directions", {})
    known = set(map(str, range(count)))
    if not isinstance(rows, Mapping) or not all(
        index in known and isinstance(row, Mapping) for index, row in rows.items()
    ):
        raise PackError(f"scores['directions'] should map an index to its figures, got {rows!r:.100}.")
    return dict(scores)


def _checked_source(source: Any) -> dict[str, Any]:
    """What says where the generator comes from: nothing, a distribution's file, or a Hub repository."""
    kinds: tuple[set[str], ...] = (set(), {"distribution", "version", "path", "file_sha256"}, {"repo", "revision"})
    if not isinstance(source, Mapping) or set(source) not in kinds or not all(map(_is_text, source.values())):
        raise PackError(
            "the generator's source should have distribution, version, path and file_sha256, or repo and revision, "
            f"got {source!r:.100}."
        )
    return dict(source)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable() and len(value) < 300


def _read_preview(path: Path) -> Image.Image:
    try:
        # PNG alone: for some other formats Pillow starts programs that run what the file says.
        with Image.open(path, formats=["PNG"]) as picture:
            copy: Image.Image = picture.copy()
            return copy
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise PackError(f"{path} is not a PNG picture: {error}") from error


def _is_pack(folder: Path) -> bool:
    try:
        return "format_version" in read_json(folder / CONFIG_FILE)
    except GeneratorError:
        return False
