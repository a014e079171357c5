"""What a discovery run will take, without running it."""

from __future__ import annotations

import statistics
import sys
import time
from typing import Any

import torch

from ganaug.devices import default_device, in_channels_last
from ganaug.generators import Generator
from ganaug.generators.module import check_is_generator
from ganaug.training.discovery.run import Run
from ganaug.training.discovery.settings import DiscoverySettings


def plan(generator: Generator, *, device: str | torch.device | None = None, **settings: Any) -> list[str]:
    """Parameters, memory and time of :func:`discover` with the same arguments, a line each.

    Time and memory are measured on three steps, whose results are thrown away.
    """
    check_is_generator(generator)
    chosen = DiscoverySettings.from_mapping(settings)
    target = default_device(device)
    generator = in_channels_last(generator.freeze().check().to(target))
    run = Run(generator, chosen)
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        run.train_step()
        if target.type == "cuda":
            torch.cuda.synchronize(target)
        seconds.append(time.perf_counter() - start)
    step = statistics.median(seconds)
    if target.type == "cuda":
        peak, what = torch.cuda.max_memory_allocated(target) / 2**20, "on the GPU"
    else:
        peak, what = _process_peak(), "of the whole process"
    hours, minutes = divmod(round(step * chosen.steps / 60), 60)
    counts = {
        "generator": sum(p.numel() for p in generator.parameters()),
        "directions": run.matrix.rows.numel(),
        "reconstructor": sum(p.numel() for p in run.reconstructor.parameters()),
    }
    frozen = "" if any(p.requires_grad for p in run.matrix.parameters()) else ", fixed"
    return [
        f"generator      {generator.architecture or 'from_module'}, {generator.image_size} pixels, "
        f"{counts['generator']:,} parameters, frozen",
        f"directions     {chosen.num_directions} x {generator.latent_dim} ({chosen.direction_matrix}{frozen}), "
        f"{counts['directions']:,} parameters",
        f"reconstructor  {counts['reconstructor']:,} parameters",
        f"steps          {chosen.steps:,} of {chosen.batch_size} pairs, {chosen.precision}, on {target}",
        f"time           {step * 1000:,.0f} ms a step, {hours} h {minutes:02} min in all",
        f"memory         {peak:,.0f} MiB at peak {what}" if peak else "memory         not known on this system",
    ]


def _process_peak() -> float:
    """MiB of the process at its peak; 0 where the system doesn't say."""
    if sys.platform == "win32":
        return 0.0
    import resource

    unit = 2**20 if sys.platform == "darwin" else 2**10  # bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
