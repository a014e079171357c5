"""DCGAN's generator (Radford et al., "Unsupervised Representation Learning with DCGANs", ICLR 2016)."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint_sequential

from ganaug.errors import GeneratorError
from ganaug.generators.generator import Generator
from ganaug.generators.layers import without_batch_norms


class DCGAN(Generator):
    """A stack of 4 x 4 transposed convolutions, in the layout of the PyTorch DCGAN tutorial.

    Args:
        latent_dim: length of one latent.
        channels: 1 (grey) or 3 (colour).
        width: feature maps before the last layer; they double towards the latent.
        image_size: 8, 16, 32, 64, ... pixels.

    See :class:`Generator` for shapes. Unconditional.
    """

    architecture = "dcgan"
    recomputes = False

    def __init__(self, *, latent_dim: int = 100, channels: int = 3, width: int = 64, image_size: int = 64) -> None:
        if image_size < 8 or image_size & (image_size - 1):
            raise GeneratorError(f"DCGAN's image_size should be a power of two of at least 8, got {image_size}.")
        if width < 1:
            raise GeneratorError(f"DCGAN's width should be at least 1, got {width}.")
        super().__init__(latent_dim=latent_dim, image_size=image_size, channels=channels)
        doublings = image_size.bit_length() - 4
        widths = [width << k for k in range(doublings, -1, -1)]
        layers: list[nn.Module] = [nn.ConvTranspose2d(latent_dim, widths[0], 4, 1, 0, bias=False)]
        for in_width, out_width in pairwise(widths):
            layers += [
                nn.BatchNorm2d(in_width),
                nn.ReLU(),
                nn.ConvTranspose2d(in_width, out_width, 4, 2, 1, bias=False),
            ]
        layers += [
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.ConvTranspose2d(width, channels, 4, 2, 1, bias=False),
            nn.Tanh(),
        ]
        self.main = nn.Sequential(*layers)

    def synthesize(self, latents: Tensor, labels: Tensor | None) -> Tensor:
        x = latents[:, :, None, None]
        if self.recomputes:
            x = checkpoint_sequential(self.main, len(self.main) // 2, x, use_reentrant=False)
        else:
            x = self.main(x)
        images: Tensor = x
        return images

    def _fuse(self) -> None:
        self.main = without_batch_norms(self.main)
