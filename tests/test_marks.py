"""Only what ganaug wrote, and nobody changed since, is written again."""

import pytest

from ganaug.errors import FileError
from ganaug.marks import MARK, writing_into


def contents(folder):
    return {
        str(file.relative_to(folder)): file.read_text()
        for file in folder.rglob("*")
        if file.is_file() and file.name != MARK
    }


def write(folder, **files):
    with writing_into(folder, [name.replace("_", "/") for name in files]) as scratch:
        for name, text in files.items():
            path = scratch / name.replace("_", "/")
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)


def test_our_own_files_are_replaced_and_old_ones_go(tmp_path):
    write(tmp_path / "x" / "page", a="1", b="1", pack_c="1")
    (tmp_path / "x" / "page" / "notes").write_text("mine")
    write(tmp_path / "x" / "page", a="2", pack_d="2")
    assert contents(tmp_path / "x" / "page") == {"a": "2", "pack/d": "2", "notes": "mine"}
    (tmp_path / "x" / "page" / "pack" / "d").write_text("changed")
    write(tmp_path / "x" / "page", a="3")
    assert contents(tmp_path / "x" / "page") == {"a": "3", "pack/d": "changed", "notes": "mine"}


@pytest.mark.parametrize("kind", ["file", "folder", "link", "broken link", "changed", "in a folder", "hostile mark"])
def test_what_is_not_ours_is_refused_by_name_and_stays(tmp_path, kind):
    folder = tmp_path / "project"
    if kind == "changed":
        write(folder, a="1")
    (folder / "pack").mkdir(parents=True, exist_ok=True)
    if kind in ("file", "changed"):
        (folder / "a").write_text("mine")
    elif kind == "folder":
        (folder / "a").mkdir()
        (folder / "a" / "b").write_text("mine")
    elif "link" in kind:
        (tmp_path / "mine").write_text("mine") if kind == "link" else None
        (folder / "a").symlink_to(tmp_path / "mine")
    else:
        (folder / "pack" / "mine").write_text("mine")
        (folder / MARK).write_text('{"written by ganaug": {"../mine": "x", "/etc/hosts": "y"}}')
    before = contents(tmp_path)
    with pytest.raises(FileError, match=rf"{folder}/(a|pack) is there already"):
        write(folder, a="2", pack_c="2") if kind not in ("in a folder", "hostile mark") else write(folder, pack_c="2")
    assert contents(tmp_path) == before and (folder / "a").is_symlink() == ("link" in kind)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_what_fails_leaves_no_trace(tmp_path, error):
    with pytest.raises(error), writing_into(tmp_path / "a" / "b", ["c"]) as scratch:
        (scratch / "c").write_text("half")
        raise error
    assert not list(tmp_path.iterdir())


def test_a_place_that_can_not_be_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below", tmp_path / ("x" * 300)):
        with pytest.raises(FileError, match=r"is a file|can't be made"):
            write(folder, a="1")
