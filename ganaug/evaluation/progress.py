"""What a long measurement has found so far, kept in a file, so that it goes on where it was stopped."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ganaug.errors import EvaluationError, FileError
from ganaug.files import read_json, write_json
from ganaug.packs import DirectionPack

FORMAT = "ganaug evaluation"


class Progress:
    """Figures by key, each written as soon as it is found; in memory alone without a folder.

    Args:
        folder: where the file lies, ``.evaluation-HASH.json``; the hash is of ``pack`` and ``identity``, so that other
            settings have a file of their own.
        pack: whose directions and generator are measured.
        identity: settings that all figures depend on, JSON values.

    Raises:
        EvaluationError: the file is there and was not written by ganaug.
    """

    def __init__(self, folder: Path | None, pack: DirectionPack, identity: dict[str, Any]) -> None:
        self.path: Path | None = None
        self.found: dict[str, Any] = {}
        if folder is None:
            return
        whole = {
            **identity,
            "generator": pack.generator.weights_sha256(),
            "directions": hashlib.sha256(pack.directions.numpy().tobytes()).hexdigest(),
        }
        digest = hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()
        self.path = folder / f".evaluation-{digest[:12]}.json"
        if os.path.lexists(self.path):
            self.found = self._read(self.path, digest)
        self._digest = digest

    def of(self, key: str, measure: Callable[[], Any]) -> Any:
        """The figure under a key: the one that was kept, else what ``measure`` finds, a JSON value, kept from now on.

        Raises:
            FileError: it can't be written.
        """
        if key not in self.found:
            self.found[key] = measure()
            if self.path is not None:
                write_json(self.path, {"format": FORMAT, "identity": self._digest, "found": self.found})
        return self.found[key]

    def finish(self) -> None:
        """Take the file away: what it held is written elsewhere by now."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)

    @staticmethod
    def _read(path: Path, digest: str) -> dict[str, Any]:
        try:
            content = read_json(path)
        except FileError:
            content = {}
        found = content.get("found")
        if content.get("format") != FORMAT or content.get("identity") != digest or not isinstance(found, dict):
            raise EvaluationError(f"{path} is there already and holds no figures of ganaug's. Move it away.")
        return found
