"""What the benchmarks share: options, results as rows, tables with 95% intervals, timing, and published checkouts."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import statistics
import subprocess
import sys
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from scipy import stats
from torch.utils.benchmark import timer

RESULTS = Path(__file__).parent / "results"
REVISION = subprocess.run(
    ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, cwd=Path(__file__).parent
).stdout.strip()
"""As it was when the script began."""

# -- options --------------------------------------------------------------------------------------------------------

SHARED: dict[str, dict[str, Any]] = {
    "data": {"type": Path, "help": "folder of the data sets"},
    "device": {"default": "cpu"},
    "seed": {"type": int, "default": 0},
    "banks": {"type": Path, "default": Path("runs/banks"), "help": "folder of latent banks"},
    "bank-size": {"type": int, "default": 20_000},
    "report": {"action": "store_true", "help": "only the table of what is in --out"},
}


def script_parser(about: str | None, *shared: str, out: str = "") -> argparse.ArgumentParser:
    """A parser that shows the script's docstring, with some of the shared options, and --out in results."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in shared:
        parser.add_argument(f"--{name}", **SHARED[name])
    if out:
        parser.add_argument("--out", type=Path, default=RESULTS / out)
    return parser


def parse(parser: argparse.ArgumentParser, *needed: str, quick: Mapping[str, Any], quickly: str) -> argparse.Namespace:
    """The options of a script with --report; what ``needed`` names may be missing with it alone.

    Adds --quick, which ``quickly`` describes: other defaults, and rows that go into runs/quick.
    """
    parser.add_argument("--quick", action="store_true", help=f"{quickly}, into runs/quick")
    if "--quick" in sys.argv:
        parser.set_defaults(**quick, out=Path("runs/quick", parser.get_default("out").name))
    options = parser.parse_args()
    if missing := [f"--{name}" for name in needed if getattr(options, name) is None and not options.report]:
        parser.error(f"{' and '.join(missing)} missing; --report alone needs no more than --out")
    return options


# -- rows: a run that was stopped goes on where it was, and tables and plots are made from the file ------------------


def provenance(device: str = "cpu") -> dict[str, Any]:
    """What a result depends on besides its settings: versions, machine and git revision."""
    if device.startswith("cuda"):
        machine = torch.cuda.get_device_name(device)
    else:
        machine = f"{platform.machine()}, {torch.get_num_threads()} of {os.cpu_count()} cores"
    return {"torch": torch.__version__, "machine": machine, "revision": REVISION}


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSON lines file, none where there is no file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def append_row(path: Path, row: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def matching(rows: Sequence[Mapping[str, Any]], **wanted: Any) -> list[Mapping[str, Any]]:
    return [row for row in rows if all(row.get(name) == value for name, value in wanted.items())]


def measured_once(
    path: Path, about: Mapping[str, Any], measure: Callable[[], Mapping[str, Any]], *, device: str = "cpu"
) -> Mapping[str, Any]:
    """The row of these settings: the one in the file, or what ``measure`` finds, added to it."""
    if found := matching(read_rows(path), **about):
        return found[0]
    row = {**about, **measure(), **provenance(device)}
    append_row(path, row)
    return row


def check_no_two(rows: Sequence[Mapping[str, Any]], *names: str) -> None:
    """Stop a report that would take rows of different settings for seeds of one."""
    seen = set()
    for row in rows:
        about = tuple(row[name] for name in names)
        if about in seen:
            shown = ", ".join(f"{name} {value!r}" for name, value in zip(names, about, strict=True))
            raise SystemExit(f"two rows for {shown}: they differ in other settings. Give each of those its own --out.")
        seen.add(about)


def best_strengths(
    policy: str, tried: Callable[[str], Sequence[Any]], score: Callable[[str, Any], float]
) -> dict[str, Any]:
    """For each part of a policy (joined by " + ") the value of the best score; one alone is not searched."""
    found = {}
    for name in policy.split(" + "):
        values = tried(name)
        scores = [score(name, value) for value in values if len(values) > 1]
        found[name] = values[scores.index(max(scores))] if scores else values[0]
    return found


# -- tables ---------------------------------------------------------------------------------------------------------


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean, and half the width of its 95% interval (Student's t; 0 for one value)."""
    if len(values) < 2:
        return statistics.mean(values), 0.0
    student: float = stats.t.ppf(0.975, len(values) - 1)
    return statistics.mean(values), student * statistics.stdev(values) / len(values) ** 0.5


def spread(values: Sequence[float], sign: str = "") -> str:
    """Mean and 95% interval, to be read; ``sign`` "+" shows the mean's."""
    mean, half = interval(values)
    return f"{mean:{sign}.3f} ± {half:.3f}"


def line(*cells: object) -> str:
    """A row of a Markdown table."""
    return f"| {' | '.join(map(str, cells))} |"


def header(*titles: str) -> str:
    return f"{line(*titles)}\n{line(*['---'] * len(titles))}"


def show(text: str, options: argparse.Namespace) -> None:
    """Print a report; with --report, also beside the rows as Markdown."""
    print(text)
    if options.report:
        options.out.with_suffix(".md").write_text(text + "\n", encoding="utf-8")


# -- time and memory ------------------------------------------------------------------------------------------------

Loop = Callable[[int, Callable[[], object]], object]
"""Takes that many steps and calls the function after each: a step of ours repeated, or another's training loop."""


def looping(job: Callable[[], object]) -> Loop:
    def loop(steps: int, after_step: Callable[[], object]) -> None:
        for _ in range(steps):
            job()
            after_step()

    return loop


def nothing() -> None:
    """What a loop calls that nobody watches."""


def alternating_loops(loops: Mapping[str, Loop], *, runs: int) -> dict[str, float]:
    """Median seconds of a step of each, the steps taken in turn; one round first is not counted.

    The last may be a training loop that is not ours to take apart: the others step when one of its steps ends. That,
    and the turns, is why ``torch.utils.benchmark.Timer`` itself, which repeats one statement and warms up each time,
    is not used; its clock is, which waits for the accelerator.
    """
    *inner, outer = loops
    seconds: dict[str, list[float]] = {name: [] for name in loops}
    start = timer()

    def lap(name: str) -> None:
        nonlocal start
        now = timer()
        seconds[name].append(now - start)
        start = timer()

    def others() -> None:
        lap(outer)
        for name in inner:
            loops[name](1, nothing)
            lap(name)

    loops[outer](runs + 1, others)
    return {name: statistics.median(values[1:]) for name, values in seconds.items()}


def alternating(jobs: Mapping[str, Callable[[], object]], *, runs: int) -> dict[str, float]:
    """Median seconds of each job, taken in turn, so that a machine whose speed drifts does not favour one."""
    return alternating_loops({name: looping(job) for name, job in jobs.items()}, runs=runs)


def resident(field: str) -> int:
    """KiB of this process (Linux): VmRSS now, VmHWM at most."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1])


def this_cpu() -> str:
    return (
        f"torch {torch.__version__}, CPU ({torch.backends.cpu.get_cpu_capability()}), "
        f"{torch.get_num_threads()} thread(s)"
    )


# -- published checkouts --------------------------------------------------------------------------------------------


@contextmanager
def importing(checkout: Path, **stand_ins: types.ModuleType) -> Iterator[Callable[[str], Any]]:
    """Import from a checkout, with modules that stand in for some of its own; all of them are forgotten afterwards."""
    known = set(sys.modules)
    sys.modules.update(stand_ins)
    try:
        with mock.patch.object(sys, "path", [str(checkout), *sys.path]):
            yield importlib.import_module
    finally:
        for name in set(sys.modules) - known:
            if name in stand_ins or str(checkout) in str(getattr(sys.modules[name], "__file__", "")):
                del sys.modules[name]
