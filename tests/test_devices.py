"""Which device is meant."""

import pytest
import torch

from ganaug.devices import default_device, padded, running_in
from ganaug.errors import SettingsError


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


def test_networks_run_in_the_dtype_that_is_chosen(monkeypatch):
    product = torch.ones(2, 2)
    for quick, expected in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr("ganaug.devices.quick_in_bfloat16", lambda device, quick=quick: quick)
        with running_in("auto", "cpu"):
            assert (product @ product).dtype == expected
        for dtype in ("float32", "bfloat16"):
            with running_in(dtype, "cpu"):
                assert (product @ product).dtype == getattr(torch, dtype), "whatever the machine"
    with torch.autocast("cpu", torch.float16):
        for dtype, expected in (("auto", torch.float16), (None, torch.float16), ("float32", torch.float32)):
            with running_in(dtype, "cpu"):
                assert (product @ product).dtype == expected, "auto leaves the caller's own alone"
    with running_in("auto", "meta"), pytest.raises(SettingsError, match="'auto', 'float32', 'bfloat16'; got 'half'"):
        running_in("half", "cpu")


def test_rows_are_filled_up_with_the_first():
    assert padded(torch.tensor([[3], [4]]), 4).tolist() == [[3], [4], [3], [3]]
    assert padded(torch.tensor([3, 4]), 2).tolist() == [3, 4] == padded(torch.tensor([3, 4]), 1).tolist()
