import re
import shlex
import subprocess
import sys
from importlib import import_module

import click
import pytest
from click.testing import CliRunner

from ganaug.cli.main import COMMANDS, main


def command_of(name):
    return main.get_command(click.Context(main), name)


@pytest.mark.parametrize("code", ["import ganaug.cli.main", "from ganaug.cli import main; main(['--help'])"])
def test_the_list_of_commands_needs_no_torch(code):
    text = f"import sys\ntry:\n    {code}\nfinally:\n    assert not {{'torch', 'kornia'}} & set(sys.modules)"
    process = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    assert process.stdout == "" or "demo" in process.stdout


def test_help_names_every_command_and_the_way_on(run):
    text = run("--help")
    told = [line.split(maxsplit=1) for line in text.partition("Commands:\n")[2].partition("\n\n")[0].splitlines()]
    assert told == [[name, entry.help] for name, entry in COMMANDS.items()]
    assert "ganaug demo" in text and "ganaug train --help" in text
    assert set(COMMANDS) == {
        "demo", "build", "train", "train-generator", "train-encoder", "show", "name", "describe", "evaluate", "convert",
        "bank", "invert", "augment", "check", "packs", "push", "pull",
    }  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_module_help_and_an_example_of_its_own_options(run, name):
    function = import_module(COMMANDS[name].module)
    assert command_of(name) in vars(function).values()
    text = run(name, "--help")
    assert "Usage:" in text and len(command_of(name).help) > 30
    known = {option for parameter in command_of(name).params for option in parameter.opts}
    examples = re.findall("ganaug [^;]+", command_of(name).epilog.partition("Example")[2])
    assert examples
    for example in examples:
        words = shlex.split(example)
        assert words[1] == name
        assert {word for word in words if word.startswith("--")} <= known


def test_an_unknown_command_is_refused(run):
    assert "No such command 'demoo'" in run("demoo", code=2)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "--out", "x"], "give a RECIPE"),
        (["train", "none.toml", "--out", "x"], "there is no recipe none.toml"),
        (["train", "steps=3", "--out", "x"], "there is no recipe steps=3"),
        (["train", "none.toml", "--generator", "digits", "--out", "x"], "'none.toml' is none"),
        (["train", "--generator", "nowhere", "--out", "x"], "no generator 'nowhere'"),
        (["train", "--generator", "digits", "--out", "x", "stesp=3"], "unknown setting stesp"),
        (
            ["train", "--generator", "digits", "--out", "x", "method=magic"],
            "method should be one of",
        ),
        (["train", "--generator", "digits", "--out", "x", "method=sefa", "steps=3"], "unknown setting steps"),
        (["train", "--generator", "digits", "--out", "x", "method=sefa", "--resume"], "are for method=reconstructor"),
        (["train", "--generator", "digits", "--out", "x", "method=sefa", "--dry-run"], "is for method=reconstructor"),
        (["train", "--generator", "digits", "--out", "x", "method=sefa", "num_directions=65"], "64"),
        (["show", "nowhere"], "no bundled pack and no folder 'nowhere'"),
        (["show", "digits", "--seeds", "0"], "x>=1"),
        (["show", "digits", "--reach", "0"], "x>0"),
        (["name", ".", "background"], "is missing"),
        (["convert", "nowhere.pt", "--out", "x"], "there is no file nowhere.pt"),
        (["convert", "nowhere.pt", "--out", "x", "arch=mlp"], "given as --arch mlp"),
        (["evaluate", "digits"], "needs --images, the real"),
        (["evaluate", "digits", "--rca", "--dvn"], "needs --images, the real"),
        (["evaluate", "digits", "--inverted"], "needs --images, the real"),
        (["evaluate", "digits", "--images", "digits:x", "--samples", "0"], "x>=1"),
        (["evaluate", "digits", "--images", "digits:x", "--magnitude", "3,-3"], "low <= high"),
        (["evaluate", "digits", "--images", "digits:x", "--magnitude", "3"], "should be safe or LOW,HIGH"),
        (["evaluate", "digits", "--images", "digits:x", "--blend", "add"], "--blend is for --inverted"),
        (["evaluate", "digits", "--images", "digits:x", "--inverted", "--dvn"], "--dvn can't be combined"),
        (
            ["evaluate", "digits", "--images", "digits:x", "--inverted", "--direction", "1", "--direction", "2"],
            "one --d",
        ),
        (["bank", "digits", "x", "--direction", "0", "--magnitude", "a,b"], "safe, a number, or LOW,HIGH"),
        (["bank", "digits", "x", "--direction", "0", "--magnitude", "nan"], "safe, a number, or LOW,HIGH"),
        (["describe", "digits", "--samples", "0"], "x>=1"),
        (["describe", "digits", "--write"], "--write changes a pack's folder"),
        (["augment", ".", "x", "--pack", "digits", "--direction", "backgruond"], "Did you mean background"),
    ],
)
def test_mistakes_are_one_message_without_a_traceback(words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, words)
    assert result.exit_code in (1, 2) and message in " ".join(result.output.split()), result.output
    assert isinstance(result.exception, SystemExit)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()], "nothing is left behind"


@pytest.mark.parametrize(
    ("words", "told"), [("augment", "the same command goes on"), ("invert", "nothing half-written")]
)
def test_ctrl_c_says_what_is_left(run, photos, pack_folder, tmp_path, monkeypatch, words, told):
    def stopped(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(f"ganaug.cli.{words}.{words}_folder", stopped)
    more = (tmp_path / "out", "--direction", 0) if words == "augment" else ()
    text = run(words, photos("0", "1"), *more, "--pack", pack_folder, code=130)
    assert f"Stopped; {told}" in text


def test_ctrl_c_before_a_command_has_begun(run, monkeypatch):
    def stopped(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules["ganaug.cli.main"], "import_module", stopped)
    assert "Stopped; nothing half-written" in run("packs", code=130)
