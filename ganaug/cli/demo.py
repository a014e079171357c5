"""``ganaug demo``: the whole job in a few minutes."""

from __future__ import annotations

from pathlib import Path

import click
import torch

from ganaug import transforms
from ganaug.cli.options import COUNT, DEVICE, NEW_FOLDER
from ganaug.gallery import before_after_sheet, contact_sheet, preview, stack, tile, titled
from ganaug.images import signed_to_uint8
from ganaug.packs import DirectionPack
from ganaug.training import discover


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
    if (out / "pack").exists() and not (out / "discovered.png").exists():
        raise click.UsageError(f"{out / 'pack'} is there already and not the demo's. Choose another --out.")
    bundled = DirectionPack.from_pretrained("digits")
    _discover(bundled, out, steps, device)
    _augment(bundled, out)


def _discover(bundled: DirectionPack, out: Path, steps: int, device: str | None) -> None:
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
    out.mkdir(parents=True, exist_ok=True)
    contact_sheet(pack, columns=2).save(out / "discovered.png")
    pack.preview = preview(pack)
    pack.save_pretrained(out / "pack")
    click.echo(f"   RCA on fresh pairs: {pack.scores['rca']:.3f} (guessing: {1 / 16:.3f})")
    cosine = pack.directions @ bundled["background"].vector
    nearest = int(cosine.abs().argmax())
    click.echo(
        f"   The pack is in {out / 'pack'}, its contact sheet in {out / 'discovered.png'}. Nearest to the bundled "
        f"'background': direction {nearest} (cosine {cosine[nearest].item():+.2f})."
    )


def _augment(bundled: DirectionPack, out: Path) -> None:
    click.echo('2. Augmenting a labelled batch with LatentShift(direction="background").')
    torch.manual_seed(0)
    generator, labels = bundled.generator, torch.arange(40) % 10
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
    stack([before_after_sheet(bundled, bundled.index("background")), *rows]).save(out / "background.png")
    click.echo(f"   Look at {out / 'background.png'}.")
