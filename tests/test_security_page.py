"""The page about security names a test for each claim, and the tests are there."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "security.md").read_text()


def test_every_test_that_the_page_names_exists():
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)
    known = {
        path: {
            node.name for node in ast.walk(ast.parse((ROOT / path).read_text())) if isinstance(node, ast.FunctionDef)
        }
        for path in {path for path, _ in named}
        if (ROOT / path).is_file()
    }
    assert len(named) > 20 and [f"{path}::{name}" for path, name in named if name not in known.get(path, ())] == []


def test_every_claim_in_a_table_names_a_test():
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith(("| what", "| ---"))]
    assert rows and [row for row in rows if "`tests/" not in row.split(" | ")[-1]] == []
