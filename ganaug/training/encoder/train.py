"""Training the inversion encoder: sample, draw, recover; then reconstruct real images."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, nullcontext, suppress
from pathlib import Path
from threading import Event
from typing import Any

import torch
from tqdm.auto import tqdm

from ganaug.devices import default_device, in_channels_last, own_defaults
from ganaug.errors import EncoderTrainingError, Interrupted, SettingsError
from ganaug.generators import Encoder, Generator
from ganaug.generators.module import check_is_generator
from ganaug.locks import alone, is_scratch
from ganaug.streams import Images
from ganaug.training.discovery.checkpoint import (
    CHECKPOINT_FILE,
    damaged,
    read_checkpoint,
    told_as,
    write_checkpoint,
)
from ganaug.training.discovery.interruptions import stop_between_steps
from ganaug.training.encoder.run import EncoderRun, identity
from ganaug.training.encoder.settings import EncoderSettings

LOOK_EVERY = 50
"""In steps: how often the losses are shown, and looked at."""


@own_defaults
def train_encoder(
    generator: Generator,
    *,
    images: Images | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    checkpoint_every: int = 500,
    device: str | torch.device | None = None,
    show_progress: bool = True,
    **settings: Any,
) -> Encoder:
    """Train an encoder that finds the latent (and class) of an image.

    From the generator alone: draw z and y, and recover both from G(z, y) under noise: the squared error of z, the mean
    absolute error of the reconstructed image, and cross-entropy of y. After ``warm_up`` a share of each batch is real
    images, without labels: the absolute error of the reconstructed image, with the class that the encoder reads, and a
    prior that keeps ||z||^2 from exceeding its expectation (in-domain inversion: Zhu et al., ECCV 2020). Where the
    encoder is sure of a real image's class, it learns to read the same class under noise (pseudo-labels: Lee, ICML
    workshop 2013).

    Args:
        generator: frozen by this call and moved to ``device``.
        images: real images ``(N, C, H, W)`` uint8 of the generator's size; streamed ones are never held together.
        out: folder for ``checkpoint.pt``, which stays when the training has ended: see :func:`take_away`. Without it
            nothing is kept and the training can't be resumed.
        resume: go on from the checkpoint in ``out``; on the CPU the encoder is that of the unbroken training, bit for
            bit.
        checkpoint_every: in steps.
        device: defaults to CUDA when there is one, else the CPU.
        settings: see :class:`EncoderSettings`.

    Returns:
        The frozen encoder, on the CPU.

    Raises:
        SettingsError: an unknown or impossible setting.
        GeneratorError: no encoder can be built for the generator's image size.
        EncoderTrainingError: images of another shape than the generator's; a loss that is not finite; a checkpoint that
            is missing, damaged or of another run, or that can't be written.
        Interrupted: Ctrl-C or SIGTERM; the checkpoint is written first.
    """
    check_is_generator(generator)
    chosen = EncoderSettings.from_mapping(settings)
    if checkpoint_every < 1:
        raise SettingsError(f"checkpoint_every should be a positive number of steps, got {checkpoint_every}.")
    if resume and out is None:
        raise EncoderTrainingError("resume=True needs out=..., the folder of the run to go on with.")
    check_images(generator, images)
    checkpoint = None if out is None else Path(out) / CHECKPOINT_FILE
    check_resumable(checkpoint, resume=resume)
    generator = in_channels_last(generator.freeze().to(default_device(device)))
    with closing(EncoderRun(generator, images, chosen)) as run, told_as(EncoderTrainingError):
        known = {} if checkpoint is None else identity(generator, images, chosen)
        if resume and checkpoint is not None:
            _go_on(run, checkpoint, known)
        with _alone(checkpoint), stop_between_steps() as stop:
            for finished, stopping in _steps(run, stop, show_progress=show_progress):
                save = finished or stopping or run.step % checkpoint_every == 0
                if save or run.step % LOOK_EVERY == 1:
                    run.check_finite(checkpoint, weights=save)
                if save and checkpoint is not None:
                    write_checkpoint(checkpoint, {**known, **run.state()})
                if stopping and not finished:
                    raise Interrupted(f"stopped after step {run.step} of {chosen.steps}; {_way_on(checkpoint)}.")
    return run.encoder.to("cpu").to(memory_format=torch.contiguous_format).freeze()


def check_images(generator: Generator, images: Images | None) -> None:
    """Raise :class:`EncoderTrainingError` unless real images are uint8 of the generator's shape."""
    if images is None:
        return
    shape = (generator.channels, generator.image_size, generator.image_size)
    if not len(images) or images.ndim != 4 or images.shape[1:] != shape or images.dtype != torch.uint8:
        raise EncoderTrainingError(
            f"real images should be uint8 of shape (N, {shape[0]}, {shape[1]}, {shape[2]}), got {images.dtype} "
            f"{tuple(images.shape)}."
        )


def check_resumable(checkpoint: Path | None, *, resume: bool) -> None:
    """Raise :class:`EncoderTrainingError` if there is a checkpoint and none is to be gone on from, or the reverse."""
    if checkpoint is None or checkpoint.exists() == resume:
        return
    if resume:
        raise EncoderTrainingError(f"there is no {checkpoint} to go on from. Start without --resume (resume=True).")
    raise EncoderTrainingError(
        f"{checkpoint.parent} holds the checkpoint of a training that did not end. Go on with it (--resume, or "
        "resume=True), or delete it."
    )


def take_away(out: Path) -> None:
    """Remove the checkpoint of a training that has ended, and its folder if nothing else is in it."""
    with suppress(OSError):
        (out / CHECKPOINT_FILE).unlink()
        for each in out.iterdir():
            if is_scratch(each.name):  # of a process that was killed
                each.unlink()
        out.rmdir()


def _steps(run: EncoderRun, stop: Event, *, show_progress: bool) -> Iterator[tuple[bool, bool]]:
    """Take the steps that are left; after each, whether it was the last and whether to stop."""
    steps = run.settings.steps
    with tqdm(total=steps, initial=run.step, desc="encoder", disable=not show_progress) as bar:
        while run.step < steps:
            run.train_step()
            bar.update()
            if run.step % LOOK_EVERY == 1 or run.step == steps:
                bar.set_postfix({name: f"{value:.3f}" for name, value in run.means().items()})
            yield run.step == steps, stop.is_set()


def _go_on(run: EncoderRun, checkpoint: Path, known: dict[str, Any]) -> None:
    way = f"Give the same settings and images, or delete {checkpoint.parent}."
    state = read_checkpoint(checkpoint, known, otherwise=way)
    try:
        run.load_state(state)
    except (ValueError, RuntimeError) as error:
        raise damaged(checkpoint, error) from error


def _alone(checkpoint: Path | None) -> AbstractContextManager[None]:
    """While the block runs, no other process trains into the checkpoint's folder, which is made."""
    if checkpoint is None:
        return nullcontext()
    try:
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EncoderTrainingError(f"{checkpoint.parent} can't be made ({error.strerror}).") from error
    return alone(checkpoint)


def _way_on(checkpoint: Path | None) -> str:
    if checkpoint is None:
        return "out was not given to train_encoder, so nothing is kept"
    return f"go on with --resume (resume=True): {checkpoint.parent} holds all of it"
