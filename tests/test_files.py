"""Files are whole or not there."""

import os
from pathlib import Path

import pytest
import torch

from ganaug.errors import FileError, UserError
from ganaug.files import check_writable, read_json, read_safetensors, write_json, write_safetensors
from ganaug.locks import is_scratch, replacing
from ganaug.settings import read_toml

TENSORS = {"a": torch.arange(6.0).reshape(2, 3).T, "b": torch.tensor(3)}


def listed(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_was_written_is_read(tmp_path):
    write_json(tmp_path / "a.json", {"name": "ä", "values": [1, 0.5, None]})
    assert read_json(tmp_path / "a.json") == {"name": "ä", "values": [1, 0.5, None]}
    write_safetensors(tmp_path / "a.safetensors", TENSORS, metadata={"pack": "digits"})
    read = read_safetensors(tmp_path / "a.safetensors")
    assert read.keys() == TENSORS.keys() and all(torch.equal(read[name], TENSORS[name]) for name in TENSORS)
    assert b'"pack":"digits"' in (tmp_path / "a.safetensors").read_bytes()
    assert listed(tmp_path) == ["a.json", "a.safetensors"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "is not valid JSON"),
        (b"\xff\xfe{", "is not valid JSON"),
        (b"[" * 10**5, "is not valid JSON"),
        (b'{"a": ' + b"9" * 5000 + b"}", "is not valid JSON"),
        (b'{"a": NaN}', "is not valid JSON: JSON has no NaN"),
        (b'{"a": -Infinity}', "is not valid JSON: JSON has no -Infinity"),
        (b'{"a": 1e999}', "is not valid JSON: 1e999 is larger than a number can be"),
        (b'{"a": ["\\ud800"]}', r"is not valid JSON: '\\ud800' is half a character"),
        (b'{"a": ' + b"[" * 60 + b"]" * 60 + b"}", "is not valid JSON: .* nested deeper than 50 levels"),
        (b'{"a": 1' + b" " * 2**24 + b"}", "has 16,777,224 bytes, and such a file has 16,777,216 at most"),
        (b"[]", "should hold a JSON object, found list"),
        (b"null", "should hold a JSON object, found NoneType"),
    ],
)
def test_damaged_json_is_refused(tmp_path, content, message):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(FileError, match=rf"a\.json {message}"):
        read_json(tmp_path / "a.json")


@pytest.mark.parametrize("content", [b"", b"\x08", b"\xff" * 40, None])
def test_damaged_tensors_are_refused(tmp_path, content):
    path = tmp_path / "a.safetensors"
    write_safetensors(path, TENSORS)
    path.write_bytes(path.read_bytes()[:-1] if content is None else content)
    with pytest.raises(FileError, match=r"a\.safetensors is not a whole safetensors file \(.+\)\."):
        read_safetensors(path)


def test_tensors_do_not_follow_their_file(tmp_path):
    path = tmp_path / "a.safetensors"
    write_safetensors(path, TENSORS)
    read = read_safetensors(path)
    with path.open("r+b") as file:
        file.seek(-8, os.SEEK_END)
        file.write(b"\x01" * 8)
    assert all(torch.equal(read[name], TENSORS[name]) for name in TENSORS)


@pytest.mark.parametrize("read", [read_json, read_safetensors])
def test_a_missing_file_and_a_folder_in_its_place_are_told_apart(tmp_path, read):
    with pytest.raises(FileError, match="gone is missing"):
        read(tmp_path / "gone")
    with pytest.raises(FileError, match="is a folder, expected a regular file"):
        read(tmp_path)


WRITE = {
    "JSON": lambda path: write_json(path, {"a": 1}),
    "safetensors": lambda path: write_safetensors(path, TENSORS),
}


@pytest.mark.parametrize("write", WRITE.values(), ids=WRITE)
def test_a_folder_in_the_way_stays_and_is_named(tmp_path, write):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "mine").touch()
    with pytest.raises(FileError, match=r"a can't be written: .*directory"):
        write(tmp_path / "a")
    with pytest.raises(FileError, match=r"b can't be written: .*directory"):
        write(tmp_path / "none" / "b")
    with pytest.raises(FileError, match=r"c can't be written: .*directory"):
        write(tmp_path / "a" / "mine" / "c")
    assert listed(tmp_path) == ["a"] and listed(tmp_path / "a") == ["mine"]


@pytest.mark.parametrize("write", WRITE.values(), ids=WRITE)
def test_a_full_disk_leaves_the_old_file(tmp_path, write, monkeypatch):
    def full(self, content):
        with self.open("wb") as file:
            file.write(content[:3])
        raise OSError(28, "No space left on device")

    (tmp_path / "a").write_bytes(b"old")
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(FileError, match=r"a can't be written: .*No space left"):
        write(tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"old" and listed(tmp_path) == ["a"]


@pytest.mark.parametrize("content", [{"a": float("nan")}, {"a": object()}])
def test_what_json_can_not_hold_leaves_the_old_file(tmp_path, content):
    write_json(tmp_path / "a.json", {})
    with pytest.raises((ValueError, TypeError), match="JSON"):
        write_json(tmp_path / "a.json", content)
    assert read_json(tmp_path / "a.json") == {} and listed(tmp_path) == ["a.json"]


def test_the_new_file_appears_at_the_end_or_not_at_all(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with replacing(path) as scratch:
        scratch.write_text("new")
        assert path.read_text() == "old" and listed(tmp_path) == sorted([scratch.name, "a.txt"])
        assert is_scratch(scratch.name)
    assert path.read_text() == "new" and listed(tmp_path) == ["a.txt"]
    with pytest.raises(KeyboardInterrupt), replacing(path) as scratch:
        scratch.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "new" and listed(tmp_path) == ["a.txt"]


def test_a_folder_that_can_be_written_to_is_made_and_stays_empty(tmp_path):
    check_writable(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir() and not listed(tmp_path / "a" / "b")
    (tmp_path / "file").touch()
    for taken in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(FileError, match=r"can't be written to \((File exists|Not a directory)\)"):
            check_writable(taken)


@pytest.mark.parametrize("read", [read_json, read_safetensors, read_toml])
def test_what_is_no_regular_file_is_refused_by_name(tmp_path, read):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    for name, kind in (("pipe", "a pipe"), ("link", "a device")):
        with pytest.raises(UserError, match=rf"{name} is {kind}, expected a regular file"):
            read(tmp_path / name)


def test_types_that_pytorch_does_not_have_are_named(tmp_path):
    header = b'{"a":{"dtype":"F6_E2M3","shape":[4],"data_offsets":[0,3]}}'
    (tmp_path / "a.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"xyz")
    with pytest.raises(FileError, match=r"a\.safetensors (holds tensors of type F6_E2M3|is not a whole)"):
        read_safetensors(tmp_path / "a.safetensors")
