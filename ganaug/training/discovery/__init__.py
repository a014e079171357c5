"""Unsupervised discovery of interpretable directions (Voynov & Babenko, ICML 2020)."""
