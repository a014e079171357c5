"""A Hub that answers as it should not: every load ends in the whole pack or in one error of ours, soon."""

import gzip
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from hub_server import COMMIT, OTHER_COMMIT, HostileHub

HTML = b"<!DOCTYPE html><html><head><title>Hotel</title></head><body>Please log in to the network.</body></html>" * 20
FILES = ("config.json", "directions.safetensors", "generator.safetensors", "README.md", "preview.png")
LOADERS = ("pack", "pack", "generator", "either")

CHILD = """
import json, os, re, sys, time, traceback, urllib.request, warnings
from huggingface_hub import constants, file_download
from huggingface_hub.utils import logging
from ganaug.errors import GeneratorError, PackError
from ganaug.generators import Generator
from ganaug.packs import DirectionPack, load_generator

warnings.simplefilter("ignore")
logging.set_verbosity_error()
constants.HF_HUB_ETAG_TIMEOUT = constants.HF_HUB_DOWNLOAD_TIMEOUT = 0.2
constants.DEFAULT_ETAG_TIMEOUT = 0.2
file_download._ETAG_RETRY_TIMEOUT = 0.2
sleep = time.sleep
time.sleep = lambda seconds: sleep(min(seconds, 0.01))  # the client waits between its own retries

def load(how, name, revision):
    if how == "pack":
        pack = DirectionPack.from_pretrained(name, revision=revision).load()
        return [pack.directions.numpy().tobytes().hex(), pack.generator.weights_sha256(), sorted(pack.names)]
    generator = load_generator(name) if how == "either" else Generator.from_pretrained(name, revision=revision)
    return [None, generator.weights_sha256(), None]

for line in sys.stdin:
    case = json.loads(line)
    if case["warm"]:
        load("pack", case["name"], None)
    urllib.request.urlopen(constants.ENDPOINT + "/begin/" + case["name"]).read()
    start = time.monotonic()
    try:
        told = {"loaded": load(case["how"], case["name"], case["revision"])}
    except (PackError, GeneratorError) as error:
        told = {"refused": str(error)}
    except BaseException:
        told = {"other": traceback.format_exc()}
    told["seconds"] = time.monotonic() - start
    told["kilobytes"] = int(re.search(r"VmHWM:\s+(\d+)", open("/proc/self/status").read())[1])
    print(json.dumps(told), flush=True)
"""


def status_fault(rng):
    codes = [201, 204, 206, 300, 301, 302, 304, 307, 308, 400, 401, 402, 403, 404, 405, 408, 409, 410, 416, 418, 429]
    status = rng.choice([*codes, 451, 500, 501, 502, 503, 504, 507, 521, 530, 599])
    headers = {}
    if rng.random() < 0.4:
        codes = ["RepoNotFound", "RevisionNotFound", "EntryNotFound", "GatedRepo", "\x01?", "x" * 3000]
        headers["X-Error-Code"] = rng.choice(codes)
    if rng.random() < 0.3:
        headers["X-Error-Message"] = rng.choice(["Access to this resource is disabled.", "\x1b[31mred", "y" * 5000])
    if rng.random() < 0.3:
        headers["Retry-After"] = rng.choice(["0", "-1", "never", "3", "99999999999", "1e400"])
    if rng.random() < 0.2:
        headers["X-Repo-Commit"] = rng.choice([None, "../../../../evil", OTHER_COMMIT])
    return {"status": status, "headers": headers, "body": body(rng)}


def body(rng):
    deep = b"[" * 100_000
    other = [
        b"",
        HTML,
        b"null",
        b"[]",
        b"{}",
        b'{"error": ["a", 3]}',
        b'{"error": 3, "errors": 4}',
        b"\xff\xfe\x00",
        deep,
    ]
    return rng.choice([*other, b'{"error": {"a": NaN}}', b"[1, 2", b"z" * 300_000, json.dumps({"sha": 7}).encode()])


def header_fault(rng):
    evil = ["../../../../evil", "../../../../../evil", "{absolute}/evil", "x/../../../../../evil"]
    name, values = rng.choice(
        [
            ("X-Repo-Commit", [None, "", "a" * 39, "A" * 40, "main", OTHER_COMMIT, *evil]),
            (
                "ETag",
                [None, "", '""', 'W/"abc"', '"' + "e" * 5000 + '"', ".", "..", *evil, *(f'"{each}"' for each in evil)],
            ),
            ("X-Linked-Etag", ["", '"' + "f" * 300 + '"', *(f'"{each}"' for each in evil)]),
            ("Content-Length", [None, "10000000000000", "-1", "many", "1e9", "0", "9" * 400, "1"]),
            ("X-Linked-Size", ["10000000000000", "-1", "many", "0", "9" * 400, "1"]),
            ("Content-Encoding", ["gzip", "br", "deflate", "zstd", "nonsense"]),
            ("Content-Range", ["bytes 0-1/99", "nonsense", "bytes */*"]),
            ("X-HF-Warning", ["a; b", "\x1b[31mred"]),
            ("Content-Type", ["text/html", "", "\xff"]),
        ]
    )
    return {"headers": {name: rng.choice(values)}}


def redirect_fault(rng):
    places = [
        "{self}",
        "{endpoint}{self}",
        "/",
        "/elsewhere",
        "{endpoint}/elsewhere",
        "http://127.0.0.1:9/x",
        "",
        "//",
        None,
    ]
    odd = [
        "http://",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "ftp://127.0.0.1:9/x",
        "http://[::1",
        "\xff",
        "x" * 9000,
    ]
    return {"status": rng.choice([301, 302, 303, 307, 308]), "headers": {"Location": rng.choice([*places, *odd])}}


def body_fault(rng):
    return {
        "body": rng.choice([HTML, body(rng), b"\x00" * 1000, b"\x89PNG\r\n\x1a\n" + b"\x00" * 50, b"\xff" * 8 + b"{}"])
    }


def raw_fault(rng):
    many = b"".join(b"X-%d: y\r\n" % k for k in range(5000))
    bomb = gzip.compress(b"\x00" * 20_000_000)
    packed = b'HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nETag: "a"\r\nX-Repo-Commit: %s\r\n' % COMMIT.encode()
    return {
        "raw": rng.choice(
            [
                b"",
                b"\x00" * 100,
                b"HTTP/1.1 200",
                b"HTTP/9.9 abc def\r\n\r\n",
                b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 9\r\n\r\nhello",
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nnonsense",
                b"HTTP/1.1 200 OK\r\n" + many + b"\r\n",
                b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000 + b"\r\n\r\n",
                b"SSH-2.0-OpenSSH_9.0\r\n",
                packed + b"Content-Length: %d\r\n\r\n" % len(bomb) + bomb,
            ]
        )
    }


def cut_fault(rng):
    return {"cut": rng.choice([0, 1, 7, 40, 200])}


def stall_fault(rng):
    return {"stall": 0.4}


KINDS = [status_fault] * 5 + [header_fault] * 5 + [redirect_fault] * 3 + [body_fault] * 3 + [raw_fault] * 2
KINDS += [cut_fault] * 3 + [stall_fault]


def hostile_case(rng, number):
    """Which answers differ, how, and what is loaded how."""
    faults = [
        (rng.choice(["", "", "HEAD", "GET"]), rng.choice(["", "", "config.json", *FILES]), rng.choice(KINDS)(rng))
        for _ in range(rng.choice([1, 1, 1, 2, 3]))
    ]
    case = {"name": f"fuzz/case-{number}", "how": rng.choice(LOADERS), "warm": rng.random() < 0.15}
    case["revision"] = (
        None if case["how"] == "either" else rng.choice([None] * 6 + ["main", COMMIT, "v1.0", "../../../x"])
    )
    return case, faults


def run_cases(cases, root, pack):
    """What a client told of each case; the files that it left lie below ``root/a/b/c``."""
    place = root / "a" / "b" / "c"
    (place / "here").mkdir(parents=True)
    whole = {file.name: file.read_bytes() for file in pack.iterdir()}
    with HostileHub() as hub:
        for case, faults in cases:
            hub.repositories[case["name"]] = whole
            hub.faults[case["name"]] = [(method, name, _placed(fault, root)) for method, name, fault in faults]
        variables = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(place / "hf"), "HOME": str(place / "home")}
        quiet = {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_TOKEN": "hf_test"}
        child = subprocess.run(
            [sys.executable, "-c", CHILD],
            input="\n".join(json.dumps(case) for case, _ in cases),
            env={**os.environ, **variables, **quiet, "OMP_NUM_THREADS": "1"},
            cwd=place / "here",
            capture_output=True,
            text=True,
            timeout=1200,
        )
        assert child.returncode == 0, child.stderr[-3000:]
        return [json.loads(line) for line in child.stdout.splitlines()]


def _placed(fault, root):
    headers = fault.get("headers", {})
    return {
        **fault,
        "headers": {key: value and value.replace("{absolute}", str(root)) for key, value in headers.items()},
    }


def check_all(cases, pack, root):
    answers = run_cases(cases, root, pack.save_pretrained(root / "theirs"))
    assert len(answers) == len(cases)
    whole = pack.directions.numpy().tobytes().hex(), pack.generator.weights_sha256(), sorted(pack.names)
    wrong = []
    for (case, faults), told in zip(cases, answers, strict=True):
        loaded, refused = told.get("loaded"), told.get("refused", "")
        is_right = loaded is not None and all(
            mine in (None, theirs) for mine, theirs in zip(loaded, whole, strict=True)
        )
        is_said = 20 < len(refused) < 900 and refused.isprintable() and "Traceback" not in refused
        if not (is_right or is_said) or told["seconds"] > 8:
            wrong.append((case, faults, told))
    assert wrong == []
    assert max(told["kilobytes"] for told in answers) < 1_000_000
    left = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() or path.is_symlink()}
    outside = {path for path in left if not path.startswith(("a/b/c/hf/hub/", "theirs/"))}
    assert outside <= {"a/b/c/hf/.agent_harnesses.json"}, "the client's own note"
    return answers


def cases_of(seed, count):
    rng = random.Random(seed)
    return [hostile_case(rng, number) for number in range(count)]


def test_hostile_answers_end_in_the_whole_pack_or_one_error(pack, tmp_path):
    answers = check_all(cases_of(0, 300), pack, tmp_path)
    assert sum("refused" in told for told in answers) > 100 and sum("loaded" in told for told in answers) > 20


@pytest.mark.long
@pytest.mark.slow
def test_a_thousand_hostile_answers_end_in_the_whole_pack_or_one_error(pack, tmp_path):
    check_all(cases_of(1, 1000), pack, tmp_path)
