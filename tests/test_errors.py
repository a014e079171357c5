"""Messages can be shown in any terminal, whatever names a stranger's file brings into them."""

import pickle

import pytest

from ganaug.cli.main import _show_warning
from ganaug.errors import LONGEST, FileError, PackError, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb \u00e4 \u732b \U0001f408", "a\nb \u00e4 \u732b \U0001f408"),
        ("\x1b[31mred\x1b[0m\r\x07", r"\x1b[31mred\x1b[0m\r\x07"),
        ("\x9b2J\x00\t", r"\x9b2J\x00\t"),
        ("gnp.\u202eexe\u2066", r"gnp.\u202eexe\u2066"),
        ("half \udcff", r"half \udcff"),
    ],
)
def test_control_characters_are_escaped_and_others_are_not(text, shown):
    assert printable(text) == shown == str(PackError(text)) == str(PackError(str(PackError(text))))
    shown.encode()


def test_long_messages_keep_their_beginning_and_their_advice():
    error = FileError(f"{'x' * 5_000_000} is missing. Fetch it again.")
    assert len(str(error)) <= LONGEST and str(error).startswith("xxx") and str(error).endswith("Fetch it again.")
    assert len(printable("\x1b" * 10**6)) <= LONGEST
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_warnings_of_commands_are_printable(capsys):
    _show_warning("\x1b]0;x" + "y" * 10**6, UserWarning, "", 0)
    told = capsys.readouterr().err
    assert told.startswith(r"Warning: \x1b]0;xyyy") and len(told) <= LONGEST + 1
