"""The real huggingface_hub client, in a process of its own, against a server on this machine."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from hub_server import HubServer

from ganaug.errors import GeneratorError, PackError
from ganaug.generators import SNGAN
from ganaug.packs import DirectionPack, load_generator


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
                f"from ganaug import DirectionPack, Generator\nfrom ganaug.errors import PackError\n{code}",
            ],
            env={**os.environ, **variables, **environment},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert result.returncode == 0, result.stderr
        return result.stdout

    return run


DESCRIBE = """
def describe(name):
    pack = DirectionPack.from_pretrained(name)
    print(pack.names, pack.generator.weights_sha256(), pack.directions.numpy().tobytes().hex())

def attempt(*names):
    for name in names:
        try:
            DirectionPack.from_pretrained(name)
        except PackError as error:
            print(error)
"""


@pytest.mark.slow
def test_a_pushed_pack_comes_back_whole_and_from_the_cache_when_offline(pack, hub, client, tmp_path):
    folder = pack.save_pretrained(tmp_path / "tiny")
    hub.repositories["org/tiny"] = {"evil.pkl": b"\x80\x04.", "preview.png": b"of an older pack"}
    push = f"print(DirectionPack.from_pretrained({str(folder)!r}).push_to_hub('org/tiny'))"
    url, online = client(f"{DESCRIBE}\n{push}\ndescribe('org/tiny')").splitlines()
    assert url.startswith(f"{hub.endpoint}/org/tiny/commit/")
    files = hub.repositories["org/tiny"]
    assert set(files) == {"config.json", "directions.safetensors", "generator.safetensors", "README.md", "evil.pkl"}
    assert b"library_name: ganaug" in files["README.md"] and b'pack="org/tiny"' in files["README.md"]
    expected = f"{pack.names} {pack.generator.weights_sha256()} {pack.directions.numpy().tobytes().hex()}"
    assert online == expected
    assert "config.json" in hub.served and "evil.pkl" not in hub.served

    hub.repositories.clear()
    served = len(hub.served)
    offline, unknown = client(f"{DESCRIBE}\ndescribe('org/tiny')\nattempt('org/none')", HF_HUB_OFFLINE="1").splitlines()
    assert offline == expected and len(hub.served) == served
    assert "no folder 'org/none'" in unknown and "the Hub can't be reached" in unknown


@pytest.mark.slow
def test_what_the_hub_does_not_have_or_has_damaged_is_named(pack, client, hub, tmp_path):
    folder = pack.save_pretrained(tmp_path / "tiny")
    files = {file.name: file.read_bytes() for file in folder.iterdir()}
    hub.repositories["org/empty"] = {"README.md": b"# nothing"}
    hub.repositories["org/cut"] = {**files, "directions.safetensors": files["directions.safetensors"][:-9]}
    none, empty, cut = client(f"{DESCRIBE}\nattempt('org/none', 'org/empty', 'org/cut')").splitlines()
    assert "no public Hub repository 'org/none'" in none
    assert "org/empty has no config.json, so it is no pack and no generator" in empty
    assert "directions.safetensors is not a whole safetensors file" in cut


@pytest.mark.parametrize(
    ("name", "environment", "reason"),
    [
        ("org/tiny", {"HF_HUB_OFFLINE": "1"}, "offline"),
        ("org/tiny", {"HF_ENDPOINT": "http://127.0.0.1:9"}, "refused"),
        ("bad name/x y", {}, "Repo id must"),
    ],
)
@pytest.mark.slow
def test_a_push_that_cannot_be_says_why(pack, client, tmp_path, name, environment, reason):
    folder = pack.save_pretrained(tmp_path / "tiny")
    code = f"""
try:
    DirectionPack.from_pretrained({str(folder)!r}).push_to_hub({name!r})
except PackError as error:
    print(" ".join(str(error).split()))
"""
    said = client(code, **environment)
    assert f"{name!r} could not be pushed to the Hub" in said and reason in said and "hf auth login" in said


@pytest.mark.slow
def test_a_generator_goes_to_the_hub_and_back(conditional_generator, client, hub, tmp_path):
    conditional_generator.save_pretrained(tmp_path / "generator")
    code = f"""
from ganaug.errors import GeneratorError
generator = Generator.from_pretrained({str(tmp_path / "generator")!r})
generator.push_to_hub("org/generator")
print(Generator.from_pretrained("org/generator").weights_sha256())
for name in ("org/none", "org/empty"):
    try:
        Generator.from_pretrained(name)
    except GeneratorError as error:
        print(str(error).splitlines()[0])
"""
    hub.repositories["org/empty"] = {"README.md": b"# nothing"}
    sha256, none, empty = client(code).splitlines()
    assert sha256 == conditional_generator.weights_sha256() and "generator.safetensors" in hub.served
    assert "no folder 'org/none' of a generator, and there is no public Hub repository" in none
    assert "org/empty has no config.json" in empty


def test_bundled_packs_come_before_folders_of_the_same_name(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(folder, tmp_path / "digits")
    assert DirectionPack.from_pretrained("digits").num_directions != 6
    for folder in ("./digits", Path("digits"), tmp_path / "digits"):
        assert DirectionPack.from_pretrained(folder).num_directions == 6
    with pytest.raises(PackError, match=r"no folder 'org/name'\. Pass a bundled name or a Hub id as a string"):
        DirectionPack.from_pretrained(Path("org/name"))
    monkeypatch.chdir("digits")
    assert DirectionPack.from_pretrained(".").name == str(tmp_path / "digits")


@pytest.mark.parametrize("name", ["nowhere", "./nowhere", "/nowhere/at/all", "a/b/c"])
def test_a_pack_that_is_nowhere_is_named(name):
    with pytest.raises(PackError, match="no bundled pack and no folder") as caught:
        DirectionPack.from_pretrained(name)
    assert name in str(caught.value) and "digits" in str(caught.value)


FOREIGN = {
    "a model of another library": {"config.json": b'{"model_type": "bert"}', "README.md": b"# BERT"},
    "a card without a config": {"README.md": b"---\nlicense: mit\n---\n# Mine\n"},
    "a card without a head": {"README.md": b"My notes."},
    "a config that is no JSON": {"config.json": b"{"},
}


@pytest.mark.slow
@pytest.mark.parametrize("what", ["pack", "generator"])
def test_a_push_replaces_nothing_of_another_kind(pack, client, hub, tmp_path, what):
    theirs = {
        "pack": {"config.json": b'{"architecture": "sngan"}'},
        "generator": {"config.json": b'{"format_version": 1}'},
    }
    held = {**FOREIGN, "the other kind": theirs[what]}
    hub.repositories.update({f"org/{k}": dict(files) for k, files in enumerate(held.values())})
    hub.repositories["org/head"] = {"README.md": b"---\nlicense: mit\n---\n", ".gitattributes": b""}
    code = f"""
from ganaug.errors import UserError
pack = DirectionPack.from_pretrained({str(pack.save_pretrained(tmp_path / "tiny"))!r})
for name in {[f"org/{k}" for k in range(len(held))] + ["org/head", "org/head", "org/new"]}:
    try:
        ({"pack" if what == "pack" else "pack.generator"}).push_to_hub(name)
        print("pushed", name)
    except UserError as error:
        print(type(error).__name__, error)
"""
    said = client(code).splitlines()
    error = {"pack": "PackError", "generator": "GeneratorError"}[what]
    for k, files in enumerate(held.values()):
        assert said[k].startswith(f"{error} the Hub's org/{k} holds ") and "nothing was pushed" in said[k]
        assert hub.repositories[f"org/{k}"] == files
    assert said[len(held) :] == ["pushed org/head", "pushed org/head", "pushed org/new"], "its own is replaced"


@pytest.mark.parametrize("given", [None, 3, ["digits"], SNGAN(latent_dim=2, channels=1, widths=(4, 4, 4, 4))])
def test_what_is_no_name_of_a_pack_or_generator_is_told_by_its_type(given):
    for load in (DirectionPack.from_pretrained, load_generator):
        with pytest.raises((PackError, GeneratorError), match=f"got a {type(given).__name__}") as caught:
            load(given)
        assert len(str(caught.value)) < 200
