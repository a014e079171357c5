"""No room: one sentence that names the place, nothing half-written, and with room the same command does its work."""

import multiprocessing
import resource
import traceback

import pytest
import torch
from click.testing import CliRunner

from ganaug.cli.main import main

COMMANDS = {
    "name": "name pack 0=light",
    "train": "train --generator gen --out OUT steps=1 num_directions=2 batch_size=4 reconstructor=lenet",
    "train another method": "train --generator gen --out OUT method=random num_directions=2",
    "show": "show pack --out OUT --seeds 1",
    "convert": "convert checkpoint.pt --out OUT",
    "bank": "bank pack OUT --direction 0 --size 40",
    "pull": "pull pack OUT",
    "augment": "augment photos OUT --pack pack --direction 0 --classes cat,dog",
}


def given(words, most=None):
    """Exit status, words and traceback of a command in a process of its own, whose files may hold so many bytes."""
    context = multiprocessing.get_context("fork")
    told = context.SimpleQueue()

    def child():
        torch.set_num_threads(1)
        if most is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
        result = CliRunner().invoke(main, words)
        failed = result.exc_info if result.exception and not isinstance(result.exception, SystemExit) else None
        told.put((result.exit_code, result.output, "".join(traceback.format_exception(*failed)) if failed else ""))

    process = context.Process(target=child)
    process.start()
    answer = told.get()
    process.join(60)
    return answer


def contents(folder):
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("most", [0, 5000])
@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "train"])
def test_without_room_nothing_is_half_written_and_with_room_the_same_command_works(workplace, command, most):
    words = COMMANDS[command].replace("OUT", "out").split()
    before = contents(workplace)
    code, output, failed = given(words, most)
    last = output.strip().splitlines()[-1]
    assert code == 1 and not failed and last.startswith("Error: ") and "File too large" in last, failed or output
    assert ("pack" if command == "name" else "out") in last or str(workplace) in last
    after = contents(workplace)
    if command != "augment":  # which keeps the images that are whole
        assert after == before
    assert {name: after[name] for name in before} == before
    assert given(words)[0] == 0
    assert not [name for name in contents(workplace) if ".part" in name or ".lock" in name]
