"""The model card."""

import json
import re

import pytest
import torch
import yaml

from ganaug.generators import MLP, SNGAN
from ganaug.packs import DirectionPack, bundled_packs
from ganaug.packs.card import model_card, sealed_card


def test_the_card_says_how_to_use_the_pack_and_what_was_measured(folder):
    card = (folder / "README.md").read_text()
    assert card.startswith("---\n") and "library_name: ganaug" in card and "license: apache-2.0" in card
    assert f'LatentShift(direction="background", pack="{folder}"' in card, "what loads the pack from here"
    assert "| 4 | background | -4 to 4 | 0.990 |" in card
    assert "| rca | 0.900 | `ganaug train r.toml` |" in card


@pytest.mark.parametrize("num_classes", [0, 10])
def test_the_code_on_the_card_runs(num_classes, tmp_path, monkeypatch):
    generator = SNGAN(latent_dim=8, num_classes=num_classes, widths=(8, 8, 8, 8)).freeze()
    pack = DirectionPack(
        torch.eye(8)[:3], generator=generator, names={"light": 2}, scores={"rca": 0.5}, license="unknown"
    )
    card = (pack.save_pretrained(tmp_path / "tiny") / "README.md").read_text()
    assert ("an unconditional" in card) == (not num_classes) and "license" not in card
    assert "| rca | 0.500 |  |" in card, "no empty code span where the command is not known"
    monkeypatch.chdir(tmp_path)
    scope = {"images": torch.rand(4, 3, 32, 32), "labels": torch.arange(4)}
    exec(card.split("```python\n")[1].split("```")[0], scope)
    assert scope["images" if num_classes else "shifted"].shape[1:] == (3, 32, 32)


def test_a_hostile_name_can_not_break_the_card(pack, tmp_path):
    pack.rename("background", None)
    pack.rename("stroke", None)
    pack.rename(0, "x | <script>alert(1)</script> ``` [a](http://b)")
    pack.scores["rca_command"] = "a | b `c` < d"
    card = (pack.save_pretrained(tmp_path / "tiny") / "README.md").read_text()
    assert "<script>" not in card and "| x &#124;" in card and card.count("```") == 2 and "[a]" not in card
    assert "`a \\| b 'c' < d`" in card
    assert "LatentShift(direction=0," in card, "a name that can't stand in code is replaced by its index"


HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[click](http://evil.example)",
    "![](http://evil.example/track.png)",
    "http://evil.example www.evil.example mail@evil.example",
    "mit\n---\ntags: [evil]\n---\n# Mine",
    "---\nbase_model: evil/model\n---",
    "| a | b |\n| --- | --- |",
    "x\\| <script>",
    "``` \n<script>\n```",
    "`<script>`",
    "&lt;script&gt; $$\\href{javascript:x}{y}$$ **bold** # head",
    "\u202egnp.exe \x1b[31m \x00",
    "a" * 50_000,
]


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_of_a_strangers_pack_is_passed_on_as_markup(text, pack, tmp_path):
    config = json.loads((pack.save_pretrained(tmp_path / "theirs") / "config.json").read_text())
    config |= {"licence": text, "method": {"name": text, "paper": text, text: text, "label_weight": 10**29}}
    config["scores"] |= {text: 0.5, f"{text}_command": text, "directions_commands": {"label": [text], text: text}}
    config["scores"]["directions"] = {"0": {text: text, "label": [text]}}
    (tmp_path / "theirs" / "config.json").write_text(json.dumps(config))
    card = (
        DirectionPack.from_pretrained(tmp_path / "theirs").save_pretrained(tmp_path / "mine") / "README.md"
    ).read_text()
    head, body = card.split("\n---\n", 1)
    assert yaml.safe_load(head.removeprefix("---\n")) == {
        "library_name": "ganaug",
        "license": "other",
        "tags": ["ganaug", "data-augmentation", "gan", "latent-directions", "sngan"],
    }
    assert len(card) < 30_000 and all(line.isprintable() for line in card.splitlines())
    prose = re.sub(r"```.*?```|`[^`]*`", "", body, flags=re.DOTALL)  # what is not code is what a reader's page renders
    assert body.count("`") % 2 == 0
    assert not re.search(r"<\w|\[[^\]]*\]\(|http://|www\.|mail@|\*\*|\$\$|^# Mine|^---$", prose, re.MULTILINE)
    rows = [line for line in body.splitlines() if line.startswith("|")]
    bars = [len(re.findall(r"(?<!\\)\|", row)) for row in rows]
    assert set(bars) <= {3, 4, 6} and bars, "no value ends its cell"


VOYNOV, SEFA, GANSPACE, LATENTCLR = "2002.03754", "2007.06600", "2004.02546", "2104.00820"
PAPERS = {VOYNOV, SEFA, GANSPACE, LATENTCLR}


def card_of(method, tmp_path, **arguments):
    generator = MLP(latent_dim=4, hidden=(8,), image_size=8, channels=1).freeze()
    pack = DirectionPack(torch.eye(4)[:2], generator=generator, method=method, **arguments)
    return (pack.save_pretrained(tmp_path / "tiny") / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("method", "said", "papers"),
    [
        ({"name": "reconstructor", "direction_matrix": "unit"}, "found without labels by", {VOYNOV}),
        ({"name": "reconstructor", "label_weight": 0.0}, "found without labels by", {VOYNOV}),
        ({"name": "reconstructor", "label_weight": 0.5}, "found with labels", {VOYNOV}),
        ({"name": "reconstructor", "direction_matrix": "random"}, "drawn at random: a baseline", {VOYNOV}),
        ({"name": "reconstructor", "direction_matrix": "coordinate"}, "the axes of that space", {VOYNOV}),
        ({"name": "reconstructor", "direction_matrix": "given"}, "given beforehand", {VOYNOV}),
        ({"name": "sefa"}, "found without labels, in closed form from the generator's weights", {SEFA}),
        ({"name": "ganspace"}, "found without labels, as principal components", {GANSPACE}),
        ({"name": "contrastive"}, "found without labels by [LatentCLR", {LATENTCLR}),
        ({"name": "random"}, "drawn at random: a baseline, for which nothing was learned", set()),
        ({"name": "coordinate"}, "the axes of that space: a baseline, for which nothing was learned", set()),
        (
            {"name": "converted", "file": "deformator_0.pt", "sha256": "ab" * 32},
            f"converted from the published direction file `deformator_0.pt` (SHA-256 `{'ab' * 32}`)",
            set(),
        ),
        ({"name": "of my own"}, "`mlp` generator, found by the method `of my own`.", set()),
        ({}, "`mlp` generator.", set()),
    ],
)
def test_the_card_credits_the_method_that_made_the_pack(method, said, papers, tmp_path):
    first, *_ = card_of(method, tmp_path).split("## Use")
    assert said in first
    assert {paper for paper in PAPERS if paper in first} == papers
    assert ("without labels" in first) == ("without labels" in said)


@pytest.mark.parametrize(
    ("method", "said", "not_said"),
    [
        ({}, "the image itself.\n", "learned"),
        ({"width": 8}, "| width | 8 |", "learned"),
        (
            {"latent_weight": 1.0, "real_share": 0.5, "command": "ganaug train-encoder x"},
            "images that the generator draws, whose latents are known.",
            "real images without labels",
        ),
        (
            {"latent_weight": 1.0, "real_share": 0.0, "command": "ganaug train-encoder x --images IMAGES"},
            "images that the generator draws, whose latents are known.",
            "real images without labels",
        ),
        (
            {"latent_weight": 1.0, "real_share": 0.5, "command": "ganaug train-encoder x --images IMAGES"},
            "and from real images without labels (a share of 0.5 of a batch)",
            "labels are known",
        ),
    ],
)
def test_the_card_says_what_the_encoder_learned_from(method, said, not_said, grey_pack, tmp_path):
    grey_pack.encoder_method = method
    card = (grey_pack.save_pretrained(tmp_path / "grey") / "README.md").read_text()
    section = card.split("## The encoder")[1]
    assert said in section and not_said not in section
    assert ("Zhu et al." in section) == ("real images without" in section)


def test_the_encoder_of_a_class_conditional_generator_learned_from_its_labels_too(inverting_pack, tmp_path):
    inverting_pack.encoder_method = {"latent_weight": 1.0, "real_share": 0.0}
    card = (inverting_pack.save_pretrained(tmp_path / "tiny") / "README.md").read_text()
    assert "whose latents and labels are known." in card


def test_a_range_without_a_safe_magnitude_is_none_on_the_card(pack, tmp_path):
    pack.rename(1, "hue")
    card = (pack.save_pretrained(tmp_path / "tiny") / "README.md").read_text()
    assert "| 1 | hue | none |" in card and card.index("| 1 | hue") < card.index("| 2 | stroke | -3 to 3 |")
    assert "Printed by `ganaug evaluate tiny`: label." in card


@pytest.mark.parametrize("name", ["digits", "faces", "mnist"])
def test_shipped_packs_have_the_card_that_would_be_written_today(name):
    pack = DirectionPack.from_pretrained(name)
    card = model_card(pack, called=name, architecture=pack.generator_entry()["architecture"])
    assert (bundled_packs()[name] / "README.md").read_bytes() == sealed_card(card)
