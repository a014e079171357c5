"""Print the lower bounds of pyproject.toml's dependencies as pip constraints."""

from pathlib import Path

import tomli
from packaging.requirements import Requirement

project = tomli.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
for requirement in map(Requirement, project["dependencies"]):
    (bound,) = requirement.specifier
    assert bound.operator == ">=", f"{requirement} should have a lower bound"
    print(f"{requirement.name}=={bound.version}")
