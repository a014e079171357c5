"""Small BigGANs of random weights, as ganaug has them and as the published codes save them."""

import torch
from pytorch_pretrained_biggan import BigGAN as PublishedBigGANDeep
from pytorch_pretrained_biggan import BigGANConfig

from ganaug.generators import BigGAN, BigGANDeep

DEEP_CONFIG = {
    "z_dim": 6,
    "class_embed_dim": 6,
    "channel_width": 8,
    "num_classes": 5,
    "layers": [[False, 16, 16], [True, 16, 8], [False, 8, 4], [True, 4, 2], [False, 2, 1], [True, 1, 1]],
    "attention_layer_position": 4,
    "eps": 1e-4,
    "n_stats": 51,
}


def biggan(**options):
    """A random generator whose weights have spectral norm 1, as those of a checkpoint have when it is folded in."""
    torch.manual_seed(0)
    sizes = {"latent_dim": 16, "image_size": 32, "num_classes": 5, "ch": 4, "shared_dim": 6, "attention": [16]}
    generator = BigGAN(**{**sizes, **options})
    with torch.no_grad():
        for name, tensor in generator.state_dict().items():
            if name.endswith(".means"):
                tensor.normal_(0, 0.3)
            elif name.endswith(".variances"):
                tensor.uniform_(0.5, 1.5)
            elif name.endswith(".gamma"):
                tensor.fill_(0.7)
            elif name.endswith(".weight") and name != "shared.weight":
                tensor.div_(torch.linalg.matrix_norm(tensor.flatten(1), ord=2))
    return generator.freeze()


def biggan_checkpoint(generator):
    """The generator as BigGAN-PyTorch saves it: every weight three times as large, beside its first singular vector."""
    state = {}
    for name, tensor in generator.state_dict().items():
        stem, _, kind = name.rpartition(".")
        if kind in ("means", "variances"):
            state[f"{stem}.stored_{'mean' if kind == 'means' else 'var'}"] = tensor[0].clone()
        elif kind == "weight" and stem != "shared":
            state[name] = 3 * tensor
            state[f"{stem}.u0"] = torch.linalg.svd(tensor.flatten(1)).U[:, :1].mT.clone()
            state[f"{stem}.sv0"] = torch.tensor([7.0])
        else:
            state[name] = tensor.clone()
    return state


def published_deep(**changes):
    """The package's generator with random weights, singular vectors of their own and random statistics."""
    torch.manual_seed(0)
    network = PublishedBigGANDeep(BigGANConfig.from_dict({**DEEP_CONFIG, **changes}))
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if name.endswith("running_means"):
                tensor.normal_(0, 0.3)
            elif name.endswith("running_vars"):
                tensor.uniform_(0.5, 1.5)
            elif name.endswith("gamma"):
                tensor.fill_(0.7)
            elif name in ("generator.bn.weight", "generator.bn.bias"):
                tensor.normal_(1, 0.3)
        for _ in range(5):
            network.train()(torch.randn(2, network.config.z_dim), torch.eye(5)[:2], 1.0)
    return network.eval().requires_grad_(False)


def deep(**options):
    """A random generator of those sizes, with statistics and attention of its own."""
    torch.manual_seed(0)
    sizes = {"latent_dim": 6, "class_embed_dim": 6, "ch": 8, "num_classes": 5, "layers": DEEP_CONFIG["layers"]}
    generator = BigGANDeep(**sizes, attention_layer_position=4, **options)
    with torch.no_grad():
        for name, tensor in generator.state_dict().items():
            if name.endswith(".means"):
                tensor.normal_(0, 0.3)
            elif name.endswith(".variances"):
                tensor.uniform_(0.5, 1.5)
            elif name.endswith(".gamma"):
                tensor.fill_(0.7)
    return generator.freeze()


def relative_error(images, expected):
    return ((images - expected).abs().max() / expected.abs().max()).item()
