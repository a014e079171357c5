"""A run whose last step finds no room. Forks, so it needs a process in which nothing was trained."""

from ganaug.packs import DirectionPack

from ..test_full_disk import COMMANDS, given


def test_a_run_without_room_for_its_pack_goes_on(workplace):
    words = COMMANDS["train"].replace("OUT", "out").split()
    assert given(words)[0] == 0
    for file in (workplace / "out").iterdir():
        if file.name not in ("checkpoint.pt", "metrics.jsonl"):
            file.unlink()
    code, output, failed = given([*words, "--resume"], most=5000)
    assert code == 1 and not failed and "can't be written" in output
    assert given([*words, "--resume"])[0] == 0
    assert DirectionPack.from_pretrained(workplace / "out").load()
