"""The card of a trained generator: what it is, how it was made, how good it is."""

from __future__ import annotations

from pathlib import Path

from ganaug.evaluation import QualityReport
from ganaug.generators import SNGAN
from ganaug.locks import replacing
from ganaug.training.generator.settings import GeneratorSettings

CARD = "README.md"


def write_card(folder: Path, generator: SNGAN, settings: GeneratorSettings, quality: QualityReport | None) -> None:
    """Write the card that the Hub shows, with the samples beside it."""
    with replacing(folder / CARD) as scratch:
        scratch.write_text(card(generator, settings, quality), encoding="utf-8")


def card(generator: SNGAN, settings: GeneratorSettings, quality: QualityReport | None) -> str:
    """The text of the card: Markdown with the Hub's front matter."""
    colour = "colour" if generator.channels == 3 else "grey"
    names = ", ".join(generator.class_names or ())
    what = f"of {generator.num_classes} classes ({names})" if names else "without classes"
    found = "It was not measured." if quality is None else f"```\n{quality.table()}\n```"
    verdicts = "" if quality is None else "".join(f"\n- {verdict}" for verdict in quality.verdicts())
    settings_table = "\n".join(f"| {name} | {value} |" for name, value in settings.to_dict().items())
    return f"""---
library_name: ganaug
tags:
- image-generation
- gan
---
# A generator of {generator.image_size} x {generator.image_size} {colour} images {what}

![samples](samples.png)

An SN-GAN (Miyato et al., ICLR 2018) that ganaug trained. To find what it can change:

```
ganaug train --generator FOLDER --out PACK
```

## How good it is

KID and FID are of features of a classifier trained on the same images: comparable within one data set alone.

{found}
{verdicts}

## How it was made

`ganaug train-generator`, with these settings:

| setting | value |
| --- | --- |
{settings_table}
"""
