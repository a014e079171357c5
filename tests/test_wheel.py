"""What a user gets from the wheel, in a fresh environment outside the checkout, without a network."""

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACK_FILES = {"README.md", "config.json", "directions.safetensors", "preview.png", "generator.safetensors"}
OFFLINE = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "1"}
SCRIPT = """
import sys
import torch
from pathlib import Path
import ganaug
from ganaug import DirectionPack, transforms
from ganaug.packs import bundled_packs
assert Path(sys.prefix) in Path(ganaug.__file__).parents, ganaug.__file__
assert set(bundled_packs()) >= {"digits", "mnist", "faces"}, bundled_packs()
torch.manual_seed(0)
images, labels = torch.rand(16, 3, 32, 32), torch.arange(16) % 10
shifted, same = transforms.LatentShift(direction="background", check_domain=False)(images, labels)
assert same is labels and shifted.shape == images.shape and not torch.equal(shifted, images)
print("augmented", DirectionPack.from_pretrained("mnist").generator.channels)
"""


@pytest.mark.slow
def test_latent_shift_works_from_the_wheel_with_no_network(tmp_path):
    wheels = tmp_path / "wheels"
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(wheels), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True, timeout=300)
    (wheel,) = wheels.glob("*.whl")
    check_files(wheel)
    environment = tmp_path / "fresh"
    venv.create(environment, with_pip=False)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(environment)}))
    install = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--target", str(site), str(wheel)]
    subprocess.run(install, check=True, capture_output=True, timeout=300)
    # The dependencies (torch and so on, several gigabytes) are borrowed from this environment; ganaug is not.
    borrowed = sysconfig.get_path("purelib")
    (site / "dependencies.pth").write_text(f"{borrowed}\n")
    result = subprocess.run(
        [str(environment / "bin" / "python"), "-c", SCRIPT],
        cwd=tmp_path,
        env={**{k: v for k, v in os.environ.items() if k != "PYTHONPATH"}, **OFFLINE, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == "augmented 1\n"


def check_files(wheel):
    """Every file of the package is in it, so are the packs and the mark of typed code, and nothing else."""
    with zipfile.ZipFile(wheel) as archive:
        files = {name for name in archive.namelist() if ".dist-info/" not in name}
    code = {file.relative_to(ROOT).as_posix() for file in (ROOT / "ganaug").rglob("*.py")}
    packs = {
        f"ganaug/{file.relative_to(ROOT).as_posix()}"
        for file in (ROOT / "pretrained_directions").rglob("*")
        if file.is_file()
    }
    assert files == code | packs | {"ganaug/py.typed"}
    for name in ("digits", "mnist"):
        assert {f"ganaug/pretrained_directions/{name}/{file}" for file in PACK_FILES} <= files


@pytest.mark.slow
def test_import_is_quick_because_heavy_imports_wait():
    lines = (
        "import sys, ganaug",
        "assert 'torch' not in sys.modules",
        "ganaug.transforms",
        "assert 'torch' in sys.modules and 'ganaug.training' not in sys.modules",
    )
    subprocess.run([sys.executable, "-c", "\n".join(lines)], check=True, timeout=120)
