"""Draws the expression videos of the dataset `synthetic`; deterministic by seed."""
