"""Training of inversion encoders: from images back to latents."""

from ganaug.training.encoder.images import RealImages, read_real_images
from ganaug.training.encoder.pack import train_pack_encoder
from ganaug.training.encoder.settings import EncoderSettings
from ganaug.training.encoder.train import train_encoder
from ganaug.training.encoder.words import encoder_words

__all__ = [
    "EncoderSettings",
    "RealImages",
    "encoder_words",
    "read_real_images",
    "train_encoder",
    "train_pack_encoder",
]
