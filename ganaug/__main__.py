"""``python -m ganaug``."""

from ganaug.cli import main

main(prog_name="ganaug")
