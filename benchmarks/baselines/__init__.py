"""Baselines: what a competent user of Ray Tune and torch would write without our library.

They import nothing of ours. The rows of `benchmarks/search.py` measure them beside our code.
"""
