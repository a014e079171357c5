"""What an encoder's figures mean, in words, and what to try where it failed to learn."""

from __future__ import annotations

import math

from ganaug.packs import DirectionPack

LOST = 0.8
"""Share of a mean image's error from which on reconstructions say little of their image. The bundled packs: 0.19 to
0.33 of generated images, 0.24 to 0.46 of real ones."""
FAR = 2.0
"""Error on real images, in errors on generated ones, from which on the generator can't draw what is on them. The
bundled packs: 1.2 to 1.6."""


def encoder_words(pack: DirectionPack) -> list[str]:
    """What the figures that :func:`ganaug.training.train_pack_encoder` left in ``pack.scores`` mean, a sentence or two
    each; where something failed, what it means and what to try.

    An encoder has failed where its reconstructions are off by 0.8 or more of what one mean image for all would be off
    by; where it reads a class of real images less than half way from guessing to always; and real images are not the
    generator's where their error is over twice that of generated ones.
    """
    scores = pack.scores
    own, real = scores.get("reconstruction_error"), scores.get("real_reconstruction_error")
    if own is None:
        return []
    words = [f"Generated images and their reconstructions differ by {own:.4f} of full scale."]
    if real is not None:
        words = [
            f"Reconstructions differ by {real:.4f} of full scale from held-out real images (one mean image for all: "
            f"{scores['real_mean_image_error']:.4f}), by {own:.4f} from generated ones "
            f"({scores['mean_image_error']:.4f})."
        ]
    read = scores.get("real_class_read")
    if read is not None:
        words.append(f"It reads the class of {read:.3f} of them rightly (guessing: {1 / pack.num_classes:.3f}).")
    return [*words, *_failures(pack, own, real, read)]


def _failures(pack: DirectionPack, own: float, real: float | None, read: float | None) -> list[str]:
    scores, words = pack.scores, []
    lost = own >= LOST * scores.get("mean_image_error", math.inf)  # which packs of before don't have
    if lost:
        words.append(
            "It has not learned to find latents, even of the generator's own images: whatever is changed by it, is "
            "changed at random. Try longer (steps=...), a lower learning_rate, or a wider encoder (width=..., "
            "hidden=...)."
        )
    elif real is not None and (real >= LOST * scores["real_mean_image_error"] or real > FAR * own):
        words.append(
            "Real images are redrawn far worse than the generator's own: it does not draw what is on them, and their "
            "shifts will be those of other images. Look at the sheet; train the generator for longer or on more such "
            "images; and with the encoder, more of them (real_share=0.75) and longer (steps=...). blend=add, the "
            "default of LatentShift, keeps what can't be redrawn."
        )
    if read is not None and read < (1 + 1 / pack.num_classes) / 2:
        words.append(
            "That is too few to change images without labels: most would be changed as those of another class. Give "
            "LatentShift the labels, or train for longer (steps=..., class_weight=1)."
        )
    return words
