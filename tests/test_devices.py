"""Which device is meant."""

import pytest
import torch

from ganaug.devices import default_device


@pytest.mark.parametrize(
    ("given", "available", "local_rank", "expected"),
    [
        (None, False, None, "cpu"),
        (None, True, None, "cuda"),
        (None, True, "3", "cuda:3"),
        ("cuda", True, "1", "cuda:1"),
        ("cuda:0", True, "1", "cuda:0"),
        ("cpu", True, "1", "cpu"),
        (torch.device("cuda"), True, "0", "cuda:0"),
        ("cuda", True, None, "cuda"),
    ],
)
def test_of_several_gpus_the_one_that_torchrun_gave(monkeypatch, given, available, local_rank, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    if local_rank is not None:
        monkeypatch.setenv("LOCAL_RANK", local_rank)
    assert default_device(given) == torch.device(expected)


def test_the_command_line_opens_no_context_on_another_gpu(monkeypatch):
    from ganaug.cli.options import _checked_device

    asked = []
    monkeypatch.setenv("LOCAL_RANK", "5")
    monkeypatch.setattr(torch, "empty", lambda *size, device: asked.append(device) or torch.zeros(0))
    _checked_device(None, None, "cuda")
    assert asked == [torch.device("cuda", 5)]
