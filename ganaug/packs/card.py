"""The model card that the Hub renders."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from huggingface_hub import ModelCardData

PAPER = "[Unsupervised Discovery of Interpretable Directions in the GAN Latent Space](https://arxiv.org/abs/2002.03754)"


def model_card(name: str, config: Mapping[str, Any], *, has_preview: bool) -> str:
    """The text of a pack's ``README.md``: metadata, preview, use, named directions, scores and how it was made.

    Args:
        name: what loads the pack: a bundled name, a folder's name or a Hub id.
        config: what ``config.json`` holds.
    """
    generator, source = config["generator"], config["generator"].get("source") or {}
    data = ModelCardData(
        library_name="ganaug",
        license=None if config["licence"] == "unknown" else config["licence"],
        tags=["ganaug", "data-augmentation", "gan", "latent-directions", str(generator.get("architecture"))],
        base_model=source.get("repo"),
    )
    architecture, classes = _code(generator.get("architecture")), _plain(generator.get("num_classes") or "")
    kind = f"a class-conditional ({classes} classes)" if classes else "an unconditional"
    sections = [
        f"---\n{data.to_yaml()}\n---",
        f"# {_plain(name.split('/')[-1])}",
        f"{config['num_directions']} directions in the {config['latent_dim']}-dimensional latent space of {kind} "
        f"{architecture} generator, found without labels by {PAPER}.",
    ]
    if has_preview:
        sections.append("![Contact sheet: each row walks along one direction](preview.png)")
    sections.append(_use(name, config))
    if config["names"] or config["scores"].get("directions"):
        sections.append("## Directions\n\n" + _directions_table(config))
    if figures := {key: value for key, value in config["scores"].items() if isinstance(value, (int, float))}:
        sections.append("## Scores\n\n" + _scores_table(figures, config["scores"]))
    sections.append("## How it was made\n\n" + _settings_table(config["method"]))
    if encoder := config.get("encoder"):
        sections.append(
            "## The encoder\n\nIt finds the latents of real images, so that a direction changes the image itself.\n\n"
            + _settings_table(encoder["method"])
        )
    if source.get("distribution"):
        sections.append(
            "## The generator\n\nIts weights are not in this pack: they come with the Python distribution "
            f"{_code(source['distribution'])} {_plain(source['version'])} ({_code(source['path'])}, SHA-256 "
            f"{_code(source['file_sha256'])}).\n\n"
            f'```\npip install --no-deps "{source["distribution"]}=={source["version"]}"\n```'
        )
    return "\n\n".join(sections) + "\n"


def _settings_table(settings: Mapping[str, Any]) -> str:
    rows = "\n".join(f"| {_plain(key)} | {_plain(value)} |" for key, value in settings.items())
    return f"| setting | value |\n| --- | --- |\n{rows}"


def _use(name: str, config: Mapping[str, Any]) -> str:
    # A name that needs no escaping, in the quotes that ruff format would give it.
    plain = (name for name in config["names"] if re.fullmatch(r"[\w .-]+", name))
    direction = json.dumps(next(plain, min(config["names"].values(), default=0)), ensure_ascii=False)
    pack = json.dumps(_plain(name), ensure_ascii=False)
    classes, encoder = config["generator"].get("num_classes"), config.get("encoder")
    if classes or encoder:
        code = (
            "from ganaug import transforms\n\n"
            f"shift = transforms.LatentShift(direction={direction}, pack={pack}, p=0.5)"
        )
        if classes:
            code += "\nimages, labels = shift(images, labels)  # images of the same labels, drawn anew"
        if encoder:
            code += "\nimages = shift(images)  # the images themselves, changed"
    else:
        code = (
            f"from ganaug import DirectionPack\n\npack = DirectionPack.from_pretrained({pack})\n"
            f"latents = pack.generator.sample_latents(8)\n"
            f"shifted = pack.generator(latents + 3.0 * pack.directions[pack.index({direction})])"
        )
    return f"## Use\n\n```python\n{code}\n```"


def _directions_table(config: Mapping[str, Any]) -> str:
    measured = config["scores"].get("directions", {})
    names = {index: name for name, index in config["names"].items()}
    columns = list(dict.fromkeys(key for row in measured.values() for key in row))
    lines = [
        "| index | name | range | " + "".join(f"{_plain(column)} | " for column in columns),
        "| --- | --- | --- | " + "--- | " * len(columns),
    ]
    for index in sorted({*names, *map(int, measured)}, key=lambda index: (index not in names, index)):
        interval = (config["safe_ranges"] or config["ranges"])[index]
        shown = "none" if interval is None else f"{interval[0]:g} to {interval[1]:g}"
        row = measured.get(str(index), {})
        cells = "".join(f"{_figure(row.get(column))} | " for column in columns)
        lines.append(f"| {index} | {_plain(names.get(index, ''))} | {shown} | {cells}")
    commands = config["scores"].get("directions_commands", {})
    for command in dict.fromkeys(commands.values()):
        printed = ", ".join(_plain(column) for column in columns if commands.get(column) == command)
        lines.append(f"\nPrinted by {_code(command)}: {printed}.")
    return "\n".join(lines)


def _scores_table(figures: Mapping[str, float], scores: Mapping[str, Any]) -> str:
    lines = ["| score | value | printed by |", "| --- | --- | --- |"]
    for key, value in figures.items():
        lines.append(f"| {_plain(key)} | {_figure(value)} | {_code(scores.get(f'{key}_command', ''))} |")
    return "\n".join(lines)


def _figure(value: Any) -> str:
    return "" if value is None else f"{value:.3f}" if isinstance(value, float) else _plain(value)


def _plain(value: Any) -> str:
    """Text that can't end a table's cell, open a tag or become a link."""
    text = " ".join(str(value).split())
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), ("[", "&#91;"), ("|", "&#124;"), ("`", "'")):
        text = text.replace(character, entity)
    return text


def _code(value: Any) -> str:
    """Text as a code span, in which entities would show as they are, or nothing."""
    text = " ".join(str(value).split()).replace("`", "'").replace("|", "\\|")
    return f"`{text}`" if text else ""
