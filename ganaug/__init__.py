"""Data augmentation along directions discovered in a generator's latent space."""
