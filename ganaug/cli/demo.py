"""``ganaug demo``: the whole job in a few minutes."""

from __future__ import annotations

from pathlib import Path

import click
import torch
from PIL import Image

from ganaug import transforms
from ganaug.cli.options import COUNT, DEVICE, NEW_FOLDER
from ganaug.gallery import before_after_sheet, contact_sheet, preview, stack, tile, titled
from ganaug.images import signed_to_uint8
from ganaug.marks import writing_into
from ganaug.packs import DirectionPack
from ganaug.packs.format import PACK_FILES
from ganaug.training import discover, discovery_words

WRITTEN = ("discovered.png", "background.png", *(f"pack/{name}" for name in PACK_FILES))
"""What a demo may write into its folder."""


@click.command(epilog="Example: ganaug demo --out demo --steps 600")
@click.option("--out", type=NEW_FOLDER, default="demo", show_default=True, help="Folder for what it makes.")
@click.option("--steps", type=COUNT, default=600, show_default=True, help="Steps of the live discovery.")
@DEVICE
def demo(out: Path, steps: int, device: str | None) -> None:
    """See the whole job: discover directions live, write a pack, and augment a labelled batch.

    The generator is the one of the bundled pack `digits`: class-conditional digits on photographs. Directions are
    discovered without labels for a minute or so (watch RCA, the share of directions the reconstructor tells apart,
    rise from 1/K), written as a pack and drawn on a contact sheet. Then LatentShift(direction="background") of the
    bundled pack, trained for longer and named by people, augments a labelled batch.
    """
    bundled = DirectionPack.from_pretrained("digits")
    with writing_into(out, WRITTEN) as scratch:
        pack = _discover(bundled, steps, device)
        contact_sheet(pack, columns=2).save(scratch / "discovered.png")
        pack.save_pretrained(scratch / "pack", called=out / "pack")
        _tell(bundled, pack, out)
        _augment(bundled).save(scratch / "background.png")
    click.echo(f"   Look at {out / 'background.png'}.")


def _discover(bundled: DirectionPack, steps: int, device: str | None) -> DirectionPack:
    click.echo(f"1. Discovering 16 directions of the digits generator, live, without labels ({steps} steps).")
    pack = discover(
        bundled.generator,
        num_directions=16,
        steps=steps,
        matrix_lr=2e-3,
        reconstructor_lr=1e-3,
        schedule="cosine",
        device=device,
        rca_samples=2000,
    )
    bundled.generator.to("cpu")
    pack.preview = preview(pack)
    return pack


def _tell(bundled: DirectionPack, pack: DirectionPack, out: Path) -> None:
    click.echo(f"   RCA on fresh pairs: {pack.scores['rca']:.3f} (guessing: {1 / 16:.3f})")
    for told in discovery_words(pack):
        click.echo(f"   {told}")
    cosine = pack.directions @ bundled["background"].vector
    nearest = int(cosine.abs().argmax())
    click.echo(
        f"   The pack is in {out / 'pack'}, its contact sheet in {out / 'discovered.png'}. Nearest to the bundled "
        f"'background': direction {nearest} (cosine {cosine[nearest].item():+.2f})."
    )


def _augment(bundled: DirectionPack) -> Image.Image:
    click.echo('2. Augmenting a labelled batch with LatentShift(direction="background").')
    torch.manual_seed(0)
    generator, labels = bundled.generator, torch.arange(40, device="cpu") % 10
    with torch.no_grad():
        images = signed_to_uint8(generator(generator.sample_latents(40), labels))
    shift = transforms.LatentShift(direction="background", pack=bundled, p=0.5)
    augmented, same_labels = shift(images, labels)
    replaced = (augmented != images).flatten(1).any(1)
    click.echo(
        f"   {int(replaced.sum())} of {len(images)} images replaced; {tuple(augmented.shape)} {augmented.dtype} as "
        f"before; labels unchanged: {torch.equal(labels, same_labels)}"
    )
    rows = [
        titled(tile(batch.unflatten(0, (4, 10)) / 255, scale=2), title)
        for batch, title in (
            (images, "a labelled batch (columns are labels 0 to 9)"),
            (augmented, 'after LatentShift(direction="background", p=0.5)'),
        )
    ]
    return stack([before_after_sheet(bundled, bundled.index("background")), *rows])
