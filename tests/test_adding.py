"""The three files that docs/adding.md writes, put beside the others in a copy of the package, nothing else changed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import ganaug

PAGE = (Path(__file__).parents[1] / "docs" / "adding.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"`(ganaug/[\w/]+\.py)`:\n\n```python\n(.*?)```", PAGE, re.DOTALL))

USE = """
import torch
from click.testing import CliRunner

from ganaug import DirectionPack
from ganaug.cli.main import main
from ganaug.generators import ARCHITECTURES, Generator

torch.manual_seed(0)
weights = {"fc.w": torch.randn(3 * 32 * 32, 8) / 8, "fc.b": torch.randn(3 * 32 * 32) / 8}
torch.save(weights, "checkpoint.pth")


def run(*words):
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    return result.output


run("convert", "checkpoint.pth", "--out", "generator", "channels=3")
generator = Generator.from_pretrained("generator")
assert type(generator) is ARCHITECTURES["dense"] and generator.config["image_size"] == 32
z = generator.sample_latents(2)
expected = (z @ weights["fc.w"].T + weights["fc.b"]).tanh().view(2, 3, 32, 32)
torch.testing.assert_close(generator(z), expected)

assert "method=liveliest num_directions=16 candidates=256 magnitude=3.0 seed=0" in run("train", "--help")
run("train", "--generator", "generator", "--out", "pack", "method=liveliest", "num_directions=4", "candidates=40")
pack = DirectionPack.from_pretrained("pack")
assert pack.directions.shape == (4, 8)
change = [(generator(z + 3 * row) - generator(z)).abs().mean() for row in pack.directions]
other = [(generator(z + 3 * row) - generator(z)).abs().mean() for row in torch.eye(8)]
assert min(change) > sum(other) / len(other), "they are the liveliest"
assert pack.method == {"name": "liveliest", "num_directions": 4, "candidates": 40, "magnitude": 3.0, "seed": 0}
"""


@pytest.mark.slow  # a process that imports everything again
def test_the_pages_files_work_where_it_puts_them(tmp_path):
    assert {Path(name).parts[1] for name in FILES} == {"generators", "checkpoints", "training"}
    package = Path(ganaug.__file__).parent
    for file in (file for file in package.rglob("*") if file.is_file() and "__pycache__" not in file.parts):
        copy = tmp_path / "ganaug" / file.relative_to(package)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(file.read_bytes())
    for name, text in FILES.items():
        assert not (tmp_path / name).exists()
        (tmp_path / name).write_text(text, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    ran = subprocess.run([sys.executable, "-c", USE], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


def test_the_pages_tests_and_folders_are_there():
    root = Path(__file__).parents[1]
    named = set(re.findall(r"\b((?:tests|benchmarks)/[\w/]+\.py)\b", PAGE))
    examples = {"tests/generators/test_dense.py", "tests/checkpoints/test_dense_example.py"}
    assert named > examples
    assert [name for name in named - examples if not (root / name).exists()] == []
