"""``python -m ganaug``."""

from ganaug.cli import main

if __name__ == "__main__":
    main(prog_name="ganaug")
