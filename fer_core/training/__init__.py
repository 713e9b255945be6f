"""Fit the trainable part of a network."""
