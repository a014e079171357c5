"""The real huggingface_hub client, in a process of its own, against a server on this machine."""

import json
import os
import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from hub_server import COMMIT, HostileHub

from ganaug.errors import GeneratorError, PackError
from ganaug.generators import SNGAN, Generator
from ganaug.packs import DirectionPack, load_generator


@pytest.fixture
def hub():
    with HostileHub() as server:
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


LOAD = """
import json
from ganaug.errors import GeneratorError
from ganaug.packs import load_generator

def load(name, kind="pack", **options):
    try:
        if kind == "pack":
            pack = DirectionPack.from_pretrained(name, **options).load()
            print(json.dumps(["loaded", pack.generator.weights_sha256()]))
        else:
            generator = load_generator(name) if kind == "either" else Generator.from_pretrained(name, **options)
            print(json.dumps(["loaded", generator.weights_sha256()]))
    except (PackError, GeneratorError) as error:
        print(json.dumps([type(error).__name__, str(error)]), flush=True)
"""


@pytest.fixture
def attempt(client):
    """As ``client``, with ``load``; returns what was loaded, or the error, of each load."""

    def run(code, **environment):
        return [tuple(json.loads(line)) for line in client(f"{LOAD}\n{code}", **environment).splitlines()]

    return run


@pytest.fixture
def files(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


REFUSALS = {
    401: ("no public Hub repository", "log in (hf auth login) or pass token"),
    403: ("refuses access", "(403)", "Log in (hf auth login)", "ask its owner"),
    404: ("no public Hub repository", "(404)", "Check the name"),
    418: ("answers 418", "proxy", "try again"),
    429: ("too many requests (429)", "Wait a few minutes"),
    500: ("the Hub is in trouble (500)", "Try again later"),
    503: ("the Hub is in trouble (503)", "Try again later"),
}


@pytest.mark.slow
def test_each_refusal_says_its_status_and_what_to_do_after_one_request(files, hub, attempt):
    kinds = ("pack", "generator", "either")
    for status in REFUSALS:
        for kind in kinds:
            hub.repositories[f"org/{kind}-{status}"] = files
            hub.turn(f"org/{kind}-{status}", status=status, body=b"<html>no</html>")
    names = [(f"org/{kind}-{status}", kind, status) for status in REFUSALS for kind in kinds]
    said = attempt("\n".join(f"load({name!r}, {kind!r})" for name, kind, _ in names))
    for (name, kind, status), (error, told) in zip(names, said, strict=True):
        assert error == ("PackError" if kind == "pack" else "GeneratorError")
        assert name in told and all(words in told for words in REFUSALS[status]), told
        assert len(told) < 300, told
        assert [f"HEAD /{name}/resolve/main/config.json"] == [line for line in hub.seen if name in line]


@pytest.mark.slow
def test_a_mistyped_folder_is_named_at_once_where_there_is_no_connection(attempt, tmp_path, conditional_generator):
    conditional_generator.save_pretrained(tmp_path / "runs" / "photos-gen")
    code = f"""
import os, time
os.chdir({str(tmp_path)!r})
def sleep(seconds):
    raise AssertionError("something waits before it tries again")
time.sleep = sleep
for kind in ("pack", "generator", "either"):
    load("runs/photo-gn", kind)
"""
    for _, told in attempt(code, HF_ENDPOINT="http://127.0.0.1:9"):
        assert "the Hub can't be reached (http://127.0.0.1:9" in told and "not fetched before" in told
        assert "Did you mean runs/photos-gen" in told or "folder 'runs/photo-gn' of a generator" in told


@pytest.mark.slow
def test_a_copy_in_the_cache_is_taken_while_the_hub_is_out_of_reach_or_in_trouble(files, pack, hub, attempt):
    hub.repositories["org/tiny"] = files
    sha256 = pack.generator.weights_sha256()
    again = "load('org/tiny')"
    assert attempt(f"{again}\n{again}\nload('org/tiny', revision={COMMIT!r})") == [("loaded", sha256)] * 3
    hub.seen.clear()
    assert (
        attempt(f"{again}\nload('org/tiny', revision={COMMIT!r})\nload('org/tiny', 'either')")
        == [("loaded", sha256)] * 3
    )
    asked = [line for line in hub.seen if "org/tiny" in line]
    assert asked == ["HEAD /org/tiny/resolve/main/config.json"] * 2, "one request, none for a commit"
    for fault in (
        {"status": 503},
        {"raw": b""},
        {"status": 200, "headers": {"X-Repo-Commit": None}, "body": b"<html>"},
    ):
        hub.turn("org/tiny", **fault)
        assert attempt(again) == [("loaded", sha256)]
    assert (
        attempt(again, HF_HUB_OFFLINE="1") == attempt(again, HF_ENDPOINT="http://127.0.0.1:9") == [("loaded", sha256)]
    )
    assert attempt("load('org/tiny', local_files_only=True)") == [("loaded", sha256)]
    hub.turn("org/tiny", status=403)
    [(_, told)] = attempt(again)
    assert "refuses access to 'org/tiny' (403)" in told and "A copy is in the cache: local_files_only=True" in told


@pytest.mark.slow
def test_a_login_page_in_place_of_the_hub_is_said(hub, attempt):
    hub.turn("org/tiny", status=200, headers={"X-Repo-Commit": None}, body=b"<html>Please log in</html>")
    for error, told in attempt("load('org/tiny')\nload('org/tiny', 'either')"):
        assert "is not the Hub: it names no commit" in told and "wants a login in the browser" in told, error


@pytest.mark.slow
@pytest.mark.parametrize("name", ["generator.safetensors", "config.json"])
def test_after_a_cut_in_the_middle_of_a_file_the_next_try_is_whole(files, pack, hub, attempt, name):
    hub.repositories["org/tiny"] = files
    hub.faults["org/tiny"] = [("GET", name, {"cut": 300})]
    hub.begun.add("org/tiny")
    quick = "import time\ntime.sleep = lambda seconds: None\nload('org/tiny')"
    [(_, told)] = attempt(quick)
    assert "could not be fetched from the Hub" in told or "can't be reached" in told
    [(_, offline)] = attempt(quick, HF_HUB_OFFLINE="1")
    assert "was not fetched before" in offline, "half a pack in the cache is none"
    hub.begun.clear()
    assert attempt(quick) == [("loaded", pack.generator.weights_sha256())]


@pytest.mark.slow
def test_ten_terabytes_are_refused_before_anything_is_downloaded(files, hub, attempt):
    names = ("config.json", "directions.safetensors", "generator.safetensors", "preview.png")
    promises = list(product(names, ("Content-Length", "X-Linked-Size")))
    for k, (name, header) in enumerate(promises):
        hub.repositories[f"org/big-{k}"] = {**files, "preview.png": b""}
        hub.turn(f"org/big-{k}")
        hub.faults[f"org/big-{k}"] = [("", name, {"headers": {header: str(10**13)}})]
    said = attempt("\n".join(f"load('org/big-{k}')" for k in range(len(promises))))
    for k, ((name, _), (error, told)) in enumerate(zip(promises, said, strict=True)):
        assert f"{name} of the Hub's org/big-{k} is said to have 10 TB" in told and "Nothing was downloaded" in told
        assert error == "PackError" and hub.served == []


@pytest.mark.slow
def test_redirects_are_followed_to_a_store_of_large_files_and_not_in_a_circle(files, pack, hub, attempt):
    weights = files["generator.safetensors"]
    hub.repositories["org/tiny"] = hub.repositories["org/loop"] = files
    hub.repositories["store/files"] = {"weights": weights}
    away = {
        "status": 302,
        "headers": {
            "Location": "{endpoint}/store/files/resolve/main/weights",
            "X-Linked-Size": str(len(weights)),
            "X-Linked-Etag": '"' + "e" * 64 + '"',
        },
        "body": b"",
    }
    hub.faults["org/tiny"] = [("", "generator.safetensors", away)]
    hub.begun.add("org/tiny")
    hub.turn("org/loop", status=302, headers={"Location": "{self}"})
    (loaded, sha256), (_, told) = attempt("load('org/tiny')\nload('org/loop')")
    assert loaded == "loaded" and sha256 == pack.generator.weights_sha256() and "weights" in hub.served
    assert "'org/loop' could not be fetched from the Hub" in told


@pytest.mark.slow
def test_a_cache_that_can_not_be_written_is_named_with_what_to_do(files, hub, attempt, tmp_path):
    hub.repositories["org/tiny"] = files
    (tmp_path / "file").write_text("in the way")
    in_the_way, no_folder = attempt(
        f"load('org/tiny', cache_dir={str(tmp_path / 'file')!r})\nload('org/tiny', cache_dir='/dev/null/x')"
    )
    for (error, told), place in ((in_the_way, tmp_path / "file"), (no_folder, "/dev/null/x")):
        assert error == "PackError" and f"the Hub's cache can't be used: {place}" in told and "set HF_HOME" in told
    full = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
load('org/tiny')
"""
    [(_, told)] = attempt(full)
    assert "the Hub's cache can't be used: " in told and "File too large" in told and "Make room" in told
    [(_, told)] = attempt(
        "import shutil, types\nshutil.disk_usage = lambda place: types.SimpleNamespace(free=0)\nload('org/tiny')"
    )
    assert "bytes are to be downloaded into" in told and "where 0 bytes are free. Make room" in told
    [(_, told)] = attempt("load('org/tiny')", HF_HUB_CACHE="~nobody-of-that-name/cache")
    assert "there is no folder to keep what comes from the Hub" in told and "Set HF_HOME" in told


@pytest.mark.slow
def test_a_whole_copy_in_a_cache_that_can_not_be_written_is_read(files, pack, hub, attempt, tmp_path):
    hub.repositories["org/tiny"] = files
    read_only = """
import os
from pathlib import Path
def refuse(*_, **__):
    raise PermissionError(13, "Permission denied", "cache")
load('org/tiny')
Path.mkdir = Path.touch = os.makedirs = os.replace = refuse
load('org/tiny')
"""
    assert attempt(read_only) == [("loaded", pack.generator.weights_sha256())] * 2


@pytest.mark.slow
def test_what_is_fetched_is_named_by_us_and_nothing_that_a_repository_lists(files, hub, attempt, tmp_path):
    odd = {"../../../../evil": b"", "/etc/evil": b"", "evil.pkl": b"\x80\x04.", "sub/config.json": b"{}"}
    hub.repositories["org/tiny"] = {**odd, **files}
    assert attempt("load('org/tiny')")[0][0] == "loaded"
    assert set(hub.served) == set(files)
    assert not [path for path in tmp_path.rglob("*") if "evil" in path.name]


@pytest.mark.parametrize("revision", ["../../../evil", "/etc", "a b", "x" * 300, "", "-x", "a..b", "main\n"])
def test_a_revision_that_is_a_path_is_refused_without_a_request(revision):
    for load in (DirectionPack.from_pretrained, Generator.from_pretrained):
        with pytest.raises((PackError, GeneratorError), match="a revision is a branch, tag or commit, got"):
            load("org/tiny", revision=revision)


@pytest.mark.slow
def test_pull_says_in_one_line_what_is_wrong_and_writes_nothing(hub, tmp_path):
    hub.turn("org/tiny", status=503)
    variables = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "hf"), "OMP_NUM_THREADS": "1"}
    for command in ("pull org/tiny new", "train --generator org/tiny --out new method=random"):
        told = subprocess.run(
            [sys.executable, "-m", "ganaug", *command.split()],
            env={**os.environ, **variables},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert told.returncode == 1 and told.stderr.startswith("Error: ") and told.stderr.count("\n") == 1
        assert "the Hub is in trouble (503)" in told.stderr and not (tmp_path / "new").exists()


@pytest.mark.slow
def test_a_copy_in_place_of_the_hub_is_said_unless_it_was_asked_for(pack, client, hub, tmp_path):
    code = """
import warnings
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    print(DirectionPack.from_pretrained("org/tiny").names)
print([str(one.message) for one in told if "from the cache" in str(one.message)])
"""
    client(f"DirectionPack.from_pretrained({str(pack.save_pretrained(tmp_path / 'tiny'))!r}).push_to_hub('org/tiny')")
    names, told = client(code).splitlines()
    assert told == "[]"
    said = client(code, HF_ENDPOINT="http://127.0.0.1:1").splitlines()
    assert said[0] == names and "org/tiny is taken from the cache" in said[1] and "can't be reached" in said[1]
    assert client(code, HF_ENDPOINT="http://127.0.0.1:1", HF_HUB_OFFLINE="1").splitlines() == [names, "[]"]
