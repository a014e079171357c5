"""Tests that fork commands off, each file in a process of its own: after training, autograd survives no fork."""

import subprocess
import sys
from pathlib import Path

import pytest

ALONE = Path(__file__).parent / "alone"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["killed", "full_disk"])
def test_in_a_process_of_its_own(name):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(ALONE / f"{name}.py")]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=1500)
    assert ran.returncode == 0, ran.stdout[-5000:]


def test_none_is_left_out():
    assert {file.stem for file in ALONE.glob("*.py")} == {"killed", "full_disk", "__init__"}
