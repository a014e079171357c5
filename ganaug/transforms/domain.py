"""The first images that a transform sees, compared with those that its pack is for."""

from __future__ import annotations

import torch
from torch import Tensor

from ganaug.images import in_channels
from ganaug.inversion.domain import looked_at, refuse_if_foreign
from ganaug.packs import DirectionPack
from ganaug.packs.domain import ENOUGH


class DomainGate:
    """Looks at images until it has seen 64, and refuses those of another kind than the pack's, once and for all.

    Args:
        pack: one without an encoder, or that does not know its kind of images, lets everything pass.
    """

    def __init__(self, pack: DirectionPack) -> None:
        self.pack = pack
        self.open = not pack.has_encoder or pack.domain is None
        self._descriptions, self._errors = torch.empty(0, device="cpu"), torch.empty(0, device="cpu")

    def check(self, images: Tensor) -> None:
        """Look at images ``(N, C, H, W)``, uint8 or float in [0, 1].

        Raises:
            TransformError: those seen so far are not of the pack's kind.
        """
        if self.open or not len(images):
            return
        descriptions, errors, _ = looked_at(
            self.pack, in_channels(images.detach(), self.pack.generator.channels)[: ENOUGH - len(self._errors)]
        )
        if len(self._errors):
            descriptions, errors = torch.cat([self._descriptions, descriptions]), torch.cat([self._errors, errors])
        refuse_if_foreign(self.pack, descriptions, errors)
        self._descriptions, self._errors = descriptions, errors
        self.open = len(errors) >= ENOUGH
        if self.open:
            self._descriptions, self._errors = torch.empty(0, device="cpu"), torch.empty(0, device="cpu")
