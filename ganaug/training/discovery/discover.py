"""Unsupervised discovery of interpretable directions (Voynov & Babenko, ICML 2020)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from ganaug.devices import default_device, in_channels_last, own_defaults
from ganaug.errors import DiscoveryError, Interrupted, SettingsError
from ganaug.generators import Generator
from ganaug.generators.module import check_is_generator
from ganaug.packs import DirectionPack
from ganaug.training.discovery.checkpoint import RunFiles, damaged
from ganaug.training.discovery.distributed import any_process, wait_for_all
from ganaug.training.discovery.interruptions import explained_errors, stop_between_steps
from ganaug.training.discovery.run import Run
from ganaug.training.discovery.settings import DiscoverySettings

AGREE_EVERY = 5
"""In steps: how often several processes ask each other whether one of them was told to stop."""


@own_defaults
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
    check_is_generator(generator)
    chosen = DiscoverySettings.from_mapping(settings)
    for name, every in (("checkpoint_every", checkpoint_every), ("log_every", log_every)):
        if every < 1:
            raise SettingsError(f"{name} should be a positive number of steps, got {every}.")
    if out is None and (resume or tensorboard):
        wanted = "the folder of the run to go on with" if resume else "a folder for the event files"
        raise DiscoveryError(f"{'resume' if resume else 'tensorboard'}=True needs out=..., {wanted}.")

    # Set up, or go on.
    generator = in_channels_last(generator.freeze().check().to(default_device(device)))
    run = Run(generator, chosen, initial)
    files = RunFiles(None if out is None else Path(out), resume=resume)
    if resume:
        state = files.read(run.identity)
        try:
            run.load_state(state)
        except (ValueError, RuntimeError) as error:
            raise damaged(files.checkpoint, error) from error
    wait_for_all(run.device)  # no process writes before all have looked
    with files.written_alone(by_this_process=run.rank == 0), explained_errors(run, files.checkpoint):
        if run.rank == 0:
            if not resume:
                files.save(run.state())
            files.open(after=run.step, tensorboard=tensorboard)
        quiet = not show_progress or run.rank > 0
        with (
            stop_between_steps() as stop,
            tqdm(total=chosen.steps, initial=run.step, desc="discover", disable=quiet) as bar,
        ):
            while run.step < chosen.steps:
                # Step.
                run.train_step()
                bar.update()
                finished = run.step == chosen.steps
                log = run.step % log_every == 0 or finished
                stopping = stop.is_set()
                if run.size > 1:  # all processes leave at the same step
                    stopping = (log or run.step % AGREE_EVERY == 0) and any_process(stopping, run.device)

                # Log.
                save = run.step % checkpoint_every == 0 or finished or stopping
                if log or save:
                    run.check_finite(files.checkpoint)
                if log:
                    row = run.take_row()
                    bar.set_postfix(loss=f"{row['loss']:.3f}", RCA=f"{row['rca']:.3f}")
                    files.append(row)

                # Keep, and stop if told to.
                if save:
                    files.save(run.state())
                if stopping and not finished:
                    way = "out was not given to discover, so nothing is kept"
                    if files.folder is not None:
                        way = f"go on with --resume (resume=True) from {files.folder}"
                    raise Interrupted(f"stopped after step {run.step} of {chosen.steps}; {way}.")
        files.close()
        return run.result(rca_samples)
