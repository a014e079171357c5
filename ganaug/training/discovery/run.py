"""A run's state: what learns, the optimiser, where the draws are, and what was measured since the last row."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from ganaug.errors import DiscoveryError, SettingsError, listed
from ganaug.evaluation import reconstructor_accuracy
from ganaug.evaluation.judges import ConvNet
from ganaug.generators import Generator
from ganaug.packs import DirectionPack
from ganaug.ranks import rank_and_size
from ganaug.training.discovery.checkpoint import last_good
from ganaug.training.discovery.distributed import averaged, synchronise_batch_norms
from ganaug.training.discovery.matrix import DirectionMatrix
from ganaug.training.discovery.reconstructor import Reconstructor, default_reconstructor
from ganaug.training.discovery.settings import DiscoverySettings
from ganaug.training.discovery.step import FIGURES, Learner, Synthesis, draw_batch, take_step
from ganaug.training.discovery.synthesis import compiled, fused


class Run:
    """All that changes from step to step.

    Args:
        generator: frozen, where the run is to be.
        settings: of the run.
        initial: ``(num_directions, latent_dim)`` directions to start from.

    Raises:
        SettingsError: settings that don't suit each other, the generator or the number of processes.
    """

    def __init__(self, generator: Generator, settings: DiscoverySettings, initial: Tensor | None = None) -> None:
        self.generator, self.settings, self.device = generator, settings, generator.device
        self.identity = identity(generator, settings, initial)
        self.rank, self.size = rank_and_size()
        self.pairs_at_once = pairs_at_once(settings, self.size)
        self.fused = fused(generator, recompute=settings.recompute)
        self.rng = torch.Generator().manual_seed(settings.seed)
        self.learner = new_learner(generator, settings, initial, self.rng)
        if self.size > 1:
            self.learner = synchronise_batch_norms(self.learner, self.device)
        move(self.learner, self.device)
        self.synthesize: Synthesis = self.fused
        if settings.compile:
            self.synthesize = compiled(self.fused, self.pairs_at_once, settings.precision)
        self.model: nn.Module = DistributedDataParallel(self.learner) if self.size > 1 else self.learner
        self.optimizer = new_optimizer(self.learner, settings)
        self.learning_rates = [group["lr"] for group in self.optimizer.param_groups]
        self.step, self.started = 0, time.monotonic()
        self.sums, self.counted = torch.zeros(len(FIGURES), device=self.device), 0

    @property
    def matrix(self) -> DirectionMatrix:
        return self.learner.matrix

    @property
    def reconstructor(self) -> nn.Module:
        return self.learner.reconstructor

    def train_step(self) -> None:
        """One step, on this process's share of a batch that is the same in every process, whatever their number."""
        batch = draw_batch(self.generator, self.settings, self.rng)
        starts = range(self.rank * self.pairs_at_once, len(batch.latents), self.size * self.pairs_at_once)
        parts = [batch.part(slice(start, start + self.pairs_at_once)) for start in starts]
        for group, rate in zip(self.optimizer.param_groups, self.learning_rates, strict=True):
            group["lr"] = rate * decay(self.step, self.settings)
        for figures in take_step(self.model, self.synthesize, self.optimizer, parts, self.settings):
            self.sums += figures
        self.counted += 1
        self.step += 1

    def take_row(self) -> dict[str, Any]:
        """Averages since the last row."""
        means = averaged(self.sums / self.counted).tolist()
        self.sums.zero_()
        self.counted = 0
        names = FIGURES if self.learner.reader is not None else FIGURES[:-1]
        seconds = round(time.monotonic() - self.started, 3)
        return {"step": self.step, **dict(zip(names, means, strict=False)), "seconds": seconds}

    def check_finite(self, checkpoint: Path | None = None) -> None:
        """Raise :class:`DiscoveryError` if a loss since the last row, or anything that was learned, is not finite.

        Args:
            checkpoint: named in the error, if it is there.
        """
        self.sums = averaged(self.sums)
        loss = self.sums[0].item()
        finite = torch.stack([parameter.isfinite().all() for parameter in self.learner.parameters()]).all().item()
        if math.isfinite(loss) and finite:
            return
        what = f"the loss became {loss}" if not math.isfinite(loss) else "a weight is no longer finite"
        raise DiscoveryError(
            f"{what} by step {self.step}. Start anew with a lower matrix_lr and reconstructor_lr, or precision=float32."
            f"{last_good(checkpoint)}"
        )

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        return {
            **self.identity,
            "step": self.step,
            "seconds": time.monotonic() - self.started,
            "pairs": self.learner.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random_state": self.rng.get_state(),
            "sums": self.sums,
            "counted": self.counted,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a :meth:`state` of a run of the same identity.

        Raises:
            ValueError: it is none: something lacks, or is not what a run of these settings can have come to.
        """
        check_state(state, self)
        self.learner.load_state_dict(state["pairs"])
        groups = self.optimizer.state_dict()["param_groups"]  # as the state's are, of whichever version of torch
        self.optimizer.load_state_dict({"state": state["optimizer"]["state"], "param_groups": groups})
        self.rng.set_state(state["random_state"])
        self.sums, self.counted, self.step = state["sums"].to(self.device), state["counted"], state["step"]
        self.started = time.monotonic() - state["seconds"]

    def result(self, rca_samples: int) -> DirectionPack:
        """The directions as they are now, with their RCA on fresh pairs."""
        settings = self.settings
        rows = self.matrix.rows.detach()
        rca = reconstructor_accuracy(
            self.fused,
            rows,
            self.reconstructor,
            samples=rca_samples,
            max_magnitude=settings.max_magnitude,
            min_magnitude=settings.min_magnitude,
            distribution=settings.magnitude_distribution,
            precision=settings.precision,
            most_at_once=self.pairs_at_once,
        )
        reaches = [settings.max_magnitude * length for length in rows.norm(dim=1).tolist()]
        return DirectionPack(
            F.normalize(rows, dim=1).cpu(),
            generator=self.generator,
            ranges=[(-reach, reach) for reach in reaches],
            method={"name": "reconstructor", **settings.to_dict()},
            scores={"rca": rca},
        )


def check_state(state: dict[str, Any], run: Run) -> None:
    """``ValueError`` for what is no state of a run of the same settings."""
    steps = run.settings.steps
    for name, most in (("step", steps), ("counted", steps)):
        if type(state.get(name)) is not int or not 0 <= state[name] <= most:
            raise ValueError(f"{name} should be a whole number from 0 to {most}, found {state.get(name)!r:.50}")
    seconds = state.get("seconds")
    if not isinstance(seconds, int | float) or not 0 <= seconds < math.inf:
        raise ValueError(f"seconds should be a positive number, found {seconds!r:.50}")
    check_tensors({"sums": state.get("sums")}, {"sums": run.sums})
    check_tensors(state.get("pairs"), run.learner.state_dict())
    random_state = run.rng.get_state()
    check_tensors({"random_state": state.get("random_state")}, {"random_state": random_state})
    optimizer, wanted = state.get("optimizer"), run.optimizer.state_dict()
    if not isinstance(optimizer, dict) or optimizer.keys() != wanted.keys():
        raise ValueError("optimizer should hold state and param_groups")
    groups, ours = optimizer["param_groups"], wanted["param_groups"]
    if not isinstance(groups, list) or len(groups) != len(ours) or not all(isinstance(group, dict) for group in groups):
        raise ValueError(f"the optimizer's param_groups should be a list of {len(ours)}")
    for theirs, mine in zip(groups, ours, strict=True):  # the learning rate is set at each step
        apart = [key for key in mine if key != "lr" and theirs.get(key, mine[key]) != mine[key]]
        if apart or "params" not in theirs:
            raise ValueError(f"the optimizer's {', '.join(apart) or 'params'} should be this run's")
    parameters = [each for group in run.optimizer.param_groups for each in group["params"]]
    moments = optimizer["state"]
    if not isinstance(moments, dict) or moments.keys() != ({*range(len(parameters))} if state["step"] else set()):
        raise ValueError("the optimizer's state should have one entry for each parameter")
    for index, entry in moments.items():
        like = {"step": torch.zeros(()), "exp_avg": parameters[index], "exp_avg_sq": parameters[index]}
        check_tensors(entry, like)


def check_tensors(found: Any, wanted: Mapping[str, Tensor]) -> None:
    """``ValueError`` unless there are tensors of the same names, types and shapes, all finite."""
    if not isinstance(found, dict) or found.keys() != wanted.keys():
        raise ValueError(f"there should be tensors {listed(list(wanted))}")
    for name, like in wanted.items():
        tensor = found[name]
        if not isinstance(tensor, Tensor) or (tensor.dtype, tensor.shape) != (like.dtype, like.shape):
            raise ValueError(f"{name} should be {like.dtype} {tuple(like.shape)}")
        if not tensor.isfinite().all():
            raise ValueError(f"{name} is not finite")


def identity(generator: Generator, settings: DiscoverySettings, initial: Tensor | None) -> dict[str, Any]:
    """What a run that goes on must have in common with the one it continues: all that changes the result."""
    kept = settings.to_dict()
    del kept["recompute"], kept["compile"]
    start = None
    if initial is not None:
        start = hashlib.sha256(initial.float().cpu().contiguous().numpy().tobytes()).hexdigest()
    # The same weights may draw from z or w, so that the config counts too.
    drawn_by = f"{generator.weights_sha256()} {json.dumps(generator.config)}"
    return {"settings": kept, "generator": drawn_by, "initial": start}


def pairs_at_once(settings: DiscoverySettings, processes: int) -> int:
    """Pairs that one process draws together.

    Raises:
        SettingsError: the batch can't be divided so.
    """
    count, rest = divmod(settings.batch_size, processes * settings.micro_batches)
    if rest or count < 2:
        raise SettingsError(
            f"batch_size={settings.batch_size} should be a multiple of micro_batches={settings.micro_batches} "
            f"times the number of processes, {processes}, with two pairs or more for each."
        )
    return count


def new_learner(
    generator: Generator, settings: DiscoverySettings, initial: Tensor | None, rng: torch.Generator
) -> Learner:
    """A direction matrix, a reconstructor and, with a label weight, a reader of labels; untrained, on the CPU."""
    if settings.label_weight and not generator.num_classes:
        raise SettingsError("label_weight needs a class-conditional generator, and this one is unconditional.")
    kind = default_reconstructor(generator) if settings.reconstructor == "auto" else settings.reconstructor
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        matrix = DirectionMatrix(
            settings.direction_matrix,
            settings.num_directions,
            generator.latent_dim,
            initial=initial,
            within=generator.directions_within,
            rng=rng,
        )
        reconstructor = Reconstructor(
            kind, generator.channels, settings.num_directions, width=settings.reconstructor_width
        )
        reader = ConvNet(generator.channels, generator.num_classes) if settings.label_weight else None
    return Learner(matrix, reconstructor, reader)


def move(learner: Learner, device: torch.device) -> None:
    """Move what learns to a device, the networks in channels_last."""
    learner.to(device)
    for network in (learner.reconstructor, learner.reader):
        if network is not None:
            network.to(memory_format=torch.channels_last)


def new_optimizer(learner: Learner, settings: DiscoverySettings) -> torch.optim.Adam:
    """Adam, with learning rates of their own for the networks and, where they learn, the directions."""
    networks = [*learner.reconstructor.parameters(), *(learner.reader.parameters() if learner.reader else [])]
    groups: list[dict[str, Any]] = [{"params": networks, "lr": settings.reconstructor_lr}]
    if directions := [parameter for parameter in learner.matrix.parameters() if parameter.requires_grad]:
        groups.append({"params": directions, "lr": settings.matrix_lr})
    return torch.optim.Adam(groups, fused=True)


def decay(step: int, settings: DiscoverySettings) -> float:
    """The share of the learning rates at a step."""
    return 0.5 + 0.5 * math.cos(math.pi * (step / settings.steps)) if settings.schedule == "cosine" else 1.0
