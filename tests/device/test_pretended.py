"""The pretended device refuses and counts what it should; what passes on it says something only if it does."""

import pytest
import torch
from pretended import counting
from torch import nn

X = torch.arange(12.0).reshape(3, 4)


@pytest.mark.parametrize(
    "mix",
    [
        lambda there: there + X,
        lambda there: torch.cat([there, X]),
        lambda there: torch.nn.functional.linear(there, X),
        lambda there: there.index_copy(0, torch.tensor([0]), X[:1]),
        lambda there: there.index_copy(0, torch.tensor([0]).to(there.device), X[:1]),
        lambda there: torch.where(there > 1, there, X),
        lambda there: X[torch.tensor([0]).to(there.device)],
        lambda there: torch.randn(3, device=there.device, generator=torch.Generator()),
        lambda there: there.numpy(),
    ],
)
def test_tensors_of_two_devices_and_generators_of_another_are_refused(device, mix):
    with pytest.raises((RuntimeError, TypeError)):
        mix(X.to(device))


def test_values_are_those_of_the_cpu(device):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1))
    expected = network(X)
    network.to(device)
    assert next(network.parameters()).device == device
    found = network(X.to(device))
    found.sum().backward()
    assert found.device == device and torch.equal(found.detach().cpu(), expected.detach())
    assert network[0].weight.grad.device == device
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.1, fused=True)
    before = network[0].weight.detach().cpu()
    optimizer.step()
    assert (network[0].weight.detach().cpu() != before).any()


@pytest.mark.parametrize(
    ("wait", "count"),
    [
        (lambda x: x.cpu(), 1),
        (lambda x: x.sum().item(), 1),
        (lambda x: bool((x > 1).all()), 1),
        (lambda x: x.tolist(), 1),
        (lambda x: x.nonzero(), 1),
        (lambda x: x[x > 1], 1),
        (lambda x: torch.equal(x, x), 1),
        (lambda x: x.repeat_interleave(torch.tensor([1, 2, 3]).to(x.device), 0), 1),
        (lambda x: (x + 1) * x.sum(), 0),
        (lambda x: x[torch.tensor([0]).to(x.device)], 0),
        (lambda x: torch.zeros(3, device=x.device) + x[:, 0], 0),
    ],
)
def test_what_the_host_waits_for_is_counted(device, wait, count):
    there = X.to(device)
    with counting() as waits:
        wait(there)
    assert sum(waits.values()) == count, waits
