"""What the pages tell people to type is there."""

import re
import shlex
from pathlib import Path

import click
import pytest

from ganaug.cli.main import COMMANDS, main

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "CONTRIBUTING.md", "benchmarks/README.md", "benchmarks/results/README.md")


def test_the_first_example_runs_as_it_stands():
    names = {}
    exec(re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[0], names)
    assert names["images"].shape == (32, 3, 32, 32) and names["labels"].shape == (32,)
    assert names["tf"](names["images"][0]).shape == (3, 32, 32)
    assert names["aug"](names["images"]).shape == (32, 3, 32, 32)


@pytest.mark.parametrize("page", PAGES)
def test_links_scripts_and_commands_exist(page):
    text = (ROOT / page).read_text()
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    assert [link for link in links if not ((ROOT / page).parent / link).exists()] == []
    scripts = re.findall(r"\b((?:benchmarks|training|tests)/[\w/]+\.(?:py|toml|md|jsonl|png))\b", text)
    assert [script for script in scripts if not (ROOT / script).exists()] == []
    commands = re.findall(r"(?:^|`)ganaug ([a-z-]+)", text, re.MULTILINE)
    assert [command for command in commands if command not in COMMANDS] == []


@pytest.mark.parametrize("page", PAGES)
def test_commands_take_the_options_that_pages_give_them(page):
    wrong = []
    for line in re.findall(
        r"(?:^|`)((?:torchrun [^`\n]* -m )?ganaug [a-z-]+[^`\n]*)", (ROOT / page).read_text(), re.MULTILINE
    ):
        words = shlex.split(line.rpartition("ganaug ")[2].partition(" #")[0], posix=True)
        command = main.get_command(click.Context(main), words[0])
        known = {option for parameter in command.params for option in parameter.opts}
        wrong += [(line, word) for word in words if word.startswith("--") and word.partition("=")[0] not in known]
    assert wrong == []
