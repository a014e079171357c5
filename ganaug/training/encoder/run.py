"""An encoder's training from step to step: what learns, the optimiser, where the draws are."""

from __future__ import annotations

import hashlib
import json
import math
import os
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganaug.errors import EncoderTrainingError
from ganaug.generators import Encoder, Generator
from ganaug.images import uint8_to_signed
from ganaug.streams import Images, StreamedImages
from ganaug.training.discovery.checkpoint import last_good
from ganaug.training.discovery.run import check_tensors
from ganaug.training.encoder.settings import EncoderSettings
from ganaug.training.encoder.step import draw_batch, losses_of


class EncoderRun:
    """All that changes from step to step.

    Args:
        generator: frozen, where the run is to be.
        images: real images ``(N, C, H, W)`` uint8 of its size, or None. Streamed ones are decoded in a thread while the
            step before them runs.
        settings: of the run.
    """

    def __init__(self, generator: Generator, images: Images | None, settings: EncoderSettings) -> None:
        self.generator, self.images, self.settings = generator, images, settings
        self.encoder = untrained(generator, settings)
        self.optimizer = torch.optim.AdamW(
            self.encoder.parameters(), lr=settings.learning_rate, betas=(0.9, 0.99), fused=True
        )
        self.schedule = one_cycle(self.optimizer, settings)
        self.rng = torch.Generator().manual_seed(settings.seed)
        self.step = 0
        self.losses: dict[str, Tensor] = {}
        self._reader = ThreadPoolExecutor(1) if isinstance(images, StreamedImages) else None
        self._random_state = self.rng.get_state()
        self._next: Future[Tensor] | Tensor | None = None
        self._ask()

    def train_step(self) -> None:
        real = self._next.result() if isinstance(self._next, Future) else self._next
        batch = draw_batch(self.generator, None if real is None else uint8_to_signed(real), self.rng, self.settings)
        self.step += 1
        self._ask()
        self.losses = losses_of(self.generator, self.encoder, batch, self.settings)
        weights = self.settings.to_dict()
        loss = torch.stack([weights[f"{name}_weight"] * value for name, value in self.losses.items()]).sum()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.schedule.step()

    def _ask(self) -> None:
        """Draw which real images the next step has, and have them read; the draws' state before that is kept."""
        self._random_state = self.rng.get_state()
        settings, self._next = self.settings, None
        if self.images is None or not settings.warm_up * settings.steps <= self.step < settings.steps:
            return
        count = min(round(settings.real_share * settings.batch_size), settings.batch_size - 2)
        if not count:
            return
        chosen = torch.randint(len(self.images), (count,), generator=self.rng)
        if self._reader is None:
            self._next = self.images[chosen]
        else:
            self._next = self._reader.submit(self.images.__getitem__, chosen)

    def close(self) -> None:
        """End the thread that reads images."""
        if self._reader is not None:
            self._reader.shutdown(cancel_futures=True)

    def means(self) -> dict[str, float]:
        """The losses of the last step."""
        return {name: value.item() for name, value in self.losses.items()}

    def check_finite(self, checkpoint: Path | None = None, *, weights: bool = False) -> None:
        """Raise :class:`EncoderTrainingError` if a loss of the last step, or a weight, is not finite.

        Args:
            checkpoint: named in the error, if it is there.
            weights: look at these too.
        """
        means = self.means()
        finite = math.isfinite(sum(means.values()))
        if finite and weights:
            finite = all(tensor.isfinite().all().item() for tensor in self.encoder.state_dict().values())
        if not finite:
            raise EncoderTrainingError(
                f"a loss was not finite at step {self.step}: {means}. Lower learning_rate, or use precision=float32."
                f"{last_good(checkpoint)}"
            )

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds, what the run is known by aside."""
        return {
            "step": self.step,
            "encoder": self.encoder.state_dict(),
            "moments": self.optimizer.state_dict()["state"],
            "random_state": self._random_state,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a :meth:`state` of a run of the same identity.

        Raises:
            ValueError: it is none: something lacks, or is not what a run of these settings can have come to.
        """
        check_state(state, self)
        self.encoder.load_state_dict(state["encoder"])
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state["moments"], "param_groups": groups})
        self.step = state["step"]
        if self.step:
            self.schedule = one_cycle(self.optimizer, self.settings, done=self.step)
        self.rng.set_state(state["random_state"])
        self._ask()


def check_state(state: dict[str, Any], run: EncoderRun) -> None:
    """``ValueError`` for what is no state of a run of the same settings."""
    steps, step = run.settings.steps, state.get("step")
    if type(step) is not int or not 0 <= step <= steps:
        raise ValueError(f"step should be a whole number from 0 to {steps}, found {step!r:.50}")
    check_tensors(state.get("encoder"), run.encoder.state_dict())
    check_tensors({"random_state": state.get("random_state")}, {"random_state": run.rng.get_state()})
    parameters, moments = list(run.encoder.parameters()), state.get("moments")
    if not isinstance(moments, dict) or moments.keys() != ({*range(len(parameters))} if step else set()):
        raise ValueError("moments should have one entry for each parameter")
    for index, entry in moments.items():
        like = {"step": torch.zeros(()), "exp_avg": parameters[index], "exp_avg_sq": parameters[index]}
        check_tensors(entry, like)


def one_cycle(
    optimizer: torch.optim.Optimizer, settings: EncoderSettings, *, done: int = 0
) -> torch.optim.lr_scheduler.OneCycleLR:
    """The learning rate's schedule, with so many steps done."""
    return torch.optim.lr_scheduler.OneCycleLR(
        # Some shares of few steps leave no step to warm up in, which divides by zero.
        optimizer,
        settings.learning_rate,
        total_steps=settings.steps,
        pct_start=0.05 if settings.steps > 40 else 0.3,
        last_epoch=done - 1,
    )


def untrained(generator: Generator, settings: EncoderSettings) -> Encoder:
    """An encoder of random weights that suits a generator, where the generator is."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        encoder = Encoder(
            latent_dim=generator.latent_dim,
            image_size=generator.image_size,
            channels=generator.channels,
            num_classes=generator.num_classes,
            width=settings.width,
            hidden=settings.hidden,
        )
    return encoder.to(generator.device).to(memory_format=torch.channels_last)


def identity(generator: Generator, images: Images | None, settings: EncoderSettings) -> dict[str, Any]:
    """What a run that goes on must have in common with the one it continues: all that changes the result."""
    drawn_by = f"{generator.weights_sha256()} {json.dumps(generator.config)}"
    return {"settings": {**settings.to_dict(), "images": told_apart(images)}, "generator": drawn_by}


def told_apart(images: Images | None) -> str:
    """How many images, and a hash: of their pixels, or of streamed ones of their files' names and sizes."""
    if images is None:
        return "none"
    if isinstance(images, Tensor):
        digest = hashlib.sha256(images.cpu().contiguous().numpy().data)
    else:
        above = os.path.commonpath([os.path.dirname(os.path.abspath(file)) for file in images.files])
        files = [(os.path.relpath(file, above), os.path.getsize(file)) for file in images.files]
        digest = hashlib.sha256(json.dumps([files, list(images.shape), images.crop]).encode())
    return f"{len(images):,} of SHA-256 {digest.hexdigest()[:16]}"
