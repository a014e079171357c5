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
from scipy import stats

RESULTS = Path(__file__).parent / "results"
REVISION = subprocess.run(
    ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, cwd=Path(__file__).parent
).stdout.strip()
"""As it was when the script began."""


def provenance(device: str = "cpu") -> dict[str, Any]:
    """What a result depends on besides its settings: versions, machine and git revision."""
    if device.startswith("cuda"):
        machine = torch.cuda.get_device_name(device)
    else:
        machine = f"{platform.machine()}, {torch.get_num_threads()} of {os.cpu_count()} cores"
    return {"torch": torch.__version__, "machine": machine, "revision": REVISION}


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a file, none where there is no file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def append_row(path: Path, row: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def matching(rows: Sequence[Mapping[str, Any]], **wanted: Any) -> list[Mapping[str, Any]]:
    return [row for row in rows if all(row.get(name) == value for name, value in wanted.items())]


def check_no_two(rows: Sequence[Mapping[str, Any]], *names: str) -> None:
    """Stop a report that would take rows of different settings for seeds of one."""
    seen = set()
    for row in rows:
        about = tuple(row[name] for name in names)
        if about in seen:
            shown = ", ".join(f"{name} {value!r}" for name, value in zip(names, about, strict=True))
            raise SystemExit(f"two rows for {shown}: they differ in other settings. Give each of those its own --out.")
        seen.add(about)


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean, and half the width of its 95% interval (Student's t; 0 for one value)."""
    if len(values) < 2:
        return statistics.mean(values), 0.0
    student: float = stats.t.ppf(0.975, len(values) - 1)
    return statistics.mean(values), student * statistics.stdev(values) / len(values) ** 0.5
