"""Data-parallel discovery: ``torchrun --nproc-per-node N -m ganaug train ...``."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F

from ganaug.ranks import rank_and_size


def averaged(values: Tensor) -> Tensor:
    """The mean over all processes."""
    _, size = rank_and_size()
    if size == 1:
        return values
    total = values.clone()
    dist.all_reduce(total)
    return total / size


def any_process(yes: bool, device: torch.device) -> bool:
    """Whether any process says yes; all get the same answer."""
    return averaged(torch.tensor(float(yes), device=device)).item() > 0


def wait_for_all(device: torch.device) -> None:
    """Go on once all processes have come here."""
    averaged(torch.zeros((), device=device))


class _Sum(torch.autograd.Function):
    """The sum over all processes; so is its gradient."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _Sum.forward(ctx, gradient)


def _mean(values: Tensor) -> Tensor:
    mean: Tensor = _Sum.apply(values) / dist.get_world_size()
    return mean


N = TypeVar("N", bound=nn.Module)


def synchronise_batch_norms(network: N, device: torch.device) -> N:
    """The network with batch norms whose statistics are those of all processes' batches together."""
    if device.type == "cuda":
        converted: N = nn.SyncBatchNorm.convert_sync_batchnorm(network)
        return converted
    for name, child in network.named_children():
        if isinstance(child, (nn.BatchNorm1d, nn.BatchNorm2d)):
            synchronised = SynchronisedBatchNorm(child.num_features, eps=child.eps, momentum=child.momentum or 0.1)
            synchronised.load_state_dict(child.state_dict())
            setattr(network, name, synchronised)
        else:
            synchronise_batch_norms(child, device)
    return network


class SynchronisedBatchNorm(nn.BatchNorm1d):
    """``nn.SyncBatchNorm`` for CPUs, where torch has none; batches of equal size ``(N, C, ...)``."""

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor
    momentum: float

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return F.batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, training=False, eps=self.eps
            )
        axes = [0, *range(2, input.ndim)]
        shape = (1, -1, *(1 for _ in axes[1:]))
        mean = _mean(input.float().mean(axes))
        centred = input.float() - mean.view(shape)
        variance = _mean(centred.square().mean(axes))
        with torch.no_grad():
            count = dist.get_world_size() * input.numel() // input.shape[1]
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / max(count - 1, 1), self.momentum)
            self.num_batches_tracked.add_(1)
        scale = self.weight * (variance + self.eps).rsqrt()
        output: Tensor = centred * scale.view(shape) + self.bias.view(shape)
        return output.to(input.dtype)
