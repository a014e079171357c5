"""The model card that the Hub renders, true for the method that made the pack."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from huggingface_hub import ModelCardData

if TYPE_CHECKING:
    from ganaug.packs.pack import DirectionPack

VOYNOV = (
    "[Unsupervised Discovery of Interpretable Directions in the GAN Latent Space](https://arxiv.org/abs/2002.03754) "
    "(Voynov & Babenko, ICML 2020)"
)
SEFA = (
    "[Closed-Form Factorization of Latent Semantics in GANs](https://arxiv.org/abs/2007.06600) "
    "(SeFa; Shen & Zhou, CVPR 2021)"
)
GANSPACE = (
    "[GANSpace: Discovering Interpretable GAN Controls](https://arxiv.org/abs/2004.02546) "
    "(Härkönen et al., NeurIPS 2020)"
)
LATENTCLR = (
    "[LatentCLR: A Contrastive Learning Approach for Unsupervised Discovery of Interpretable Directions]"
    "(https://arxiv.org/abs/2104.00820) (Yüksel et al., ICCV 2021)"
)
IN_DOMAIN = "[In-Domain GAN Inversion for Real Image Editing](https://arxiv.org/abs/2004.00049) (Zhu et al., ECCV 2020)"

RANDOM = ", drawn at random: a baseline, for which nothing was learned"
PLAIN = str.maketrans(
    {"&": "&amp;", "<": "&lt;", "[": "&#91;", "|": "&#124;", "`": "'", "*": "&#42;", "$": "&#36;", "@": "&#64;"}
    | {"\\": "&#92;"}
)
LONGEST = 1000
"""Characters of one name, value or command that go into the card."""

SEAL = "\n<!-- Written by ganaug, and replaced by it unless edited: {} -->\n"
"""The last line of a card, with the SHA-256 of what stands above it."""

AXES = ", the axes of that space: a baseline, for which nothing was learned"


def sealed_card(card: str) -> bytes:
    """A card as it is written: its last line tells whether it was edited afterwards."""
    content = card.encode("utf-8", errors="replace")
    return content + SEAL.format(hashlib.sha256(content).hexdigest()).encode()


def is_edited(content: bytes) -> bool | None:
    """Whether a card was edited since :func:`sealed_card`; None of cards of versions that did not seal them."""
    card, mark, rest = content.rpartition(SEAL.partition("{")[0].encode())
    return (mark + rest != SEAL.format(hashlib.sha256(card).hexdigest()).encode()) if mark else None


def model_card(pack: DirectionPack, *, called: str, architecture: Any) -> str:
    """The text of a pack's ``README.md``: metadata, preview, use, named directions, scores and how it was made.

    Args:
        called: what loads the pack: a bundled name, a folder's name or a Hub id.
        architecture: of the generator.
    """
    data = ModelCardData(
        library_name="ganaug",
        license=None if pack.license == "unknown" else pack.license if _is_identifier(pack.license) else "other",
        tags=["ganaug", "data-augmentation", "gan", "latent-directions", *filter(_is_identifier, [architecture])],
        base_model=pack.generator_origin.get("repo"),
    )
    kind = f"a class-conditional ({pack.num_classes} classes)" if pack.num_classes else "an unconditional"
    sections = [
        f"---\n{data.to_yaml()}\n---",
        f"# {_plain(called.split('/')[-1])}",
        f"{pack.num_directions} directions in the {pack.latent_dim}-dimensional latent space of {kind} "
        f"{_code(architecture)} generator{_credit(pack.method)}.",
    ]
    if pack.preview is not None:
        sections.append("![Contact sheet: each row walks along one direction](preview.png)")
    sections.append(_use(pack, called))
    if pack.names or any(direction.scores for direction in pack):
        sections.append("## Directions\n\n" + _directions_table(pack))
    if figures := {key: value for key, value in pack.scores.items() if isinstance(value, (int, float))}:
        sections.append("## Scores\n\n" + _scores_table(figures, pack.scores))
    if pack.method:
        sections.append("## How it was made\n\n" + _settings_table(pack.method))
    if pack.has_encoder:
        sections.append("## The encoder\n\n" + _encoder(pack))
    if "distribution" in pack.generator_origin:
        sections.append("## The generator\n\n" + _distribution(pack.generator_origin))
    return "\n\n".join(sections) + "\n"


def _credit(method: Mapping[str, Any]) -> str:
    """How the directions were found and whose idea that is, as far as it is known: the end of a sentence."""
    name = method.get("name")
    if name == "reconstructor":
        return _credit_reconstructor(method)
    if name == "sefa":
        return f", found without labels, in closed form from the generator's weights, by {SEFA}"
    if name == "ganspace":
        return f", found without labels, as principal components of what the generator computes, by {GANSPACE}"
    if name == "contrastive":
        return f", found without labels by {LATENTCLR}"
    if name in ("random", "coordinate"):
        return RANDOM if name == "random" else AXES
    if name == "converted":
        file, sha256 = _code(method.get("file", "")), _code(method.get("sha256", ""))
        hashed = f" (SHA-256 {sha256})" if sha256 else ""
        return f", converted from the published direction file {file}{hashed}"
    paper = f" ({_plain(method['paper'])})" if method.get("paper") else ""
    return f", found by the method {_code(name)}{paper}" if name else ""


def _credit_reconstructor(method: Mapping[str, Any]) -> str:
    matrix, weight = method.get("direction_matrix"), method.get("label_weight", 0)
    if matrix in ("random", "coordinate"):
        return f"{RANDOM if matrix == 'random' else AXES}. The reconstructor that tells them apart is that of {VOYNOV}"
    if matrix == "given":
        return f", given beforehand. The reconstructor that tells them apart is that of {VOYNOV}"
    if isinstance(weight, (int, float)) and 0 < weight < 1e9:
        return (
            f", found with labels: by {VOYNOV}, with the cross-entropy of the generator's labels on shifted images "
            f"added to the loss (label_weight {weight:g})"
        )
    return f", found without labels by {VOYNOV}"


def _encoder(pack: DirectionPack) -> str:
    method = pack.encoder_method
    known = "latents and labels" if pack.num_classes else "latents"
    text = "It finds the latents of real images, so that a direction changes the image itself."
    if "latent_weight" in method:  # what ganaug train-encoder writes
        text += f" It learned from images that the generator draws, whose {known} are known"
        words = str(method.get("command", "")).split()
        share = method.get("real_share", 0)
        if {"--images", "--data"} & set(words) and isinstance(share, (int, float)) and 0 < share <= 1:
            text += (
                f", and from real images without labels (a share of {share:g} of a batch) with the loss on the image "
                f"itself, after {IN_DOMAIN}"
            )
        text += "."
    return text + ("\n\n" + _settings_table(method) if method else "")


def _distribution(origin: Mapping[str, str]) -> str:
    return (
        "Its weights are not in this pack: they come with the Python distribution "
        f"{_code(origin['distribution'])} {_plain(origin['version'])} ({_code(origin['path'])}, SHA-256 "
        f"{_code(origin['file_sha256'])}). Installing a distribution runs its code: do so if you trust whoever made "
        "this pack and the distribution.\n\n"
        f'```\npip install --no-deps "{origin["distribution"]}=={origin["version"]}"\n```'
    )


def _settings_table(settings: Mapping[str, Any]) -> str:
    rows = "\n".join(f"| {_plain(key)} | {_plain(value)} |" for key, value in settings.items())
    return f"| setting | value |\n| --- | --- |\n{rows}"


def _use(pack: DirectionPack, called: str) -> str:
    # A name that needs no escaping, in the quotes that ruff format would give it.
    plain = (name for name in pack.names if re.fullmatch(r"[\w .-]+", name))
    direction = json.dumps(next(plain, pack.named_first()[0].index), ensure_ascii=False)
    name = json.dumps(_line(called).replace("`", "'"), ensure_ascii=False)
    if pack.num_classes or pack.has_encoder:
        code = (
            "from ganaug import transforms\n\n"
            f"shift = transforms.LatentShift(direction={direction}, pack={name}, p=0.5)"
        )
        if pack.num_classes:
            code += "\nimages, labels = shift(images, labels)  # images of the same labels, drawn anew"
        if pack.has_encoder:
            code += "\nimages = shift(images)  # the images themselves, changed"
    else:
        code = (
            f"from ganaug import DirectionPack\n\npack = DirectionPack.from_pretrained({name})\n"
            f"latents = pack.generator.sample_latents(8)\n"
            f"shifted = pack.generator(latents + 3.0 * pack[{direction}].vector)"
        )
    return f"## Use\n\n```python\n{code}\n```"


def _directions_table(pack: DirectionPack) -> str:
    shown = [direction for direction in pack.named_first() if direction.name is not None or direction.scores]
    columns = list(dict.fromkeys(key for direction in shown for key in direction.scores))
    lines = [
        "| index | name | range | " + "".join(f"{_plain(column)} | " for column in columns),
        "| --- | --- | --- | " + "--- | " * len(columns),
    ]
    for direction in shown:
        interval = "{:g} to {:g}".format(*direction.reach) if direction.is_usable else "none"
        cells = "".join(f"{_figure(direction.scores.get(column))} | " for column in columns)
        lines.append(f"| {direction.index} | {_plain(direction.name or '')} | {interval} | {cells}")
    commands = {column: str(command) for column, command in pack.commands.items()}
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


def _is_identifier(text: Any) -> bool:
    """Whether it may stand in the card's metadata: an SPDX identifier of a license, an architecture's name."""
    return isinstance(text, str) and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,79}", text) is not None


def _plain(value: Any) -> str:
    """Text that can't end a table's cell, open a tag, become a link or a formula, or set itself off."""
    return _line(value).translate(PLAIN).replace("://", ":&#47;/").replace("www.", "www&#46;")


def _code(value: Any) -> str:
    """Text as a code span, in which entities would show as they are, or nothing."""
    text = re.sub(
        r"\\*\|", r"\\|", _line(value).replace("`", "'")
    )  # one backslash before each bar, else it ends a cell
    return f"`{text}`" if text else ""


def _line(value: Any) -> str:
    """Text on one line, of printable characters, cut."""
    text = " ".join(str(value).split())
    text = text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
    return text if text.isprintable() else "".join(each if each.isprintable() else "?" for each in text)
