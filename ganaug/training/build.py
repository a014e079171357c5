"""From a folder of images to a pack with measured ranges: every step after the other, each where it was left."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ganaug.data import kind_of_images
from ganaug.devices import default_device, own_defaults
from ganaug.errors import BuildError, EvaluationError, FileError, Interrupted, SettingsError
from ganaug.evaluation import EvaluationReport, Progress, evaluate
from ganaug.files import read_json, write_json
from ganaug.folders import OnError, image_files
from ganaug.gallery import write_page
from ganaug.generators import Generator
from ganaug.locks import alone, is_scratch
from ganaug.packs import DirectionPack
from ganaug.training.discovery import DiscoverySettings, discovery_words
from ganaug.training.discovery.run import Run
from ganaug.training.encoder import EncoderSettings, encoder_words, read_real_images, train_pack_encoder
from ganaug.training.encoder.run import EncoderRun
from ganaug.training.generator import GeneratorSettings, train_generator
from ganaug.training.recipe import Recipe, make_pack

PLAN_FILE = "build.json"
FORMAT = "ganaug build"
GENERATOR, PAGE, REPORT = "generator", "page", "report"
"""Folders in the pack's."""
SHARES = {"generator": 0.6, "directions": 0.14, "encoder": 0.14}
"""Of the minutes; what is left is for measuring and drawing."""
DIRECTIONS = 24
SAMPLES = 400
JUDGE_STEPS = 600
LEAST_STEPS = 200
"""Of the directions and of the encoder: less learns nothing."""
TRIED = 4
"""Steps that are timed, after as many that are not."""


class Built(NamedTuple):
    """What :func:`build` made.

    Attributes:
        pack: the pack in the folder.
        report: its directions, measured; None of images without classes, and where an earlier call has measured them.
        seconds: that each step took.
        words: what to know of each step: how good it is, and where it failed to learn.
    """

    pack: DirectionPack
    report: EvaluationReport | None
    seconds: dict[str, float]
    words: list[str]


@own_defaults
def build(
    images: str | Path,
    *,
    out: str | Path,
    size: int | None = None,
    minutes: float = 60,
    on_error: OnError = "fail",
    device: str | torch.device | None = None,
    say: Callable[[str], None] | None = None,
    show_progress: bool = True,
    **settings: Any,
) -> Built:
    """Train a generator on images, discover its directions, train an encoder, measure every direction's safe range
    with a judge trained on the images, and draw a page to look through.

    Stopped or killed at any moment, the same call goes on; each step ends as it would have without that.

    Args:
        images: a folder of class subfolders, or of images, or ``NAME:FOLDER``, see :func:`train_generator`.
        out: the pack's folder; ``generator/``, ``encoder/``, ``report/`` and ``page/index.html`` lie in it.
        size: see :func:`train_generator`.
        minutes: planned for all of it: a share for each step, in which as many steps are taken as fit.
        on_error: what to do with damaged images, see :func:`ganaug.folders.sound`.
        device: defaults to CUDA when there is one, else the CPU.
        say: called with a sentence as each step begins, and of what came out of it.
        settings: ``{"generator.width": 64, "directions.num_directions": 32, "encoder.width": 64, "seed": 1}``, the
            settings of :func:`train_generator`, :func:`discover` and :func:`train_encoder`; the seed is all three's.

    Raises:
        SettingsError: settings that none of the three knows.
        BuildError: ``out`` holds something else, or what other images or settings have begun.
        Interrupted: Ctrl-C or SIGTERM, between two steps of a training.

    See the functions of the single steps for what else can go wrong.
    """
    chosen = _parted(settings)
    out, target = Path(out), default_device(device)
    known = identity(images, size, minutes, chosen)
    shared: dict[str, Any] = {"device": target, "show_progress": show_progress}
    # Each step reads what the one before has written, so that it does the same in a process of its own.
    with _alone_in(out), _explained(steps := _Steps(out, known, say or (lambda text: None))):
        with steps.step("generator", f"Training a generator on {images}") as wanted:
            if wanted:
                trained = train_generator(
                    images,
                    out=out / GENERATOR,
                    size=size,
                    resume=(out / GENERATOR / "checkpoint.pt").exists(),
                    on_error=on_error,
                    **_planned_minutes(chosen["generator"], minutes),
                    **shared,
                )
                quality = trained.quality
                steps.keep_words("generator", [] if quality is None else [quality.summary(), *quality.verdicts()])
        with steps.step("directions", "Discovering directions") as wanted:
            if wanted:
                steps.keep_words("directions", _discover(out, steps, minutes, chosen["directions"], shared))
        with steps.step("encoder", "Training an encoder") as wanted:
            if wanted:
                pack = DirectionPack.from_pretrained(out)
                if not pack.has_encoder:
                    pack = _encode(pack, images, out, steps, minutes, chosen["encoder"], shared, on_error)
                steps.keep_words("encoder", encoder_words(pack))
        report = None
        with steps.step("evaluation", "Measuring every direction") as wanted:
            if wanted:
                try:
                    report = _evaluate(DirectionPack.from_pretrained(out), images, out, chosen["generator"], shared)
                    steps.keep_words("evaluation", _report_words(report))
                except EvaluationError as error:  # the generator draws nothing that a judge reads
                    steps.keep_words("evaluation", [f"No safe range could be measured: {error}"])
        with steps.step("page", "Drawing a page") as wanted:
            if wanted:
                write_page(DirectionPack.from_pretrained(out), out / PAGE, images=images, check_domain=False)
    return Built(DirectionPack.from_pretrained(out), report, dict(steps.plan["seconds"]), steps.words())


def identity(images: str | Path, size: int | None, minutes: float, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What a build that goes on must have in common with what was begun."""
    if not isinstance(minutes, int | float) or not 0 < minutes < 1e6:
        raise SettingsError(f"minutes should be a positive number, got {minutes!r}.")
    digest = hashlib.sha256()
    if Path(images).is_dir():
        for file in image_files(images):
            digest.update(f"{file.relative_to(images).as_posix()} {file.stat().st_size}\n".encode())
    else:
        digest.update(str(images).encode())
    return {"images": digest.hexdigest(), "size": size, "minutes": minutes, "settings": dict(settings)}


class _Steps:
    """What was done already, and how many steps were planned; in ``build.json``."""

    def __init__(self, out: Path, identity: dict[str, Any], say: Callable[[str], None]) -> None:
        self.path, self.say, self.current = out / PLAN_FILE, say, ""
        fresh = {"format": FORMAT, "identity": identity, "done": [], "steps": {}, "seconds": {}, "words": {}}
        if not self.path.exists():
            if there := sorted(each.name for each in out.iterdir() if not is_scratch(each.name)):
                raise BuildError(f"{out} holds {there[0]}, which no build has made. Choose another folder.")
            self.plan: dict[str, Any] = fresh
            write_json(self.path, fresh)
            return
        try:
            self.plan = read_json(self.path)
        except FileError as error:
            raise BuildError(f"{error} Delete {out}, or choose another folder.") from error
        if self.plan.get("format") != FORMAT or self.plan.keys() != fresh.keys():
            raise BuildError(f"{self.path} is not what a build keeps there. Choose another folder.")
        known = self.plan["identity"]
        if apart := [key for key, value in identity.items() if known.get(key) != value]:
            was = ", ".join(f"{key} (was {known.get(key)}, is {identity[key]})" for key in apart if key != "images")
            what = was or "other images, or images that came since"
            raise BuildError(f"{out} was begun with other {what}. Choose another folder, or delete {out}.")

    @contextmanager
    def step(self, name: str, what: str) -> Iterator[bool]:
        """Do a step, unless it is done; then say so."""
        self.current = name
        if name in self.plan["done"]:
            yield False
            return
        began = time.monotonic()
        self.say(f"{what}.")
        yield True
        spent = self.plan["seconds"].get(name, 0.0) + time.monotonic() - began
        self.plan["seconds"][name] = round(spent, 1)
        self.plan["done"].append(name)
        self.write()
        for told in self.plan["words"].get(name, []):
            self.say(told)

    def planned(self, name: str, plan: Callable[[], int]) -> int:
        """How many steps of a training, planned once."""
        if name not in self.plan["steps"]:
            self.plan["steps"][name] = plan()
            self.write()
        steps: int = self.plan["steps"][name]
        return steps

    def keep_words(self, name: str, words: list[str]) -> None:
        self.plan["words"][name] = words

    def words(self) -> list[str]:
        return [told for words in self.plan["words"].values() for told in words]

    def write(self) -> None:
        write_json(self.path, self.plan)


@contextmanager
def _alone_in(out: Path) -> Iterator[None]:
    """While the block runs no other build works in the folder, which is made."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with alone(out / PLAN_FILE):
            yield
    except OSError as error:
        raise BuildError(f"{out} can't be written to ({error.strerror}). Choose another --out.") from error


@contextmanager
def _explained(steps: _Steps) -> Iterator[None]:
    """Say of a step that was stopped how to go on."""
    try:
        yield
    except Interrupted as error:
        raise Interrupted(f"stopped in the step {steps.current!r}; the same command goes on from here.") from error


def _parted(settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Each training's settings, by the word before the dot."""
    parts: dict[str, dict[str, Any]] = {prefix: {} for prefix in SHARES}
    for key, value in settings.items():
        prefix, dot, name = key.partition(".")
        if key == "seed":
            for part in parts.values():
                part.setdefault("seed", value)
        elif dot and prefix in parts:
            parts[prefix][name] = value
        else:
            raise SettingsError(
                f"unknown setting {key}. A build's settings begin with generator., directions. or encoder., as in "
                "generator.width=64; only seed= is for all."
            )
    return parts


def _planned_minutes(settings: Mapping[str, Any], minutes: float) -> dict[str, Any]:
    return dict(settings) if "iterations" in settings else {**settings, "minutes": minutes * SHARES["generator"]}


def _steps_in(seconds: float, train_step: Callable[[], object]) -> int:
    """How many steps fit into so many seconds; in hundreds, so that a plan reads well."""
    for _ in range(TRIED):
        train_step()
    began = time.monotonic()
    for _ in range(TRIED):
        train_step()
    fitting = int(seconds * TRIED / (time.monotonic() - began))
    return max(LEAST_STEPS, fitting - fitting % 100)


def _discover(
    out: Path, steps: _Steps, minutes: float, given: Mapping[str, Any], shared: Mapping[str, Any]
) -> list[str]:
    generator = Generator.from_pretrained(out / GENERATOR)
    most = min(DIRECTIONS, generator.latent_dim)

    def planned() -> int:
        trial = DiscoverySettings.from_mapping({"num_directions": most, **given})
        run = Run(generator.freeze().to(shared["device"]), trial)
        return _steps_in(60 * minutes * SHARES["directions"], run.train_step)

    chosen = {"num_directions": most, **given}
    if "steps" not in chosen:
        chosen["steps"] = steps.planned("directions", planned)
    settings = DiscoverySettings.from_mapping(chosen)
    recipe = Recipe(out.name, str(out / GENERATOR), {}, "unknown", "reconstructor", settings)
    pack = make_pack(recipe, out, resume=(out / "checkpoint.pt").exists(), command="ganaug build", **shared)
    if pack is None:
        raise BuildError("a build is one process. Start it without torchrun.")
    return [f"RCA {pack.scores['rca']:.3f}, chance {1 / pack.num_directions:.3f}.", *discovery_words(pack)]


def _encode(
    pack: DirectionPack,
    images: str | Path,
    out: Path,
    steps: _Steps,
    minutes: float,
    given: Mapping[str, Any],
    shared: Mapping[str, Any],
    on_error: OnError,
) -> DirectionPack:
    chosen = dict(given)
    real = read_real_images(pack, images, on_error=on_error)
    if "steps" not in chosen:

        def planned() -> int:
            trial = EncoderSettings.from_mapping({**chosen, "warm_up": 0.0, "steps": 100})
            run = EncoderRun(pack.generator.to(shared["device"]), real.training, trial)
            found = _steps_in(60 * minutes * SHARES["encoder"], run.train_step)
            run.close()
            return found

        chosen["steps"] = steps.planned("encoder", planned)
    resume = (out / ".encoder" / "checkpoint.pt").exists()
    return train_pack_encoder(pack, real, folder=out, resume=resume, command="ganaug build", **chosen, **shared)


def _evaluate(
    pack: DirectionPack, images: str | Path, out: Path, given: Mapping[str, Any], shared: Mapping[str, Any]
) -> EvaluationReport | None:
    if not kind_of_images(images).class_names:
        return None
    progress = Progress(out, pack, {"build": SAMPLES})
    report = evaluate(
        pack,
        images,
        directions=range(pack.num_directions),
        samples=SAMPLES,
        judge_steps=GeneratorSettings.from_mapping(given).judge_steps or JUDGE_STEPS,
        measure_ranges=True,
        keep_judges=out,
        progress=progress,
        **shared,
    )
    report.add_to(pack, command="ganaug build")
    pack.save_pretrained(out)
    report.save(out / REPORT)
    progress.finish()
    return report


def _report_words(report: EvaluationReport | None) -> list[str]:
    if report is None:
        return [
            "the images have no classes, so no judge could be trained and no safe range measured: 'safe' promises "
            "nothing. Sort some images into class subfolders, and run ganaug evaluate PACK --images FOLDER "
            "--measure-ranges --write."
        ]
    usable = sum(interval != (0.0, 0.0) for interval in report.safe_ranges or ())
    return [f"{usable} of {len(report.safe_ranges or ())} directions have a safe range."]
