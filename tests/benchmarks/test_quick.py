"""The benchmarks' scripts run, at a tiny size, and go on where they were."""

import importlib
import json
import runpy
import shutil
import sys
from pathlib import Path

import pytest
from matplotlib.pyplot import imread

from ganaug.packs import DirectionPack

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def run(monkeypatch, capsys):
    """Run a script as ``python benchmarks/SCRIPT ARGUMENTS`` does; returns what it prints."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))

    def call(script, *arguments):
        monkeypatch.setattr(sys, "argv", [str(BENCHMARKS / script), *map(str, arguments)])
        runpy.run_path(str(BENCHMARKS / script), run_name="__main__")
        return capsys.readouterr().out

    return call


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.slow
def test_shortcut_measures_every_policy_once(run, data_root, tmp_path):
    out = tmp_path / "shortcut.jsonl"
    tiny = ("--data", data_root, "--quick", "--steps", 2, "--size", 10, "--out", out)
    tiny += ("--banks", tmp_path / "banks", "--bank-size", 10)
    shown = run("shortcut.py", *tiny)
    found = rows(out)
    tested = [row["policy"] for row in found if row["kind"] == "test"]
    assert tested == [
        "none",
        "60,000 unbiased images",
        "RandAugment",
        "samples",
        "LatentShift backgrounds",
        "LatentShift backgrounds + RandAugment",
        "samples + RandAugment",
    ]
    assert all(0 <= row["accuracy"] <= 1 and row["revision"] and row["torch"] for row in found)
    assert all(f"| {policy} |" in shown for policy in tested)
    run("shortcut.py", *tiny)
    assert rows(out) == found


def test_every_policy_trains_a_network(run, data_root, tmp_path):
    policies, shortcut = importlib.import_module("policies"), importlib.import_module("shortcut")
    pack = DirectionPack.from_pretrained("digits")
    data = policies.with_latents(shortcut.biased(data_root, 10, 0.95, 0), pack)
    for policy in ["none", *policies.HAND_MADE, *policies.MIXING, *policies.LATENT, "LatentShift any + AutoAugment"]:
        strength = {name: policies.strengths(name)[-1] for name in policy.split(" + ")}
        built = policies.build(policy, strength, pack, banks=tmp_path, bank_size=10)
        used = data if built.shift is not None and built.shift.source == "invert" else data._replace(latents=None)
        network, _ = policies.trained(built, used, steps=1, seed=0)
        assert 0 <= policies.accuracy(network, data) <= 1


def test_domains_tell_kinds_of_images_apart(run, data_root):
    text = run("domains.py", "--data", data_root, "--packs", "mnist", "--sets", "photographs", "noise", "--runs", 1)
    assert "| mnist | photographs | 1.000 | 16 |" in text and "| mnist | noise | 1.000 | 16 |" in text


def test_a_report_takes_no_two_settings_for_one(run, tmp_path):
    out = tmp_path / "masks.jsonl"
    row = {"way": "true masks", "seed": 0, "iou": 0.7, "f": 0.8, "mae": 0.1}
    out.write_text("\n".join(json.dumps({**row, "steps": steps}) for steps in (1000, 50)))
    with pytest.raises(SystemExit, match="two rows for way 'true masks', seed 0"):
        run("masks.py", "--report", "--out", out)


def test_policies_that_a_pack_cannot_do_are_left_out(run, grey_pack):
    policies = importlib.import_module("policies")
    assert not policies.available("LatentShift backgrounds", grey_pack)
    assert not policies.available("samples", grey_pack)


def test_shortcut_reports_a_table_and_a_picture(run, tmp_path):
    out = tmp_path / "shortcut.jsonl"
    about = {"kind": "test", "bias": 0.95, "size": 1000, "validation": 0.9, "augment_ms": 1.0}
    measured = [
        ("none", "", (0.6, 0.64)),
        ("samples", "broad", (0.8, 0.9)),
        ("LatentShift any, sample", "broad", (0.81, 0.92)),
    ]
    lines = [
        {**about, "policy": policy, "generator": generator, "seed": seed, "data_seed": seed, "accuracy": accuracy}
        for policy, generator, accuracies in measured
        for seed, accuracy in enumerate(accuracies)
    ]
    # The one set of generator "biased": the network's seed alone changes, and seed 0 is the same run as above.
    lines += [{**about, "policy": "none", "generator": "", "seed": 1, "data_seed": 0, "accuracy": 0.5}]
    lines += [
        {**about, "policy": "samples", "generator": "biased", "seed": seed, "data_seed": 0, "accuracy": accuracy}
        for seed, accuracy in enumerate((0.7, 0.7))
    ]
    out.write_text("\n".join(map(json.dumps, lines)))
    run("shortcut.py", "--report", "--out", out)
    bars_alone = imread(tmp_path / "shortcut.png").shape
    lines += [{**lines[0], "bias": bias, "seed": seed, "data_seed": seed} for bias in (0.5, 1.0) for seed in (0, 1)]
    out.write_text("\n".join(map(json.dumps, lines)))
    shown = run("shortcut.py", "--report", "--out", out)
    assert imread(tmp_path / "shortcut.png").shape[1] > 1.5 * bars_alone[1], "curves beside the bars"
    assert "| none | none | 0.380 ± 0.254 |  |  | 2 | 0.100 | 1.00 |" in shown
    assert "| samples | broad | 0.150 ± 0.635 | +0.230 ± 0.381 |  | 2 |" in shown, "paired by seed"
    assert "| LatentShift any, sample | broad | 0.135 ± 0.699 | +0.245 ± 0.445 | +0.015 ± 0.064 | 2 |" in shown
    assert "| none | none, one set | 0.450 ± 0.635 |  |  | 2 |" in shown
    assert "| none | 0.400 ± 0.000 |  | 0.380 ± 0.254 | 0.400 ± 0.000 |  |  |" in shown, "the curves' table"
    assert "| samples | biased | 0.300 ± 0.000 | +0.150 ± 0.635 |  | 2 |" in shown
    assert (tmp_path / "shortcut.md").read_text() == shown


@pytest.mark.slow
def test_masks_are_found_and_measured(run, data_root, tmp_path):
    out = tmp_path / "masks.jsonl"
    run("masks.py", "--data", data_root, "--quick", "--images", 8, "--steps", 2, "--out", out)
    assert [row["way"] for row in rows(out)] == ["Otsu", "two images", "pseudo-masks", "true masks"]
    assert all(0 <= row[figure] <= 1 for row in rows(out) for figure in ("iou", "f", "mae"))
    assert (tmp_path / "masks.png").exists()


def test_few_labels_are_enough_to_run_and_the_reasons_stand_beside(run, data_root, grey_pack, tmp_path):
    grey_pack.save_pretrained(tmp_path / "grey")
    out = tmp_path / "few.jsonl"
    tiny = ("--labels", 1, "--steps", 2, "--judge-steps", 2, "--policies", "none", "LatentShift any")
    given = ("few_labels.py", "--data", data_root, "--pack", tmp_path / "grey", *tiny, "--out", out)
    shown = run(*given, "--quick")
    found = rows(out)
    run(*given, "--seeds", 1)
    assert rows(out) == found, "the same settings without --quick find their rows"
    assert [row["policy"] for row in found if row["kind"] == "test"] == ["none", "LatentShift any"]
    assert [row["kind"] for row in found].count("search") == 3
    assert "| fashion-mnist: test accuracy | 1 a class |" in shown and "| 0.5 |" in shown
    reasons = found[-1]
    assert reasons["kind"] == "why" and reasons["moved"] > 0 and reasons["reconstructed"] > 0


SHARED = {"harness.py", "originals.py", "policies.py", "published.py"}


@pytest.mark.parametrize("script", sorted({path.name for path in BENCHMARKS.glob("*.py")} - SHARED))
def test_every_script_says_how_it_is_run(run, capsys, script):
    with pytest.raises(SystemExit) as stop:
        run(script, "--help")
    assert stop.value.code == 0
    assert f"python benchmarks/{script}" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["shortcut", "few_labels", "masks"])
def test_measured_rows_make_the_committed_table(run, tmp_path, name):
    out = shutil.copy(BENCHMARKS / "results" / f"{name}.jsonl", tmp_path)
    shown = run(f"{name}.py", "--report", "--out", out)
    assert shown == (BENCHMARKS / "results" / f"{name}.md").read_text() == (tmp_path / f"{name}.md").read_text()


def test_measured_methods_make_their_table(run):
    shown = run("methods.py", "--table").splitlines()
    assert len(shown) == 20 and [line.split()[1] for line in shown[1:3]] == ["reconstructor", "sefa"]
    assert shown[1].split()[2:6] == ["3", "0.314", "±", "0.062"]


TINY_DISCOVERY = ("--widths", *[8] * 4, "--directions", 4, "--batch", 4, "--steps", 2, "--peak-size", 64)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (("discovery_speed.py", *TINY_DISCOVERY, "--only", "step"), ["ours, float32", "transcription, float32"]),
        (("discovery_speed.py", *TINY_DISCOVERY, "--memory-of", "ours, bfloat16"), []),
        (("generators.py", "--only", "dcgan", "biggan-deep", "--sizes", 32, "--ch", 4), ["| DCGAN 32 |"]),
        (("generators.py", "--only", "dcgan", "--sizes", 32, "--speed", "--repeats", 1), ["| original s |", ", x "]),
        (("large_images.py", "--size", 32, "--measure", "progan", "images", "fused bfloat16"), ["s ", "GiB at most"]),
    ],
    ids=["step", "memory", "generators", "speed", "large images"],
)
def test_costs_are_measured(run, given, shown):
    printed = run(*given)
    assert printed and all(text in printed for text in shown)


def test_a_checkout_is_asked_for(run, capsys):
    with pytest.raises(SystemExit):
        run("generators.py", "--only", "deformators")
    assert "--published PATH" in capsys.readouterr().err


@pytest.mark.slow
def test_a_transform_is_timed(run, inverting_pack, tmp_path):
    inverting_pack.save_pretrained(tmp_path / "pack")
    printed = run("transform_speed.py", tmp_path / "pack", "--only", "image")
    assert "LatentShift, stored latents" in printed and "RandAugment" in printed


@pytest.fixture
def recipe(grey_pack, tmp_path):
    grey_pack.generator.save_pretrained(tmp_path / "generator")
    path = tmp_path / "tiny.toml"
    path.write_text(
        f"""
        [pack]
        generator = "{tmp_path}/generator"
        [discovery]
        num_directions = 4
        direction_matrix = "unit"
        reconstructor = "lenet"
        steps = 2
        batch_size = 8
        """
    )
    return path


@pytest.mark.slow
def test_a_recipe_is_compared_with_its_baselines(run, recipe, tmp_path):
    given = ("methods.py", "--rca", recipe, "--out", tmp_path / "runs", "steps=3", "--device", "cpu")
    shown = run(*given)
    assert "tiny: K = 4, 3 steps of batch 8" in shown
    found = rows(tmp_path / "runs" / "results.jsonl")
    assert [row["direction_matrix"] for row in found] == ["unit", "random", "coordinate"]
    assert all(f"{row['direction_matrix']:12} RCA {row['rca']:.4f}" in shown for row in found)


def test_settings_are_those_of_a_recipe(run, capsys):
    with pytest.raises(SystemExit):
        run("methods.py", "steps=3")
    assert "steps=3 is a setting of --rca" in capsys.readouterr().err


@pytest.mark.slow
def test_a_curve_is_drawn_once(run, recipe, tmp_path):
    given = ("rca_over_time.py", recipe, "--variants", "growing", "--minutes", 0.005)
    shown = run(*given, "--out", tmp_path / "curve.jsonl")
    found = rows(tmp_path / "curve.jsonl")
    assert {row["variant"] for row in found} == {"growing"} and "growing" in shown
    assert all(0 <= row["rca"] <= 1 and row["revision"] for row in found)
    run(*given, "--out", tmp_path / "curve.jsonl", "--plot")
    assert rows(tmp_path / "curve.jsonl") == found and (tmp_path / "curve.png").exists()
