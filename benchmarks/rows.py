"""Results as JSON lines: a run that was stopped goes on where it was, and tables and plots are made from the file."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

RESULTS = Path(__file__).parent / "results"
T_975 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}
"""Student's t for a two-sided interval of 95%, by degrees of freedom."""


def provenance(device: str = "cpu") -> dict[str, Any]:
    """What a result depends on besides its settings: versions, machine and git revision."""
    if device.startswith("cuda"):
        machine = torch.cuda.get_device_name(device)
    else:
        machine = f"{platform.machine()}, {torch.get_num_threads()} of {os.cpu_count()} cores"
    command = ["git", "rev-parse", "--short", "HEAD"]
    found = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent)
    return {"torch": torch.__version__, "machine": machine, "revision": found.stdout.strip()}


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a file, none where there is no file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def append_row(path: Path, row: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def matching(rows: Sequence[Mapping[str, Any]], **wanted: Any) -> list[Mapping[str, Any]]:
    return [row for row in rows if all(row.get(name) == value for name, value in wanted.items())]


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean, and half the width of its 95% interval (Student's t; 0 for one value)."""
    if len(values) < 2:
        return statistics.mean(values), 0.0
    return statistics.mean(values), T_975[len(values) - 1] * statistics.stdev(values) / len(values) ** 0.5
