"""Training a generator on images of one's own."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tqdm.auto import tqdm

from ganaug.data import LabelledImages, kind_of_images, read_images
from ganaug.devices import default_device, own_defaults
from ganaug.errors import GeneratorTrainingError, Interrupted, SettingsError
from ganaug.evaluation import QualityReport, Yardstick, prepare_yardstick
from ganaug.folders import OnError
from ganaug.gallery import samples_sheet
from ganaug.generators import SNGAN
from ganaug.locks import replacing
from ganaug.ranks import Ranks, rank_and_size
from ganaug.training.discovery.checkpoint import RunFiles, damaged, told_as
from ganaug.training.discovery.distributed import any_process, wait_for_all
from ganaug.training.discovery.interruptions import stop_between_steps
from ganaug.training.generator.card import CARD, write_card
from ganaug.training.generator.flips import TOLD, handedness
from ganaug.training.generator.run import Run
from ganaug.training.generator.settings import SIZES, GeneratorSettings, networks_for

LARGEST = 64
"""Pixels of a side unless a size is asked for."""
LOOKS = 10
"""How often the generator is measured while it trains."""
LOOKED_AT = 500
"""Samples of such a measurement."""
LEAST = 4
"""Images on each side of the split, without which nothing is measured."""
SHEET = "samples.png"
WRITTEN = ("config.json", "generator.safetensors", CARD, SHEET, "report.json", "report.txt")
TRIED = 8
"""Iterations that are timed, after as many that are not, to plan a run of so many minutes."""


class Trained(NamedTuple):
    """A trained generator, and how good it is: None in processes other than the first, with ``judge_steps=0``, and of
    fewer than 4 held-out images."""

    generator: SNGAN
    quality: QualityReport | None


@own_defaults
def train_generator(
    images: str | Path,
    *,
    out: str | Path,
    size: int | None = None,
    minutes: float | None = None,
    resume: bool = False,
    on_error: OnError = "fail",
    networks: Mapping[str, Any] | None = None,
    device: str | torch.device | None = None,
    checkpoint_seconds: float = 60,
    log_every: int = 50,
    show_progress: bool = True,
    **settings: Any,
) -> Trained:
    """Train a generator on images: SN-GAN's networks (Miyato et al., ICLR 2018), class-conditional where there are
    classes (Miyato & Koyama, ICLR 2018; Odena et al., ICML 2017), with its hinge loss or R3GAN's (Huang et al., NeurIPS
    2024), differentiable augmentation (Zhao et al., NeurIPS 2020) and averaged weights (Yazici et al., ICLR 2019).

    Its classes are the subfolders, whose names it keeps; images in one folder make it unconditional. Grey or colour is
    told from the images. One image in five is held out, unless the folder has parts ``train`` and ``test``. The same
    seed gives the same generator, however often the run was stopped, on a CPU. In a process group of
    ``torch.distributed`` each process takes its share of every batch, with batch norms of its own; the first writes.

    Args:
        images: a folder of class subfolders or of images, or ``NAME:FOLDER``, see :func:`ganaug.data.read_labelled`.
        out: folder for the generator and its card, ``samples.png``, ``quality.json``, ``metrics.jsonl`` and
            ``checkpoint.pt``.
        size: pixels of a side, 32, 64 or 128; by default the largest of 32 and 64 that the images have.
        minutes: plan the iterations for so much time, from the first reading of an image on.
        resume: go on from the checkpoint in ``out``.
        on_error: what to do with damaged images, see :func:`ganaug.folders.sound`.
        networks: a recipe's ``[generator]`` table, with ``discriminator_widths`` and ``discriminator_downs``.
        device: defaults to CUDA when there is one, else the CPU.
        checkpoint_seconds: between checkpoints.
        log_every: iterations between rows of ``metrics.jsonl``.
        settings: see :class:`GeneratorSettings`.

    Returns:
        The averaged generator, frozen, on the CPU, and how good it is, see :class:`Trained`; both are in ``out``.

    Raises:
        SettingsError: an unknown or impossible setting, or both minutes and iterations.
        DataError: no such folder, damaged images, or too few.
        GeneratorTrainingError: a checkpoint that is missing, damaged or of another run; losses that are not finite;
            files that can't be written.
        Interrupted: Ctrl-C or SIGTERM; the generator as it was then is saved first, and the checkpoint.
    """
    began = time.monotonic()
    chosen = GeneratorSettings.from_mapping(settings)
    _check(minutes, settings, log_every)
    with told_as(GeneratorTrainingError):
        files = RunFiles(Path(out), resume=resume)
    _check_place(Path(out), resume)
    target = default_device(device)

    kind = kind_of_images(images)
    class_names = kind.class_names if chosen.labels == "use" else []
    built_of = networks_for(
        chosen,
        size=_size(size, kind.side, networks),
        channels=kind.channels,
        num_classes=len(class_names),
        given=networks,
    )
    size = SNGAN(**built_of.generator).image_size
    training, test = (
        read_images(images, train=train, size=size, channels=kind.channels, on_error=on_error)
        for train in (True, False)
    )
    mirrored = chosen.flips == "on"
    if chosen.flips == "auto" and not resume:
        told = handedness(training.images, test.images, seed=chosen.seed, device=target)
        mirrored = Ranks(*rank_and_size()).gathered(told)[0] < TOLD
    yardstick = _yardstick(training, test, class_names, chosen, target, show_progress)

    def new_run(chosen: GeneratorSettings, mirrored: bool) -> Run:
        return Run(training, built_of, chosen, mirrored=mirrored, device=target)

    run = new_run(chosen, mirrored)
    with told_as(GeneratorTrainingError):
        if resume:
            state = files.read(run.identity)
            run = new_run(replace(chosen, iterations=_planned(state, files)), state.get("mirrored") is True)
            try:
                run.load_state(state)
            except (ValueError, RuntimeError, KeyError) as error:
                raise damaged(files.checkpoint, error) from error
        elif minutes is not None:
            left = 60 * minutes - (time.monotonic() - began) - (LOOKS + 2) * _seconds_of_a_look(run, yardstick)
            [planned, *_] = Ranks(run.rank, run.size).gathered(_iterations_in(left, run))
            run = new_run(replace(chosen, iterations=planned), mirrored)
        wait_for_all(run.device)  # no process writes before all have looked
        with files.written_alone(by_this_process=run.rank == 0):
            look = _Looks(run, files, class_names, yardstick)
            _train(run, files, look, resume, checkpoint_seconds, log_every, quiet=not show_progress)
            return look.finish()


def _train(
    run: Run,
    files: RunFiles,
    look: _Looks,
    resume: bool,
    checkpoint_seconds: float,
    log_every: int,
    *,
    quiet: bool,
) -> None:
    total = run.settings.iterations
    saved = time.monotonic()
    if run.rank == 0:
        if not resume:
            files.save(run.state())
        files.open(after=run.iteration, tensorboard=False)
    with (
        stop_between_steps() as stop,
        tqdm(total=total, initial=run.iteration, desc="generator", disable=quiet or run.rank > 0) as bar,
    ):
        while run.iteration < total:
            # Step.
            run.train_step()
            bar.update()
            finished = run.iteration == total
            stopping = stop.is_set()
            if run.size > 1:  # all processes leave at the same iteration
                stopping = any_process(stopping, run.device)

            # Log.
            looking = run.iteration % look.every == 0 and not finished
            if run.iteration % log_every == 0 or looking or finished:
                row = run.take_row()
                bar.set_postfix(d=f"{row['discriminator_loss']:.2f}", g=f"{row['generator_loss']:.2f}")
                files.append(row | (look.figures(bar) if looking else {}))

            # Keep, and stop if told to.
            if finished or stopping or time.monotonic() - saved > checkpoint_seconds:
                files.save(run.state())
                saved = time.monotonic()
            if stopping and not finished:
                look.finish()
                raise Interrupted(
                    f"stopped after iteration {run.iteration} of {total}; {files.folder} holds the generator as it was "
                    "then, which can be used. Go on with --resume (resume=True)."
                )
    files.close()


class _Looks(NamedTuple):
    """Looks at the averaged generator, now and then and in the end."""

    run: Run
    files: RunFiles
    class_names: list[str]
    yardstick: Yardstick | None

    @property
    def every(self) -> int:
        """Iterations between looks, the same in all processes."""
        settings = self.run.settings
        return max(1, settings.iterations // LOOKS) if settings.judge_steps else settings.iterations

    def figures(self, bar: tqdm[Any]) -> dict[str, float]:
        """What goes into a row; said above the progress bar."""
        if self.yardstick is None:
            return {}
        report = self.yardstick.measure(self.run.result(), samples=LOOKED_AT, seed=self.run.settings.seed)
        if not bar.disable:
            bar.write(f"iteration {self.run.iteration}: {report.summary()}", file=sys.stderr)
        found = {"kid": report.kid, "fid": report.fid, "copies": report.copies}
        return found if report.agreement is None else {**found, "agreement": report.agreement}

    def finish(self) -> Trained:
        """The generator with its card, sheet and quality; the first process writes them."""
        generator = self.run.result().name_classes(self.class_names or None)
        folder = self.files.folder
        if folder is None or self.run.rank > 0:
            return Trained(generator, None)
        seed = self.run.settings.seed
        quality = None if self.yardstick is None else self.yardstick.measure(generator, seed=seed)
        generator.save_pretrained(folder)
        with replacing(folder / SHEET) as scratch:
            samples_sheet(generator, seed=seed).save(scratch, format="PNG")
        if quality is not None:
            quality.save(folder)
        write_card(folder, generator, self.run.settings, quality)
        return Trained(generator, quality)


def _yardstick(
    training: LabelledImages,
    test: LabelledImages,
    class_names: list[str],
    settings: GeneratorSettings,
    device: torch.device,
    show_progress: bool,
) -> Yardstick | None:
    """Made by the first process alone, from images enough."""
    if rank_and_size()[0] > 0 or not settings.judge_steps or len(test.images) < LEAST or len(training.images) < LEAST:
        return None
    return prepare_yardstick(
        training,
        test,
        class_names=class_names or None,
        judge_steps=settings.judge_steps,
        seed=settings.seed,
        device=device,
        show_progress=show_progress,
    )


def _check(minutes: float | None, settings: Mapping[str, Any], log_every: int) -> None:
    if minutes is not None and not (isinstance(minutes, int | float) and 0 < minutes < math.inf):
        raise SettingsError(f"minutes should be a positive number, got {minutes!r}.")
    if minutes is not None and "iterations" in settings:
        raise SettingsError("minutes plans the iterations; give one of the two.")
    if log_every < 1:
        raise SettingsError(f"log_every should be a positive number of iterations, got {log_every}.")


def _check_place(out: Path, resume: bool) -> None:
    if not resume and (there := [name for name in WRITTEN if os.path.lexists(out / name)]):
        raise GeneratorTrainingError(f"{out} holds {there[0]} already. Choose another folder, or move it away.")


def _size(asked: int | None, side: int, networks: Mapping[str, Any] | None) -> int:
    if asked is not None or networks:
        return asked or 0
    return max(size for size in SIZES if size <= min(max(side, SIZES[0]), LARGEST))


def _planned(state: Mapping[str, Any], files: RunFiles) -> int:
    """The iterations of the run that goes on, planned for minutes perhaps."""
    iterations = state.get("iterations")
    if type(iterations) is not int or not 1 <= iterations < 10**9:
        raise damaged(files.checkpoint, f"iterations should be a whole number, found {iterations!r:.50}")
    return iterations


def _seconds_of_a_look(run: Run, yardstick: Yardstick | None) -> float:
    """How long the generator is looked at, once; the last look, of twice as many samples, counts as two."""
    if yardstick is None:
        return 0.0
    began = time.monotonic()
    yardstick.measure(run.result(), samples=LOOKED_AT)
    return time.monotonic() - began


def _iterations_in(seconds: float, run: Run) -> int:
    """How many iterations fit into so many seconds; the run is used up by the trial."""
    for _ in range(TRIED):
        run.train_step()
    run.take_row()  # waits for a GPU
    began = time.monotonic()
    for _ in range(TRIED):
        run.train_step()
    run.take_row()
    each = (time.monotonic() - began) / TRIED
    return max(1, int(seconds / each))
