"""An encoder for a pack: trained, measured, and put into it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganaug.devices import own_defaults
from ganaug.draws import seeded
from ganaug.evaluation import reconstruction_error
from ganaug.files import check_writable
from ganaug.folders import OnError
from ganaug.gallery import inversion_sheet
from ganaug.generators import Generator
from ganaug.images import signed_to_uint8, uint8_to_signed
from ganaug.inversion import fit_domain, invert
from ganaug.marks import check_ours, writing_into
from ganaug.packs import DirectionPack
from ganaug.streams import Images
from ganaug.training.discovery.checkpoint import CHECKPOINT_FILE
from ganaug.training.encoder.images import RealImages, read_real_images
from ganaug.training.encoder.settings import EncoderSettings
from ganaug.training.encoder.train import check_images, check_resumable, take_away, train_encoder

UNFINISHED, SHEETS, SHEET = ".encoder", "encoder", "sheet.png"
"""Of a pack's folder: where a training that has not ended keeps its checkpoint, and where the sheet lies. Neither is a
file of the pack: the sheet shows the user's own images, which ``push`` must not publish."""

JUDGED = 1000
"""Real images on which an encoder is judged."""
SHOWN = 8
"""Images on the sheet."""


@own_defaults
def train_pack_encoder(
    pack: DirectionPack,
    images: Images | RealImages | str | Path | None,
    *,
    folder: str | Path | None = None,
    resume: bool = False,
    checkpoint_every: int = 500,
    on_error: OnError = "fail",
    device: str | torch.device | None = None,
    command: str = "",
    show_progress: bool = True,
    **settings: Any,
) -> DirectionPack:
    """Train an encoder for a pack's generator and put it into the pack, with how it was made and how well it does.

    Args:
        pack: changed by this call, its generator ends on the CPU.
        images: real images: ``(N, C, H, W)`` uint8 of the generator's size, all to learn from; or a folder of them or
            ``NAME:FOLDER``, of which some are held out, see :func:`read_real_images`; None to learn from the generator
            alone.
        folder: the pack's. It keeps a checkpoint (in ``.encoder``) until the training has ended; then the pack is saved
            there, and ``encoder/sheet.png``, see :func:`ganaug.gallery.inversion_sheet`. Without it nothing is written.
        resume: go on from the checkpoint in ``folder``.
        checkpoint_every: in steps.
        on_error: what to do with damaged files of ``images``, see :func:`ganaug.folders.sound`.
        device: defaults to CUDA when there is one, else the CPU.
        command: kept in the pack beside the settings and the figures, so that both can be made again.
        settings: see :class:`EncoderSettings`.

    Returns:
        The pack, with ``encoder``, ``domain`` and ``encoder_method``, and in ``scores``, each with its command:
        ``reconstruction_error``, the mean absolute difference of generated images and their reconstructions, as a share
        of full scale; ``mean_image_error``, that of generated images and one mean image; both as ``real_...`` on 1,000
        held-out real images; and ``real_class_read``, the share of these whose class the encoder reads rightly, where
        it is known. :func:`encoder_words` says what they mean.

    Raises:
        SettingsError, GeneratorError, EncoderTrainingError, Interrupted: see :func:`train_encoder`.
        DataError: no images, or damaged ones.
        FileError: the folder can't be written to, or a sheet is there that ganaug did not write.
    """
    chosen = EncoderSettings.from_mapping(settings)
    out = None if folder is None else Path(folder) / UNFINISHED
    if folder is not None and out is not None:
        check_writable(Path(folder))
        check_ours(Path(folder) / SHEETS, [SHEET])
        check_resumable(out / CHECKPOINT_FILE, resume=resume)
    real = _real_images(pack, images, on_error)
    pack.encoder = train_encoder(
        pack.generator,
        images=None if real is None else real.training,
        out=out,
        resume=resume,
        checkpoint_every=checkpoint_every,
        device=device,
        show_progress=show_progress,
        **chosen.to_dict(),
    )
    pack.generator.to("cpu")
    pack.domain = fit_domain(pack, None if real is None else real.training, seed=chosen.seed)
    pack.encoder_method = {**chosen.to_dict(), "command": command}
    _measure(pack, real, command)
    if folder is not None and out is not None:
        with writing_into(Path(folder) / SHEETS, [SHEET]) as scratch:
            inversion_sheet(pack, _shown(pack.generator, real)).save(scratch / SHEET, optimize=True)
        pack.save_pretrained(folder)
        take_away(out)
    return pack


def _real_images(
    pack: DirectionPack, images: Images | RealImages | str | Path | None, on_error: OnError
) -> RealImages | None:
    if isinstance(images, str | Path):
        images = read_real_images(pack, images, on_error=on_error)
    real = images if images is None or isinstance(images, RealImages) else RealImages(images)
    if real is not None:
        check_images(pack.generator, real.training)
        check_images(pack.generator, real.held_out)
    return real


@torch.no_grad()
def _measure(pack: DirectionPack, real: RealImages | None, command: str) -> None:
    """Put figures of the encoder into the pack, in place of an earlier one's."""
    figures = {
        "reconstruction_error": reconstruction_error(pack),
        "mean_image_error": _mean_image_error(_drawn(pack.generator, JUDGED)),
    }
    if real is not None and real.held_out is not None:
        rows = _some(len(real.held_out))
        images = real.held_out[rows]
        figures["real_reconstruction_error"] = reconstruction_error(pack, images)
        figures["real_mean_image_error"] = _mean_image_error(images)
        if real.labels is not None:
            read = [invert(pack, uint8_to_signed(part))[1] for part in images.split(100)]
            found = torch.cat([each for each in read if each is not None])
            figures["real_class_read"] = (found.cpu() == real.labels[rows]).float().mean().item()
    for name in ("real_reconstruction_error", "real_mean_image_error", "real_class_read"):
        pack.scores.pop(name, None)
        pack.scores.pop(f"{name}_command", None)
    for name, value in figures.items():
        pack.scores[name], pack.scores[f"{name}_command"] = round(value, 4), command


def _mean_image_error(images: Tensor) -> float:
    """What one mean image would be off by, as a share of full scale."""
    mean = torch.stack([part.float().sum(0) for part in images.split(100)]).sum(0) / len(images)
    errors = [(part.float() - mean).abs().mean((1, 2, 3)) / 255 for part in images.split(100)]
    return torch.cat(errors).mean().item()


def _some(count: int) -> Tensor:
    return torch.randperm(count, generator=seeded(0))[:JUDGED]


@torch.no_grad()
def _drawn(generator: Generator, count: int) -> Tensor:
    """Images of the generator's, uint8, on the CPU."""
    rng, parts = seeded(1), []
    for part in torch.arange(count).split(100):
        latents, labels = generator.sample_latents(len(part), rng=rng), generator.sample_labels(len(part), rng=rng)
        parts.append(signed_to_uint8(generator(latents, labels)).cpu())
    return torch.cat(parts)


def _shown(generator: Generator, real: RealImages | None) -> Tensor:
    """The images of the sheet: real ones, held out if there are such, else generated ones."""
    if real is None:
        return _drawn(generator, SHOWN)
    images = real.training if real.held_out is None else real.held_out
    return images[torch.randperm(len(images), generator=seeded(0))[:SHOWN]]
