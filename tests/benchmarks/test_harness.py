"""What the benchmarks share."""

import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def harness(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import harness

    return harness


def test_rows_are_measured_once(harness, tmp_path):
    out, asked = tmp_path / "new" / "rows.jsonl", []

    def measure():
        asked.append(1)
        return {"accuracy": 0.5}

    for seed in (0, 1, 0):
        row = harness.measured_once(out, {"policy": "none", "seed": seed}, measure)
        assert row["seed"] == seed and row["accuracy"] == 0.5 and row["torch"] and row["revision"]
    assert len(asked) == 2 and [row["seed"] for row in harness.read_rows(out)] == [0, 1]


def test_the_best_strength_of_each_part_is_found(harness):
    asked = []

    def score(name, value):
        asked.append(name)
        return -abs(value - 2)

    found = harness.best_strengths("A + B", {"A": (1, 2, 3), "B": (7,)}.__getitem__, score)
    assert found == {"A": 2, "B": 7} and asked == ["A"] * 3


def test_intervals_are_students(harness):
    assert harness.interval([1.0, 2.0, 3.0]) == pytest.approx((2.0, 4.302653 / 3**0.5), rel=1e-6)
    assert harness.spread([0.25]) == "0.250 ± 0.000" and harness.spread([0.25], "+").startswith("+0.250")


def test_jobs_take_turns(harness):
    order = []
    seconds = harness.alternating({name: lambda name=name: order.append(name) for name in "abc"}, runs=2)
    assert set(seconds) == set("abc") and all(value >= 0 for value in seconds.values())
    assert [sorted(order[turn : turn + 3]) for turn in (0, 3, 6)] == [list("abc")] * 3 and len(order) == 9


def test_a_checkout_is_forgotten(harness, tmp_path):
    (tmp_path / "their_module.py").write_text("import their_helper\nVALUE = 3")
    (tmp_path / "their_helper.py").write_text("")
    with harness.importing(tmp_path) as load:
        assert load("their_module").VALUE == 3
    assert not {"their_module", "their_helper"} & set(sys.modules) and str(tmp_path) not in sys.path


def test_what_is_missing_is_named(harness, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["script.py"])
    parser = harness.script_parser("About.", "data", "report", out="rows.jsonl")
    with pytest.raises(SystemExit):
        harness.parse(parser, "data", quick={}, quickly="little")
    assert "--data missing" in capsys.readouterr().err


def test_quick_has_other_defaults_and_a_file_of_its_own(harness, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["script.py", "--quick", "--data", "d"])
    parser = harness.script_parser("About.", "data", "report", out="rows.jsonl")
    parser.add_argument("--steps", type=int, default=900)
    options = harness.parse(parser, "data", quick={"steps": 4}, quickly="little")
    assert options.steps == 4 and options.out == Path("runs/quick/rows.jsonl")
