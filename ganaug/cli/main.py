"""The command line: one small function per command."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from PIL import UnidentifiedImageError

from ganaug.devices import default_device
from ganaug.errors import UserError

if TYPE_CHECKING:
    from ganaug.packs import DirectionPack


PACK_HELP = "PACK is a bundled name (see `ganaug packs`), a folder, or a Hub id such as org/name."


def _checked_device(ctx: click.Context, parameter: click.Parameter, name: str | None) -> str | None:
    import torch

    if name is not None:
        try:
            torch.empty(0, device=name)
        except (RuntimeError, AssertionError) as error:
            raise click.BadParameter(f"{name!r} can't be used here: {str(error).splitlines()[0]}") from error
    return name


DEVICE = click.option(
    "--device", callback=_checked_device, help="cpu, cuda, cuda:1, ...; CUDA if there is one by default."
)


COUNT = click.IntRange(min=1)


class Commands(click.Group):
    """Shows the errors that are the user's to mend as one message, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (UserError, FileNotFoundError, UnidentifiedImageError) as error:
            raise click.ClickException(str(error)) from error

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Start here: `ganaug demo` shows the whole job in a few minutes. "
    "Then `ganaug packs`, `ganaug show digits`, and `ganaug train --help`.",
)
@click.version_option(package_name="ganaug")
def main() -> None:
    """Discover what a generator can change, look through it, name it, share it, and augment with it."""


@main.command(short_help="See the whole job on bundled digits in a few minutes.")
@click.option(
    "--out", type=click.Path(path_type=Path), default="demo", show_default=True, help="Folder for what it makes."
)
@click.option("--steps", default=600, show_default=True, help="Steps of the live discovery.")
@DEVICE
def demo(out: Path, steps: int, device: str | None) -> None:
    """See the whole job: discover directions live, write a pack, and augment a labelled batch.

    The generator is the one of the bundled pack `digits`: class-conditional digits on photographs. Directions are
    discovered without labels for a minute or so (watch RCA, the share of directions the reconstructor tells apart,
    rise from 1/K), written as a pack and drawn on a contact sheet. Then LatentShift(direction="background") of the
    bundled pack, trained for longer and named by people, augments a labelled batch.
    """
    import torch

    from ganaug import transforms
    from ganaug.gallery import before_after_sheet, contact_sheet, preview
    from ganaug.gallery.sheet import stack, tile, titled
    from ganaug.packs import DirectionPack
    from ganaug.training import discover

    if out.exists() and any(out.iterdir()):
        shutil.rmtree(out / "pack", ignore_errors=True)
    bundled = DirectionPack.from_pretrained("digits")
    generator = bundled.generator
    click.echo(f"1. Discovering 16 directions of the digits generator, live, without labels ({steps} steps).")
    pack = discover(
        generator,
        num_directions=16,
        steps=steps,
        matrix_lr=2e-3,
        reconstructor_lr=1e-3,
        schedule="cosine",
        device=device,
        rca_samples=2000,
    )
    generator.to("cpu")
    pack.preview = preview(pack)
    pack.save_pretrained(out / "pack")
    contact_sheet(pack, columns=2).save(out / "discovered.png")
    click.echo(f"   RCA on fresh pairs: {pack.scores['rca']:.3f} (guessing: {1 / 16:.3f})")
    index = bundled.index("background")
    cosine = pack.directions @ bundled.directions[index]
    nearest = int(cosine.abs().argmax())
    click.echo(
        f"   The pack is in {out / 'pack'}, its contact sheet in {out / 'discovered.png'}. Nearest to the bundled "
        f"'background': direction {nearest} (cosine {cosine[nearest].item():+.2f})."
    )

    click.echo('2. Augmenting a labelled batch with LatentShift(direction="background").')
    torch.manual_seed(0)
    labels = torch.arange(40) % 10
    with torch.no_grad():
        images = ((generator(generator.sample_latents(40), labels) + 1) * 127.5).round().to(torch.uint8)
    augmented, same_labels = transforms.LatentShift(direction="background", p=0.5)(images, labels)
    replaced = (augmented != images).flatten(1).any(1)
    click.echo(
        f"   {int(replaced.sum())} of {len(images)} images replaced; {tuple(augmented.shape)} {augmented.dtype} as "
        f"before; labels unchanged: {bool(torch.equal(labels, same_labels))}"
    )
    rows = [
        titled(tile(batch.unflatten(0, (4, 10)) / 255, scale=2), title)
        for batch, title in (
            (images, "a labelled batch (columns are labels 0 to 9)"),
            (augmented, 'after LatentShift(direction="background", p=0.5)'),
        )
    ]
    stack([before_after_sheet(bundled, index), *rows]).save(out / "background.png")
    click.echo(f"   Look at {out / 'background.png'}.")


@main.command(
    short_help="Discover directions of a generator; write a pack.",
    epilog="Example: ganaug train training/mnist.toml --out runs/mnist steps=2000 seed=1",
)
@click.argument("recipe", required=False, type=click.Path(path_type=Path))
@click.argument("settings", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--generator", help="Instead of a recipe: a generator's folder, a pack, or a Hub id.")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder for the pack, metrics and checkpoint."
)
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in --out.")
@click.option("--dry-run", is_flag=True, help="Print parameters, time and memory of the run, and write nothing.")
@click.option("--tensorboard", is_flag=True, help="Also write TensorBoard event files, into OUT/tensorboard.")
@DEVICE
def train(
    recipe: Path | None,
    settings: tuple[str, ...],
    generator: str | None,
    out: Path,
    resume: bool,
    dry_run: bool,
    tensorboard: bool,
    device: str | None,
) -> None:
    """Discover directions of a generator and write them as a pack.

    Give a RECIPE (a TOML file; those of the bundled packs lie in training/), or --generator. KEY=VALUE overrides a
    setting. The settings, with their defaults:

    \b
      method=reconstructor         also sefa | ganspace | contrastive | random | coordinate, see below
      num_directions=64            how many directions to look for
      direction_matrix=unit        unit | orthonormal | linear; baselines: random | coordinate
      reconstructor=auto           lenet | resnet18 | auto (LeNet for grey images of at most 32 pixels)
      reconstructor_width=1        multiplies LeNet's feature maps
      steps=10000  batch_size=32
      max_magnitude=6.0  min_magnitude=0.5  magnitude_distribution=uniform   (or normal)
      magnitude_loss=absolute      absolute | squared
      magnitude_weight=0.25
      label_weight=0.0             above 0: directions that keep the label readable (class-conditional generators)
      micro_batches=1              draw the batch in parts, to save memory
      recompute=False              true: compute the generator's activations twice, to save memory
      compile=False                true: torch.compile
      matrix_lr=1e-3  reconstructor_lr=5e-4  schedule=cosine                (or constant)
      precision=bfloat16           bfloat16 | float32
      seed=0

    Of the other methods: sefa and coordinate take num_directions; random and ganspace (samples=20000 batch_size=500)
    also seed; contrastive steps=1000 batch_size=8 directions_per_step=16 magnitude=3.0 temperature=0.5
    learning_rate=1e-3 precision seed. `ganaug evaluate PACK --rca` judges all alike.

    The progress bar shows the loss and RCA, the share of pairs whose direction the reconstructor names; both go to
    metrics.jsonl. Ctrl-C leaves a checkpoint, and --resume goes on from it as if nothing had happened. On several GPUs
    or processes: torchrun --nproc-per-node N -m ganaug train ...; each takes its share of every batch.
    """
    from ganaug.errors import SettingsError
    from ganaug.gallery import preview
    from ganaug.packs import load_generator
    from ganaug.settings import parse_settings
    from ganaug.training import discover, find_directions
    from ganaug.training.discovery.distributed import process_group, rank_and_size
    from ganaug.training.discovery.plan import plan
    from ganaug.training.methods.registry import method_settings
    from ganaug.training.recipe import Recipe, read_recipe

    words = list(settings)
    if generator is not None:
        if recipe is not None:
            if "=" not in str(recipe):
                raise SettingsError(
                    "give a RECIPE or --generator, not both; a recipe's generator is overridden with generator=..."
                )
            words.insert(0, str(recipe))
        given = parse_settings(words)
        method = given.pop("method", "reconstructor")
        chosen = Recipe(out.name, generator, {}, "unknown", method, method_settings(method, given))
        network = load_generator(generator)
    elif recipe is None or "=" in recipe.name:
        raise SettingsError("give a RECIPE (see training/) or --generator.")
    else:
        chosen = read_recipe(recipe, words)
        network = chosen.load_generator()
    if dry_run:
        if chosen.method != "reconstructor":
            raise SettingsError("--dry-run is for method=reconstructor; the others take seconds to minutes.")
        click.echo("\n".join(plan(network, device=device, **chosen.settings.to_dict())))
        return
    if not resume:
        _check_free(out)
    if chosen.method != "reconstructor":
        if resume or tensorboard or "WORLD_SIZE" in os.environ:
            raise SettingsError("--resume, --tensorboard and torchrun are for method=reconstructor.")
        pack = find_directions(network, chosen.method, device=device, **chosen.settings.to_dict())
    else:
        with process_group(device) as own_device:
            pack = discover(
                network, out=out, resume=resume, device=own_device, tensorboard=tensorboard, **chosen.settings.to_dict()
            )
            if rank_and_size()[0] > 0:
                return
    network.to("cpu")
    pack.name, pack.license, pack.generator_origin = chosen.name, chosen.license, chosen.origin
    what = str(recipe) if generator is None else f"--generator {generator}"
    if "rca" in pack.scores:
        pack.scores["rca_command"] = " ".join(["ganaug train", what, f"--out {out}", *words])
        click.echo(f"RCA on 10,000 fresh pairs: {pack.scores['rca']:.4f}")
    pack.preview = preview(pack)
    pack.save_pretrained(out)
    click.echo(f"{out} holds the pack. Look through it: ganaug show {out}")


def _check_empty(out: Path) -> None:
    if out.exists() and any(out.iterdir()):
        raise click.UsageError(f"{out} is not empty. Choose another folder, so that nothing is overwritten.")


def _check_holds_nothing(out: Path) -> None:
    """Refuse a folder that holds a pack or a generator."""
    if (out / "config.json").exists():
        raise click.ClickException(f"{out} holds a pack or a generator already. Choose another folder, or delete it.")


def _check_free(out: Path) -> None:
    """Refuse a folder that can't be written to, or that holds a pack or a generator, before anything long runs."""
    from ganaug.errors import DiscoveryError

    _check_holds_nothing(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=out).close()  # a file of its own for each process that looks
    except OSError as error:
        raise DiscoveryError(f"{out} can't be written to ({error.strerror}). Choose another --out.") from error


@main.command(
    short_help="Train a pack's encoder, so that it changes real images.",
    epilog="Example: ganaug train-encoder runs/mine --images photos steps=4000",
)
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("settings", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--recipe", type=click.Path(path_type=Path), help="A recipe whose [encoder] table gives the settings.")
@click.option(
    "--images", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Folder of real images, unlabelled."
)
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Instead of --images: folder with a data set that `ganaug evaluate` knows; its training images are taken.",
)
@click.option("--dataset", help="mnist, fashion-mnist or digits; the pack's name by default.")
@DEVICE
def train_encoder(
    folder: Path,
    settings: tuple[str, ...],
    recipe: Path | None,
    images: Path | None,
    data: Path | None,
    dataset: str | None,
    device: str | None,
) -> None:
    """Train an encoder for the pack in FOLDER and save it there.

    The encoder finds the latent (and class) of a real image; with it LatentShift changes the image itself. It learns
    from the generator's own images, and from real ones if there are any, without labels. The settings, with their
    defaults:

    \b
      steps=6000  batch_size=64
      real_share=0.5  warm_up=0.25     real images take this share of a batch, after this share of the steps
      noise=0.2                        on the encoder's input
      learning_rate=2e-3
      latent_weight=1.0  image_weight=5.0  class_weight=0.1  prior_weight=0.1    of the losses
      width=48  hidden=256             of the network
      precision=bfloat16               bfloat16 | float32
      seed=0
    """
    import ganaug.training
    from ganaug.data import images_in_folder, read_dataset
    from ganaug.evaluation import redrawing_error
    from ganaug.packs import DirectionPack
    from ganaug.settings import parse_settings
    from ganaug.training import EncoderSettings
    from ganaug.training.recipe import read_recipe

    if images is not None and data is not None:
        raise click.UsageError("give --images or --data, not both.")
    pack = DirectionPack.from_pretrained(folder.resolve())
    words = [str(folder), *(["--recipe", str(recipe)] if recipe else []), *settings]
    given = parse_settings(settings)
    chosen = EncoderSettings.from_mapping({**(read_recipe(recipe).encoder.to_dict() if recipe else {}), **given})
    real = None
    if images is not None:
        size, channels = pack.generator.image_size, pack.generator.channels
        real = images_in_folder(images, size=size, channels=channels, crop=False)  # as LatentShift sees them
        words += ["--images", "IMAGES"]
    elif data is not None:
        name = dataset or pack.name
        real = read_dataset(name, data, train=True).images
        words += ["--data", "DATA", "--dataset", name]
    encoder = ganaug.training.train_encoder(pack.generator, images=real, device=device, **chosen.to_dict())
    pack.generator.to("cpu")
    pack.encoder = encoder
    command = " ".join(["ganaug train-encoder", *words])
    pack.encoder_method = {**chosen.to_dict(), "command": command}
    pack.scores["redrawing_error"] = round(redrawing_error(pack), 4)
    pack.scores["redrawing_error_command"] = command
    pack.save_pretrained(folder)
    parameters = sum(parameter.numel() for parameter in encoder.parameters())
    click.echo(
        f"{folder} now has an encoder of {parameters:,} parameters. Generated images and their regeneration differ by "
        f"{pack.scores['redrawing_error']:.4f} of full scale."
    )


@main.command(
    short_help="Find and store the latents of a folder of images.",
    epilog=f"{PACK_HELP} Example: ganaug invert photos --pack digits --refine-steps 50",
)
@click.argument("images", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--pack", default="digits", show_default=True)
@click.option(
    "--refine-steps",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Optimise each latent for so many steps (slow).",
)
@click.option("--batch-size", type=COUNT, default=64, show_default=True)
@DEVICE
def invert(images: Path, pack: str, refine_steps: int, batch_size: int, device: str | None) -> None:
    """Find the latents of all images in a folder of class subfolders and store them beside the images.

    Writes IMAGES/latents.safetensors. `transforms.InvertedFolder(IMAGES, PACK)` reads images and latents, and
    LatentShift then shifts and draws without finding the latents again each epoch.
    """
    from ganaug.inversion import invert_folder

    path = invert_folder(images, pack, refine_steps=refine_steps, batch_size=batch_size, device=device)
    click.echo(f"latents in {path}")


@main.command(
    short_help="Draw shifted images beforehand, for jobs short of CPU.",
    epilog=f"{PACK_HELP} Example: ganaug bank digits bank.safetensors --direction background --size 20000",
)
@click.argument("pack")
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--direction", required=True, multiple=True, help="A name, an index, or any; repeatable.")
@click.option("--size", type=COUNT, default=20_000, show_default=True, help="Images, the same number of each class.")
@click.option("--magnitude", default="safe", show_default=True, help="safe, a number, or LOW,HIGH.")
@click.option("--seed", default=0, show_default=True)
@DEVICE
def bank(
    pack: str, out: Path, direction: tuple[str, ...], size: int, magnitude: str, seed: int, device: str | None
) -> None:
    """Draw shifted images of a PACK into one file, from which `LatentShift(bank=OUT)` serves.

    Interrupted, it goes on when called again with the same arguments.
    """
    from ganaug import transforms

    chosen = [_direction(word) for word in direction]
    built = transforms.LatentBank.build(
        _load(pack),
        chosen[0] if len(chosen) == 1 else chosen,
        size,
        out,
        magnitude=_magnitude(magnitude),
        seed=seed,
        device=device,
    )
    click.echo(f"{len(built)} images in {out}, {out.stat().st_size / 2**20:.0f} MiB")


@main.command(short_help="Write an HTML page to look through a pack.", epilog=PACK_HELP)
@click.argument("pack")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the page; ganaug-show-NAME by default.")
@click.option("--reach", type=float, help="Walk from -REACH to REACH instead of each direction's range.")
@click.option("--seeds", default=4, show_default=True, help="Rows of images per direction.")
def show(pack: str, out: Path | None, reach: float | None, seeds: int) -> None:
    """Write an HTML page that shows what every direction of a PACK does."""
    from ganaug.gallery import write_page

    loaded = _load(pack)
    page = write_page(
        loaded, out or Path(f"ganaug-show-{loaded.name.replace('/', '-')}"), seeds=tuple(range(seeds)), reach=reach
    )
    click.echo(f"Open {page} in a browser.")


@main.command(
    short_help="Name the directions you recognise.", epilog="Example: ganaug name runs/digits 17=background 4=stroke"
)
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("names", nargs=-1, required=True, metavar="INDEX=NAME...")
def name(folder: Path, names: tuple[str, ...]) -> None:
    """Name directions of the pack in FOLDER; INDEX= takes a name away."""
    from ganaug.gallery import preview
    from ganaug.packs import DirectionPack

    loaded = DirectionPack.from_pretrained(folder.resolve())
    for word in names:
        index, separator, new = word.partition("=")
        if not separator or not index.isdigit():
            raise click.UsageError(f"names are given as INDEX=NAME, got {word!r}.")
        loaded.rename(int(index), new or None)
    loaded.preview = preview(loaded)
    loaded.save_pretrained(folder)
    click.echo(f"{folder}: {dict(loaded.names)}")


@main.command(short_help="List the packs that come with ganaug.")
def packs() -> None:
    """List the packs that come with ganaug."""
    from ganaug.packs import DirectionPack, bundled_packs

    for bundled in bundled_packs():
        pack = DirectionPack.from_pretrained(bundled)
        kind = f"{pack.num_classes} classes" if pack.num_classes else "unconditional"
        click.echo(
            f"{bundled}: {pack.num_directions} directions, {kind}, RCA {pack.scores.get('rca', float('nan')):.3f}"
        )
        click.echo(f"    named: {', '.join(pack.names) or 'none'}")


@main.command(
    short_help="Augment a folder of images on disk.",
    epilog=f"{PACK_HELP} Example: ganaug augment photos augmented --direction background --pack digits",
)
@click.argument("images", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option("--direction", required=True, help="A name, an index, or any.")
@click.option("--pack", default="digits", show_default=True)
@click.option(
    "--source",
    type=click.Choice(["auto", "sample", "invert"]),
    default="auto",
    show_default=True,
    help="sample: draw new images of the same classes; invert: change the images themselves; auto: invert if the pack "
    "has an encoder.",
)
@click.option(
    "--blend",
    type=click.Choice(["add", "replace"]),
    default="add",
    show_default=True,
    help="Of inverted images: add the change to the image, or replace it by the regenerated one.",
)
@click.option("--copies", type=COUNT, default=1, show_default=True, help="Augmented images per image.")
@click.option("--magnitude", help="safe (default), a number, or LOW,HIGH.", default="safe")
@click.option(
    "--num-ops",
    type=COUNT,
    default=1,
    show_default=True,
    help="Different directions at once; more than 1 needs --direction any.",
)
@click.option("--seed", default=0, show_default=True)
@DEVICE
def augment(
    images: Path,
    out: Path,
    direction: str,
    pack: str,
    source: str,
    blend: str,
    copies: int,
    magnitude: str,
    num_ops: int,
    seed: int,
    device: str | None,
) -> None:
    """Augment a folder of class subfolders: OUT gets the same subfolders, with augmented PNG images.

    Each image is changed along the direction, or (--source sample) replaced by a generated one of its class; class
    subfolders, if they are as many as the generator has classes, are taken for these in order of name. --copies makes
    several of each image. OUT must not hold images yet.
    """
    import torch
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import v2
    from tqdm.auto import tqdm

    from ganaug import transforms

    loaded = _load(pack)
    if source == "auto":
        source = "invert" if loaded.has_encoder else "sample"
    shift = transforms.LatentShift(
        _direction(direction),
        pack=loaded,
        p=1.0,
        magnitude=_magnitude(magnitude),
        num_ops=num_ops,
        source=source,
        blend=blend,
    )
    folder = ImageFolder(str(images))
    if source == "sample" and len(folder.classes) != loaded.num_classes:
        raise click.UsageError(
            f"{images} has {len(folder.classes)} class subfolders, but pack {loaded.name!r} draws "
            f"{loaded.num_classes} classes."
        )
    _check_empty(out)
    if out.resolve().is_relative_to(images.resolve()):
        raise click.UsageError(f"{out} lies inside {images}, and would be taken for a class. Choose another folder.")
    torch.manual_seed(seed)
    to_image = v2.Compose([v2.ToImage(), v2.RGB() if loaded.generator.channels == 3 else v2.Grayscale()])
    target = default_device(device)
    by_class = len(folder.classes) == loaded.num_classes
    stems = Counter(Path(path).with_suffix("") for path, _ in folder.samples)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as temporary:
        scratch = Path(temporary, out.name)
        for path, label in tqdm(folder.samples, "augment"):
            file = Path(path)
            batch = to_image(folder.loader(path)).to(target).expand(copies, -1, -1, -1)
            shifted = shift(batch, torch.full((copies,), label, device=target))[0] if by_class else shift(batch)
            place = scratch / file.relative_to(images).parent
            place.mkdir(parents=True, exist_ok=True)
            name = file.stem if stems[file.with_suffix("")] == 1 else file.name
            for copy, picture in enumerate(shifted.cpu()):
                v2.functional.to_pil_image(picture).save(place / f"{name}_{copy}.png")
        if out.exists():
            out.rmdir()
        scratch.rename(out)
    click.echo(f"{len(folder.samples) * copies} images in {out}")


@main.command(short_help="Measure directions with judges trained on real images.", epilog=PACK_HELP)
@click.argument("pack")
@click.option(
    "--data", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Folder with the real images."
)
@click.option("--dataset", help="mnist, fashion-mnist or digits; the pack's name by default.")
@click.option("--direction", "wanted", multiple=True, help="Only this direction (repeatable); named ones by default.")
@click.option("--all", "everything", is_flag=True, help="Every direction, not only the named ones.")
@click.option("--magnitude", default="safe", show_default=True, help="safe, or LOW,HIGH.")
@click.option("--samples", default=1000, show_default=True, help="Fresh latents per direction.")
@click.option(
    "--measure-ranges", is_flag=True, help="First measure every direction's safe range and keep it in the pack."
)
@click.option(
    "--rate",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.95,
    show_default=True,
    help="Label agreement that a safe range must keep.",
)
@click.option("--rca", is_flag=True, help="Also train a fresh reconstructor on the directions; needs no data (slow).")
@click.option("--rca-steps", default=2000, show_default=True, help="Training steps of that reconstructor.")
@click.option("--dvn", is_flag=True, help="Also measure DVN (slow).")
@click.option("--write", is_flag=True, help="Write the figures into the pack's folder.")
@click.option("--judge-steps", default=1000, show_default=True, help="Training steps of each judge.")
@click.option("--seed", default=0, show_default=True)
def evaluate(
    pack: str,
    data: Path | None,
    dataset: str | None,
    wanted: tuple[str, ...],
    everything: bool,
    magnitude: str,
    samples: int,
    measure_ranges: bool,
    rate: float,
    rca: bool,
    rca_steps: int,
    dvn: bool,
    write: bool,
    judge_steps: int,
    seed: int,
) -> None:
    """Measure a PACK's directions with judges trained on real images.

    Prints how alike the directions are (cosines) and, per direction: label (share of shifted images that a classifier
    trained on real images reads as their label), and, where the real images come with masks, mask_iou (how well the
    object's shape stays), outside and inside (mean absolute change of the pixels outside and inside the object, as a
    share of full scale). With --rca also the share of directions that a fresh reconstructor tells apart, and with
    --dvn whether what a direction changes also varies in real images.
    """
    from ganaug.evaluation.report import evaluate_pack, pairwise_cosines

    loaded = _load(pack)
    if write and not Path(pack).is_dir():
        raise click.UsageError(f"--write needs a pack's folder, and {pack!r} is none.")
    if data is None and (not rca or dvn or measure_ranges or wanted or everything):
        raise click.UsageError("evaluate needs --data FOLDER, the real images that its judges are trained on.")
    command = "ganaug " + " ".join(word for word in sys.argv[1:] if word != "--write")
    if data is not None:
        command = command.replace(str(data), "DATA")
    if loaded.num_directions > 1:
        click.echo(pairwise_cosines(loaded))
    if rca:
        from ganaug.training import fresh_rca

        loaded.scores["rca_fresh"] = round(fresh_rca(loaded, steps=rca_steps, seed=seed, device="cpu"), 4)
        loaded.scores["rca_fresh_command"] = command
        click.echo(f"RCA of a fresh reconstructor, {rca_steps} steps of 32 pairs: {loaded.scores['rca_fresh']:.4f}")
    indices = [loaded.index(_direction(word)) for word in wanted] or sorted(loaded.names.values())
    if everything or not indices:
        indices = list(range(loaded.num_directions))
    bounds = None if magnitude == "safe" else _magnitude(magnitude)
    if isinstance(bounds, (str, float)):
        raise click.UsageError("--magnitude should be safe or LOW,HIGH.")
    if data is not None:
        for line in evaluate_pack(
            loaded,
            data,
            dataset=dataset or loaded.name,
            indices=indices,
            interval=bounds,
            samples=samples,
            measure_ranges=measure_ranges,
            rate=rate,
            dvn=dvn,
            judge_steps=judge_steps,
            seed=seed,
            command=command,
        ):
            click.echo(line)
    if write:
        loaded.save_pretrained(pack)
        click.echo(f"written into {pack}")


@main.command(
    short_help="Make a generator or pack of a foreign checkpoint.",
    epilog="Examples: ganaug convert weights.tar --out runs/faces-generator; "
    "ganaug convert deformator_10000.pt --generator runs/faces-generator --out runs/faces",
)
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder for what comes of it."
)
@click.option("--arch", default="auto", show_default=True, help="The architecture it has to be, such as dcgan.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="What the checkpoint does not say (repeatable): activation=relu or batch_norm_eps=0.8 of an MLP, "
    "latent_space=w or truncation=0.7 of a StyleGAN2.",
)
@click.option(
    "--generator",
    help="CHECKPOINT is a deformator, and this its generator: the folder of a converted one, a pack, or a Hub id.",
)
def convert(checkpoint: Path, out: Path, arch: str, settings: tuple[str, ...], generator: str | None) -> None:
    """Convert a foreign CHECKPOINT (.pth, .pt, .tar, .bin, .pkl) to a generator of ganaug's; nothing in it is run.

    Layouts are told by the names of the tensors; with --arch what does not fit is listed. An SN-GAN of
    GANLatentDiscovery is a folder with args.json and generator.pt.

    With --generator CHECKPOINT is a deformator_*.pt of GANLatentDiscovery, and OUT becomes a pack. Directions that were
    found in StyleGAN2's w need a generator converted with --set latent_space=w.
    """
    from ganaug.checkpoints import convert_checkpoint
    from ganaug.generators import MLP
    from ganaug.settings import parse_settings

    if generator is not None:
        if arch != "auto" or settings:
            raise click.UsageError("--arch and --set are for generators; with --generator neither is used.")
        _convert_deformator(checkpoint, generator, out)
        return
    given = parse_settings(settings)
    if "arch" in given:
        raise click.UsageError(f"the architecture is given as --arch {given['arch']}, not with --set.")
    _check_holds_nothing(out)
    network = convert_checkpoint(checkpoint, arch=arch, **given)
    network.save_pretrained(out)
    parameters = sum(p.numel() for p in network.parameters())
    click.echo(
        f"{network.architecture}: {parameters:,} parameters, {network.image_size} pixels, {network.channels} "
        f"channel(s), {network.num_classes or 'no'} classes, latent {network.latent_dim}"
    )
    if isinstance(network, MLP):
        taken = " ".join(f"--set {key}={network.config[key]}" for key in ("activation", "batch_norm_eps"))
        click.echo(f"A checkpoint does not say the activation, nor the eps of batch norms. Taken here: {taken}")
    click.echo(f"SHA-256 of the weights: {network.weights_sha256()}\nwritten into {out}")


def _convert_deformator(file: Path, generator: str, out: Path) -> None:
    import hashlib
    import warnings

    from ganaug.checkpoints import directions_from_deformator
    from ganaug.gallery import preview
    from ganaug.packs import DirectionPack, load_generator

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        directions, lengths = directions_from_deformator(file)
    for warning in caught:
        click.echo(f"Note: {warning.message}")
    pack = DirectionPack(
        directions,
        generator=load_generator(generator),
        ranges=[(-6 * length, 6 * length) for length in lengths.tolist()],
        method={"name": "converted", "file": file.name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()},
        license="unknown",
        name=out.name,
    )
    _check_free(out)
    pack.preview = preview(pack)
    pack.save_pretrained(out)
    shortest, longest = lengths.min().item(), lengths.max().item()
    click.echo(
        f"{pack.num_directions} directions of {pack.latent_dim} dimensions. A magnitude of 1 in the file is "
        f"{shortest:.3g} to {longest:.3g} here, where directions have unit length; ranges are its -6 to 6.\n"
        f"{out} holds the pack. Look through it: ganaug show {out}"
    )


@main.command(short_help="Upload a pack to the Hub.")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("repo")
@click.option("--private", is_flag=True, help="Make the repository private.")
def push(folder: Path, repo: str, private: bool) -> None:
    """Upload the pack in FOLDER to the Hub as REPO (org/name); log in first with `hf auth login`."""
    from ganaug.packs import DirectionPack

    click.echo(DirectionPack.from_pretrained(folder.resolve()).push_to_hub(repo, private=private or None))


@main.command(short_help="Download a pack from the Hub.")
@click.argument("repo")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--revision", help="Branch, tag or commit.")
def pull(repo: str, folder: Path, revision: str | None) -> None:
    """Download the pack REPO (org/name) from the Hub, check it, and write it into FOLDER, which is new or empty."""
    from ganaug.packs import DirectionPack

    _check_empty(folder)
    click.echo(f"{DirectionPack.from_pretrained(repo, revision=revision).save_pretrained(folder)}")


def _load(pack: str) -> DirectionPack:
    from ganaug.packs import DirectionPack

    return DirectionPack.from_pretrained(pack)


def _direction(word: str) -> str | int:
    return int(word) if word.isdigit() else word


def _magnitude(text: str) -> str | float | tuple[float, float]:
    if text == "safe":
        return text
    try:
        numbers = [float(word) for word in text.split(",")]
    except ValueError as error:
        raise click.UsageError(f"--magnitude should be safe, a number, or LOW,HIGH; got {text!r}.") from error
    if len(numbers) == 1:
        return numbers[0]
    if len(numbers) == 2:
        return numbers[0], numbers[1]
    raise click.UsageError(f"--magnitude should be safe, a number, or LOW,HIGH; got {text!r}.")
