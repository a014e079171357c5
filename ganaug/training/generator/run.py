"""A training's state: both networks, their optimisers, the averaged weights, and the real images."""

from __future__ import annotations

import hashlib
import math
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from ganaug.data import LabelledImages
from ganaug.devices import in_channels_last, sent
from ganaug.draws import seeded
from ganaug.errors import GeneratorTrainingError
from ganaug.generators import SNGAN
from ganaug.images import uint8_to_signed
from ganaug.ranks import rank_and_size
from ganaug.streams import StreamedImages
from ganaug.training.discovery.distributed import averaged
from ganaug.training.generator.discriminator import Discriminator
from ganaug.training.generator.settings import GeneratorSettings, Networks
from ganaug.training.generator.step import Players, Real, take_step

DECAY_FROM = 0.75
"""Share of the iterations after which the learning rates fall to zero, linearly."""
MEASURED = 100
"""Batches of as many drawn images whose mean batch-norm statistics become the result's."""


class Run:
    """All that changes from iteration to iteration.

    Each iteration's draws depend on the seed, its number and the process's rank alone, so that a run that goes on
    does what the unbroken one does.

    Args:
        data: real images, with labels where the generator has classes.
        networks, settings: of the run.
        mirrored: whether half of the real images are mirrored.
        device: where the networks are.
    """

    def __init__(
        self,
        data: LabelledImages,
        networks: Networks,
        settings: GeneratorSettings,
        *,
        mirrored: bool,
        device: torch.device,
    ) -> None:
        self.data, self.networks, self.settings, self.device, self.mirrored = data, networks, settings, device, mirrored
        self.rank, self.size = rank_and_size()
        self.batch_size = settings.batch_size // self.size
        if self.batch_size < 2:
            raise GeneratorTrainingError(f"batch_size should be 2 or more for each of the {self.size} processes.")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            generator = SNGAN(**networks.generator)
            discriminator = Discriminator(
                generator.channels,
                networks.discriminator_widths,
                networks.discriminator_downs,
                generator.num_classes,
                spectral=settings.loss == "hinge",
                reads_classes=settings.class_weight > 0,
            )
        generator, discriminator = in_channels_last(generator.to(device)), in_channels_last(discriminator.to(device))
        betas = (settings.beta1, settings.beta2)
        self.players = Players(
            generator,
            discriminator,
            torch.optim.Adam(generator.parameters(), lr=settings.generator_lr, betas=betas),
            torch.optim.Adam(discriminator.parameters(), lr=settings.discriminator_lr, betas=betas),
        )
        self.average = AveragedModel(generator, avg_fn=self._follow, use_buffers=False)
        self.identity = identity(data, networks, settings, self.size)
        self.iteration, self.started = 0, time.monotonic()
        self.losses, self.counted = torch.zeros(2, device=device), 0
        self._reader = ThreadPoolExecutor(1) if isinstance(data.images, StreamedImages) else None
        self._next: tuple[int, Future[Real]] | None = None

    def train_step(self) -> None:
        """One iteration."""
        for optimizer, rate in (
            (self.players.generator_optimizer, self.settings.generator_lr),
            (self.players.discriminator_optimizer, self.settings.discriminator_lr),
        ):
            for group in optimizer.param_groups:
                group["lr"] = rate * self.decay
        self.losses += take_step(
            self.players,
            self._real(),
            self.settings,
            seeds=(self.settings.seed, 1, self.iteration, self.rank),
            penalised=self.iteration % self.settings.penalty_every == 0,
            average_gradients=self._average_gradients,
        )
        self.average.update_parameters(self.players.generator)
        self.iteration += 1
        self.counted += 1

    @property
    def decay(self) -> float:
        """What the learning rates are multiplied by."""
        return min(1.0, (1 - self.iteration / self.settings.iterations) / (1 - DECAY_FROM))

    def take_row(self) -> dict[str, Any]:
        """Averages since the last row.

        Raises:
            GeneratorTrainingError: a loss was not finite.
        """
        losses = averaged(self.losses / max(self.counted, 1)).tolist()
        self.losses.zero_()
        self.counted = 0
        if not all(map(math.isfinite, losses)):
            raise GeneratorTrainingError(
                f"the losses became {losses[0]} and {losses[1]} by iteration {self.iteration}. Start anew with a lower "
                "generator_lr and discriminator_lr, or precision=float32."
            )
        seconds = round(time.monotonic() - self.started, 3)
        names = ("discriminator_loss", "generator_loss")
        return {"step": self.iteration, **dict(zip(names, losses, strict=True)), "seconds": seconds}

    def result(self) -> SNGAN:
        """The generator of the averaged weights as they are now, frozen, on the CPU, its batch-norm statistics
        measured afresh on drawn images."""
        generator = SNGAN(**self.networks.generator)
        generator.load_state_dict(self.average.module.state_dict())
        in_channels_last(generator.to(self.device))
        measure_batch_norms(generator, batches=MEASURED, batch_size=MEASURED, seed=self.settings.seed)
        return generator.to("cpu").to(memory_format=torch.contiguous_format).freeze()

    # -- going on ---------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        parts = {name: part.state_dict() for name, part in self._parts().items()}
        return {
            **self.identity,
            **parts,
            "step": self.iteration,
            "iterations": self.settings.iterations,
            "mirrored": self.mirrored,
            "losses": self.losses.cpu(),
            "counted": self.counted,
            "seconds": time.monotonic() - self.started,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a :meth:`state` of a run of the same identity.

        Raises:
            ValueError: it is none.
        """
        for name in ("step", "counted", "iterations"):
            if type(state.get(name)) is not int or not 0 <= state[name] <= self.settings.iterations:
                raise ValueError(f"{name} should be a whole number, found {state.get(name)!r:.50}")
        if not isinstance(state.get("seconds"), float) or not math.isfinite(state["seconds"]):
            raise ValueError(f"seconds should be a number, found {state.get('seconds')!r:.50}")
        for name, part in self._parts().items():
            if not isinstance(state.get(name), dict):
                raise ValueError(f"{name} lacks")
            check_finite(name, state[name])
            part.load_state_dict(state[name])
        losses = state.get("losses")
        if not isinstance(losses, Tensor) or losses.shape != (2,) or not losses.isfinite().all():
            raise ValueError("losses should be two finite numbers")
        self.losses, self.counted, self.iteration = losses.to(self.device), state["counted"], state["step"]
        self.started = time.monotonic() - state["seconds"]

    def _parts(self) -> dict[str, Any]:
        return {**self.players._asdict(), "average": self.average}

    # -- one iteration's parts --------------------------------------------------------------------------------------

    def _real(self) -> Real:
        """The real images of this iteration; where they are streamed, those of the next are read meanwhile."""
        if self._reader is None:
            return self._read(self.iteration)
        number, waiting = self._next or (-1, None)
        real = waiting.result() if waiting is not None and number == self.iteration else self._read(self.iteration)
        self._next = self.iteration + 1, self._reader.submit(self._read, self.iteration + 1)
        return real

    def _read(self, iteration: int) -> Real:
        rng = seeded(self.settings.seed, 2, iteration, self.rank)
        index = torch.randint(len(self.data.images), (self.batch_size,), generator=rng)
        images = uint8_to_signed(self.data.images[index])
        if self.mirrored:
            mirror = torch.rand(self.batch_size, 1, 1, 1, generator=rng) < 0.5
            images = images.flip(-1).where(mirror, images)
        images = sent(images.contiguous(memory_format=torch.channels_last), self.device)
        has_classes = self.players.generator.num_classes > 0
        return Real(images, sent(self.data.labels[index], self.device) if has_classes else None)

    def _average_gradients(self, network: nn.Module) -> None:
        if self.size == 1:
            return
        gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
        together = averaged(torch.cat([gradient.flatten() for gradient in gradients]))
        for gradient, mean in zip(gradients, together.split([each.numel() for each in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))

    def _follow(self, average: Tensor, weight: Tensor, count: Tensor | int) -> Tensor:
        """One weight of the average after another iteration; the first iterations' are forgotten sooner."""
        keep = torch.as_tensor((1 + count) / (10 + count), device=weight.device)
        return weight.lerp(average, keep.clamp(max=self.settings.average).to(weight.dtype))


def identity(data: LabelledImages, networks: Networks, settings: GeneratorSettings, processes: int) -> dict[str, Any]:
    """What a run that goes on must have in common with the one it continues: all that changes the result, except the
    number of iterations, which the checkpoint tells."""
    digest = hashlib.sha256(data.labels.numpy().tobytes())
    if isinstance(data.images, StreamedImages):
        digest.update("\n".join(data.images.files).encode())
    else:
        digest.update(data.images.numpy().tobytes())
    kept = {key: value for key, value in settings.to_dict().items() if key != "iterations"}
    kept |= {key: str(value) for key, value in networks.to_dict().items()}
    return {"settings": kept, "images": digest.hexdigest(), "processes": processes}


def check_finite(name: str, state: Any) -> None:
    """``ValueError`` for a tensor with values that are not finite, anywhere in a state."""
    for key, value in state.items() if isinstance(state, dict) else enumerate(state):
        if isinstance(value, dict | list):
            check_finite(f"{name}.{key}", value)
        elif isinstance(value, Tensor) and value.is_floating_point() and not value.isfinite().all():
            raise ValueError(f"{name}.{key} is not finite")


@torch.no_grad()
def measure_batch_norms(generator: SNGAN, *, batches: int, batch_size: int, seed: int) -> None:
    """Set the batch-norm statistics to their plain average over fresh batches in training mode; evaluation mode then.

    Averaged weights have activations that no network had in training (Yazici et al., ICLR 2019).
    """
    norms = [module for module in generator.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    generator.train()
    rng = torch.Generator().manual_seed(seed)
    for _ in range(batches):
        generator(generator.sample_latents(batch_size, rng=rng), generator.sample_labels(batch_size, rng=rng))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    generator.eval()
