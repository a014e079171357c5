"""The command line."""

from ganaug.cli.main import main

__all__ = ["main"]
