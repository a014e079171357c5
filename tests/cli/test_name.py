import subprocess
import sys

import pytest

from ganaug.packs import DirectionPack


def test_names_are_given_and_taken_away(run, pack_folder):
    assert "{'slant': 0, 'stroke': 2}" in run("name", pack_folder, "1=", "2=stroke", "0=slant")
    run("name", pack_folder, "0=")
    pack = DirectionPack.from_pretrained(pack_folder)
    assert pack.names == {"stroke": 2} and pack.preview is not None


def test_a_name_does_not_move_without_a_word(run, pack_folder):
    text = run("name", pack_folder, "2=colour")
    assert "'colour' was the name of direction 1, which has none now" in text and "{'colour': 2}" in text
    assert "was the name" not in run("name", pack_folder, "2=colour")
    assert "'light' is given to 0 and to 1" in run("name", pack_folder, "0=light", "1=light", code=2)
    assert DirectionPack.from_pretrained(pack_folder).names == {"colour": 2}


def test_half_a_renaming_is_none(run, pack_folder):
    before = {file.name: file.read_bytes() for file in pack_folder.iterdir()}
    assert "INDEX=NAME, got 'stroke'" in run("name", pack_folder, "2=stroke", "stroke", code=2)
    assert "directions 0 to 2, got index 7" in run("name", pack_folder, "2=stroke", "7=slant", code=1)
    assert {file.name: file.read_bytes() for file in pack_folder.iterdir()} == before


@pytest.mark.parametrize("words", [("name", "digits", "1=x"), ("train-encoder", "digits"), ("push", "digits", "a/b")])
def test_a_pack_that_comes_with_ganaug_is_copied_first(run, words):
    text = " ".join(run(*words, code=2).split())
    assert "digits comes with ganaug and stays as it is" in text and "ganaug pull digits my-digits" in text


@pytest.mark.slow
def test_two_at_once_lose_no_name(pack_folder):
    words = [sys.executable, "-m", "ganaug", "name", str(pack_folder)]
    both = [subprocess.Popen([*words, f"{index}=name{index}"], stdout=subprocess.DEVNULL) for index in (0, 2)]
    assert [process.wait(120) for process in both] == [0, 0]
    assert DirectionPack.from_pretrained(pack_folder).names == {"colour": 1, "name0": 0, "name2": 2}
    assert not list(pack_folder.glob(".ganaug*"))
