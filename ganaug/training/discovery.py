"""Unsupervised discovery of interpretable directions (Voynov & Babenko, ICML 2020)."""

from __future__ import annotations

import json
import math
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm.auto import tqdm

from ganaug.directions import DirectionPack, draw_shifts
from ganaug.errors import UserError
from ganaug.evaluation.rca import reconstructor_accuracy
from ganaug.generators import Generator
from ganaug.generators.base import UNREADABLE
from ganaug.generators.precision import autocast
from ganaug.training.direction_matrix import DirectionMatrix
from ganaug.training.reconstructor import Reconstructor, default_reconstructor
from ganaug.training.settings import DiscoverySettings

CHECKPOINT_FILE = "checkpoint.pt"
METRICS_FILE = "metrics.jsonl"


class DiscoveryError(UserError, RuntimeError):
    """A discovery run cannot start, go on or resume; the message says why and what to do."""


class Interrupted(DiscoveryError):
    """The run was asked to stop and did so between two steps."""


def discover(
    generator: Generator,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    device: str | torch.device | None = None,
    initial: Tensor | None = None,
    checkpoint_every: int = 500,
    log_every: int = 50,
    rca_samples: int = 10_000,
    show_progress: bool = True,
    **settings: Any,
) -> DirectionPack:
    """Learn K directions of a generator's latent space together with a reconstructor that tells them apart.

    The loss is cross-entropy(k) + lambda * L(epsilon) over pairs G(z), G(z + A(epsilon * e_k)) (the paper's
    equation 1). Only the direction matrix A and the reconstructor learn: the generator is frozen, and G(z) has no
    graph. Class-conditional generators draw one label for both images of a pair.

    Args:
        generator: frozen by this call and moved to ``device``.
        out: folder for ``metrics.jsonl`` (step, loss, RCA, seconds) and ``checkpoint.pt``. Without it the run keeps
            neither and can't be resumed.
        resume: go on from the checkpoint in ``out``; the result is that of the unbroken run.
        device: defaults to CUDA when there is one, else the CPU.
        initial: ``(num_directions, latent_dim)`` directions to start from.
        checkpoint_every, log_every: in steps.
        rca_samples: fresh pairs on which the final RCA is measured.
        settings: see :class:`DiscoverySettings`.

    Returns:
        The pack: unit directions, the settings that made them, and ``scores["rca"]``.

    Raises:
        SettingsError: an unknown or impossible setting.
        GeneratorError: the generator returns another shape or range than it promises.
        DiscoveryError: a checkpoint that is missing, damaged or from other settings; a loss that is not finite.
        Interrupted: Ctrl-C or SIGTERM; the checkpoint is written first.
    """
    chosen = DiscoverySettings.from_mapping(settings)
    target = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    generator = generator.freeze().check().to(target).to(memory_format=torch.channels_last)
    run = Run(generator, chosen, initial)
    folder = None if out is None else Path(out)
    if folder is None and resume:
        raise DiscoveryError("resume=True needs out=..., the folder of the run to go on with.")
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        if resume:
            run.load(folder / CHECKPOINT_FILE)
            _drop_rows_after(folder / METRICS_FILE, run.step)
        elif (folder / CHECKPOINT_FILE).exists():
            raise DiscoveryError(
                f"{folder} holds the checkpoint of an earlier run. Go on with it (--resume, or resume=True), "
                "choose another folder, or delete it."
            )
        else:
            (folder / METRICS_FILE).unlink(missing_ok=True)

    checkpoint = None if folder is None else folder / CHECKPOINT_FILE
    with (
        _stop_between_steps() as stop,
        tqdm(total=chosen.steps, initial=run.step, desc="discover", disable=not show_progress) as bar,
    ):
        while run.step < chosen.steps:
            run.train_step()
            bar.update()
            finished = run.step == chosen.steps
            save = checkpoint is not None and (run.step % checkpoint_every == 0 or finished or stop.is_set())
            log = run.step % log_every == 0 or finished
            if (log or save or stop.is_set()) and not math.isfinite(last := run.last_loss.item()):
                kept = f" The last good checkpoint is {checkpoint}." if checkpoint and checkpoint.exists() else ""
                raise DiscoveryError(
                    f"the loss became {last} by step {run.step}. Lower matrix_lr and reconstructor_lr, "
                    f"or use precision=float32.{kept}"
                )
            if log:
                row = run.take_row()
                bar.set_postfix(loss=f"{row['loss']:.3f}", RCA=f"{row['rca']:.3f}")
                if folder is not None:
                    with (folder / METRICS_FILE).open("a", encoding="utf-8") as file:
                        file.write(json.dumps(row) + "\n")
            if save and checkpoint is not None:
                run.save(checkpoint)
            if stop.is_set() and not finished:
                way = (
                    f"go on with --resume (resume=True) from {folder}"
                    if folder
                    else "out was not given, so nothing is kept"
                )
                raise Interrupted(f"stopped after step {run.step} of {chosen.steps}; {way}.")
    return run.result(rca_samples)


class Run:
    """The state of a run: all that changes from step to step."""

    def __init__(self, generator: Generator, settings: DiscoverySettings, initial: Tensor | None) -> None:
        self.generator, self.settings = generator, settings
        self.drawing = generator.fused().to(memory_format=torch.channels_last)
        self.device = generator.device
        self.generator_sha256 = generator.weights_sha256()
        self.rng = torch.Generator().manual_seed(settings.seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            self.matrix = DirectionMatrix(
                settings.direction_matrix, settings.num_directions, generator.latent_dim, initial=initial, rng=self.rng
            ).to(self.device)
            kind = default_reconstructor(generator) if settings.reconstructor == "auto" else settings.reconstructor
            self.reconstructor = Reconstructor(
                kind, generator.channels, settings.num_directions, width=settings.reconstructor_width
            ).to(self.device)
            self.reconstructor.to(memory_format=torch.channels_last)
        groups: list[dict[str, Any]] = [
            {"params": list(self.reconstructor.parameters()), "lr": settings.reconstructor_lr}
        ]
        if learned := [parameter for parameter in self.matrix.parameters() if parameter.requires_grad]:
            groups.append({"params": learned, "lr": settings.matrix_lr})
        self.optimizer = torch.optim.Adam(groups, fused=True)
        self.base_lr = [group["lr"] for group in groups]
        self.step = 0
        self.started = time.monotonic()
        self.sums = torch.zeros(4, device=self.device)
        self.counted = 0
        self.last_loss = torch.zeros((), device=self.device)

    def train_step(self) -> None:
        settings = self.settings
        indices, magnitudes = draw_shifts(
            settings.batch_size,
            settings.num_directions,
            max_magnitude=settings.max_magnitude,
            min_magnitude=settings.min_magnitude,
            distribution=settings.magnitude_distribution,
            rng=self.rng,
        )
        latents = self.generator.sample_latents(settings.batch_size, rng=self.rng)
        labels = self.generator.sample_labels(settings.batch_size, rng=self.rng)
        indices, magnitudes = indices.to(self.device), magnitudes.to(self.device)

        with autocast(self.device, settings.precision):
            with torch.no_grad():
                images = self.drawing(latents, labels)
            shifted = self.drawing(latents + self.matrix(indices, magnitudes), labels)
            logits, predicted = self.reconstructor(images, shifted)
        logits, error = logits.float(), predicted.float() - magnitudes
        direction_loss = F.cross_entropy(logits, indices)
        magnitude_loss = (error.abs() if settings.magnitude_loss == "absolute" else error.square()).mean()
        loss = direction_loss + settings.magnitude_weight * magnitude_loss

        for group, lr in zip(self.optimizer.param_groups, self.base_lr, strict=True):
            progress = self.step / settings.steps
            group["lr"] = lr * (0.5 + 0.5 * math.cos(math.pi * progress) if settings.schedule == "cosine" else 1.0)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

        accuracy = (logits.argmax(1) == indices).float().mean()
        self.last_loss = loss.detach()
        self.sums += torch.stack([self.last_loss, direction_loss.detach(), magnitude_loss.detach(), accuracy])
        self.counted += 1
        self.step += 1

    def take_row(self) -> dict[str, Any]:
        """Averages since the last row."""
        names = ("loss", "direction_loss", "magnitude_loss", "rca")
        means = (self.sums / self.counted).tolist()
        self.sums.zero_()
        self.counted = 0
        seconds = round(time.monotonic() - self.started, 3)
        return {"step": self.step, **dict(zip(names, means, strict=True)), "seconds": seconds}

    def identity(self) -> dict[str, Any]:
        return {"settings": self.settings.to_dict(), "generator_sha256": self.generator_sha256}

    def save(self, path: Path) -> None:
        scratch = path.with_name(path.name + ".part")
        state = {
            **self.identity(),
            "step": self.step,
            "seconds": time.monotonic() - self.started,
            "matrix": self.matrix.state_dict(),
            "reconstructor": self.reconstructor.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random_state": self.rng.get_state(),
            "sums": self.sums,
            "counted": self.counted,
        }
        torch.save(state, scratch)
        os.replace(scratch, path)

    def load(self, path: Path) -> None:
        if not path.exists():
            raise DiscoveryError(f"there is no {path} to resume from. Start the run without --resume (resume=True).")
        try:
            state = torch.load(path, map_location=self.device, weights_only=True)
        except UNREADABLE as error:
            raise DiscoveryError(f"{path} is damaged ({error}). Delete it and start again.") from error
        for name, mine in self.identity().items():
            if state[name] != mine:
                theirs = state[name]
                differing = (
                    ", ".join(
                        f"{key} was {theirs.get(key)!r}, is {mine[key]!r}"
                        for key in mine
                        if theirs.get(key) != mine[key]
                    )
                    if isinstance(mine, dict)
                    else "it was made with another generator"
                )
                raise DiscoveryError(
                    f"{path} belongs to another run: {differing}. Use another --out, or the same settings."
                )
        self.matrix.load_state_dict(state["matrix"])
        self.reconstructor.load_state_dict(state["reconstructor"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.rng.set_state(state["random_state"].cpu())
        self.sums, self.counted, self.step = state["sums"], state["counted"], state["step"]
        self.started = time.monotonic() - state["seconds"]

    def result(self, rca_samples: int) -> DirectionPack:
        settings = self.settings
        rows = self.matrix.rows.detach()
        rca = reconstructor_accuracy(
            self.drawing,
            rows,
            self.reconstructor,
            samples=rca_samples,
            max_magnitude=settings.max_magnitude,
            min_magnitude=settings.min_magnitude,
            distribution=settings.magnitude_distribution,
            precision=settings.precision,
        )
        lengths = rows.norm(dim=1)
        return DirectionPack(
            F.normalize(rows, dim=1).cpu(),
            generator=self.generator,
            ranges=[(-settings.max_magnitude * length, settings.max_magnitude * length) for length in lengths.tolist()],
            method={"name": "reconstructor", **settings.to_dict()},
            scores={"rca": rca},
        )


@contextmanager
def _stop_between_steps() -> Iterator[threading.Event]:
    """Turn SIGINT and SIGTERM into an event, so that a step is never left half done; a second Ctrl-C is immediate."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def request(number: int, frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    previous = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _drop_rows_after(path: Path, step: int) -> None:
    """Forget metrics of steps that a resumed run will take again."""
    if not path.exists():
        return
    rows = [line for line in path.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
    kept = "".join(row + "\n" for row in rows if json.loads(row)["step"] <= step)
    scratch = path.with_name(path.name + ".part")
    scratch.write_text(kept, encoding="utf-8")
    os.replace(scratch, path)
