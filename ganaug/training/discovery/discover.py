"""Unsupervised discovery of interpretable directions (Voynov & Babenko, ICML 2020)."""

from __future__ import annotations

import copy
import hashlib
import json
import math
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from tqdm.auto import tqdm

from ganaug.devices import autocast, default_device, in_channels_last
from ganaug.draws import draw_shifts
from ganaug.errors import DiscoveryError, Interrupted, SettingsError
from ganaug.evaluation import reconstructor_accuracy
from ganaug.evaluation.judges import ConvNet
from ganaug.generators import Generator
from ganaug.packs import DirectionPack
from ganaug.training.discovery.checkpoint import CHECKPOINT_FILE, Metrics, last_good, read_checkpoint, write_checkpoint
from ganaug.training.discovery.distributed import averaged, rank_and_size, synchronise_batch_norms
from ganaug.training.discovery.matrix import DirectionMatrix
from ganaug.training.discovery.reconstructor import Reconstructor, default_reconstructor
from ganaug.training.discovery.settings import DiscoverySettings


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
    tensorboard: bool = False,
    show_progress: bool = True,
    **settings: Any,
) -> DirectionPack:
    """Learn K directions of a generator's latent space together with a reconstructor that tells them apart.

    The loss is cross-entropy(k) + lambda * L(epsilon) over pairs G(z), G(z + A(epsilon * e_k)) (the paper's
    equation 1). Only the direction matrix A and the reconstructor learn: the generator is frozen, and G(z) has no
    graph. Class-conditional generators draw one label for both images of a pair.

    In a process group of ``torch.distributed`` each process takes its share of every batch; the result is that of one
    process, to rounding. Only the first process writes.

    Args:
        generator: frozen by this call and moved to ``device``.
        out: folder for ``metrics.jsonl`` (step, loss, RCA, seconds) and ``checkpoint.pt``. Without it the run keeps
            neither and can't be resumed.
        resume: go on from the checkpoint in ``out``; the result is that of the unbroken run.
        device: defaults to CUDA when there is one, else the CPU.
        initial: ``(num_directions, latent_dim)`` directions to start from, zero where ``generator.directions_within``
            lets none change a latent.
        checkpoint_every, log_every: in steps.
        rca_samples: fresh pairs on which the final RCA is measured.
        tensorboard: also write TensorBoard event files, into ``out/tensorboard``.
        settings: see :class:`DiscoverySettings`.

    Returns:
        The pack: unit directions, the settings that made them, and ``scores["rca"]``.

    Raises:
        SettingsError: an unknown or impossible setting.
        GeneratorError: the generator returns another shape or range than it promises.
        DiscoveryError: a checkpoint that is missing, damaged or from other settings; a loss that is not finite; files
            that can't be written; a GPU that fails.
        Interrupted: Ctrl-C or SIGTERM; the checkpoint is written first.
    """
    chosen = DiscoverySettings.from_mapping(settings)
    for name, every in (("checkpoint_every", checkpoint_every), ("log_every", log_every)):
        if every < 1:
            raise SettingsError(f"{name} should be a positive number of steps, got {every}.")
    folder = None if out is None else Path(out)
    if folder is None and (resume or tensorboard):
        wanted = "the folder of the run to go on with" if resume else "a folder for the event files"
        raise DiscoveryError(f"{'resume' if resume else 'tensorboard'}=True needs out=..., {wanted}.")
    target = default_device(device)
    generator = in_channels_last(generator.freeze().check().to(target))
    run = Run(generator, chosen, initial)
    checkpoint, metrics = None, None
    if folder is not None:
        checkpoint = folder / CHECKPOINT_FILE
        _open_folder(run, folder, resume=resume)
        if run.rank == 0:
            metrics = Metrics(folder, after=run.step, tensorboard=tensorboard)
            if not resume:
                write_checkpoint(checkpoint, run.state())

    try:
        with (
            _stop_between_steps() as stop,
            tqdm(
                total=chosen.steps, initial=run.step, desc="discover", disable=not show_progress or run.rank > 0
            ) as bar,
        ):
            while run.step < chosen.steps:
                run.train_step()
                bar.update()
                finished = run.step == chosen.steps
                log = run.step % log_every == 0 or finished
                stopping = stop.is_set()
                if run.size > 1:  # all processes leave at the same step, so they agree on it now and then
                    meet = log or run.step % 5 == 0
                    stopping = meet and averaged(torch.tensor(float(stopping), device=run.device)).item() > 0
                save = run.step % checkpoint_every == 0 or finished or stopping
                if log or save:
                    run.check_finite(checkpoint)
                if log:
                    row = run.take_row()
                    bar.set_postfix(loss=f"{row['loss']:.3f}", RCA=f"{row['rca']:.3f}")
                    if metrics is not None:
                        metrics.append(row)
                if save and metrics is not None and checkpoint is not None:
                    write_checkpoint(checkpoint, run.state())
                if stopping and not finished:
                    way = (
                        f"go on with --resume (resume=True) from {folder}"
                        if folder
                        else "out was not given, so nothing is kept"
                    )
                    raise Interrupted(f"stopped after step {run.step} of {chosen.steps}; {way}.")
        if metrics is not None:
            metrics.close()
        return run.result(rca_samples)
    except DiscoveryError:
        raise
    except RuntimeError as error:
        raise _explained(error, run.step, checkpoint) from error


class Batch(NamedTuple):
    """What a step draws: ``(N, latent_dim)`` latents, ``(N,)`` labels or None, indices and magnitudes."""

    latents: Tensor
    labels: Tensor | None
    indices: Tensor
    magnitudes: Tensor

    def rows(self, rows: slice) -> Batch:
        labels = None if self.labels is None else self.labels[rows]
        return Batch(self.latents[rows], labels, self.indices[rows], self.magnitudes[rows])


class Pairs(nn.Module):
    """All that learns: the direction matrix, the reconstructor and, for label-safe discovery, a reader of labels."""

    def __init__(self, matrix: DirectionMatrix, reconstructor: nn.Module, reader: nn.Module | None) -> None:
        super().__init__()
        self.matrix, self.reconstructor, self.reader = matrix, reconstructor, reader

    def forward(self, draw: Callable[..., Tensor], batch: Batch) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        """Draw the pairs; direction logits, magnitudes, and label logits of the images and of the shifted images.

        The reader learns from unshifted images; where it reads shifted ones, only the direction matrix learns.
        """
        with torch.no_grad():
            images = draw(batch.latents, batch.labels)
        shifted = draw(batch.latents + self.matrix(batch.indices, batch.magnitudes), batch.labels)
        logits, magnitudes = self.reconstructor(images, shifted)
        if self.reader is None:
            return logits, magnitudes, None, None
        fixed = {name: parameter.detach() for name, parameter in self.reader.named_parameters()}
        fixed |= {name: buffer.clone() for name, buffer in self.reader.named_buffers()}
        read = self.reader(images)
        return logits, magnitudes, read, torch.func.functional_call(self.reader, fixed, (shifted,))


class Run:
    """The state of a run: all that changes from step to step."""

    names = ("loss", "direction_loss", "magnitude_loss", "rca", "label")

    def __init__(self, generator: Generator, settings: DiscoverySettings, initial: Tensor | None = None) -> None:
        self.generator, self.settings = generator, settings
        self.drawing = in_channels_last(generator.fused())
        self.device = generator.device
        self.generator_sha256 = generator.weights_sha256()
        self.rank, self.size = rank_and_size()
        self.each, rest = divmod(settings.batch_size, self.size * settings.micro_batches)
        if rest or self.each < 2:
            raise SettingsError(
                f"batch_size={settings.batch_size} should be a multiple of micro_batches={settings.micro_batches} "
                f"times the number of processes, {self.size}, with two pairs or more for each."
            )
        if settings.label_weight and not generator.num_classes:
            raise SettingsError("label_weight needs a class-conditional generator, and this one is unconditional.")
        if settings.recompute == "on":
            if self.drawing.recomputes is None:
                raise SettingsError("recompute=on is for the architectures of ganaug, not for a network of your own.")
            if self.drawing is generator:
                self.drawing = copy.deepcopy(generator)
            self.drawing.recomputes = True
        self.rng = torch.Generator().manual_seed(settings.seed)
        self.initial = (
            None
            if initial is None
            else hashlib.sha256(initial.float().cpu().contiguous().numpy().tobytes()).hexdigest()
        )
        kind = default_reconstructor(generator) if settings.reconstructor == "auto" else settings.reconstructor
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            try:
                self.matrix = DirectionMatrix(
                    settings.direction_matrix,
                    settings.num_directions,
                    generator.latent_dim,
                    initial=initial,
                    within=generator.directions_within,
                    rng=self.rng,
                )
                self.reconstructor: nn.Module = Reconstructor(
                    kind, generator.channels, settings.num_directions, width=settings.reconstructor_width
                )
            except ValueError as error:
                raise SettingsError(str(error)) from error
            reader = ConvNet(generator.channels, generator.num_classes) if settings.label_weight else None
        pairs = Pairs(self.matrix, self.reconstructor, reader)
        if self.size > 1:
            pairs = synchronise_batch_norms(pairs, self.device)
        self.pairs = pairs.to(self.device)
        for network in (pairs.reconstructor, pairs.reader):
            if network is not None:
                network.to(memory_format=torch.channels_last)
        self.draws: Callable[[Tensor, Tensor | None], Tensor] = self.drawing
        if settings.compile == "on":
            self.draws = compiled(self.drawing, self.each, settings.precision)
        self.model: nn.Module = self.pairs
        if self.size > 1:
            self.model = DistributedDataParallel(self.pairs)
        readers = [] if pairs.reader is None else list(pairs.reader.parameters())
        groups: list[dict[str, Any]] = [
            {"params": [*self.reconstructor.parameters(), *readers], "lr": settings.reconstructor_lr}
        ]
        if learned := [parameter for parameter in self.matrix.parameters() if parameter.requires_grad]:
            groups.append({"params": learned, "lr": settings.matrix_lr})
        self.optimizer = torch.optim.Adam(groups, fused=True)
        self.base_lr = [group["lr"] for group in groups]
        self.step = 0
        self.started = time.monotonic()
        self.sums = torch.zeros(len(self.names), device=self.device)
        self.counted = 0

    def draw(self) -> Batch:
        """The draws of a step; the same in every process, whatever their number."""
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
        return Batch(latents, labels, indices.to(self.device), magnitudes.to(self.device))

    def losses(self, batch: Batch) -> Tensor:
        """The loss, its two parts, RCA and the share of labels read, of some pairs (the paper's equation 1)."""
        settings = self.settings
        with autocast(self.device, settings.precision):
            logits, predicted, read, read_shifted = self.model(self.draws, batch)
        logits, error = logits.float(), predicted.float() - batch.magnitudes
        direction_loss = F.cross_entropy(logits, batch.indices)
        magnitude_loss = (error.abs() if settings.magnitude_loss == "absolute" else error.square()).mean()
        loss = direction_loss + settings.magnitude_weight * magnitude_loss
        accuracy = (logits.argmax(1) == batch.indices).float().mean()
        label = torch.zeros_like(loss)
        if read is not None:
            assert batch.labels is not None
            loss = loss + F.cross_entropy(read.float(), batch.labels)
            loss = loss + settings.label_weight * F.cross_entropy(read_shifted.float(), batch.labels)
            label = (read_shifted.argmax(1) == batch.labels).float().mean()
        return torch.stack([loss, direction_loss, magnitude_loss, accuracy, label])

    def train_step(self) -> None:
        settings = self.settings
        batch = self.draw()
        for group, lr in zip(self.optimizer.param_groups, self.base_lr, strict=True):
            progress = self.step / settings.steps
            group["lr"] = lr * (0.5 + 0.5 * math.cos(math.pi * progress) if settings.schedule == "cosine" else 1.0)
        self.optimizer.zero_grad()
        for part in range(settings.micro_batches):
            start = (part * self.size + self.rank) * self.each
            last = part == settings.micro_batches - 1
            model = self.model
            with model.no_sync() if isinstance(model, DistributedDataParallel) and not last else nullcontext():
                losses = self.losses(batch.rows(slice(start, start + self.each))) / settings.micro_batches
                losses[0].backward()
            self.sums += losses.detach()
        self.optimizer.step()
        self.counted += 1
        self.step += 1

    def take_row(self) -> dict[str, Any]:
        """Averages since the last row."""
        means = averaged(self.sums / self.counted).tolist()
        self.sums.zero_()
        self.counted = 0
        names = self.names if self.pairs.reader is not None else self.names[:-1]
        seconds = round(time.monotonic() - self.started, 3)
        return {"step": self.step, **dict(zip(names, means, strict=False)), "seconds": seconds}

    def check_finite(self, checkpoint: Path | None) -> None:
        """Raise :class:`DiscoveryError` if a loss since the last row, or anything that was learned, is not finite."""
        self.sums = averaged(self.sums)
        loss = self.sums[0].item()
        finite = torch.stack([parameter.isfinite().all() for parameter in self.pairs.parameters()]).all().item()
        if math.isfinite(loss) and finite:
            return
        what = f"the loss became {loss}" if not math.isfinite(loss) else "a weight is no longer finite"
        raise DiscoveryError(
            f"{what} by step {self.step}. Start anew with a lower matrix_lr and reconstructor_lr, or precision=float32."
            f"{last_good(checkpoint)}"
        )

    def identity(self) -> dict[str, Any]:
        """What a run that goes on must have in common with this one: all that changes the result."""
        settings = self.settings.to_dict()
        del settings["recompute"], settings["compile"]
        generator = f"{self.generator_sha256} {json.dumps(self.generator.config)}"  # the same weights draw z or w
        return {"settings": settings, "generator": generator, "initial": self.initial}

    def state(self) -> dict[str, Any]:
        return {
            **self.identity(),
            "step": self.step,
            "seconds": time.monotonic() - self.started,
            "pairs": self.pairs.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random_state": self.rng.get_state(),
            "sums": self.sums,
            "counted": self.counted,
        }

    def load(self, path: Path) -> None:
        """Go on from a checkpoint; :class:`DiscoveryError` if it is missing, damaged or of another run."""
        state = read_checkpoint(path, self.identity())
        self.pairs.load_state_dict(state["pairs"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.rng.set_state(state["random_state"])
        self.sums, self.counted, self.step = state["sums"].to(self.device), state["counted"], state["step"]
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
            most_at_once=self.each,
        )
        lengths = rows.norm(dim=1)
        return DirectionPack(
            F.normalize(rows, dim=1).cpu(),
            generator=self.generator,
            ranges=[(-settings.max_magnitude * length, settings.max_magnitude * length) for length in lengths.tolist()],
            method={"name": "reconstructor", **settings.to_dict()},
            scores={"rca": rca},
        )


def compiled(generator: Generator, count: int, precision: str) -> Callable[[Tensor, Tensor | None], Tensor]:
    """The generator through ``torch.compile``, tried on a batch forwards and backwards; if that fails, the generator
    itself, with a warning."""
    quick: Callable[[Tensor, Tensor | None], Tensor] = torch.compile(generator.synthesize)
    rng = torch.Generator().manual_seed(0)
    latents = generator.sample_latents(count, rng=rng).requires_grad_()
    try:
        with autocast(generator.device, precision):
            images = quick(latents, generator.sample_labels(count, rng=rng))
        images.float().sum().backward()
    except (torch._dynamo.exc.TorchDynamoException, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        warnings.warn(f"torch.compile failed ({reason}); the run goes on without it.", stacklevel=2)
        return generator
    return quick


def _open_folder(run: Run, folder: Path, *, resume: bool) -> None:
    """Make a run's folder, or load the checkpoint in it."""
    checkpoint = folder / CHECKPOINT_FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DiscoveryError(f"{folder} can't be made ({error.strerror}). Choose another --out.") from error
    if resume:
        run.load(checkpoint)
    elif checkpoint.exists():
        raise DiscoveryError(
            f"{folder} holds the checkpoint of an earlier run. Go on with it (--resume, or resume=True), "
            "choose another folder, or delete it."
        )
    averaged(torch.zeros((), device=run.device))  # no process writes before all have looked


def _explained(error: RuntimeError, step: int, checkpoint: Path | None) -> Exception:
    """An error of the machine, not of the program, as what its user can do about it; any other as it came."""
    kept = last_good(checkpoint)
    if isinstance(error, torch.OutOfMemoryError) or "not enough memory" in str(error):
        return DiscoveryError(
            f"out of memory after step {step} ({str(error).splitlines()[0]}). Go on with recompute=on, or start anew "
            f"with more micro_batches or a smaller batch_size.{kept}"
        )
    if any(sign in str(error) for sign in ("CUDA error", "device-side assert", "NCCL", "gloo")):
        return DiscoveryError(
            f"a device or another process was lost after step {step} ({str(error).splitlines()[0]}).{kept}"
            + (" Go on with --resume." if kept else "")
        )
    return error


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
