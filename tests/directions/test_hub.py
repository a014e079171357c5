"""The real huggingface_hub client, in a process of its own, against a server on this machine."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from hub_server import HubServer


@pytest.fixture
def hub():
    with HubServer() as server:
        yield server


@pytest.fixture
def client(hub, tmp_path):
    """Run a piece of Python with the Hub at our server and an empty cache; returns what it printed."""

    def run(code, **environment):
        variables = {
            "HF_ENDPOINT": hub.endpoint,
            "HF_HOME": str(tmp_path / "hf"),
            "HF_HUB_DISABLE_XET": "1",
            "HF_TOKEN": "hf_test",
            "OMP_NUM_THREADS": "1",
        }
        result = subprocess.run(
            [
                sys.executable,
                "-c",
                f"from ganaug import DirectionPack, Generator\nfrom ganaug.directions import PackError\n{code}",
            ],
            env={**os.environ, **variables, **environment},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert result.returncode == 0, result.stderr
        return result.stdout

    return run


READ = """
pack = DirectionPack.from_pretrained("org/tiny")
print(pack.names, pack.generator.weights_sha256(), round(pack.directions.sum().item(), 4))
"""


def test_a_pushed_pack_comes_back_whole_and_from_the_cache_when_offline(pack, hub, client, tmp_path):
    folder = pack.save_pretrained(tmp_path / "tiny")
    url = client(f"print(DirectionPack.from_pretrained({str(folder)!r}).push_to_hub('org/tiny'))")
    assert url.startswith(f"{hub.endpoint}/org/tiny/commit/")
    files = hub.repositories["org/tiny"]
    assert set(files) == {"config.json", "directions.safetensors", "generator.safetensors", "README.md"}
    assert b"library_name: ganaug" in files["README.md"]

    hub.repositories["org/tiny"]["evil.pkl"] = b"\x80\x04."
    expected = f"{pack.names} {pack.generator.weights_sha256()} {round(pack.directions.sum().item(), 4)}\n"
    assert client(READ) == expected
    assert "config.json" in hub.served and "evil.pkl" not in hub.served

    hub.repositories.clear()
    served = len(hub.served)
    assert client(READ, HF_HUB_OFFLINE="1") == expected
    assert len(hub.served) == served


TRY = """
try:
    DirectionPack.from_pretrained({name!r})
except PackError as error:
    print(error)
"""


def test_what_the_hub_does_not_have_is_named(client, hub):
    assert "no public Hub repository 'org/none'" in client(TRY.format(name="org/none"))
    hub.repositories["org/empty"] = {"README.md": b"# nothing"}
    assert "config.json is missing" in client(TRY.format(name="org/empty"))
    offline = client(TRY.format(name="org/none"), HF_HUB_OFFLINE="1")
    assert "org/none is not in the Hub cache" in offline


def test_a_damaged_repository_is_refused(pack, client, hub, tmp_path):
    folder = pack.save_pretrained(tmp_path / "tiny")
    files = {file.name: file.read_bytes() for file in folder.iterdir()}
    hub.repositories["org/cut"] = {**files, "directions.safetensors": files["directions.safetensors"][:-9]}
    assert "directions.safetensors is not a whole safetensors file" in client(TRY.format(name="org/cut"))


def test_a_generator_goes_to_the_hub_and_back(conditional_generator, client, hub, tmp_path):
    conditional_generator.save_pretrained(tmp_path / "generator")
    code = f"""
generator = Generator.from_pretrained({str(tmp_path / "generator")!r})
generator.push_to_hub("org/generator")
print(Generator.from_pretrained("org/generator").weights_sha256())
"""
    assert client(code) == conditional_generator.weights_sha256() + "\n"
    assert "generator.safetensors" in hub.served
